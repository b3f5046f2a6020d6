"""Facts that stand in several places agree."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import dev
import make_architecture
import pytest
import set_version

from trellis_addon.core.version import VERSION
from trellis_addon.task.settings import FIELDS

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).resolve().parents[2]


def test_one_version() -> None:
    """The manifest's; the library's file is written from it, and pyproject.toml reads that."""
    text = (ROOT / "blender_manifest.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text)["version"] == VERSION
    written = (ROOT / "trellis_addon" / "core" / "version.py").read_text(encoding="utf-8")
    assert written == set_version.version_file(text), "run tools/set_version.py"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"] and "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "trellis_addon.core.version.VERSION"


def test_the_picture_of_the_floors_shows_every_floor() -> None:
    """That it is up to date to the line is nobody's worry; a floor that came or went is."""
    drawn = re.findall(r'<text x="\d+" y="\d+">([^<]+)</text>', (ROOT / "docs" / "architecture.svg").read_text())
    now = re.findall(r'<text x="\d+" y="\d+">([^<]+)</text>', make_architecture.picture(ROOT))
    assert drawn == now, "run tools/make_architecture.py"


def test_the_documents_name_files_that_are_there() -> None:
    missing = []
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"`((?:tools|tests|benchmarks|devtools|docs|examples)/[\w/.-]+\.(?:py|txt|md))`", text)
        missing += [f"{page.name}: {name}" for name in named if not (ROOT / name).exists()]
        missing += [
            f"{page.name}: {link}"
            for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
            if not (page.parent / link).exists()
        ]
    assert missing == []


def test_the_manifest_keeps_the_rules_of_the_platform() -> None:
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["id"] == "trellis2" and "blender" not in manifest["name"].lower()
    assert len(manifest["tagline"]) <= 64 and manifest["tagline"][-1].isalnum()
    assert all(len(reason) <= 64 and reason[-1] != "." for reason in manifest["permissions"].values())


def test_what_is_made_of_the_settings_is_up_to_date() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from make_docs import COMMANDS, TARGET, commands_page, preset_files, settings_page
    finally:
        sys.path.remove(str(ROOT / "tools"))
    for path, text in {TARGET: settings_page(), COMMANDS: commands_page(), **preset_files()}.items():
        assert path.read_text(encoding="utf-8") == text, f"run tools/make_docs.py: {path.name}"
    assert set((ROOT / "presets" / "trellis2").glob("*.py")) == set(preset_files())


def test_descriptions_are_tooltips() -> None:
    """Blender puts the final period itself."""
    assert all(field.description and not field.description.endswith(".") for field in FIELDS)


def test_the_readme_begins_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    assert [block.strip() for block in blocks[:2]] == ["python3 tools/dev.py demo", "python3 tools/dev.py test"]


@pytest.mark.skipif(os.name == "nt", reason="a script for a POSIX shell; Windows' runners call tools/dev.py themselves")
@pytest.mark.parametrize("before", ["", "```sh\nmake coffee\n```\n"])
def test_ci_runs_the_command_that_the_readme_marks(before: str, tmp_path: Path) -> None:
    """Wherever it stands among other fences; without the mark it fails, and runs nothing."""
    (tmp_path / ".ci").mkdir()
    script = Path(shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci"))
    (tmp_path / "python3").write_text('#!/bin/sh\necho "asked for: $*"\n')
    (tmp_path / "python3").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    text = before + (ROOT / "README.md").read_text(encoding="utf-8")
    for readme, said in ((text, ["asked for: tools/dev.py test"]), (text.replace("<!-- ci -->", ""), [])):
        (tmp_path / "README.md").write_text(readme, encoding="utf-8")
        done = subprocess.run([str(script)], env=environment, capture_output=True, text=True)
        assert [line for line in done.stdout.splitlines() if line.startswith("asked for")] == said
        assert (done.returncode == 0) == bool(said)


def test_what_follows_test_is_handed_to_pytest() -> None:
    for arguments in ([], ["-k", "cutout"], ["tests/images/test_cutout.py", "-x", "--lf"]):
        options = dev.parse(["test", *arguments])
        assert options.run is dev.test and options.arguments == arguments
    assert dev.parse(["matrix", "4.2", "5.2"]).releases == ["4.2", "5.2"]
    with pytest.raises(SystemExit):
        dev.parse(["demo", "-k", "cutout"])


def test_importing_the_library_loads_none_of_its_dependencies() -> None:
    script = "import sys, trellis_addon; print(sorted({'numpy','httpx','PIL','bpy','sqlite3'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_there_is_one_door_to_http() -> None:
    """Whoever makes a client elsewhere has none of this machine's proxies and certificates, and another name."""
    made = re.compile(r"httpx\.(Client|HTTPTransport|get|post|put|head|request|stream|create_ssl_context)\(|urlopen\(")
    folders = ("trellis_addon", "addon", "operators", "ui")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix() for path in files if made.search(path.read_text(encoding="utf-8"))}
    assert found == {"trellis_addon/transfer/client.py"}


