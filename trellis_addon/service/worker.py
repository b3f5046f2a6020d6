"""The threads that generate: first come, first served, each one task at a time."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import Cancelled, EngineError, ImageError, TrellisError
from ..progress import Progress
from ..task import result_seed
from .addresses import AddressPolicy
from .files import DEFAULT_TTL, FileStore
from .protocol import JsonObject
from .tasks import TaskRecord, TaskStore

if TYPE_CHECKING:
    from ..engines.base import Engine
    from ..images import PreparedImage

log = logging.getLogger(__name__)

_LONGEST_TTL = 10 * 365 * 86400.0  # the protocol knows no upper bound; a clock does

MOST_STARTS = 5  # a task that takes the process down with it must not do so for ever


class Workers:
    """`count` threads that take tasks from one queue and settle them in the store; no task can end one.

    Each thread makes engines of its own: an engine need not be safe for use by two threads at once.
    `begin(uuid)` is told that the work on a task begins; it returns how often it has begun by now.
    """

    def __init__(
        self,
        tasks: TaskStore,
        files: FileStore,
        create_engine: Callable[[str], Engine],
        count: int = 1,
        policy: AddressPolicy | None = None,
        begin: Callable[[str], int] = lambda uuid: 1,
    ) -> None:
        self._tasks = tasks
        self._files = files
        self._policy = policy or AddressPolicy()
        self._begin = begin
        self._create_engine = create_engine
        self._queue: queue.SimpleQueue[TaskRecord | None] = queue.SimpleQueue()
        # Daemons: an engine deep in its arithmetic must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._run, name=f"trellis-worker-{number}", daemon=True)
            for number in range(1, count + 1)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, record: TaskRecord) -> None:
        self._queue.put(record)

    def stop(self) -> None:
        """No further task; the running ones end as soon as their engines look up."""
        for _ in self._threads:
            self._queue.put(None)

    def _run(self) -> None:
        engines: dict[str, Engine] = {}  # made at the first task for each model, then kept
        while (record := self._queue.get()) is not None:
            try:
                if not record.done:
                    self._work(record, engines)
            except BaseException as error:
                self._fail(record, error)

    def _work(self, record: TaskRecord, engines: dict[str, Engine]) -> None:
        began = time.monotonic()
        if self._begin(record.uuid) > MOST_STARTS:
            raise EngineError(f"The service ended {MOST_STARTS} times while it worked on this task; it is given up.")
        image = self._cut_out(record, record.image or self._read(record))
        for warning in image.warnings:
            log.info("Task %s: %s", record.uuid, warning)
        if record.model not in engines:
            engines[record.model] = self._create_engine(record.model)
        for index in range(len(record.slots)):
            if record.stopped.is_set():
                break
            if record.slots[index].settled:  # before the service was started anew
                continue
            try:
                self._tasks.succeed(record, index, self._result(record, index, engines[record.model], image))
            except BaseException as error:
                # The other results have other seeds and may well succeed.
                self._fail(record, error, index)
        log.info("Task %s: %d result(s) in %.1f s", record.uuid, len(record.slots), time.monotonic() - began)

    def _result(self, record: TaskRecord, index: int, engine: Engine, image: PreparedImage) -> JsonObject:
        settings = record.settings
        seed = result_seed(record.seed, index)
        progress = Progress(
            lambda stage, fraction: self._tasks.report(record, index, stage, fraction), record.stopped.is_set
        )
        glb = engine.generate(image.rgba, settings, seed, progress)
        if not isinstance(glb, bytes) or not glb.startswith(b"glTF"):
            raise EngineError("The engine did not return a GLB file.")
        stored = self._files.put(glb, float(min(settings.get("ttl") or DEFAULT_TTL, _LONGEST_TTL)))
        item: JsonObject = {**record.identity(index), "status": "success", "seed": seed}
        if settings.get("include_cost"):
            item["cost"] = 0.0  # our own machine
        item["engine"] = engine.model
        item["outputs"] = {"files": [{"uuid": stored.uuid, "url": stored.url_path}]}
        return item

    def _fail(self, record: TaskRecord, error: BaseException, index: int | None = None) -> None:
        # Whatever comes of work that was told to stop is no news.
        stopped = record.stopped.is_set()
        self._tasks.fail(record, Cancelled("The task was cancelled.") if stopped else _plain(error), index)

    def _read(self, record: TaskRecord) -> PreparedImage:
        from ..images import fetch, load_image

        if record.picture is None:
            data = fetch(record.image_url, self._policy.transport("inputs.image"))
        else:
            try:
                data = record.picture.read_bytes()
            except OSError:
                raise ImageError("The task's picture is not there any more; send the task again.") from None
        return load_image(data, allow_path=False, may_leave=True)

    def _cut_out(self, record: TaskRecord, image: PreparedImage) -> PreparedImage:
        from ..images import LATER
        from ..pipeline import mask

        if image.cutout != LATER or record.stopped.is_set():
            return image
        for index in range(len(record.slots)):
            self._tasks.report(record, index, "Cutting the subject out", 0.0)
        return mask.cut_out(image)


def _plain(error: BaseException) -> TrellisError:
    """Anything an engine may raise, as an error with a sentence; the traceback goes to the log."""
    if isinstance(error, Cancelled):
        return Cancelled("The task was cancelled.")
    if isinstance(error, TrellisError):
        log.warning("A task failed: %s", error)
        return error
    log.error("A task failed unexpectedly", exc_info=error)
    if isinstance(error, MemoryError):
        return EngineError(
            "This machine has not enough memory for the task; choose a smaller resolution, texture or face count."
        )
    what = " ".join(str(error).split())[:200]
    return EngineError(
        f"The engine failed ({type(error).__name__}{': ' + what if what else ''}); the service's log has the details."
    )
