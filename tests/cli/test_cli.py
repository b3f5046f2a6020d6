"""The command line, run as a user runs it: another process, its output and its exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import PATIENCE, ROOT, run_python
from PIL import Image

from trellis_addon.cli import commands
from trellis_addon.core.version import VERSION
from trellis_addon.jobs.job import State
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.settings import SAMPLERS, SEED_MAX, SETTABLE

LOW = ("--resolution", "512", "--texture-size", "1024")
Write = Callable[[Path], list[str]]


def trellis2(*arguments: object, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"TRELLIS2_HOME": str(home)} if home else {}
    done = run_python("-m", "trellis_addon", *map(str, arguments), **environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that an artist sees, warnings apart."""
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING ")]
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    return lines[0]


# --- help ---


def test_help_lists_every_setting() -> None:
    for command in ("generate", "batch"):
        done = trellis2(command, "--help")
        assert done.returncode == 0
        text = " ".join(done.stdout.split())
        for field in SETTABLE:
            assert f"--{field.name.replace('_', '-')} " in text, field.name
            for bound in (field.minimum, field.maximum, *field.choices):
                assert bound is None or str(bound) in text
        for heading in SAMPLERS.values():
            assert heading.lower() in text
    assert trellis2("--version").stdout.strip() == VERSION
    for command in ("generate", "batch", "serve"):
        assert command in trellis2("--help").stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows has no /dev/full; there: test_every_command_ends_well")
