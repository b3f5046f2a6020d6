"""What the service knows about each task, from its acceptance until it is forgotten.

Plain records behind one lock: requests read and cancel them, the workers report and settle them. What
must outlive the process goes to the journal first.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from ..core.errors import Cancelled, TrellisError
from ..core.files import discard
from ..core.messages import message
from ..formats.early_picture import is_small, to_wire
from .journal import Journal
from .metrics import Meter
from .protocol import JsonObject, RequestError, error_object
from .records import TaskRecord

log = logging.getLogger(__name__)

KEEP_SECONDS = 24 * 3600.0
KEEP_TASKS = 1000
LONGEST_TTL = 10 * 365 * 86400.0
QUEUE_LIMIT = 100


class TaskStore:
    """All tasks, by UUID. `on_settled(record, index)` is told each result and failure once, outside the lock; `meter`
    counts them."""

    def __init__(
        self,
        clock: Callable[[], float],
        journal: Journal,
        on_settled: Callable[[TaskRecord, int], None],
        meter: Meter | None = None,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._on_settled = on_settled
        self._meter = meter or Meter()
        self._records: dict[str, TaskRecord] = {}
        self._lock = threading.Lock()
        self._closed = False

    def restore(self, pictures: Path) -> list[TaskRecord]:
        """Take up what the journal knows of; the tasks that are not finished, in the order they came in."""
        with self._lock:
            self._records = {record.uuid.lower(): record for record in self._journal.tasks(pictures)}
            self._forget_old()
            return [record for record in self._records.values() if not record.done]

    def add(self, record: TaskRecord) -> None:
        """Take a task in; `RequestError` when its UUID is taken or too many are waiting."""
        with self._lock:
            self._forget_old()
            self._check_new(record.uuid)
            self._journal.add_task(record)
            self._records[record.uuid.lower()] = record

    def unfinished(self) -> int:
        with self._lock:
            return self._unfinished()

    def check_new(self, uuid: str) -> None:
        """`RequestError` when the UUID was used before (`conflictTaskUUID`), or when too many are waiting."""
        with self._lock:
            self._forget_old()
            self._check_new(uuid)

    def get(self, uuid: str) -> TaskRecord | None:
        with self._lock:
            self._forget_old()
            return self._records.get(uuid.lower())

    def report(self, record: TaskRecord, index: int, stage: str, fraction: float) -> None:
        slot = record.slots[index]
        if not slot.settled:  # work that was cancelled goes on until it looks up
            self._meter.stage(record, index, stage)
        slot.stage = stage
        slot.progress = max(slot.progress, min(int(fraction * 100), 100))

    def show(self, record: TaskRecord, index: int, png: bytes) -> None:
        """Keep what result `index` looks like by now, for whoever asks how far it is."""
        if is_small(png):
            record.slots[index].picture = to_wire(png)

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

    def close(self) -> None:
        """Stop all work; what is not finished stays so, for the next start where there is one."""
        with self._lock:
            self._closed = True
            records = list(self._records.values())
        for record in records:
            record.stopped.set()

    def sweep(self) -> None:
        """Forget what is too old."""
        with self._lock:
            self._forget_old()

    def items(self, record: TaskRecord, base_url: str = "") -> tuple[list[JsonObject], list[JsonObject]]:
        """Everything there is to say about a task at this moment: items, and errors."""
        data: list[JsonObject] = []
        errors: list[JsonObject] = []
        with self._lock:
            for index, slot in enumerate(record.slots):
                if slot.error is not None:
                    errors.append(slot.error)
                elif slot.item is not None:
                    data.append(with_address(slot.item, base_url or record.base_url))
                else:
                    data.append({**record.identity(index), "status": "processing", **slot.news()})
        return data, errors

    def _settle(
        self, record: TaskRecord, index: int, *, item: JsonObject | None = None, error: JsonObject | None = None
    ) -> None:
        with self._lock:
            slot = record.slots[index]
            if slot.settled or self._closed:  # cancelled in the meantime: the first word holds
                return
            slot.item, slot.error, slot.picture = item, error, ""
            if all(slot.settled for slot in record.slots):
                record.finished = self._clock()
                record.forget_images()
            try:
                self._journal.settle(record, index, record.deliveries(index))
            except sqlite3.Error as error:  # a full disk: whoever asks now gets the result all the same
                log.error("Result %d of task %s cannot be written down: %s", index, record.uuid, error)
            if record.done:
                for path in record.kept_files():
                    discard(path, 0)  # what stays goes with the folder, or at the next start
        self._meter.settled(record, index)
        self._on_settled(record, index)

    def _check_new(self, uuid: str) -> None:
        if uuid.lower() in self._records:
            raise RequestError(
                "conflictTaskUUID",
                "The taskUUID is already in use. Each task must have a unique taskUUID.",
                parameter="taskUUID",
            )
        if self._unfinished() >= QUEUE_LIMIT:
            raise RequestError(
                "rateLimitExceeded",
                message("{limit} tasks are waiting already; send more when some have finished.", limit=QUEUE_LIMIT),
            )

    def _forget_old(self) -> None:
        done = [uuid for uuid, record in self._records.items() if record.done]
        surplus = len(done) - KEEP_TASKS
        for place, uuid in enumerate(done):
            record = self._records[uuid]
            # for at least as long as its files; the protocol knows no upper bound, arithmetic does
            keep = max(KEEP_SECONDS, min(record.settings.get("ttl") or 0, LONGEST_TTL))
            if place < surplus or (record.finished or 0.0) + keep < self._clock():
                del self._records[uuid]
                self._journal.forget_task(record.uuid)

    def _unfinished(self) -> int:
        return sum(not record.done for record in self._records.values())


def with_address(item: JsonObject, base_url: str) -> JsonObject:
    """The item with whole addresses of its files: we may be known by another one than when they were made."""

    def whole(file: JsonObject) -> JsonObject:
        return {**file, "url": base_url + file["url"]}

    latents = {"latents": whole(item["latents"])} if "latents" in item else {}
    files = [whole(file) for file in item["outputs"]["files"]]
    return {**item, **latents, "outputs": {**item["outputs"], "files": files}}
