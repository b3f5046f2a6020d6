"""The one thread that generates: first come, first served, one task at a time."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import Cancelled, EngineError, TrellisError
from ..progress import Progress
from ..task import result_seed
from .files import DEFAULT_TTL, FileStore
from .protocol import JsonObject
from .tasks import TaskRecord, TaskStore

if TYPE_CHECKING:
    from ..engines.base import Engine
    from ..images import PreparedImage

log = logging.getLogger(__name__)


class Worker:
    """Takes tasks from a queue and settles them in the store; no task can end its thread."""

    def __init__(self, tasks: TaskStore, files: FileStore, create_engine: Callable[[str], Engine]) -> None:
        self._tasks = tasks
        self._files = files
        self._create_engine = create_engine
        self._engines: dict[str, Engine] = {}
        self._queue: queue.SimpleQueue[TaskRecord | None] = queue.SimpleQueue()
        # A daemon: an engine deep in its arithmetic must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="trellis-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, record: TaskRecord) -> None:
        self._queue.put(record)

    def stop(self) -> None:
        """No further task; the running one ends as soon as its engine looks up."""
        self._queue.put(None)

    def _run(self) -> None:
        while (record := self._queue.get()) is not None:
            try:
                if not record.done:
                    self._work(record)
            except BaseException as error:
                self._fail(record, error)

    def _work(self, record: TaskRecord) -> None:
        began = time.monotonic()
        image = record.image or _fetch(record.image_url)
        for warning in image.warnings:
            log.info("Task %s: %s", record.uuid, warning)
        engine = self._engine(record.model)
        for index in range(len(record.slots)):
            if record.stopped.is_set():
                break
            try:
                self._tasks.succeed(record, index, self._result(record, index, engine, image))
            except BaseException as error:
                # The other results have other seeds and may well succeed.
                self._fail(record, error, index)
        log.info("Task %s: %d result(s) in %.1f s", record.uuid, len(record.slots), time.monotonic() - began)

    def _result(self, record: TaskRecord, index: int, engine: Engine, image: PreparedImage) -> JsonObject:
        settings = record.settings
        seed = result_seed(record.seed, index)
        progress = Progress(lambda stage, fraction: self._tasks.report(record, index, fraction), record.stopped.is_set)
        glb = engine.generate(image.rgba, settings, seed, progress)
        if not isinstance(glb, bytes) or not glb.startswith(b"glTF"):
            raise EngineError("The engine did not return a GLB file.")
        stored = self._files.put(glb, float(settings.get("ttl") or DEFAULT_TTL))
        item: JsonObject = {**record.identity(index), "status": "success", "seed": seed}
        if settings.get("include_cost"):
            item["cost"] = 0.0  # our own machine
        item["engine"] = engine.model
        item["outputs"] = {"files": [{"uuid": stored.uuid, "url": record.base_url + stored.url_path}]}
        return item

    def _fail(self, record: TaskRecord, error: BaseException, index: int | None = None) -> None:
        # Whatever comes of work that was told to stop is no news.
        stopped = record.stopped.is_set()
        self._tasks.fail(record, Cancelled("The task was cancelled.") if stopped else _plain(error), index)

    def _engine(self, model: str) -> Engine:
        """The engine for the model: made once, then kept."""
        if model not in self._engines:
            self._engines[model] = self._create_engine(model)
        return self._engines[model]


def _fetch(url: str) -> PreparedImage:
    from ..images import load_image

    return load_image(url, allow_path=False)


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
