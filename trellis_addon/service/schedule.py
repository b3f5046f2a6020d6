"""Whose turn it is: results are made in turns, so that nobody waits for somebody else's long task to end."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from .records import TaskRecord


@dataclass(frozen=True)
class Turn:
    """One result to be made. `is_suspect`: of a task that may have ended the process before."""

    record: TaskRecord
    index: int
    is_suspect: bool


@dataclass
class _Waiting:
    record: TaskRecord
    results: deque[int]


@dataclass
class _Client:
    tasks: deque[_Waiting] = field(default_factory=deque)


class Scheduler:
    """The clients take turns, each one's tasks take turns, each task's results come in their order.

    A task during whose work the process has ended before (`TaskRecord.starts`) is worked on while no other such task
    is: should the process end again, it is certain which one it was. May be used by all threads.
    """

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}  # whose turn it is comes first
        self._ready = threading.Condition()
        self._suspects = 0  # turns of such tasks that are being taken
        self.closed = False

    def add(self, record: TaskRecord) -> None:
        """Have the results made that the task has not yet."""
        results = deque(index for index, slot in enumerate(record.slots) if not slot.settled)
        if results:
            with self._ready:
                self._clients.setdefault(record.client, _Client()).tasks.append(_Waiting(record, results))
                self._ready.notify()

    def take(self, timeout: float | None = None) -> Turn | None:
        """The next turn, to be given to `done` afterwards; None after `timeout` seconds without one, or when closed."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._ready:
            while not self.closed:
                turn = self._next()
                if turn is not None:
                    self._suspects += turn.is_suspect
                    return turn
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._ready.wait(left)
        return None

    def following(self, record: TaskRecord) -> list[int]:
        """The results of a task that come next, where nobody else's wait: these may be made all at once."""
        with self._ready:
            waiting = [one for client in self._clients.values() for one in client.tasks]
            is_alone = len(waiting) == 1 and waiting[0].record is record
            return list(waiting[0].results) if is_alone else []

    def done(self, turn: Turn) -> None:
        """The result is made, or given up."""
        with self._ready:
            self._suspects -= turn.is_suspect
            self._ready.notify_all()

    def waiting(self) -> Counter[str]:
        """How many results wait, by client."""
        with self._ready:
            return Counter(
                {name: sum(len(task.results) for task in client.tasks) for name, client in self._clients.items()}
            )

    def close(self) -> None:
        """Nobody gets a turn any more."""
        with self._ready:
            self.closed = True
            self._ready.notify_all()

    def _next(self) -> Turn | None:
        for name, client in list(self._clients.items()):
            for waiting in list(client.tasks):
                if waiting.record.is_suspect and self._suspects:
                    continue
                turn = Turn(waiting.record, waiting.results.popleft(), waiting.record.is_suspect)
                client.tasks.remove(waiting)
                if waiting.results:
                    client.tasks.append(waiting)
                del self._clients[name]
                if client.tasks:
                    self._clients[name] = client  # at the end of the row
                return turn
        return None
