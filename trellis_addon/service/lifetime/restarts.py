"""When a service that has ended is started again, how long that waits, when it is given up, and what is noted of it.

The policy of whoever looks after a service: the add-on after its worker (`client.supervisor`), `serve --restart` after
one that serves others (`service.watchdog`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from . import presence
from .exit_causes import cause_of, oom_kills, tail_of

WAITS = (0.0, 1.0, 5.0, 15.0, 30.0)  # seconds before it is started again, after so many ends in a row
ROW = 600.0  # seconds in which ends are in a row


# The folder in which ends are noted, for every program that looks after the same service, and the service's log.
Place = tuple[Path | None, Path | None]


class Restarts:
    """The ends of one service, through all its processes, since somebody has asked for it.

    `place` is asked anew each time; without a folder, or before there is one, ends are noted here alone.
    """

    def __init__(self, place: Callable[[], Place]) -> None:
        self._place = place
        self._began = time.time()
        self._oom_kills = oom_kills()
        self._own: list[float] = []  # ends that are noted nowhere else

    def begins(self) -> None:
        """A process is about to be started: what the system does from here on may be why it ends."""
        self._oom_kills = oom_kills()

    def asked_for(self) -> None:
        """Somebody asks for the service: what was before is no row any more."""
        self._began = time.time()

    def has_ended(self, pid: int, code: int | None) -> str:
        """Note that the process has ended, with its exit code where it is known; returns the cause in words."""
        _, log = self._place()
        said = tail_of(log) if log is not None else ""
        cause = cause_of(code, said, oom_kills() - self._oom_kills)
        self._note(pid, cause)
        return cause

    def has_not_started(self, cause: str) -> None:
        """Note that there was not even a process."""
        self._note(-self.in_a_row() - 1, cause)

    def in_a_row(self) -> int:
        """How many ends there were lately."""
        since = max(self._began, time.time() - ROW)
        return sum(end >= since for end in self._ends())

    def pause(self) -> float | None:
        """Seconds until it is started again; None where it is given up."""
        row = self.in_a_row()
        return WAITS[max(row, 1) - 1] if row <= len(WAITS) else None

    def _note(self, pid: int, cause: str) -> None:
        folder, _ = self._place()
        if folder is not None and folder.is_dir():
            presence.note_end(folder, pid, cause)
        else:
            self._own.append(time.time())

    def _ends(self) -> list[float]:
        folder, _ = self._place()
        noted = presence.ends(folder) if folder is not None else []
        return [*self._own, *(float(end["time"]) for end in noted)]
