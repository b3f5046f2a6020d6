"""How much the jobs' folder holds, for the preferences to show."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import pump


@dataclass
class Storage:
    """What was measured: `folder` is empty where nobody has measured yet."""

    folder: str = ""
    bytes: int = 0
    jobs: int = 0

    def __str__(self) -> str:
        size = float(self.bytes)
        for unit in ("B", "KB", "MB", "GB"):
            if size < 1024 or unit == "GB":
                return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
            size /= 1024
        raise AssertionError


known = Storage()


def measure(folder: Path) -> Storage:
    """Walk the folder; thousands of files take a second. What vanishes meanwhile is passed over."""
    total = jobs = 0
    for place, _folders, files in os.walk(folder):
        jobs += Path(place).parent == folder / "jobs"
        for name in files:
            try:
                total += os.stat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return Storage(str(folder), total, jobs)


def measure_later(folder: Path) -> None:
    """Measure in a thread; the preferences show it as soon as it is there."""

    def work() -> Callable[[], None]:
        found = measure(folder)

        def show() -> None:
            known.folder, known.bytes, known.jobs = found.folder, found.bytes, found.jobs

        return show

    pump.in_thread(work)
