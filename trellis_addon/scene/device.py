"""The graphics card that a local generation would run on, and its memory, for the panel to show."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from . import queue

_TIMEOUT = 10.0  # seconds; a driver that wakes up takes a few


@dataclass(frozen=True)
class Device:
    """Bytes are 0 where nobody tells them."""

    name: str
    total: int = 0
    free: int = 0


@dataclass
class _Known:
    device: Device | None = None


_known = _Known()


def known() -> Device | None:
    """What was found the last time; None where nobody has asked, or there is no card that tells."""
    return _known.device


def ask() -> Device | None:
    """The NVIDIA card with the most free memory, as its driver's own tool tells; None where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(
            query,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = [device for line in told.splitlines() if (device := _read(line)) is not None]
    return max(found, key=lambda device: device.free, default=None)


def ask_later() -> None:
    """Ask in a thread; the panel shows it as soon as it is there."""

    def work() -> Callable[[], None]:
        found = ask()

        def show() -> None:
            _known.device = found

        return show

    queue.in_thread(work)


def _read(line: str) -> Device | None:
    """A line such as "NVIDIA H200, 143771, 143100": name, and mebibytes; a name may hold commas."""
    parts = line.rsplit(",", 2)
    try:
        name, total, free = parts[0].strip(), int(parts[1]), int(parts[2])
    except (IndexError, ValueError):
        return None
    return Device(name, total * 2**20, free * 2**20) if name else None
