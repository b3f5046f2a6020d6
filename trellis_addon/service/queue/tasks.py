"""What the service knows about each task, from its acceptance until it is forgotten.

Plain records behind one lock: requests read and cancel them, the workers report and settle them. Everything goes to the
journal first, and is read from there when somebody wants it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from ...core.errors import Cancelled, TrellisError
from ...core.files import discard
from ...core.messages import message
from ...core.messages import to_wire as template_to_wire
from ...formats.early_picture import is_small, to_wire
from ...task.former import todays
from ...task.settings import Settings
from ..monitoring.metrics import Meter, outcome
from ..people.caller import HOUSE
from ..people.tokens import day
from ..protocol import JsonObject, RequestError, error_object
from ..records import TaskRecord, Waiting
from .changes import Changes
from .journal import Journal

log = logging.getLogger(__name__)

KEEP_SECONDS = 24 * 3600.0
KEEP_TASKS = 50_000
LONGEST_TTL = 10 * 365 * 86400.0
QUEUE_LIMIT = 10_000
_PAUSE = 30.0  # seconds after which a full disk is asked again to forget what is too old
_RECENT = 64  # records that are kept at hand, for those who ask about the same tasks again and again


class TaskStore:
    """All tasks, by UUID. They are in the journal; in memory are the records that somebody works with just now, each
    of them once, and the last that were asked for.

    `on_settled(record, index)` is told each result and failure once, outside the lock; `meter` counts them.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        journal: Journal,
        pictures: Path,
        on_settled: Callable[[TaskRecord, int], None],
        meter: Meter | None = None,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._pictures = pictures
        self._on_settled = on_settled
        self._meter = meter or Meter()
        self._records: weakref.WeakValueDictionary[str, TaskRecord] = weakref.WeakValueDictionary()
        self._recent: OrderedDict[str, TaskRecord] = OrderedDict()
        self._unwritten: dict[str, TaskRecord] = {}  # results that a full disk had no room for are nowhere else
        self._unfinished: Counter[str] = Counter()  # by person
        self._finished = 0
        self._forget_again = 0.0
        self._lock = threading.RLock()
        self._closed = False
        self.changes = Changes()

    def restore(self) -> Iterator[Waiting]:
        """Take up what the journal knows of; the tasks that are not finished, in the order they came in."""
        with self._lock:
            self._journal.complete(self._of_former, self._clock())
            self._count()
            self._forget_old()
        return self._journal.waiting()

    def add(self, record: TaskRecord, daily_limit: int | None = None) -> None:
        """Take a task in; raises as `check_new`."""
        with self._lock:
            self._forget_old()
            record.accepted = self._clock()
            self._check_new(record.uuid, record.person, len(record.slots), daily_limit)
            self._journal.add_task(record)
            self._unfinished[record.person] += 1
            self._keep(record)
        self.changes.note(record.uuid)

    def unfinished(self, person: str | None = None) -> int:
        """How many tasks are not finished: a person's, or everybody's."""
        with self._lock:
            return self._unfinished[person] if person is not None else self._unfinished.total()

    def unfinished_by_person(self) -> dict[str, int]:
        with self._lock:
            return dict(+self._unfinished)

    def check_new(self, uuid: str, person: str = HOUSE, results: int = 1, daily_limit: int | None = None) -> None:
        """`RequestError` when the UUID was used before (`conflictTaskUUID`), when too many are waiting, or when the
        person would have more than `daily_limit` results made today."""
        with self._lock:
            self._forget_old()
            self._check_new(uuid, person, results, daily_limit)

    def get(self, uuid: str) -> TaskRecord | None:
        with self._lock:
            self._forget_old()
            return self.load(uuid)

    def load(self, uuid: str) -> TaskRecord | None:
        """The record of a task, the same one for everybody for as long as anybody has it."""
        with self._lock:
            record = self._find(uuid)
            if record is not None:
                self._keep(record)
            return record

    def page(
        self, before: int | None = None, limit: int = 50, person: str | None = None, unfinished: bool = False
    ) -> list[tuple[int, TaskRecord]]:
        """Tasks with their places, the last that came in first; `before` a place, where an earlier page ended."""
        with self._lock:
            found = [(place, self._find(uuid)) for place, uuid in self._journal.page(before, limit, person, unfinished)]
        return [(place, record) for place, record in found if record is not None]

    def report(self, record: TaskRecord, index: int, stage: str, fraction: float) -> None:
        slot = record.slots[index]
        if not slot.settled:  # work that was cancelled goes on until it looks up
            self._meter.stage(record, index, stage, self._clock() - record.accepted)
            if stage != slot.stage:
                slot.began.append((stage, self._clock()))
        slot.stage = stage
        slot.progress = max(slot.progress, min(int(fraction * 100), 100))
        self.changes.note(record.uuid)

    def stages(self, record: TaskRecord, index: int) -> list[JsonObject]:
        """Result `index`'s stages so far, each with how many seconds it took."""
        began = record.slots[index].began
        ends = [*(since for _, since in began[1:]), self._clock()]
        return [
            {"stage": str(stage), **_template(stage), "seconds": round(max(0.0, end - since), 3)}
            for (stage, since), end in zip(began, ends, strict=False)  # an engine may name none
            if stage
        ]

    def show(self, record: TaskRecord, index: int, png: bytes) -> None:
        """Keep what result `index` looks like by now, for whoever asks how far it is."""
        if is_small(png):
            record.slots[index].picture = to_wire(png)
            self.changes.note(record.uuid)

    def succeed(self, record: TaskRecord, index: int, item: JsonObject) -> None:
        self._settle(record, index, item=item)

    def fail(self, record: TaskRecord, error: TrellisError, index: int | None = None) -> None:
        """Give result `index`, or with None every result that is not there yet, up."""
        for i in range(len(record.slots)) if index is None else [index]:
            self._settle(record, i, error=error_object(error, **record.identity(i), status="error"))

    def cancel(self, record: TaskRecord) -> bool:
        """Give up what is not there yet; whether there was anything to give up. What was not begun counts no more as
        made today."""
        cancelled = not record.done
        record.stopped.set()
        unmade = sum(not slot.settled and not slot.progress and not slot.stage for slot in record.slots)
        self.fail(record, Cancelled("The task was cancelled."))
        if cancelled and unmade:
            self._journal.give_back(record.person, day(record.accepted), unmade)
        return cancelled

    def close(self) -> None:
        """Stop all work; what is not finished stays so, for the next start where there is one."""
        with self._lock:
            self._closed = True
            records = list(self._records.values())
        for record in records:
            record.stopped.set()

    def sweep(self) -> None:
        """Forget what is too old; write down what there was no room for."""
        with self._lock:
            self._forget_old()
            for uuid, record in list(self._unwritten.items()):
                try:
                    for index in range(len(record.slots)):
                        if record.slots[index].settled:
                            self._journal.settle(record, index, [], self._goes(record))
                except sqlite3.Error:
                    return
                del self._unwritten[uuid]

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
                self._unfinished[record.person] -= 1
                self._finished += 1
            try:
                self._journal.settle(record, index, record.deliveries(index), self._goes(record))
            except sqlite3.Error as error:  # a full disk: whoever asks now gets the result all the same
                log.error("Result %d of task %s cannot be written down: %s", index, record.uuid, error)
                self._unwritten[record.uuid.lower()] = record
            if record.done:
                for path in record.kept_files():
                    discard(path, 0)  # what stays goes with the folder, or at the next start
        self.changes.note(record.uuid)
        log.info("Result %d of task %s: %s", index, record.uuid, outcome(record, index))
        self._meter.settled(record, index)
        self._on_settled(record, index)

    def _find(self, uuid: str) -> TaskRecord | None:
        record = self._records.get(uuid.lower())
        if record is None:
            try:
                record = self._journal.task(uuid, self._pictures)
            except sqlite3.OperationalError as error:
                log.error("Task %s cannot be read: %s", uuid, error)
            except TrellisError as error:  # written by a version that knew other fields
                log.error("Task %s is given up: %s", uuid, error)
                self._journal.forget_task(uuid)
                self._count()
        if record is None or self._is_too_old(record):
            return None
        self._records[uuid.lower()] = record
        return record

    def _count(self) -> None:
        by_person, self._finished = self._journal.count_tasks()
        self._unfinished = Counter(by_person)

    def _keep(self, record: TaskRecord) -> None:
        """Have it at hand for a while."""
        uuid = record.uuid.lower()
        self._records[uuid] = self._recent[uuid] = record
        self._recent.move_to_end(uuid)
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    def _check_new(self, uuid: str, person: str, results: int, daily_limit: int | None) -> None:
        if uuid.lower() in self._records or self._journal.has_task(uuid):
            raise RequestError(
                "conflictTaskUUID",
                "The taskUUID is already in use. Each task must have a unique taskUUID.",
                parameter="taskUUID",
            )
        if self._unfinished.total() >= QUEUE_LIMIT:
            raise RequestError(
                "rateLimitExceeded",
                message("{limit} tasks are waiting already; send more when some have finished.", limit=QUEUE_LIMIT),
            )
        if person != HOUSE and self._unfinished[person] >= QUEUE_LIMIT // 2:
            sentence = message(
                "{limit} tasks of {person} are waiting already, half of what there is room for; send more when some "
                "have finished.",
                limit=QUEUE_LIMIT // 2,
                person=person,
            )
            raise RequestError("rateLimitExceeded", sentence)
        if daily_limit is not None and self._journal.used(person, day(self._clock())) + results > daily_limit:
            sentence = message(
                "{limit} results a day are what {person} may have made here; send the rest tomorrow, or ask whoever "
                "runs the service.",
                limit=daily_limit,
                person=person,
            )
            raise RequestError("dailyLimitExceeded", sentence)

    def _goes(self, record: TaskRecord) -> float | None:
        """The time at which a finished task is forgotten."""
        return _goes(record.finished, record.settings.get("ttl")) if record.finished is not None else None

    def _is_too_old(self, record: TaskRecord) -> bool:
        """Whether it is to be forgotten, which on a full disk cannot be written down."""
        goes = self._goes(record)
        return goes is not None and goes < self._clock()

    def _of_former(self, request: JsonObject, finished: float | None) -> tuple[int, float | None]:
        """Of a task that an earlier release wrote: how many results it has, and when it goes."""
        try:
            settings = Settings.from_request(todays(request))
        except TrellisError:  # it is given up when its turn comes
            return 1, None if finished is None else self._clock()
        return settings.value("number_results"), None if finished is None else _goes(finished, settings.get("ttl"))

    def _forget_old(self) -> None:
        if self._clock() < self._forget_again:
            return
        gone = self._journal.too_old(self._clock())
        if (surplus := self._finished - len(gone) - KEEP_TASKS) > 0:
            gone += [uuid for uuid in self._journal.first_finished(len(gone) + surplus) if uuid not in gone][:surplus]
        for uuid in gone:
            if not self._journal.forget_task(uuid):
                self._forget_again = self._clock() + _PAUSE
                return
            self._finished -= 1
            for kept in (self._records, self._recent, self._unwritten):
                kept.pop(uuid.lower(), None)
            self.changes.note(uuid)


def _goes(finished: float, ttl: float | None) -> float:
    # for at least as long as its files; the protocol knows no upper bound, arithmetic does
    return finished + max(KEEP_SECONDS, min(ttl or 0, LONGEST_TTL))


def _template(stage: str) -> JsonObject:
    """What a stage's word is made of, where it is made of something."""
    words = template_to_wire(stage)
    return {"stageTemplate": words} if words else {}


def with_address(item: JsonObject, base_url: str) -> JsonObject:
    """The item with whole addresses of its files: we may be known by another one than when they were made.

    Its stages are kept for the page alone.
    """

    def whole(file: JsonObject) -> JsonObject:
        return {**file, "url": base_url + file["url"]}

    latents = {"latents": whole(item["latents"])} if "latents" in item else {}
    files = [whole(file) for file in item["outputs"]["files"]]
    told = {name: value for name, value in item.items() if name != "stages"}
    return {**told, **latents, "outputs": {**item["outputs"], "files": files}}
