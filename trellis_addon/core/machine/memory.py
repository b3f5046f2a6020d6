"""How much main memory this machine has, as its system says."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from ..processes import ask

_TIMEOUT = 10.0  # seconds


def machine_memory() -> tuple[int, int]:
    """(all of it, what is free), in bytes; 0 where the system does not say."""
    if sys.platform == "win32":
        return _windows_memory()
    if sys.platform == "darwin":
        total = number_of(ask(["/usr/sbin/sysctl", "-n", "hw.memsize"], _TIMEOUT) or "")
        return total, _macos_free()
    pairs = dict(line.split(":", 1) for line in text_of(Path("/proc/meminfo")).splitlines() if ":" in line)
    total, free = (number_of(pairs.get(name, "").removesuffix("kB")) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total, free


def _macos_free() -> int:
    lines = (ask(["/usr/bin/vm_stat"], _TIMEOUT) or "").splitlines()
    page = number_of("".join(filter(str.isdigit, lines[0]))) if lines else 0
    wanted = ("Pages free", "Pages inactive", "Pages purgeable", "Pages speculative")
    return page * sum(number_of(line.rpartition(":")[2].strip(" .")) for line in lines if line.startswith(wanted))


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *(
            (name, ctypes.c_uint64)
            for name in ("total", "free", "page", "page_free", "virtual", "virtual_free", "more")
        ),
    ]


def _windows_memory() -> tuple[int, int]:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    if sys.platform == "win32":
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.total), int(status.free)


def number_of(text: str) -> int:
    """The number that stands there; 0 where there is none."""
    try:
        return int(text.strip())
    except ValueError:
        return 0


def text_of(path: Path) -> str:
    """What the system says in a file, without the blanks around it; empty where it does not."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
