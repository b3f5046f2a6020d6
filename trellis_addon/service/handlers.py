"""What the service does for each type of task. Called from many threads; never waits for a generation."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import EngineError, FieldError, TrellisError
from ..core.files import discard
from ..core.machine.disk import is_full
from ..core.messages import message
from ..core.version import VERSION
from ..engines import registry
from ..engines.devices import device_memory, local_devices
from ..engines.engine import Engine
from ..formats.latents import Kept, check_rework, whole_only
from ..task.settings import DRAFT_MODEL, TASK_TYPE, TRELLIS2_MODEL
from ..task.task import Task, check_meaning, check_uuid, new_uuid, random_seed
from ..task.views import FRONT
from .content.addresses import AddressPolicy, is_public
from .content.delivery import Delivery
from .content.files import FileStore
from .content.folder import ServiceFolder
from .content.media import answer_cutout, answer_media, check_draft, task_image, task_latents, task_mesh, task_views
from .content.previews import Previews
from .handshake import PROTOCOL, SERVICE_NAME
from .lifetime.presence import last_end
from .limits import Limits
from .monitoring.logs import about_task
from .monitoring.metrics import Gauges, Meter
from .monitoring.troubles import Troubles
from .people.caller import THE_HOUSE, Caller
from .people.tokens import Tokens, day
from .protocol import JsonObject, RequestError, ServiceReply, disk_full, echo, error_object, without_payload
from .queue.journal import Journal
from .queue.tasks import TaskStore, with_address
from .records import Slot, TaskRecord
from .worker import MOST_STARTS, Workers, idle_minutes

if TYPE_CHECKING:
    from ..cluster.pool import Cluster

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 30.0
_FEW = 100  # tasks that may wait, however full the disk is
_PAUSED = "paused"  # the journal's name for it
_LEAST_FREE = 64 * 2**20  # bytes of disk: a picture and its result have room


@dataclass(frozen=True)
class _Call:
    """One task of a request and what its method may need: it answers into `reply`, or adds to `waiting`."""

    request: JsonObject
    base_url: str
    dry_run: bool
    client: str
    caller: Caller
    reply: ServiceReply
    waiting: list[TaskRecord]
    over_socket: bool = False


class Service:
    """The tasks, the files and the worker behind one token, and those of people by name in `folder`.

    `quota` are the bytes that files may have together. `engine` is one of `engines.registry.CHOICES`. `workers` None
    is one for each device. `create_engine(model)`, `clock()` (seconds), `delivery` and `devices` are handed in by
    tests. Call `start` before the first task, and `close` at the end. `on_lost(cause)` is called when this process
    can use its device no more: it should end, and another one take its place. `on_stop`, where there is one, is
    called when a client asks for the end. With `previews` small pictures are kept of each task,
    with a `cluster` its machines make the results, and this one none.
    """

    def __init__(
        self,
        token: str,
        *,
        engine: str = "auto",
        workers: int | None = 1,
        folder: Path | None = None,
        quota: int | None = None,
        create_engine: Callable[..., Engine] = registry.create_engine,
        clock: Callable[[], float] = time.time,
        delivery: Delivery | None = None,
        devices: Callable[[], Sequence[str]] = local_devices,
        allow_private_addresses: bool = True,
        on_lost: Callable[[str], None] = lambda cause: None,
        on_stop: Callable[[], None] | None = None,
        previews: bool = False,
        cluster: Cluster | None = None,
    ) -> None:
        self._cluster = cluster
        self._has_trellis2 = registry.trellis2_available if cluster is None else cluster.has_trellis2
        self._choice = engine
        self._on_lost = on_lost
        self._on_stop = on_stop
        self.engine = registry.engine_for(TRELLIS2_MODEL, engine, self._has_trellis2)
        self.folder = ServiceFolder(folder)
        self.people = Tokens(folder, token, clock)
        self.clock = clock
        # where clients may ask for the end it is the worker's, see `Journal`
        lasting = self.folder.lasting
        self._journal = Journal(self.folder.database, replaceable=on_stop is not None, lasting=lasting)
        self.files = FileStore(clock, self.folder.path, self._journal, lasting, quota)
        self.meter = Meter()
        self.previews = Previews(self.folder.path / "previews") if previews else None
        self.troubles = Troubles(clock)
        self.tasks = TaskStore(clock, self._journal, self.files.pictures, self._settled, self.meter)
        self._policy = AddressPolicy(None if allow_private_addresses else is_public)
        self._delivery = delivery or Delivery(policy=self._policy)
        self._workers = Workers(
            self.tasks,
            self.files,
            self._journal,
            create_engine,
            count=workers if cluster is None else 0,
            policy=self._policy,
            devices=devices,
            idle=60 * idle_minutes(),
            on_lost=self._lost,
            share=self.people.share,
        )
        self.paused = False
        self.draining = False
        self._ended = threading.Event()
        self._is_lost = self._is_restored = False
        self.methods: dict[str, Callable[[_Call], None]] = {
            TASK_TYPE: self._inference,
            "getResponse": self._get_response,
            "getTaskDetails": self._get_task_details,
            "cancelTask": self._cancel,
            "mediaStorage": self._media,
            "imageUpload": self._media,
            "cutOutSubject": self._cut_out,
            "authentication": self._authenticate,
            "ping": self._ping,
            "accountManagement": self._account,
        }
        if on_stop is not None:
            self.methods["stopService"] = self._stop
        self.closing = False

    def restore(self) -> None:
        """Take up what an earlier process left; nothing is worked on before `start`."""
        self._is_restored = True
        self.pause(bool(self._journal.state(_PAUSED)))
        waiting = self.tasks.restore()
        self.files.restore()
        for task in waiting:
            if not task.starts:
                self._workers.submit_waiting(task)
            elif (record := self.tasks.get(task.uuid)) is not None:
                self._take_up(record)
        for uuid, index, field in self._journal.deliveries():
            left = self.tasks.get(uuid)
            if left is not None:
                self._send(left, index, field)

    def start(self) -> None:
        """Go on with what an earlier process left, and work on new tasks."""
        if not self._is_restored:
            self.restore()
        self.troubles.begin()
        self._workers.start()
        if self._cluster is not None:
            self._cluster.start(self._workers.open_station, self._workers.close_station)
        threading.Thread(target=self._sweep, name="trellis-sweep", daemon=True).start()

    def _take_up(self, record: TaskRecord) -> None:
        """Go on with a task during whose work an earlier process has ended, unless it has done so time and again."""
        cause = last_end(self.folder.path) or message("it was ended by force, or the machine was switched off")
        if record.starts >= MOST_STARTS:
            sentence = message(
                "The worker ended twice in the middle of this task, which is given up. The last time: {cause}."
                if record.starts == 2
                else "The worker ended {count} times in the middle of this task, which is given up. The last time: "
                "{cause}.",
                count=record.starts,
                cause=cause,
            )
            self.tasks.fail(record, EngineError(sentence))
            return
        log.warning("Task %s begins again; the worker ended in the middle of it: %s", record.uuid, cause)
        for slot in record.slots:
            slot.stage = message("Waiting to begin again after the worker ended: {cause}", cause=cause)
        self._workers.submit(record)

    def _lost(self, record: TaskRecord, cause: str) -> None:
        """The device failed at this task, and this process is of no more use; what else was in work is not to blame."""
        self.tasks.close()
        self._workers.stop()
        self._journal.clear_starts(but=record.uuid)
        self._is_lost = True
        self._on_lost(cause)

    def close(self) -> None:
        """Stop all work. A temporary folder goes; in a lasting one everything waits for the next start."""
        self.closing = True
        self._ended.set()
        self._workers.stop()
        self.tasks.close()
        self._delivery.close()
        if self._cluster is not None:
            self._cluster.stop()
        with contextlib.suppress(sqlite3.ProgrammingError):  # closed before
            if not self._is_lost:
                self._journal.clear_starts()
        self._journal.close()
        self.folder.close()
        self.troubles.end()

    def knows(self, token: Any) -> bool:
        """Whether this token counts here."""
        return self.people.find(token) is not None

    def caller(self, token: Any) -> Caller:
        """Who shows this token; raises the refusal of one that does not count."""
        found = self.people.find(token)
        if found is None:
            raise key_error(token)
        return found

    def administrator(self, token: Any) -> Caller:
        """The same, where it is an administrator's; `RequestError` otherwise."""
        return check_administrator(self.caller(token))

    def pause(self, paused: bool) -> None:
        """Let nothing begin, also not after a restart, until this is taken back; tasks are taken in all the same."""
        if paused != bool(self._journal.state(_PAUSED)):
            self._journal.set_state(_PAUSED, "1" if paused else "")
        self.paused = paused
        self._workers.pause(paused)

    def drain(self, draining: bool) -> None:
        """Take no task in until this is taken back, or the service starts anew; what was taken in is finished."""
        self.draining = draining

    def waiting(self) -> Counter[tuple[str, str, str]]:
        """How many results wait, by person, client and priority."""
        return self._workers.waiting()

    def used_today(self) -> dict[str, int]:
        """How many results of today each person has."""
        return self._journal.used_by_all(day(self.clock()))

    def devices(self) -> tuple[str, ...]:
        """PyTorch's names of what TRELLIS.2 runs on; empty until the first task asks for it."""
        return tuple(device for device in self._workers.devices if device != "auto")

    @property
    def workers(self) -> int:
        """How many results can be made at the same time, as far as is known."""
        return self._workers.count

    def about(self, caller: Caller = THE_HOUSE) -> JsonObject:
        """Who answers here: for the handshake of the add-on. `caller` hears who that is for it, too."""
        models = [model for model in (TRELLIS2_MODEL, DRAFT_MODEL) if self._serves(model)]
        behind = {"cluster": self._cluster.status()["nodes"]} if self._cluster is not None else {}
        return {
            "name": SERVICE_NAME,
            "version": VERSION,
            "pid": os.getpid(),
            "protocol": PROTOCOL,
            "engine": self.engine,
            "models": models,
            "devices": list(self.devices()),
            "workers": self._workers.count,
            "unfinished": self.tasks.unfinished(),
            "person": caller.name,
            "role": caller.role,
            "maskModel": self._has_mask_model(),
            **behind,
        }

    def known(self, uuid: str, caller: Caller) -> TaskRecord:
        """The task of this UUID; raises where there is none that `caller` may see."""
        record = self.tasks.get(uuid)
        if record is None or not caller.may_see(record.person):
            raise task_not_found(uuid)
        return record

    def metrics(self) -> bytes:
        """The numbers for Prometheus; raises `RequestError` where the package for it is not installed."""
        return self.meter.render(
            Gauges(
                self.waiting(),
                self.tasks.unfinished(),
                self.workers,
                self.files.folder,
                files=self.files.size,
                quota=self.files.quota,
                paused=self.paused,
                draining=self.draining,
                devices=device_memory(self.devices()),
            )
        )

    def obstacle(self) -> str:
        """Why no task can be taken in at this moment, in words; empty where it can."""
        if self.closing:
            return message("The service is ending.")
        if self.draining:
            return message("The service takes no more tasks in: an administrator lets it run empty.")
        if shutil.disk_usage(self.files.folder).free < _LEAST_FREE:
            return message("The disk is full.")
        return ""

    def answer(
        self,
        requests: list[Any],
        base_url: str,
        dry_run: bool,
        client: str = "",
        caller: Caller = THE_HOUSE,
        *,
        over_socket: bool = False,
    ) -> tuple[ServiceReply, list[TaskRecord]]:
        """Do all tasks of one request; also those whose result the reply has to wait for.

        `base_url` is the address that the client knows this service by, for the URLs of files; `client` tells it from
        others of the same `caller`, with whom it takes turns. `over_socket`: the answers of many requests come over
        one line, so that each must say whose it is.
        """
        reply = ServiceReply()
        waiting: list[TaskRecord] = []
        for request in requests:
            call = _Call(request, base_url, dry_run, client, caller, reply, waiting, over_socket)
            with about_task(request.get("taskUUID") if isinstance(request, dict) else None, caller.name):
                self._answer(call)
        return reply, waiting

    def _answer(self, call: _Call) -> None:
        """Do one task, or say in the reply why it is not done."""
        reply, request = call.reply, call.request
        try:
            self._method(request)(call)
        except TrellisError as error:
            log.info("Refused: %s", error)
            reply.refuse(error_object(error, request))
        except Exception as error:
            if is_full(error, self.folder.path):
                log.error("The disk of %s is full: %s", self.folder.path, error)
                reply.refuse(error_object(disk_full(), request))
                return
            log.error("A request failed unexpectedly", exc_info=error)
            sentence = message("The service failed at this task; its log has the details.")
            reply.refuse(error_object(RequestError("internalServerError", sentence), request))

    def _method(self, request: Any) -> Callable[[_Call], None]:
        """What does this type of task, or `RequestError`."""
        if not isinstance(request, dict):
            raise FieldError("task", request, "give a JSON object", code="invalidObject")
        task_type = request.get("taskType")
        if not isinstance(task_type, str) or not task_type:
            sentence = message('A task has no taskType; give one such as "{supported}".', supported=TASK_TYPE)
            raise RequestError("missingTaskType", sentence, parameter="taskType")
        if task_type not in self.methods:
            raise _unsupported(
                message(
                    'The taskType "{task_type}" is not supported here; this service does {supported}.',
                    task_type=task_type[:60],
                    supported=TASK_TYPE,
                )
            )
        return self.methods[task_type]

    # One method a task type

    def _inference(self, call: _Call) -> None:
        task = Task.from_request(call.request)
        check_meaning(task)
        model = registry.engine_for(task.model, self._choice, self._has_trellis2)
        self._demand_room()
        person, limit = call.caller.name, call.caller.daily_limit
        self.tasks.check_new(task.uuid, person, task.settings.value("number_results"), limit)
        for name, field in (("webhook_url", "webhookURL"), ("upload_endpoint", "uploadEndpoint")):
            if name in task.settings:
                self._policy.check(task.settings[name], field)
        latents, kept = task_latents(task.latents, self.files, call.caller) if task.latents else (None, None)
        if latents is not None:
            self._check_rework(model, kept, task)
        leave = self._has_mask_model()
        found = task_image(task.image, self.files, self._policy, call.caller, may_leave=leave) if task.image else None
        views = task_views(task.views, self.files, self._policy, call.caller, may_leave=leave)
        mesh = task_mesh(task.mesh, self.files, call.caller)
        identity = {"taskType": TASK_TYPE, "taskUUID": task.uuid}
        if call.dry_run:
            call.reply.add({**identity, "cost": 0, "engine": model})
            return
        seed = task.settings.get("seed")
        is_kept = found is None or (kept is not None and kept.is_rough) or task.variation == 0
        if seed is None and kept is not None and is_kept:
            seed = kept.seed
        record = TaskRecord(
            uuid=task.uuid,
            settings=task.settings,
            model=model,
            request=without_payload(call.request),
            seed=random_seed() if seed is None else seed,
            base_url=call.base_url,
            slots=[Slot() for _ in range(task.settings.value("number_results"))],
            client=call.client,
            person=person,
            priority=call.caller.priority,
        )
        try:
            if latents is not None:
                record.latents = self.files.keep_picture(latents)
            record.mesh = self.files.keep_picture(mesh) if mesh is not None else None
            if isinstance(found, str):
                record.image_url = found
            elif found is not None:
                record.picture = self.files.keep_picture(found[0])
                # Unpacked pictures are large: those that have to wait are read again when it is their turn.
                record.image = found[1] if self.tasks.unfinished() < self._workers.count else None
            further: dict[str, Path | str] = {}
            record.views = further
            for name, view in views.items():
                further[name] = view if isinstance(view, str) else self.files.keep_picture(view[0])
            self._keep_previews(record.uuid, found, views)  # before anybody hears of the task, and asks for them
            self.tasks.add(record, limit)
        except BaseException:
            for path in record.kept_files():
                discard(path, 0)
            raise
        self._workers.submit(record)
        log.info("Task %s accepted for %s", task.uuid, model)
        if task.settings.value("delivery_method") == "sync":
            call.waiting.append(record)
        else:
            call.reply.add(identity)

    def _demand_room(self) -> None:
        """Raise the refusal of a service that takes no task in now."""
        if self.draining:
            raise RequestError("serviceUnavailable", self.obstacle())
        if self.tasks.unfinished() >= _FEW and shutil.disk_usage(self.files.folder).free < Limits.disk_reserve:
            raise disk_full()  # the pictures of thousands of tasks must not leave the results no room

    def _keep_previews(self, uuid: str, found: Any, views: Mapping[str, Any]) -> None:
        """Small copies of what has been read already; what lies at a web address is fetched by the worker alone."""
        for name, given in {FRONT: found, **views}.items():
            if self.previews is not None and isinstance(given, tuple):
                self.previews.keep(uuid, name, given[1])

    def _check_rework(self, model: str, kept: Kept | None, task: Task) -> None:
        """Raise `RequestError` where latents cannot be gone on from here, `FieldError` for what cannot change.

        Those that are None are a draft's GLB, of which a region is changed.
        """
        if kept is None:
            check_draft(model, task)
            return
        if model != TRELLIS2_MODEL:
            asked = self._choice == "draft" or task.model == DRAFT_MODEL
            sentence = message(
                "Latents can only be gone on from with TRELLIS.2, which does not run here: the draft was asked for."
                if asked
                else "Latents can only be gone on from with TRELLIS.2, which does not run here: its weights, or "
                "PyTorch, are not installed on its machine."
            )
            raise RequestError("engineNotAvailable", sentence, parameter="inputs.latents")
        if task.region is None:
            check_rework(kept, task.settings, bool(task.image))
        elif kept.is_rough:
            raise whole_only()

    def _get_response(self, call: _Call) -> None:
        record = self._known(call) if call.over_socket else self._seen(call)
        data, errors = self.tasks.items(record, call.base_url) if record is not None else ([], [])
        call.reply.add(*data)
        call.reply.report(errors)

    def _get_task_details(self, call: _Call) -> None:
        record = self._known(call)
        data, errors = self.tasks.items(record, call.base_url)
        response = {key: items for key, items in (("data", data), ("errors", errors)) if items}
        call.reply.add({**echo(call.request), "request": [record.request], "response": response})

    def _cancel(self, call: _Call) -> None:
        """Our own extension; the platform cannot cancel. `cancelled` is false when the task was done before."""
        record = self._known(call)
        cancelled = not call.dry_run and self.tasks.cancel(record)
        call.reply.add({**echo(call.request), "cancelled": cancelled})

    def _media(self, call: _Call) -> None:
        item = answer_media(call.request, self.files, call.base_url, self._policy, call.caller, dry_run=call.dry_run)
        call.reply.add({**echo(call.request), "cost": 0} if call.dry_run else item)

    def _cut_out(self, call: _Call) -> None:
        """Our own extension: what a task would see of a picture, to be looked at before the task is sent."""
        leave = self._has_mask_model()
        item = answer_cutout(
            call.request, self.files, call.base_url, self._policy, call.caller, may_leave=leave, dry_run=call.dry_run
        )
        call.reply.add({**echo(call.request), **item})

    def _authenticate(self, call: _Call) -> None:
        key = call.request.get("apiKey")
        self.caller(key)
        call.reply.add({**echo(call.request), "connectionSessionUUID": new_uuid()})

    def _ping(self, call: _Call) -> None:
        call.reply.add({**echo(call.request), "pong": True})

    def _stop(self, call: _Call) -> None:
        """Our own extension, where the add-on looks after the service: end it, whoever else uses it."""
        assert self._on_stop is not None
        check_administrator(call.caller)
        call.reply.add(echo(call.request))
        if not call.dry_run:
            self._on_stop()

    def _account(self, call: _Call) -> None:
        operation = call.request.get("operation")
        if operation != "getDetails":
            allowed = {"allowedValues": ["getDetails"]}
            raise FieldError("operation", operation, "allowed: getDetails", code="invalidOperation", constraint=allowed)
        call.reply.add({**echo(call.request), "operation": operation, **account_details()})

    # The rest

    def _settled(self, record: TaskRecord, index: int) -> None:
        if record.done:
            self._workers.forget(record.uuid)
        self.troubles.of_result(record, index)
        for field in record.deliveries(index):
            self._send(record, index, field)

    def _send(self, record: TaskRecord, index: int, field: str) -> None:
        """Tell the address in `field` about a result."""
        slot = record.slots[index]

        def done() -> None:
            with contextlib.suppress(sqlite3.ProgrammingError):  # the service has ended: it is told once more
                self._journal.delivered(record.uuid, index, field)

        if field == "uploadEndpoint" and slot.item is not None:
            file = slot.item["outputs"]["files"][0]
            path = self.files.folder / f"{file['uuid']}.glb"
            self._delivery.put_file(record.settings["upload_endpoint"], path, done)
        elif field == "webhookURL":
            item = with_address(slot.item, record.base_url) if slot.item is not None else slot.error
            self._delivery.post_item(record.settings["webhook_url"], item or {}, done)

    def _sweep(self) -> None:
        """What has expired goes, also while nobody asks for anything."""
        while not self._ended.wait(_SWEEP_SECONDS):
            try:
                self.files.sweep()
                self.tasks.sweep()
                if self.previews is not None:
                    self.previews.sweep(lambda uuid: self.tasks.get(uuid) is not None)
            except Exception as error:
                log.error("What has expired cannot be removed", exc_info=error)

    def _seen(self, call: _Call) -> TaskRecord | None:
        """The task that is meant; other people's are as if they were not there."""
        record = self.tasks.get(_uuid(call.request))
        return record if record is not None and call.caller.may_see(record.person) else None

    def _known(self, call: _Call) -> TaskRecord:
        return self.known(_uuid(call.request), call.caller)

    def _has_mask_model(self) -> bool:
        """Whether pictures without a plain background can be cut out here."""
        from ..pipeline.mask import model_file

        return model_file() is not None

    def _serves(self, model: str) -> bool:
        try:
            registry.engine_for(model, self._choice, self._has_trellis2)
        except FieldError:
            return False
        return True


