"""Why a worker has ended, in words for the artist: from its exit code, the system's counters and its last words."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
from pathlib import Path

from ...core.machine.device_faults import MEMORY_WORDS, lost_device
from ...core.messages import message
from .presence import LOG_BEGINS

LOST = 75  # how the service says itself that it can use its device no more
_OF_SHELLS = 128  # what a shell adds to the number of a signal
_TAIL = 20_000  # bytes of the log's end that are looked at

_TOO_LITTLE_MEMORY = message("the memory did not suffice")
_CRASH = message("it crashed inside a library or the graphics driver")
_BY_FORCE = message("it was ended by force, by a person, a program or the system")
_UNKNOWN = message("it ended without a word")

_SIGNALS: dict[str, str] = {
    "SIGSEGV": _CRASH,
    "SIGBUS": _CRASH,
    "SIGFPE": _CRASH,
    "SIGABRT": message("a library or the graphics driver gave up"),
    "SIGILL": message("this processor lacks an instruction that the installed PyTorch needs"),
    "SIGTERM": message("it was told to end"),
    "SIGKILL": _BY_FORCE,
    "SIGXCPU": message("the system's limit of processor time was reached"),
}
_WINDOWS: dict[int, str] = {
    0xC0000005: _CRASH,  # access violation
    0xC0000409: message("a library or the graphics driver gave up"),  # fail fast; what abort() ends with
    0xC0000374: _CRASH,  # heap corruption
    0xC00000FD: _CRASH,  # stack overflow
    0xC000001D: _SIGNALS["SIGILL"],
    0xC0000017: _TOO_LITTLE_MEMORY,
    0xC000012D: _TOO_LITTLE_MEMORY,  # commitment limit
    0xE06D7363: message("a library or the graphics driver gave up"),  # an exception of C++ that nobody caught
    0xC000013A: message("it was told to end"),  # Ctrl-C, or its console was closed
    0xC0000135: message("a library that it needs is not there"),
    0xC0000142: message("a library that it needs could not begin"),
    0x40010004: message("the session ended"),
}
_PHRASES: dict[str, str] = {
    "no kernel image is available": message("the installed PyTorch has no code for this graphics card"),
    "driver version is insufficient": message("the graphics driver is too old for the installed PyTorch"),
    "devices are busy or unavailable": message("another program keeps the graphics card to itself"),
    "device(s) is/are busy or unavailable": message("another program keeps the graphics card to itself"),
    "no space left on device": message("the disk is full"),
    "not enough space on the disk": message("the disk is full"),
}


def cause_of(code: int | None, said: str, oom_kills: int = 0) -> str:
    """Why the process ended: a part of a sentence, such as "the memory did not suffice".

    `code` is what `Popen.returncode` says, None where that is not known. `said` is the end of its log, `oom_kills` how
    often the system has ended a process for want of memory while it ran.
    """
    words = _of_words(said)
    name = _signal_of(code)
    if name == "SIGKILL" and oom_kills:
        return message("the system ended it, because the machine's memory was used up")
    if name == "SIGKILL" or name == "SIGTERM":
        return _SIGNALS[name]  # from outside, whatever it was saying
    known = _SIGNALS.get(name) or _WINDOWS.get((code or 0) & 0xFFFFFFFF, "")
    if known and words and words != known:
        return message("{known} ({words})", known=known, words=words)
    if words or known:
        return words or known
    if code == 1 and sys.platform == "win32":
        return _BY_FORCE  # as the task manager does
    if code is None:
        return _UNKNOWN
    if code == LOST:
        return message("it could use its device no more")
    line = _last_line(said)
    return message(
        "it ended with the code {exit_code} ({line})" if line else "it ended with the code {exit_code}",
        exit_code=code,
        line=line,
    )


def tail_of(log: Path) -> str:
    """The end of a log, as far as it is of the last process that wrote it; empty where there is none."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        said = file.read().decode("utf-8", "replace")
        begin = said.rfind(LOG_BEGINS)
        return said if begin < 0 else said[begin:].partition("\n")[2]
    return ""


def oom_kills() -> int:
    """How often the system has ended a process for want of memory since it was started; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="utf-8").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _of_words(said: str) -> str:
    """What the last lines tell; the last thing that is known counts."""
    for line in reversed(said.splitlines()[-60:]):
        small = line.lower()
        for phrase, meaning in _PHRASES.items():
            if phrase in small:
                return meaning
        if meaning := lost_device(line):
            return meaning
        if any(words in small for words in MEMORY_WORDS) or re.search(r"\bmemoryerror\b", small):
            return _TOO_LITTLE_MEMORY
    return ""


def _signal_of(code: int | None) -> str:
    """The signal that ended it; a launcher that is a script tells 128 and the signal's number."""
    if code is None or 0 <= code <= _OF_SHELLS:
        return ""
    try:
        return signal.Signals(-code if code < 0 else code - _OF_SHELLS).name
    except ValueError:
        return ""


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:200].rstrip(".") if lines else ""
