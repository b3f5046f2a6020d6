"""The threads that generate: whoever's turn it is, each one result at a time, and two for every device (`station`)."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.configuration import IDLE_VARIABLE, configuration
from ..core.errors import (
    Cancelled,
    EngineError,
    FieldError,
    ImageError,
    InputError,
    LatentsError,
    LostWorkerError,
    TrellisError,
)
from ..core.machine.device_faults import why_lost
from ..core.machine.disk import is_full
from ..core.messages import all_to_wire, message
from ..core.progress import Progress
from ..engines.devices import local_devices
from ..engines.engine import Order
from ..engines.failures import as_sentence
from ..engines.projection.onto import generate_with_pictures
from ..task.settings import TRELLIS2_MODEL
from ..task.task import facing_of, result_seed
from ..task.views import FRONT
from .content.addresses import AddressPolicy
from .content.files import DEFAULT_TTL, FileStore
from .content.media import of_view
from .monitoring.logs import about_task
from .protocol import JsonObject, RequestError, disk_full
from .queue.journal import Journal
from .queue.schedule import Scheduler, Turn
from .queue.station import Seat, Station
from .queue.tasks import LONGEST_TTL, TaskStore
from .records import StoredFile, TaskRecord, Waiting

if TYPE_CHECKING:
    from ..engines.engine import Engine, Made
    from ..images import PreparedImage

log = logging.getLogger(__name__)

DEFAULT_IDLE = 5.0
MOST_STARTS = 2  # a task that takes the process down with it must not do so for ever
MOST_LOSSES = MOST_STARTS + 1  # where machines may go for reasons of their own as well
_KEPT_PICTURES = 8  # of tasks that have had a turn and wait for another


def idle_minutes() -> float:
    """What `TRELLIS2_IDLE` says, or its default; raises `FieldError`."""
    text = configuration().idle
    try:
        minutes = float(text or DEFAULT_IDLE)
    except ValueError:
        minutes = -1.0
    if not 0.0 <= minutes <= 1e6:
        raise FieldError(IDLE_VARIABLE, text, "give minutes, such as 5, or 0 for never")
    return minutes


class Workers:
    """Threads that take turns from one row of tasks and settle results in the store; no task can end one.

    Each station makes engines of its own, and has a second thread as soon as one engine has left it the device while it
    goes on without. `count` None is one station for each device of TRELLIS.2; how many there are is found out when the
    first such task comes, because it means to load PyTorch; 0 is for stations that others open (`open_station`). After
    `idle` seconds (0: never) without work a station's engines release the device.
    `on_lost(record, cause)` is told that the device cannot be used any more by this process. `share` is the
    scheduler's.
    """

    def __init__(
        self,
        tasks: TaskStore,
        files: FileStore,
        journal: Journal,
        create_engine: Callable[..., Engine],
        *,
        count: int | None = 1,
        policy: AddressPolicy | None = None,
        devices: Callable[[], Sequence[str]] = local_devices,
        idle: float = 0.0,
        on_lost: Callable[[TaskRecord, str], None] = lambda record, cause: None,
        share: Callable[[str], float] = lambda person: 1.0,
    ) -> None:
        self._tasks = tasks
        self._files = files
        self._journal = journal
        self._policy = policy or AddressPolicy()
        self._create_engine = create_engine
        self._count = count
        self._find_devices = devices
        self._idle = idle or None
        self._on_lost = on_lost
        self._turns = Scheduler(tasks.load, share)
        self._lock = threading.Lock()
        self._stations: dict[int, Station] = {}
        self._opened = 0  # stations so far
        self._seconds: set[int] = set()  # the stations that have their second thread
        self._working: Counter[str] = Counter()  # turns being taken, by task
        self._pictures: OrderedDict[str, TaskRecord] = OrderedDict()  # the last used is the last
        self.devices: tuple[str, ...] = ()
        """The devices of TRELLIS.2, by PyTorch's names; empty until they are needed."""

    @property
    def count(self) -> int:
        """How many results can be sampled at the same time, as far as is known."""
        return max(len(self._stations), self._at_first)

    @property
    def _at_first(self) -> int:
        return 1 if self._count is None else self._count

    def waiting(self) -> Counter[tuple[str, str, str]]:
        """How many results wait for their turn, by person, client and priority."""
        return self._turns.waiting()

    def pause(self, paused: bool) -> None:
        """Nothing begins until this is taken back; what has begun goes on."""
        self._turns.pause(paused)

    def start(self) -> None:
        with self._lock:
            self._open_stations(self._at_first)

    def submit(self, record: TaskRecord) -> None:
        self._turns.add(record)

    def submit_waiting(self, waiting: Waiting) -> None:
        """The same of a task that is in the journal alone."""
        self._turns.add_waiting(waiting)

    def forget(self, uuid: str) -> None:
        """A task has come to its end: nothing of it waits any more."""
        self._turns.remove(uuid)

    def stop(self) -> None:
        """No further turn; those being taken end as soon as their engines look up."""
        self._turns.close()

    def open_station(self, make: Callable[[str], Engine]) -> int:
        """A station more, whose engines `make` makes by their models; its number."""
        with self._lock:
            return self._open_station(make)

    def close_station(self, number: int) -> None:
        """It takes no further turn; what it works on goes on."""
        with self._lock:
            station = self._stations.pop(number)
            station.is_closed = True
        self._turns.wake()

    def _open_stations(self, count: int) -> None:
        while len(self._stations) < count:
            self._open_station(None)

    def _open_station(self, make: Callable[[str], Engine] | None) -> int:
        number, self._opened = self._opened, self._opened + 1
        self._stations[number] = Station(partial(self._start_second, number), make)
        self._start_thread(number, "")
        return number

    def _start_second(self, number: int) -> None:
        with self._lock:
            if number not in self._seconds and number in self._stations and not self._turns.closed:
                self._seconds.add(number)
                self._start_thread(number, "b")

    def _start_thread(self, number: int, mark: str) -> None:
        # Daemons: an engine deep in its arithmetic must not keep the process from ending.
        name = f"trellis-worker-{number + 1}{mark}"
        station = self._stations[number]
        threading.Thread(target=self._run, args=(number, station), name=name, daemon=True).start()

    def _run(self, number: int, station: Station) -> None:
        while not (self._turns.closed or station.is_closed):
            with contextlib.closing(station.sit()) as seat:
                turn = self._turns.take(self._idle if station.is_holding else None, lambda: station.is_closed)
                if turn is None:
                    if not station.is_closed:
                        station.is_holding = False
                        _release(station.engines)
                    continue
                station.is_holding = True
                try:
                    with about_task(turn.record.uuid, turn.record.person):
                        self._take_turn(turn, number, station, seat)
                except BaseException as error:
                    self._fail(turn.record, error)
                finally:
                    self._turns.done(turn)

    def _take_turn(self, turn: Turn, number: int, station: Station, seat: Seat) -> None:
        record, index = turn.record, turn.index
        if record.slots[index].settled or record.stopped.is_set():
            return
        self._begin(record)
        log.info("Result %d of task %s begins", index, record.uuid)
        failed: int | None = None
        try:
            image, views = self._read_pictures(record)
            engine = self._engine(record.model, number, station)
            failed = index  # from here on: the other results have other seeds and may well succeed
            self._tasks.succeed(record, index, self._result(record, index, engine, image, views, seat))
        except LostWorkerError as error:
            self._give_to_another(record, index, error)
        except BaseException as error:
            if cause := why_lost(error):
                log.error("The device is lost: %s", cause, exc_info=error)
                self._on_lost(record, cause)
                return  # what has begun stays written down
            self._fail(record, error, failed)
        self._end(record)

    def _give_to_another(self, record: TaskRecord, index: int, error: LostWorkerError) -> None:
        """The process that made a result is gone: another one makes it, unless it is this that ends them."""
        slot, cause = record.slots[index], error.message
        slot.losses += error.is_blamed
        if record.stopped.is_set() or slot.settled:
            self._fail(record, error, index)
        elif slot.losses >= MOST_LOSSES:
            sentence = message(
                "The worker ended {count} times in the middle of this task, which is given up. The last time: {cause}.",
                count=slot.losses,
                cause=cause,
            )
            self._fail(record, EngineError(sentence), index)
        else:
            log.warning("Result %d of task %s begins again; the worker ended: %s", index, record.uuid, cause)
            slot.stage = message("Waiting to begin again after the worker ended: {cause}", cause=cause)
            self._turns.add_again(record, index)

    def _engine(self, model: str, number: int, station: Station) -> Engine:
        engines = station.engines
        if model not in engines and station.make is not None:
            engines[model] = station.make(model)
        if model not in engines:
            device = self._device(number) if model == TRELLIS2_MODEL else ""
            engines[model] = self._create_engine(model, device) if device else self._create_engine(model)
        return engines[model]

    def _begin(self, record: TaskRecord) -> None:
        """Write down that the work on the task has begun: should the process end now, that is held against it."""
        with self._lock:
            if not self._working[record.uuid]:
                self._journal.begin(record.uuid)
            self._working[record.uuid] += 1

    def _end(self, record: TaskRecord) -> None:
        with self._lock:
            self._working[record.uuid] -= 1
            if not self._working[record.uuid]:
                del self._working[record.uuid]
                record.starts = 0
                with contextlib.suppress(sqlite3.ProgrammingError):  # the service has ended
                    self._journal.clear_starts(record.uuid)

    def _device(self, number: int) -> str:
        """The device of this thread, by PyTorch's name; empty where there is nothing to choose from."""
        with self._lock:
            if not self.devices:
                self.devices = tuple(self._find_devices())
                if self._count is None:
                    self._open_stations(len(self.devices))
            return self.devices[number % len(self.devices)] if len(self.devices) > 1 else ""

    def _read_pictures(self, record: TaskRecord) -> tuple[PreparedImage | None, Mapping[str, PreparedImage]]:
        """The task's picture and its views, prepared once for all of its turns as far as there is room."""
        if not record.has_picture:
            return None, {}
        with record.preparing:
            given = record.image or self._read(record.picture or record.image_url, "inputs.image")
            image = self._cut_out(record, given)
            views = record.view_images or {name: self._view(record, name) for name in record.views}
            for prepared in (image, *views.values()) if image is not record.image else ():
                for warning in prepared.warnings:
                    log.info("Task %s: %s", record.uuid, warning)
            with self._lock:
                if len(record.slots) > 1 and not record.done:
                    record.image, record.view_images = image, views
                    self._pictures[record.uuid] = record
                    self._pictures.move_to_end(record.uuid)
                while len(self._pictures) > _KEPT_PICTURES:
                    self._pictures.popitem(last=False)[1].forget_images()
        return image, views

    def _view(self, record: TaskRecord, name: str) -> PreparedImage:
        try:
            return self._cut_out(record, self._read(record.views[name], f"inputs.views.{name}"))
        except ImageError as error:
            raise RequestError(error.code, of_view(name, error.message), parameter=f"inputs.views.{name}") from error

    def _result(
        self,
        record: TaskRecord,
        index: int,
        engine: Engine,
        image: PreparedImage | None,
        views: Mapping[str, PreparedImage],
        seat: Seat,
    ) -> JsonObject:
        settings = record.settings
        seed = result_seed(record.seed, index)
        # Where several devices work, each takes results of its own; a suspect's are made one by one.
        together = len(self._stations) == 1 and not record.is_suspect
        following = self._turns.following(record) if together else []
        siblings = {result_seed(record.seed, other): self._progress(record, other) for other in following}
        progress = self._progress(record, index, seat, siblings)
        began = time.monotonic()
        order = Order(
            image.for_model if image is not None else None,
            settings,
            seed,
            latents=self._latents(record),
            views={name: view.for_model for name, view in views.items()},
            region=record.region,
            mesh=self._mesh(record.mesh) if record.mesh is not None else None,
        )
        made = generate_with_pictures(engine, order, progress)
        if not made.glb.startswith(b"glTF"):
            raise EngineError("The engine did not return a GLB file.")
        ttl = float(min(settings.get("ttl") or DEFAULT_TTL, LONGEST_TTL))
        stored = self._files.put(made.glb, ttl, record.person)
        item: JsonObject = {**record.identity(index), "status": "success", "seed": seed}
        if settings.get("include_cost"):
            item["cost"] = 0.0  # our own machine
        item["engine"] = engine.model
        item["performance"] = _performance(made, time.monotonic() - began - seat.waited)
        item["stages"] = self._tasks.stages(record, index)
        notes = list(made.facts.get("notes") or ())
        if views and order.image is not None:
            from ..images.consistency import differences

            first = FRONT if record.mesh is None else facing_of(settings)
            notes += differences({first: order.image, **order.views})
        if notes:
            item["notes"] = [str(note) for note in notes]
            item["noteTemplates"] = all_to_wire(notes)
        item["outputs"] = {"files": [{"uuid": stored.uuid, "url": stored.url_path}]}
        if made.latents is not None and (kept := self._keep_latents(made.latents, ttl, record.person)) is not None:
            item["latents"] = {"uuid": kept.uuid, "url": kept.url_path}
        return item

    def _progress(
        self, record: TaskRecord, index: int, seat: Seat | None = None, siblings: dict[int, Progress] | None = None
    ) -> Progress:
        def report(stage: str, fraction: float) -> None:
            self._tasks.report(record, index, stage, fraction)

        def show(png: bytes, _: int) -> None:
            self._tasks.show(record, index, png)

        return Progress(report, record.stopped.is_set, seat, siblings, show)

    def _keep_latents(self, latents: bytes, ttl: float, person: str) -> StoredFile | None:
        """What a result was decoded from; None where the disk is full: the result itself is there."""
        try:
            return self._files.put(latents, ttl, person)
        except (OSError, sqlite3.Error) as error:
            if not is_full(error, self._files.folder):
                raise
            log.error("The latents of a result are not kept, because the disk is full: %s", error)
            return None

    def _latents(self, record: TaskRecord) -> bytes | None:
        try:
            return record.latents.read_bytes() if record.latents is not None else None
        except OSError:
            raise LatentsError("The task's latents are not there any more; send the task again.") from None

    def _mesh(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError:
            raise InputError("The task's mesh is not there any more; send the task again.") from None

    def _fail(self, record: TaskRecord, error: BaseException, index: int | None = None) -> None:
        # Whatever comes of work that was told to stop is no news.
        stopped = record.stopped.is_set()
        self._tasks.fail(record, Cancelled("The task was cancelled.") if stopped else self._plain(error), index)

    def _plain(self, error: BaseException) -> TrellisError:
        return disk_full() if is_full(error, self._files.folder) else as_sentence(error)

    def _read(self, where: Path | str, field: str) -> PreparedImage:
        """The picture in a file of ours, or at a web address."""
        from ..images import fetch, load_image

        if isinstance(where, str):
            data = fetch(where, self._policy.transport(field))
        else:
            try:
                data = where.read_bytes()
            except OSError:
                raise ImageError("The task's picture is not there any more; send the task again.") from None
        return load_image(data, allow_path=False, may_leave=True)

    def _cut_out(self, record: TaskRecord, image: PreparedImage) -> PreparedImage:
        from ..images import LATER
        from ..pipeline import mask

        if image.cutout != LATER or record.stopped.is_set():
            return image
        for index in range(len(record.slots)):
            self._tasks.report(record, index, message("Cutting the subject out"), 0.0)
        return mask.cut_out(image)


def _performance(made: Made, seconds: float) -> JsonObject:
    """What it took to make a result, for estimates: what is not known is not there."""
    facts = {name: made.facts.get(name) for name in ("device", "peakMemory", "resolution", "eightBits")}
    return {"seconds": round(seconds, 3), **{name: value for name, value in facts.items() if value is not None}}


def _release(engines: dict[str, Engine]) -> None:
    """Let go of the device, for whatever else wants it."""
    for model, engine in engines.items():
        try:
            engine.release()
        except Exception as error:
            log.error("The engine for %s cannot release its device", model, exc_info=error)