def test_a_reader_who_has_gone_and_what_takes_nothing(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m trellis_addon limit'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRELLIS2_HOME": str(tmp_path)}
    for rest, code, words in (
        ("| true; exit ${PIPESTATUS[0]}", {0, 1}, ""),
        ("> /dev/full", {1}, "No space left"),
        (">&-", {0}, ""),
        ("2>&-", {0}, ""),
    ):
        done = subprocess.run(
            ["bash", "-c", f"{command} {rest}"], capture_output=True, encoding="utf-8", env=environment, cwd=tmp_path
        )
        assert done.returncode in code and words in done.stderr and "Traceback" not in done.stderr, (rest, done)
        assert "Exception ignored" not in done.stderr


def test_what_nobody_foresaw_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from trellis_addon.cli import check, main

    def fails(*arguments: Any) -> None:
        raise MemoryError("so many faces")

    monkeypatch.setattr(check, "_files", fails)
    assert main(["check", "a.glb", "--contract", "unity"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "MemoryError: so many faces" in said and said.count("\n") == 1


@pytest.mark.parametrize("command", [("texture", "none.glb", "none.png"), ("change", "none.glb", "--box", *"000111")])
def test_one_is_what_says_that_it_was_not_done(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from trellis_addon.cli import main

    for output in (f"{tmp_path}", f"{tmp_path / 'a.txt'}", f"{tmp_path / 'a.glb'}"):
        assert main([*command, "--output", output]) == 1
        assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("arguments", [(), ("generate",), ("paint",), ("generate", "x.png"), ("batch", ".", "--fast")])
def test_wrong_command_lines(arguments: tuple[str, ...]) -> None:
    done = trellis2(*arguments)
    assert done.returncode == 2 and "usage:" in done.stderr


# --- generate ---


def test_generate_a_glb_without_bpy(disc_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "disc.glb"
    blocked = "import sys; sys.modules['bpy'] = None; from trellis_addon.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["generate", str(disc_file), "--output", str(output), "--seed", str(SEED_MAX), *LOW]
    done = run_python("-c", blocked, *arguments, TRELLIS2_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{output}: Blue Disc, engine: draft:relief@1, seed {SEED_MAX}"
    assert done.stderr == ""
    assert output.read_bytes()[:4] == b"glTF"
    provenance = json.loads(output.with_suffix(".json").read_text())
    assert provenance["seed"] == SEED_MAX and provenance["settings"]["settings"]["resolution"] == 512


def test_what_was_done_otherwise_is_said_beside_the_line(disc_file: Path, tmp_path: Path) -> None:
    done = trellis2("generate", str(disc_file), "--output", str(tmp_path / "disc.glb"), "--project-picture", "1", *LOW)
    assert done.returncode == 0 and done.stdout.count("\n") == 1
    assert "was not projected" in done.stderr


def test_a_blend_needs_bpy(disc_file: Path, tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['bpy'] = None; from trellis_addon.cli import main; sys.exit(main(sys.argv[1:]))"
    done = run_python("-c", blocked, "generate", str(disc_file), "--output", str(tmp_path / "x.blend"))
    assert done.returncode == 1 and "need Blender" in complaint(done)


_SMALL_PICTURE = """
import sys
from trellis_addon.cli import main
from trellis_addon.scene.render import render_object
render_object.__kwdefaults__.update(size=96, samples=4)  # in its full size it takes half a minute
sys.exit(main(sys.argv[1:]))
"""


def test_generate_a_blend_with_variations_and_a_picture(disc_file: Path, tmp_path: Path, clean: Any) -> None:
    output, picture = tmp_path / "disc.blend", tmp_path / "disc.png"
    arguments = ["--name", "Sun", "--height", "2", "--number-results", "2", "--seed", "5", *LOW]
    arguments += ["--output", str(output), "--render", str(picture)]
    done = run_python(
        "-c", _SMALL_PICTURE, "generate", str(disc_file), *arguments, TRELLIS2_HOME=str(tmp_path / "home")
    )
    assert done.returncode == 0, done.stderr
    assert "seed 5, 6" in done.stdout
    from trellis_addon import scene
    from trellis_addon.scene import files
    from trellis_addon.scene.importing.placement import world_bounds

    files.open_file(output)
    objects = sorted(clean.data.objects, key=lambda obj: obj.name)
    assert [obj.name for obj in objects] == ["Sun", "Sun.001"]
    assert sorted(scene.settings_of(obj)["seed"] for obj in objects) == [5, 6]
    for obj in objects:
        low, high = world_bounds(obj)
        assert (low.z, high.z) == pytest.approx((0, 2), abs=1e-4)
        assert obj.asset_data is not None and obj.material_slots[0].material
    assert all(image.packed_file for image in clean.data.images if image.users)
    with Image.open(picture) as rendered:
        assert rendered.size == (96, 96) and np.ptp(np.asarray(rendered.convert("L")).astype(int)) > 60


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--resolution", "600"), 2, r"settings\.resolution: 600 cannot be used; allowed: 512, 1024, 1536\."),
        (("--resolution", "high"), 2, r'settings\.resolution: "high" cannot be used'),
        (("--seed", str(2**63)), 2, r"seed: 9223372036854775808 cannot be used; .*9223372036854775807"),
        (("--tex-slat-rescale-t", "nan"), 2, r"settings\.texSlat\.rescaleT: nan"),
        (("--remesh", "maybe"), 2, r'settings\.remesh: "maybe"'),
        (("--backend", "cloud"), 2, r'backend: "cloud" cannot be used; allowed: remote, local, draft'),
        (("--backend", "remote"), 1, r"RUNWARE_API_KEY"),
        (("--model", "other:1@1"), 2, r"model: "),
        (("--output", "x.fbx"), 2, r"output: .* \.blend or \.glb"),
    ],
)
def test_wrong_settings_are_one_sentence(
    arguments: tuple[str, ...], code: int, said: str, disc_file: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    done = trellis2("generate", disc_file, "--output", tmp_path / "x.glb", *arguments, home=home)
    assert done.returncode == code
    assert re.search(said, complaint(done)), done.stderr
    assert not (tmp_path / "x.glb").exists()


def test_pictures_that_cannot_be_used_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"GIF89a")
    for source, said in ((tmp_path / "x.png", "GIF"), (tmp_path / "no.png", "no image file"), (tmp_path, "folder")):
        done = trellis2("generate", source, "--output", tmp_path / "x.glb", home=tmp_path / "home")
        assert done.returncode == 1 and said in complaint(done)


# --- batch ---


def _names(store: JobStore) -> list[str]:
    return sorted(job.name for job in store.recent(100))


def _contents(bpy: Any, output: Path) -> list[tuple[str, int, str, tuple[float, ...]]]:
    """What stands in the file: name, faces, provenance, place."""
    from trellis_addon.scene import files

    files.open_file(output)
    return sorted(
        (obj.name, len(obj.data.polygons), obj["trellis2_provenance"], tuple(obj.location)) for obj in bpy.data.objects
    )


def test_a_batch_runs_once(tmp_path: Path, write_folder: Write, clean: Any) -> None:
    folder, output, home = tmp_path / "pictures", tmp_path / "out" / "set.blend", tmp_path / "home"
    names = write_folder(folder)
    arguments = ("batch", folder, "--output", output, *LOW)
    done = trellis2(*arguments, home=home)
    assert done.returncode == 0, done.stderr
    table = {line.split()[0]: line for line in done.stdout.splitlines() if line.split() and line.split()[0] in names}
    assert list(table) == names
    for name in names[:4]:
        assert re.search(r"made +\d+\.\d +\d+ +draft:relief@1 +\d+$", table[name]), table[name]
    assert "failed" in table["ear.webp"] and "failed" in table["fern.jpg"]
    assert "damaged or cut off" in done.stdout and "not uniform enough" in done.stdout
    assert f"4 of 6 pictures are assets in {output}." in done.stdout
    store = JobStore(home)
    assert _names(store) == ["apple", "brick", "cup", "drum"]
    assert all(job.state is State.READY for job in store.recent(100))
    first = _contents(clean, output)
    assert [name for name, *_ in first] == ["apple", "brick", "cup", "drum"]
    assert len({place for *_, place in first}) == 4
    assert all(obj.asset_data and len(obj.preview.image_pixels) for obj in clean.data.objects)

    done = trellis2(*arguments, "--strict", home=home)
    assert done.returncode == 1, "with --strict the two failures count"
    assert done.stdout.count(" present ") == 4 and "4 of 6" in done.stdout
    assert _names(store) == ["apple", "brick", "cup", "drum"]
    assert _contents(clean, output) == first

    # another picture, and one with other pixels: only these are made; what stood there stays where it was
    Image.open(folder / "apple.png").rotate(90).save(folder / "apple.png")
    Image.open(folder / "cup.png").resize((80, 80)).save(folder / "goblet.png")
    done = trellis2(*arguments, home=home)
    assert done.returncode == 0, done.stderr
    assert sorted(set(_names(store))) == ["apple", "brick", "cup", "drum", "goblet"] and len(_names(store)) == 6
    assert set(first) < set(_contents(clean, output)) and len(_contents(clean, output)) == 6


@pytest.mark.once
def test_the_same_picture_twice_in_a_folder(tmp_path: Path, write_folder: Write, clean: Any) -> None:
    """Copies lie in many folders: each gets its object, none fails, and they are generated once."""
    folder, output, home = tmp_path / "pictures", tmp_path / "set.blend", tmp_path / "home"
    write_folder(folder)
    for name in ("brick.png", "cup.png", "drum.png", "ear.webp", "fern.jpg"):
        (folder / name).unlink()
    (folder / "apple copy.png").write_bytes((folder / "apple.png").read_bytes())
    done = trellis2("batch", folder, "--output", output, *LOW, home=home)
    assert done.returncode == 0 and "2 of 2" in done.stdout, done.stdout
    assert len(_names(JobStore(home))) == 1
    assert len(_contents(clean, output)) == 2
    assert trellis2("batch", folder, "--output", output, *LOW, home=home).stdout.count(" present ") == 2


def _start_batch(folder: Path, output: Path, home: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "trellis_addon", "batch", str(folder), "--output", str(output), *LOW]
    environment = {**os.environ, "TRELLIS2_HOME": str(home)}
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def _wait_for(jobs: int, state: State, store: JobStore, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while sum(job.state is state for job in store.recent()) < jobs:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_handler_that_was_set_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blender's own program catches Ctrl-C in C: Python calls that None, and takes no None back."""
    given = []

    def in_c(number: int, handler: Any) -> None:
        if handler is None:
            raise TypeError("signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object")
        given.append((number, handler))

    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    monkeypatch.setattr(signal, "signal", in_c)
    with commands._stop_signals() as is_stopped:
        assert not is_stopped()
    given_back = dict(given[len(given) // 2 :])
    assert {signal.SIGINT, signal.SIGTERM} <= set(given_back) and set(given_back.values()) == {signal.SIG_DFL}


@pytest.mark.once
@pytest.mark.skipif(
    os.name != "posix",
    reason="needs SIGKILL; on Windows TerminateProcess does the same, and the batch's file is no other",
)
@pytest.mark.parametrize(("jobs", "state"), [(1, State.RUNNING), (2, State.READY)])
def test_a_killed_batch_goes_on(jobs: int, state: State, tmp_path: Path, write_folder: Write, clean: Any) -> None:
    folder, output, home = tmp_path / "pictures", tmp_path / "set.blend", tmp_path / "home"
    write_folder(folder)
    store = JobStore(home)
    process = _start_batch(folder, output, home)
    _wait_for(jobs, state, store, process)
    process.kill()
    process.communicate()
    before = {job.uuid: job.state for job in store.recent(100)}
    assert before and not output.exists()
    done = trellis2("batch", folder, "--output", output, *LOW, home=home)
    assert done.returncode == 0 and "4 of 6" in done.stdout, done.stdout + done.stderr
    assert _names(store) == ["apple", "brick", "cup", "drum"], "something was generated twice"
    assert set(before) <= {job.uuid for job in store.recent(100)}
    assert done.stdout.count(" reused ") == sum(s is State.READY for s in before.values())
    assert [name for name, *_ in _contents(clean, output)] == ["apple", "brick", "cup", "drum"]


@pytest.mark.once
@pytest.mark.skipif(
    os.name != "posix",
    reason="needs signals; on Windows there is Ctrl-C, which raises the same KeyboardInterrupt",
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_batch_saves_what_is_there(
    number: signal.Signals, tmp_path: Path, write_folder: Write, clean: Any
) -> None:
    folder, output, home = tmp_path / "pictures", tmp_path / "set.blend", tmp_path / "home"
    write_folder(folder)
    process = _start_batch(folder, output, home)
    assert process.stderr is not None
    while "made" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and "Stopped" in errors and "Traceback" not in errors, errors
    stood = _contents(clean, output)
    assert 1 <= len(stood) <= 4
    done = trellis2("batch", folder, "--output", output, *LOW, home=home)
    assert done.returncode == 0 and "4 of 6" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count(" present ") == len(stood)
    assert _names(JobStore(home)) == ["apple", "brick", "cup", "drum"]
    assert set(stood) <= set(_contents(clean, output))


@pytest.mark.skipif(
    not Path("/proc/self/mem").exists(),
    reason="needs a file that nobody can read; elsewhere names that cannot be opened are tried, in tests/images",
)
def test_a_picture_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path, write_folder: Write) -> None:
    folder, home = tmp_path / "pictures", tmp_path / "home"
    write_folder(folder)
    for name in ("brick.png", "cup.png", "drum.png", "ear.webp", "fern.jpg"):
        (folder / name).unlink()
    os.symlink("/proc/self/mem", folder / "unreadable.png")  # even for root
    done = trellis2("batch", folder, "--output", tmp_path / "set.blend", *LOW, home=home)
    assert done.returncode == 0 and "1 of 2" in done.stdout, done.stdout + done.stderr
    assert re.search(r"unreadable\.png +failed", done.stdout) and "cannot be read" in done.stdout


def test_batches_that_cannot_begin_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "one").mkdir()
    Image.new("RGBA", (64, 64)).save(tmp_path / "one" / "clear.png")
    (tmp_path / "broken.blend").write_text("no blend")
    home = tmp_path / "home"
    for folder, words in (("empty", "no PNG, JPEG or WebP"), ("nothing", "is no folder")):
        done = trellis2("batch", tmp_path / folder, "--output", tmp_path / "x.blend", home=home)
        assert done.returncode == 1 and words in complaint(done)
    done = trellis2("batch", tmp_path / "one", "--output", tmp_path / "x.glb", home=home)
    assert done.returncode == 2 and ".blend" in complaint(done)
    done = trellis2("batch", tmp_path / "one", "--output", tmp_path / "broken.blend", home=home)
    assert done.returncode == 1 and "cannot be opened" in done.stderr
    assert (tmp_path / "broken.blend").read_text() == "no blend"
    done = trellis2("batch", tmp_path / "one", "--output", tmp_path / "x.blend", home=home)
    assert done.returncode == 1 and "fully transparent" in done.stdout and "0 of 1" in done.stdout
    assert not (tmp_path / "x.blend").exists()


# --- serve ---


@pytest.mark.parametrize("given", ["option", "variable"])
def test_serve_answers_until_it_is_ended(given: str) -> None:
    arguments = [sys.executable, "-m", "trellis_addon", "serve", "--port", "0", "--engine", "draft"]
    environment = {**os.environ, "TRELLIS2_SERVICE_TOKEN": "abc" if given == "variable" else "other"}
    arguments += ["--token", "abc"] if given == "option" else []
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(arguments, cwd=ROOT, env=environment, **pipes)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["version"] == VERSION and ready["engine"] == "draft:relief@1"
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", ready["url"])
        for token, status in (("abc", 200), ("abd", 401)):
            task = [{"taskType": "ping", "taskUUID": "0198c1b2-7d3e-7a54-9f10-2b6c8d4e1f3a", "ping": True}]
            reply = httpx.post(ready["url"], json=task, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
            assert reply.status_code == status
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


def test_serve_refuses_what_would_be_open_to_all() -> None:
    done = trellis2("serve", "--host", "0.0.0.0")
    assert done.returncode == 2 and "token" in done.stderr
