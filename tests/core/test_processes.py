"""Programs: never those of the current folder, read whatever they print, and waited for in steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trellis_addon.core import processes
from trellis_addon.core.processes import ask, end, find_program, path_folders, start, wait

posix = pytest.mark.skipif(os.name != "posix", reason="the programs are shell scripts; the rules are asked for by name")


def program(path: Path, text: str = "echo here") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@posix
@pytest.mark.parametrize("entries", ["", ".", ":.:", "bin", "./bin:..", "~/bin"])
def test_the_current_folder_is_never_looked_into(entries: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (tmp_path, tmp_path / "bin", tmp_path.parent):
        program(place / "nvidia-smi")
    good = program(tmp_path / "good" / "nvidia-smi")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", entries)
    assert find_program("nvidia-smi") is None
    with pytest.raises(FileNotFoundError):
        start(["nvidia-smi"])
    assert ask(["nvidia-smi"], 5.0) is None
    monkeypatch.setenv("PATH", f"{entries}{os.pathsep}{tmp_path / 'good'}")
    assert find_program("nvidia-smi") == good and (ask(["nvidia-smi"], 5.0) or "").strip() == "here"
    assert find_program("nvidia-smi", ["", "."]) is None
    assert find_program("nvidia-smi", [str(tmp_path / "good")]) == good


@posix
def test_as_windows_calls_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "Windows"
    for place in (tmp_path, tmp_path / "path"):
        for ending in ("", ".exe", ".EXE", ".bat"):
            program(place / f"nvidia-smi{ending}")
    only_script = program(tmp_path / "path" / "pip.bat")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATHEXT", ".COM;.EXE;.BAT;.CMD")
    monkeypatch.setenv("SYSTEMROOT", str(system))
    monkeypatch.setenv("PATH", f".{os.pathsep}{os.pathsep}" + str(tmp_path / "path"))
    assert find_program("nvidia-smi") == str(tmp_path / "path" / "nvidia-smi.EXE")
    own = program(system / "System32" / "nvidia-smi.exe")
    assert find_program("nvidia-smi") == own, "the driver puts it there, and nobody else may"
    assert find_program("pip") is None and Path(only_script).exists(), "a .bat would read its arguments as commands"
    monkeypatch.setenv("PATH", '"/opt/a b"')
    assert path_folders() == ["/opt/a b"]


@posix
def test_what_is_no_utf8_is_read_all_the_same(tmp_path: Path) -> None:
    told = ask([program(tmp_path / "tool", r"printf 'Grafikkarte f\374r 1\n'")], 10.0)
    assert told == "Grafikkarte f\ufffdr 1\n"


@posix
def test_one_that_never_ends_is_given_up(tmp_path: Path) -> None:
    tool = program(tmp_path / "tool", "sleep 600")
    assert ask([tool], 0.2) is None, "also while a child of it holds the pipe"
    process = start([tool], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert end(process) == ("", "") and process.poll() is not None


def test_a_wait_is_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows lets Ctrl-C through between them only."""
    steps: list[float | None] = []

    class Process:
        def wait(self, timeout: float | None = None) -> int:
            steps.append(timeout)
            if len(steps) < 4:
                raise subprocess.TimeoutExpired("it", timeout or 0)
            return 7

    assert wait(Process()) == 7 and steps == [processes.STEP] * 4  # type: ignore[arg-type]
