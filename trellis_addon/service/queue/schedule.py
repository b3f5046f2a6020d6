"""Whose turn it is: results are made in turns, so that nobody waits for somebody else's long task to end."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ..people.caller import PRIORITIES
from ..records import TaskRecord, Waiting

MOST_CLIENTS = 64  # of one person that take turns of their own; further ones share one


@dataclass(frozen=True)
class Turn:
    """One result to be made. `is_suspect`: of a task that may have ended the process before."""

    record: TaskRecord
    index: int
    is_suspect: bool


@dataclass(slots=True, eq=False)
class _Task:
    """A task that waits: little more than its name, as there may be ten thousands."""

    uuid: str
    left: tuple[int, ...]
    is_suspect: bool
    record: TaskRecord | None


@dataclass
class _Person:
    name: str
    reached: float  # on the way that everybody goes: a turn is 1 / share of it
    clients: dict[str, deque[_Task]] = field(default_factory=dict)  # whose turn it is comes first


@dataclass
class _Row:
    """The people of one priority."""

    people: dict[str, _Person] = field(default_factory=dict)
    came: float = 0.0  # how far whoever had the last turn had come: who comes anew begins there
    gone: dict[str, float] = field(default_factory=dict)  # who waits for nothing just now, and has come further

    def person(self, name: str) -> _Person:
        if name not in self.people:
            self.people[name] = _Person(name, max(self.gone.pop(name, 0.0), self.came))
        return self.people[name]

    def has_had_a_turn(self, person: _Person, share: float) -> None:
        self.came = person.reached
        person.reached += 1 / share
        del self.people[person.name]
        self.people[person.name] = person  # the last of those who have come as far

    def leaves(self, person: _Person) -> None:
        """How far one has come is kept, so that nobody gains by asking for one thing after another."""
        del self.people[person.name]
        self.gone = {name: reached for name, reached in self.gone.items() if reached > self.came}
        if person.reached > self.came:
            self.gone[person.name] = person.reached


class Scheduler:
    """Who is interactive comes before all batches; the people take turns by their shares, each one's clients take
    turns, each one's tasks take turns, each task's results come in their order.

    A task during whose work the process has ended before (`TaskRecord.starts`) is worked on while no other such task
    is: should the process end again, it is certain which one it was. `load` finds a task's record when its turn comes,
    so that it need not be in memory before; a task without one (it was forgotten meanwhile) has no turn. `share` says
    how many turns a person has for another one's; it is asked each time. May be used by all threads.
    """

    def __init__(
        self,
        load: Callable[[str], TaskRecord | None] | None = None,
        share: Callable[[str], float] = lambda person: 1.0,
    ) -> None:
        self._load = load
        self._share = share
        self._rows = {priority: _Row() for priority in PRIORITIES}
        self._tasks: dict[str, _Task] = {}
        self._ready = threading.Condition()
        self._suspects = 0  # turns of such tasks that are being taken
        self._paused = False
        self.closed = False

    def add(self, record: TaskRecord) -> None:
        """Have the results made that the task has not yet."""
        left = tuple(index for index, slot in enumerate(record.slots) if not slot.settled)
        waiting = Waiting(record.uuid, record.person, record.client, record.priority, left, record.starts)
        self.add_waiting(waiting, record)

    def add_waiting(self, waiting: Waiting, record: TaskRecord | None = None) -> None:
        """The same of a task by its name."""
        if not waiting.left:
            return
        if self._load is not None and record is not None and record.image is None and not record.is_suspect:
            record = None  # ten thousands of them are many megabytes
        with self._ready:
            task = _Task(waiting.uuid, waiting.left, waiting.starts > 0, record)
            person = self._rows[waiting.priority].person(waiting.person)
            client = waiting.client
            if client not in person.clients and len(person.clients) >= MOST_CLIENTS:
                client = next(reversed(person.clients))
            person.clients.setdefault(client, deque()).append(task)
            self._tasks[task.uuid] = task
            self._ready.notify()

    def add_again(self, record: TaskRecord, index: int) -> None:
        """Have one result made that was being made: it comes first of its priority."""
        with self._ready:
            row = self._rows[record.priority]
            person = row.person(record.person)
            person.reached = min(person.reached, *(each.reached for each in row.people.values()))
            row.people = {person.name: person, **row.people}
            task = self._tasks.get(record.uuid)
            client = next((name for name, tasks in person.clients.items() if task in tasks), record.client)
            tasks = person.clients.get(client, deque())
            person.clients = {client: tasks, **person.clients}
            if task is None:
                task = self._tasks[record.uuid] = _Task(record.uuid, (), record.is_suspect, record)
            else:
                tasks.remove(task)
            task.left, task.record = (index, *task.left), record  # which knows how often that has happened
            tasks.appendleft(task)
            self._ready.notify()

    def wake(self) -> None:
        """Have all who wait for a turn look up."""
        with self._ready:
            self._ready.notify_all()

    def remove(self, uuid: str) -> None:
        """Nothing more of this task is to be made."""
        with self._ready:
            task = self._tasks.pop(uuid, None)
            if task is not None:
                task.left, task.record = (), None  # it leaves its row when it comes to the front

    def take(self, timeout: float | None = None, is_off: Callable[[], bool] = lambda: False) -> Turn | None:
        """The next turn, to be given to `done` afterwards; None after `timeout` seconds without one, when closed, or
        for one who `is_off`."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._ready:
            while not (self.closed or is_off()):
                turn = None if self._paused else self._next()
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
            is_alone = not self._paused and len(self._tasks) == 1 and record.uuid in self._tasks
            return list(self._tasks[record.uuid].left) if is_alone else []

    def done(self, turn: Turn) -> None:
        """The result is made, or given up."""
        with self._ready:
            self._suspects -= turn.is_suspect
            task = self._tasks.get(turn.record.uuid)
            if task is not None:
                task.is_suspect = turn.record.is_suspect
            self._ready.notify_all()

    def pause(self, paused: bool) -> None:
        """Nobody has a turn until this is taken back; turns that were given go on."""
        with self._ready:
            self._paused = paused
            self._ready.notify_all()

    def waiting(self) -> Counter[tuple[str, str, str]]:
        """How many results wait, by person, client and priority."""
        found: Counter[tuple[str, str, str]] = Counter()
        with self._ready:
            for priority, row in self._rows.items():
                for person in row.people.values():
                    for client, tasks in person.clients.items():
                        if count := sum(len(task.left) for task in tasks):
                            found[person.name, client, priority] += count
        return found

    def close(self) -> None:
        """Nobody gets a turn any more."""
        with self._ready:
            self.closed = True
            self._ready.notify_all()

    def _next(self) -> Turn | None:
        for row in self._rows.values():
            for person in sorted(row.people.values(), key=lambda each: each.reached):
                turn = self._of_person(person)
                if turn is not None:
                    row.has_had_a_turn(person, self._share(person.name))
                if not person.clients:
                    row.leaves(person)
                if turn is not None:
                    return turn
        return None

    def _of_person(self, person: _Person) -> Turn | None:
        for client in list(person.clients):
            tasks = person.clients[client]
            turn = self._of_tasks(tasks)
            if turn is not None or not tasks:
                del person.clients[client]
            if turn is not None:
                if tasks:
                    person.clients[client] = tasks  # at the end of the row
                return turn
        return None

    def _of_tasks(self, tasks: deque[_Task]) -> Turn | None:
        """The turn of the first task that may have one; it goes to the end, or out of the row with its last result."""
        passed: list[_Task] = []
        turn = None
        while tasks and turn is None:
            task = tasks.popleft()
            if not task.left:
                continue
            if task.is_suspect and self._suspects:
                passed.append(task)
                continue
            record = task.record or (self._load(task.uuid) if self._load is not None else None)
            if record is None:
                self._tasks.pop(task.uuid, None)
                continue
            turn = Turn(record, task.left[0], task.is_suspect)
            task.left = task.left[1:]
            if task.left:
                tasks.append(task)
            else:
                self._tasks.pop(task.uuid, None)
        tasks.extendleft(reversed(passed))
        return turn
