"""How far several downloads are, together: bytes, speed and the time left, in the words of one stage."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import Cancelled
from ..core.messages import message
from ..core.sizes import progress_words, size_words

_WINDOW = 6.0  # seconds over which the speed is taken


@dataclass
class Row:
    """One file on the board; written by its own thread only, read by the one that reports."""

    stop: threading.Event
    size: int | None
    done: int = 0
    received: int = 0  # over the line, in this run: for the speed
    is_checking: bool = False
    is_waiting: bool = False  # for another process that fetches the same file

    def check(self) -> None:
        if self.stop.is_set():
            raise Cancelled("Cancelled.")

    def sleep(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            self.check()


class Board:
    """The rows of all files, and what they come to."""

    def __init__(self, sizes: Sequence[int | None], stage: str) -> None:
        self.stop = threading.Event()
        self.rows = [Row(self.stop, size) for size in sizes]
        self._stage = stage
        self._samples: deque[tuple[float, int]] = deque()

    def report(self) -> tuple[str, float]:
        """The stage's words, and the share done in 0..1."""
        done, speed = sum(row.done for row in self.rows), self._speed()
        active = [row for row in self.rows if row.is_checking or row.is_waiting or 0 < row.done < (row.size or 0)]
        if active and all(row.is_waiting for row in active):
            return message("Another program downloads the same files: waiting for it"), self._share(done)
        is_checking = bool(active) and all(row.is_checking for row in active)
        stage = "Checking" if is_checking else self._stage
        words = [f"{stage} {progress_words(done, self._total())}"]
        if speed >= 1 and not is_checking:
            words.append(f"{size_words(speed)}/s")
            if (total := self._total()) is not None and total > done:
                words.append(f"{time_words((total - done) / speed)} left")
        return ", ".join(words), self._share(done)

    def _total(self) -> int | None:
        sizes = [row.size for row in self.rows]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def _share(self, done: int) -> float:
        if total := self._total():
            return done / total
        return sum(row.done / row.size for row in self.rows if row.size) / len(self.rows)

    def _speed(self) -> float:
        now, received = time.monotonic(), sum(row.received for row in self.rows)
        self._samples.append((now, received))
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()
        since, before = self._samples[0]
        return (received - before) / (now - since) if now - since > 0.5 else 0.0


def time_words(seconds: float) -> str:
    """ "40 s", "6 min", "2 h 5 min"."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
