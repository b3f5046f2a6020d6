"""Keeping this machine from falling asleep at work that nobody watches, and a clock that does not count its sleep.

Only sleep for want of a user is put off: who closes the lid or chooses *Sleep* is obeyed. On macOS the same promise
keeps App Nap from slowing down a program that is hidden. A system that cannot be asked is left alone: nothing here
raises, and no work depends on it.
"""

from __future__ import annotations

import ctypes
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..configuration import configuration
from ..processes import kill, start

log = logging.getLogger(__name__)

WHO = "TRELLIS.2 for Blender"
_LONGEST_LOOK = 60.0  # seconds between two looks at a clock that count; a request that hangs takes as long
_LAST = 1.0  # seconds that an inhibitor may take to end

Release = Callable[[], None]


class WakingClock:
    """Seconds in which whoever looks at it was awake: between two looks at most a minute counts.

    `time.monotonic` goes on while Windows sleeps, and stands still on Linux and macOS.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._passed = 0.0

    def __call__(self) -> float:
        now = self._clock()
        self._passed += min(max(now - self._last, 0.0), _LONGEST_LOOK)
        self._last = now
        return self._passed


_lock = threading.Lock()
_holders = 0
_release: Release | None = None


@contextmanager
def awake(why: str) -> Iterator[None]:
    """Keep the machine awake meanwhile; `why` is a few words that the system shows to whoever asks it.

    May be entered by several threads at once: the system is asked once, and let go by the last.
    """
    _enter(why)
    try:
        yield
    finally:
        _leave()


def _enter(why: str) -> None:
    global _holders, _release
    with _lock:
        _holders += 1
        if _release is None:
            try:
                _release = _hold(why)
            except Exception as error:  # whatever a system library answers: the work goes on without
                log.debug("The machine may fall asleep: %s", error)


def _leave() -> None:
    global _holders, _release
    with _lock:
        _holders -= 1
        if not _holders and _release is not None:
            release, _release = _release, None
            try:
                release()
            except Exception as error:
                log.debug("The machine is not let asleep: %s", error)


def _hold(why: str) -> Release | None:
    """Ask this system; what takes it back, or None where it cannot be asked."""
    if sys.platform == "win32":
        return _hold_windows(ctypes.WinDLL("kernel32", use_last_error=True), why)
    if sys.platform == "darwin":
        frameworks = "/System/Library/Frameworks/{0}.framework/{0}"
        foundation, iokit = (ctypes.CDLL(frameworks.format(name)) for name in ("CoreFoundation", "IOKit"))
        return _hold_macos(foundation, iokit, why)
    return _hold_linux(why)


# --- Windows: a power request, which `powercfg /requests` lists with its reason ---

_SYSTEM_REQUIRED, _EXECUTION_REQUIRED = 1, 3  # POWER_REQUEST_TYPE


class _Reason(ctypes.Structure):
    """REASON_CONTEXT with a simple text: the union behind it is as large as its other member."""

    _fields_ = [
        ("version", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("text", ctypes.c_wchar_p),
        ("unused", ctypes.c_uint64 * 2),
    ]


def _hold_windows(kernel32: Any, why: str) -> Release | None:
    kernel32.PowerCreateRequest.restype = ctypes.c_void_p
    kernel32.PowerCreateRequest.argtypes = [ctypes.c_void_p]
    kernel32.PowerSetRequest.argtypes = [ctypes.c_void_p, ctypes.c_int]
    kernel32.CloseHandle.argtypes = [ctypes.c_void_p]
    reason = _Reason(0, 1, f"{WHO}: {why}")
    handle = kernel32.PowerCreateRequest(ctypes.byref(reason))
    if handle in (None, ctypes.c_void_p(-1).value):
        return None
    for kind in (_SYSTEM_REQUIRED, _EXECUTION_REQUIRED):
        kernel32.PowerSetRequest(handle, kind)
    return lambda: kernel32.CloseHandle(handle)  # which ends what was asked with it


# --- macOS: a power assertion, which `pmset -g assertions` lists ---

_UTF8 = 0x08000100  # kCFStringEncodingUTF8
_LEVEL_ON = 255  # kIOPMAssertionLevelOn


def _hold_macos(foundation: Any, iokit: Any, why: str) -> Release | None:
    foundation.CFStringCreateWithCString.restype = ctypes.c_void_p
    foundation.CFStringCreateWithCString.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
    foundation.CFRelease.argtypes = [ctypes.c_void_p]
    create = iokit.IOPMAssertionCreateWithName
    create.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint32)]
    iokit.IOPMAssertionRelease.argtypes = [ctypes.c_uint32]
    texts = [text.encode() for text in ("PreventUserIdleSystemSleep", f"{WHO}: {why}")]
    kind, name = (foundation.CFStringCreateWithCString(None, text, _UTF8) for text in texts)
    number = ctypes.c_uint32()
    failure = create(kind, _LEVEL_ON, name, ctypes.byref(number)) if kind and name else 1
    for text in filter(None, (kind, name)):
        foundation.CFRelease(text)
    return None if failure else lambda: iokit.IOPMAssertionRelease(number)


# --- Linux: the desktop's or systemd's inhibitor, for as long as a program runs that ends with this one ---


def _hold_linux(why: str, folder: Path = Path("/usr/bin")) -> Release | None:
    command = _inhibitor(why, folder, configuration().variables.get("XDG_CURRENT_DESKTOP", ""))
    if not command:
        return None
    # `cat` reads a pipe that closes when this process ends, however it does
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # in a session of its own: Ctrl-C in this program's terminal is not for it
    process = start([*command, "cat"], start_new_session=True, **streams)

    def release() -> None:
        assert process.stdin
        process.stdin.close()
        try:
            process.wait(_LAST)
        except subprocess.TimeoutExpired:
            kill(process)

    return release


def _inhibitor(why: str, folder: Path, desktop: str) -> Sequence[str]:
    """GNOME looks after sleep itself and asks its own inhibitors; other desktops ask logind's."""
    gnome, systemd = folder / "gnome-session-inhibit", folder / "systemd-inhibit"
    if "gnome" in desktop.lower() and gnome.is_file():
        return [str(gnome), "--app-id", "org.blender.Blender", "--reason", f"{WHO}: {why}", "--inhibit", "suspend"]
    if systemd.is_file():
        return [str(systemd), "--what=idle", f"--who={WHO}", f"--why={why}", "--mode=block"]
    return []
