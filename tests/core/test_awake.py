"""The machine is kept awake at work, by what each system has for it, and a clock that counts no sleep.

Windows' and macOS' libraries are stand-ins that write down what is asked of them; Linux' inhibitor is a program.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, run_python

from trellis_addon.core.machine import awake as module
from trellis_addon.core.machine.awake import WakingClock, awake


class Library:
    """A C library of functions that answer as told, and write down with what they were called."""

    def __init__(self, **answers: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        for name, answer in answers.items():
            setattr(self, name, self._function(name, answer))

    def _function(self, name: str, answer: Any) -> Callable[..., Any]:
        def function(*arguments: Any) -> Any:
            self.calls.append((name, *arguments))
            return answer

        return function

    def names(self) -> list[str]:
        return [name for name, *_ in self.calls]


def test_windows_is_asked_for_a_power_request_with_its_reason() -> None:
    kernel = Library(PowerCreateRequest=0x1234, PowerSetRequest=1, CloseHandle=1)
    release = module._hold_windows(kernel, "making an asset")
    assert release is not None and kernel.names() == ["PowerCreateRequest", "PowerSetRequest", "PowerSetRequest"]
    reason = kernel.calls[0][1]._obj
    assert (reason.version, reason.flags, reason.text) == (0, 1, "TRELLIS.2 for Blender: making an asset")
    assert ctypes.sizeof(reason) == 32, "as REASON_CONTEXT on 64 bits"
    assert {arguments for _, *arguments in map(tuple, kernel.calls[1:]) for arguments in [tuple(arguments)]} == {
        (0x1234, 1),
        (0x1234, 3),
    }
    release()
    assert kernel.calls[-1] == ("CloseHandle", 0x1234)


@pytest.mark.parametrize("refused", [None, ctypes.c_void_p(-1).value])
def test_a_windows_that_refuses_is_left_alone(refused: int | None) -> None:
    kernel = Library(PowerCreateRequest=refused, PowerSetRequest=1, CloseHandle=1)
    assert module._hold_windows(kernel, "x") is None and kernel.names() == ["PowerCreateRequest"]


@pytest.mark.parametrize("failure", [0, 0xE00002C2 - 2**32])
def test_macos_is_asked_for_an_assertion(failure: int) -> None:
    foundation = Library(CFStringCreateWithCString=0x77, CFRelease=None)
    iokit = Library(IOPMAssertionCreateWithName=failure, IOPMAssertionRelease=0)
    release = module._hold_macos(foundation, iokit, "making an asset")
    texts = [call[2] for call in foundation.calls if call[0] == "CFStringCreateWithCString"]
    assert texts == [b"PreventUserIdleSystemSleep", b"TRELLIS.2 for Blender: making an asset"]
    assert foundation.names().count("CFRelease") == 2
    assert iokit.calls[0][1:4] == (0x77, 255, 0x77)
    assert (release is None) == bool(failure)
    if release is not None:
        release()
        assert iokit.names()[-1] == "IOPMAssertionRelease"


@pytest.fixture
def inhibitors(tmp_path: Path) -> Path:
    """Programs that write down what they were asked, and go on as the real ones do: with the command behind."""
    if os.name != "posix":
        pytest.skip("Linux' inhibitors are programs; Windows and macOS have libraries, above")
    for name, options in (("systemd-inhibit", 4), ("gnome-session-inhibit", 6)):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "$0 $*" >> "{tmp_path}/asked"\nshift {options}\nexec "$@"\n')
        program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("desktop", "asked"), [("KDE", "systemd-inhibit --what=idle"), ("ubuntu:GNOME", "gnome-session-inhibit --app-id")]
)
def test_linux_is_asked_by_a_program_that_ends_when_let_go(
    desktop: str, asked: str, inhibitors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CURRENT_DESKTOP", desktop)
    started: list[Any] = []
    start = module.start
    monkeypatch.setattr(module, "start", lambda *a, **o: started.append(start(*a, **o)) or started[-1])
    release = module._hold_linux("making an asset", inhibitors)
    assert release is not None and started[0].poll() is None
    release()
    assert started[0].returncode == 0, "it ended by itself when its pipe closed"
    assert asked in (inhibitors / "asked").read_text() and "making an asset" in (inhibitors / "asked").read_text()


def test_the_inhibitor_ends_with_a_program_that_crashes(inhibitors: Path) -> None:
    (inhibitors / "systemd-inhibit").write_text(f'#!/bin/sh\nshift 4\n"$@"\ntouch "{inhibitors}/ended"\n')
    code = f"""
import os
from pathlib import Path
from trellis_addon.core.machine import awake
awake._hold_linux("x", Path({str(inhibitors)!r}))
os._exit(9)
"""
    assert run_python("-c", code, XDG_CURRENT_DESKTOP="KDE").returncode == 9
    end = time.monotonic() + PATIENCE
    while not (inhibitors / "ended").exists():
        assert time.monotonic() < end, "it goes on without the program that it is for"
        time.sleep(0.02)


def test_a_linux_without_inhibitors_is_left_alone(tmp_path: Path) -> None:
    assert module._hold_linux("x", tmp_path) is None


def test_the_system_is_asked_once_for_all_who_work(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(module, "_hold", lambda why: said.append(f"hold {why}") or (lambda: said.append("let go")))
    both, done = threading.Barrier(2), threading.Event()

    def work() -> None:
        with awake("two"):
            both.wait(PATIENCE)
            done.wait(PATIENCE)

    thread = threading.Thread(target=work)
    with awake("one"):
        thread.start()
        both.wait(PATIENCE)
    assert said == ["hold one"], "the other still works"
    done.set()
    thread.join(PATIENCE)
    assert said == ["hold one", "let go"]
    with awake("three"):
        assert said[2:] == ["hold three"]


@pytest.mark.parametrize("when", ["asked", "let go"])
def test_no_work_depends_on_it(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Any:
        raise OSError("no such library")

    monkeypatch.setattr(module, "_hold", fail if when == "asked" else lambda why: fail)
    with awake("x"):
        pass
    assert module._holders == 0 and module._release is None


def test_this_system_is_asked_without_harm() -> None:
    """The real library, on Windows and macOS."""
    with awake("a test"):
        assert module._holders == 1


def test_a_clock_that_counts_no_sleep() -> None:
    now = [1000.0]
    clock = WakingClock(lambda: now[0])
    for seconds, passed in ((0.0, 0.0), (5.0, 5.0), (7200.0, 65.0), (-500.0, 65.0), (30.0, 95.0)):
        now[0] += seconds
        assert clock() == passed
