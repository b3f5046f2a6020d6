"""What the service knows about each task, from its acceptance until it is forgotten.

Plain records behind one lock: requests read and cancel them, the worker reports and settles them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import Cancelled, TrellisError
from ..settings import TASK_TYPE, Settings
from .protocol import JsonObject, RequestError, error_object

if TYPE_CHECKING:
    from ..images import PreparedImage

KEEP_SECONDS = 24 * 3600.0
KEEP_TASKS = 1000
QUEUE_LIMIT = 100  # each waiting task holds its picture in memory


@dataclass
class Slot:
    """One result of a task: on its way until it has an `item` or an `error`."""

    progress: int = 0
    item: JsonObject | None = None
    error: JsonObject | None = None

    @property
    def settled(self) -> bool:
        return self.item is not None or self.error is not None


@dataclass
class TaskRecord:
    """A task that was accepted.

    `model` is the engine that answers. `request` is kept without its picture; `image` is None for a
    web address, which the worker fetches, and again when the task is done. `base_url` is the address
    that the client knows us by.
    """

    uuid: str
    settings: Settings
    model: str
    request: JsonObject
    seed: int
    base_url: str
    image: PreparedImage | None
    slots: list[Slot]
    image_url: str = ""
    finished: float | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def done(self) -> bool:
        return self.finished is not None

    def identity(self, index: int) -> JsonObject:
        """The keys that every item and error about result `index` has."""
        found: JsonObject = {"taskType": TASK_TYPE, "taskUUID": self.uuid}
        # The official client waits for ever for several results whose items have no index.
        return found | {"resultIndex": index} if len(self.slots) > 1 else found


class TaskStore:
    """All tasks, by UUID. `on_settled(record, index)` is told each result and failure once, outside the lock."""

    def __init__(self, clock: Callable[[], float], on_settled: Callable[[TaskRecord, int], None]) -> None:
        self._clock = clock
        self._on_settled = on_settled
        self._records: dict[str, TaskRecord] = {}
        self._lock = threading.Lock()

    def add(self, record: TaskRecord) -> None:
        """Take a task in; `RequestError` when its UUID is taken or too many are waiting."""
        with self._lock:
            self._forget_old()
            self._check_new(record.uuid)
            if sum(not other.done for other in self._records.values()) >= QUEUE_LIMIT:
                raise RequestError(
                    "rateLimitExceeded", f"{QUEUE_LIMIT} tasks are waiting already; send more when some have finished."
                )
            self._records[record.uuid.lower()] = record

    def check_new(self, uuid: str) -> None:
        """`RequestError` (`conflictTaskUUID`) when the UUID was used before."""
        with self._lock:
            self._forget_old()
            self._check_new(uuid)

    def get(self, uuid: str) -> TaskRecord | None:
        with self._lock:
            self._forget_old()
            return self._records.get(uuid.lower())

    def report(self, record: TaskRecord, index: int, fraction: float) -> None:
        slot = record.slots[index]
        slot.progress = max(slot.progress, min(int(fraction * 100), 100))

    def succeed(self, record: TaskRecord, index: int, item: JsonObject) -> None:
        self._settle(record, index, item=item)

    def fail(self, record: TaskRecord, error: TrellisError, index: int | None = None) -> None:
        """Give result `index`, or with None every result that is not there yet, up."""
        for i in range(len(record.slots)) if index is None else [index]:
            self._settle(record, i, error=error_object(error, **record.identity(i), status="error"))

    def cancel(self, record: TaskRecord) -> bool:
        """Give up what is not there yet; whether there was anything to give up."""
        cancelled = not record.done
        record.stopped.set()
        self.fail(record, Cancelled("The task was cancelled."))
        return cancelled

    def cancel_all(self) -> None:
        with self._lock:
            records = list(self._records.values())
        for record in records:
            self.cancel(record)

    def items(self, record: TaskRecord) -> tuple[list[JsonObject], list[JsonObject]]:
        """Everything there is to say about a task at this moment: items, and errors."""
        data: list[JsonObject] = []
        errors: list[JsonObject] = []
        with self._lock:
            for index, slot in enumerate(record.slots):
                if slot.error is not None:
                    errors.append(slot.error)
                elif slot.item is not None:
                    data.append(slot.item)
                else:
                    data.append({**record.identity(index), "status": "processing", "progress": slot.progress})
        return data, errors

    def _settle(
        self, record: TaskRecord, index: int, *, item: JsonObject | None = None, error: JsonObject | None = None
    ) -> None:
        with self._lock:
            slot = record.slots[index]
            if slot.settled:  # cancelled in the meantime: the first word holds
                return
            slot.item, slot.error = item, error
            if all(slot.settled for slot in record.slots):
                record.finished = self._clock()
                record.image = None
        self._on_settled(record, index)

    def _check_new(self, uuid: str) -> None:
        if uuid.lower() in self._records:
            raise RequestError(
                "conflictTaskUUID",
                "The taskUUID is already in use. Each task must have a unique taskUUID.",
                parameter="taskUUID",
            )

    def _forget_old(self) -> None:
        done = [uuid for uuid, record in self._records.items() if record.done]
        surplus = len(done) - KEEP_TASKS
        for place, uuid in enumerate(done):
            finished = self._records[uuid].finished or 0.0
            if place < surplus or finished + KEEP_SECONDS < self._clock():
                del self._records[uuid]
