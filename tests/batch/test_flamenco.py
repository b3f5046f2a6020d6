"""Flamenco's job type, run by node against a stub of what Flamenco gives it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, ROOT

NODE = shutil.which("node")
JOB_TYPE = ROOT / "docs" / "farm" / "trellis2_batch.js"

pytestmark = [
    pytest.mark.checkout,
    pytest.mark.skipif(NODE is None, reason="needs node; what the file holds is the same on every system"),
]

_STUB = """
const fs = require("fs"), vm = require("vm");
const [file, given] = process.argv.slice(2);
const author = {
    Task: (name, type) => ({
        name, type, commands: [], waitsFor: [],
        addCommand(command) { this.commands.push(command) },
        addDependency(task) { this.waitsFor.push(task.name) },
    }),
    Command: (name, parameters) => ({ name, parameters }),
};
const context = vm.createContext({ author, print: () => {} });
vm.runInContext(fs.readFileSync(file, "utf8") + ";this.type = JOB_TYPE; this.compile = compileJob;", context);
const settings = Object.fromEntries(context.type.settings.map(setting => [setting.key, setting.default]));
const tasks = [];
context.compile({ settings: { ...settings, ...JSON.parse(given) }, addTask: task => tasks.push(task) });
console.log(JSON.stringify({ type: context.type, tasks }));
"""


def compile_job(folder: Path, **settings: Any) -> dict[str, Any]:
    stub = folder / "stub.js"
    stub.write_text(_STUB, encoding="utf-8")
    command = [str(NODE), str(stub), str(JOB_TYPE), json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def commands(tasks: list[dict[str, Any]]) -> list[list[str]]:
    for task in tasks:
        (command,) = task["commands"]
        assert command["name"] == "exec" and task["type"] == "blender"
    return [[task["commands"][0]["parameters"]["exe"], *task["commands"][0]["parameters"]["args"]] for task in tasks]


def test_a_task_for_each_shard_and_one_that_collects(tmp_path: Path) -> None:
    options = '--resolution 512 --contract "my rules.json" --retry-failed'
    tasks = compile_job(
        tmp_path, pictures="/show/my pictures", output="/show/a.blend", shards=3, part_size=50, options=options
    )["tasks"]
    given = ["--resolution", "512", "--contract", "my rules.json"]
    first = ["{blender}", "--command", "trellis2", "batch", "/show/my pictures", *given]
    assert commands(tasks) == [
        *(
            [*first, "--retry-failed", "--shared", "--shard", f"{number}/3", "--backend", "local"]
            for number in (1, 2, 3)
        ),
        [*first, "--collect", "/show/a.blend", "--part-size", "50"],
    ]
    assert len({task["name"] for task in tasks}) == 4
    assert tasks[-1]["waitsFor"] == [task["name"] for task in tasks[:3]]


def test_nothing_is_collected_unless_asked_for(tmp_path: Path) -> None:
    tasks = compile_job(tmp_path, pictures="P:/p", shards=0, program="/opt/venv/bin/python -m trellis_addon")["tasks"]
    assert commands(tasks) == [
        ["/opt/venv/bin/python", "-m", "trellis_addon", "batch", "P:/p", "--shared", "--shard", "1/1"]
        + ["--backend", "local"]
    ]


def test_the_commands_are_ones_that_we_take(tmp_path: Path) -> None:
    from trellis_addon.cli.commands import _parser
    from trellis_addon.cli.farm import batch_of

    tasks = compile_job(tmp_path, pictures="p", output="a.blend", shards=2, options="--height 0.5 --strict")["tasks"]
    for command in commands(tasks):
        options = _parser("trellis2").parse_args(command[3:])
        assert batch_of(options) is not None


def test_its_settings_are_such_as_flamenco_knows(tmp_path: Path) -> None:
    for setting in compile_job(tmp_path, pictures="p")["type"]["settings"]:
        assert setting["type"] in ("string", "int32", "float", "bool") and setting["description"]
        assert setting["visible"] in ("visible", "submission", "web", "hidden")
        assert setting.get("subtype", "dir_path") in ("dir_path", "file_path", "file_name", "hashed_file_path")
        assert setting.get("required") or "default" in setting