def test_operators_run_under_an_override_only_where_that_is_safe() -> None:
    """Up to Blender 5.0 they bring Blender down beside a thread that works, whoever has asked for them.

    `overrides.ARE_SAFE` says where it is; each use stands behind it, with another way beside it.
    """
    unguarded = []
    for folder in ("trellis_addon", "addon", "operators", "ui"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            if "bpy.ops" in source and "temp_override" in source:
                unguarded += [f"{path.relative_to(ROOT)}:{line}" for line in _unguarded_overrides(ast.parse(source))]
    assert unguarded == []


def _unguarded_overrides(tree: ast.Module) -> list[int]:
    """The lines of such blocks neither behind an `if` that asks, nor in a function that is called behind one alone."""
    asked = [node for node in ast.walk(tree) if isinstance(node, (ast.If, ast.IfExp)) and _asks(node)]
    behind = {id(each) for node in asked for each in ast.walk(node)}
    names = {
        each.func.id
        for node in asked
        for each in ast.walk(node)
        if isinstance(each, ast.Call) and hasattr(each.func, "id")
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    names -= {call.func.id for call in calls if id(call) not in behind}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name in names:
            behind.update(id(each) for each in ast.walk(function))
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        and id(node) not in behind
        and any("temp_override" in ast.unparse(item) for item in node.items)
        and "bpy.ops" in ast.unparse(node)
    ]


def _asks(node: ast.If | ast.IfExp) -> bool:
    return "overrides.ARE_SAFE" in ast.unparse(node.test)


def test_the_rule_about_overrides_finds_them() -> None:
    bare = "def f():\n    with bpy.context.temp_override(area=a):\n        bpy.ops.view3d.view_selected()\n"
    assert _unguarded_overrides(ast.parse(bare)) == [2]
    assert _unguarded_overrides(ast.parse(f"{bare}def g():\n    return f() if overrides.ARE_SAFE else None\n")) == []
    assert _unguarded_overrides(ast.parse(f"{bare}f() if overrides.ARE_SAFE else None\nf()\n")) == [2]


def test_every_name_of_the_library_can_be_had() -> None:
    import trellis_addon

    for name in trellis_addon.__all__:
        assert getattr(trellis_addon, name) is not None, name


def test_a_test_that_a_system_cannot_run_says_what_holds_there() -> None:
    """Why not; and, behind a semicolon, what is tested or true there instead."""
    silent = []
    for path in (ROOT / "tests").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)) if "skipif" in source else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "skipif":
                condition = ast.get_source_segment(source, node.args[0]) or ""
                reason = next(ast.literal_eval(each.value) for each in node.keywords if each.arg == "reason")
                if re.search(r"os\.name|platform|/proc", condition) and "; " not in reason:
                    silent.append(f"{path.relative_to(ROOT)}: {reason}")
    assert silent == []
