"""Processes that are started: what they complain of, how much they may say, and how they are stopped."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trellis_addon.core.errors import Cancelled, EngineError
from trellis_addon.runtime import child

_MODULE = """
import os, sys, time
def main(arguments):
    if arguments[0] == "talk":
        print("x" * 2_000_000, file=sys.stderr)
    if arguments[0] == "wait":
        open(arguments[1], "w").write(str(os.getpid()))
        time.sleep(60)
    if arguments[0] == "report":
        from trellis_addon.runtime.child import parent_progress
        progress = parent_progress()
        print("Something else")
        print("[1, 2, 3]")
        progress.update("Decoding", 0.25)
        time.sleep(0.6)
        progress.part(0.5, 1.0).update("Writing the file", 0.5)
        time.sleep(0.6)
    if arguments[0] == "fail":
        print("Warning: nothing.\\nThe disk is full.", file=sys.stderr)
        return 3
    return 4 if arguments[0] == "die" else 0
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that a started process finds, although it is none of the package's."""
    (tmp_path / "trellis_addon_helper.py").write_text(_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TRELLIS2_PYTHON", sys.executable)


def run(*arguments: str) -> str:
    return child.run_child("trellis_addon_helper", list(arguments), lambda: None)


def test_what_it_complains_of_is_its_last_line() -> None:
    assert run("work") == ""
    assert run("fail", "") == "The disk is full."
    assert run("die") == "it ended with 4."


def test_a_talkative_one_does_not_wait_for_a_reader() -> None:
    assert run("talk") == ""


def test_it_reports_how_far_it_is() -> None:
    told: list[tuple[str, float]] = []
    assert child.run_child("trellis_addon_helper", ["report"], lambda: None, lambda *report: told.append(report)) == ""
    assert told == [("Decoding", 0.25), ("Writing the file", 0.75)]


def test_it_is_stopped_at_once(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def check() -> None:
        if pid.exists() and pid.read_text():
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        child.run_child("trellis_addon_helper", ["wait", str(pid)], check)
    if Path("/proc").is_dir():
        assert not Path("/proc", pid.read_text()).exists()


def test_a_python_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRELLIS2_PYTHON", "/no/such/python")
    with pytest.raises(EngineError, match="cannot be started"):
        run("work")