def account_details() -> JsonObject:
    """What the platform tells of an account, as far as there is one here: nobody pays, nobody is named."""
    nothing = {"credits": 0, "requests": 0}
    return {
        "organizationName": message("This computer"),
        "balance": {"amount": 0, "freeBalance": 0, "currency": "USD"},
        "usage": {"total": nothing, "today": nothing, "last7Days": nothing, "last30Days": nothing},
        "note": message(
            "This is a service of your own, without an account: its results cost nothing, and a balance of 0 "
            "stops nothing."
        ),
    }


def check_administrator(caller: Caller) -> Caller:
    if not caller.is_administrator:
        raise RequestError("forbidden", "That is for administrators; this token is a person's.")
    return caller


def task_not_found(uuid: str) -> RequestError:
    sentence = message("No task with the UUID {uuid} is known here (any more).", uuid=uuid)
    return RequestError("taskNotFound", sentence, parameter="taskUUID")


def key_error(key: Any) -> RequestError:
    """The refusal of a token that is wrong, or not there."""
    fields = {"parameter": "apiKey", "taskType": "authentication"}
    if key is None:
        return RequestError("missingApiKey", "No token: send the header Authorization: Bearer TOKEN.", **fields)
    return RequestError("invalidApiKey", "The token is not this service's; use the one it was started with.", **fields)


def _uuid(request: JsonObject) -> str:
    uuid = request.get("taskUUID")
    if uuid is None:
        sentence = message("taskUUID: nothing was given; say which task is meant.")
        raise RequestError("missingTaskUUID", sentence, parameter="taskUUID")
    return check_uuid(uuid)


def _unsupported(sentence: str) -> RequestError:
    return RequestError("unsupportedTaskType", sentence, parameter="taskType")
