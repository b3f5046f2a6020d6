"""How far several downloads are, together: bytes, speed and the time left, in the words of one stage."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..core.errors import Cancelled
from ..core.messages import message

_WINDOW = 6.0  # seconds over which the speed is taken
_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


@dataclass
class Row:
    """One file on the board; written by its own thread only, read by the one that reports."""

    stop: threading.Event
    size: int | None
    done: int = 0
    received: int = 0  # over the line, in this run: for the speed
    is_checking: bool = False
    is_waiting: bool = False  # for another process that fetches the same file
    _socket: list[socket.socket] = field(default_factory=list)

    def check(self) -> None:
        if self.stop.is_set():
            raise Cancelled("Cancelled.")

    def sleep(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            self.check()

    @contextlib.contextmanager
    def holding(self, connection: object) -> Iterator[None]:
        """While a connection may block this thread: `hang_up` frees it."""
        if isinstance(connection, socket.socket):
            self._socket.append(connection)
        try:
            yield
        finally:
            self._socket.clear()

    def hang_up(self) -> None:
        for connection in list(self._socket):
            with contextlib.suppress(OSError):
                # not the method of a TLS socket, which would pull its state from under the reading thread
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


class Board:
    """The rows of all files, and what they come to."""

    def __init__(self, sizes: Sequence[int | None], stage: str) -> None:
        self.stop = threading.Event()
        self.rows = [Row(self.stop, size) for size in sizes]
        self._stage = stage
        self._samples: deque[tuple[float, int]] = deque()

    def end(self) -> None:
        """Let all threads end, also those that wait for bytes that do not come."""
        self.stop.set()
        for row in self.rows:
            row.hang_up()

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


def size_words(size: float) -> str:
    """Bytes as people say them: "2.6 GB", "38 MB", "340 kB"."""
    unit, scale = _unit(size)
    return f"{_number(size / scale, unit)} {unit}"


def progress_words(done: int, total: int | None) -> str:
    """ "1.2 of 16.1 GB", in the unit of the whole; what is done alone where the whole is not known."""
    if total is None:
        return size_words(done)
    unit, scale = _unit(total)
    return f"{_number(done / scale, unit)} of {_number(total / scale, unit)} {unit}"


def time_words(seconds: float) -> str:
    """ "40 s", "6 min", "2 h 5 min"."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _unit(size: float) -> tuple[str, float]:
    return next(((unit, scale) for unit, scale in _UNITS if size >= 0.9995 * scale), _UNITS[-1])


def _number(value: float, unit: str) -> str:
    return f"{value:.1f}" if unit == "GB" else f"{value:.0f}"
