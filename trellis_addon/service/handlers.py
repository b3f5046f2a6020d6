"""What the service does for each type of task. Called from many threads; never waits for a generation."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engines import base
from ..errors import FieldError, TrellisError
from ..settings import DRAFT_MODEL, TASK_TYPE, TRELLIS2_MODEL
from ..task import Task, check_uuid, new_uuid, random_seed
from ..version import VERSION
from .delivery import Delivery
from .files import FileStore
from .media import answer_media, task_image
from .protocol import JsonObject, Reply, RequestError, echo, error_object, without_payload
from .tasks import Slot, TaskRecord, TaskStore
from .worker import Worker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Call:
    """One task of a request and what its method may need: it answers into `reply`, or adds to `waiting`."""

    request: JsonObject
    base_url: str
    dry_run: bool
    reply: Reply
    waiting: list[TaskRecord]


class Service:
    """The tasks, the files and the worker behind one token.

    `engine` is one of `engines.base.CHOICES`. `create_engine(model)`, `clock()` (seconds) and
    `delivery` are handed in by tests. Call `start` before the first task, and `close` at the end.
    """

    def __init__(
        self,
        token: str,
        *,
        engine: str = "auto",
        folder: str | Path | None = None,
        create_engine: Callable[[str], base.Engine] = base.create_engine,
        clock: Callable[[], float] = time.time,
        delivery: Delivery | None = None,
    ) -> None:
        self._token = token.encode()
        self._choice = engine
        self.engine = base.engine_for(TRELLIS2_MODEL, engine)
        self.files = FileStore(clock, folder)
        self.tasks = TaskStore(clock, self._deliver)
        self._delivery = delivery or Delivery()
        self._worker = Worker(self.tasks, self.files, create_engine)
        self.closing = False

    def start(self) -> None:
        self._worker.start()

    def close(self) -> None:
        """Give up all work and remove all files."""
        self.closing = True
        self._worker.stop()
        self.tasks.cancel_all()
        self._delivery.close()
        self.files.close()

    def knows(self, token: Any) -> bool:
        """Whether this is the token; takes as long for a wrong one as for the right one."""
        return isinstance(token, str) and hmac.compare_digest(token.encode("utf-8", "replace"), self._token)

    def about(self) -> JsonObject:
        """Who answers here: for the handshake of the add-on."""
        models = [model for model in (TRELLIS2_MODEL, DRAFT_MODEL) if self._serves(model)]
        return {"name": "trellis-addon-service", "version": VERSION, "engine": self.engine, "models": models}

    def answer(self, requests: list[Any], base_url: str, dry_run: bool) -> tuple[Reply, list[TaskRecord]]:
        """Do all tasks of one request; also those whose result the reply has to wait for.

        `base_url` is the address that the client knows this service by, for the URLs of files.
        """
        reply = Reply()
        waiting: list[TaskRecord] = []
        for request in requests:
            call = _Call(request, base_url, dry_run, reply, waiting)
            try:
                self._method(request)(call)
            except TrellisError as error:
                log.info("Refused: %s", error)
                reply.refuse(error_object(error, request))
            except Exception as error:
                log.error("A request failed unexpectedly", exc_info=error)
                sentence = "The service failed at this task; its log has the details."
                reply.refuse(error_object(RequestError("internalServerError", sentence), request))
        return reply, waiting

    def _method(self, request: Any) -> Callable[[_Call], None]:
        """What does this type of task, or `RequestError`."""
        if not isinstance(request, dict):
            raise FieldError("task", request, "give a JSON object", code="invalidObject")
        methods = {
            TASK_TYPE: self._inference,
            "getResponse": self._get_response,
            "getTaskDetails": self._get_task_details,
            "cancelTask": self._cancel,
            "mediaStorage": self._media,
            "imageUpload": self._media,
            "authentication": self._authenticate,
            "ping": self._ping,
            "accountManagement": self._account,
        }
        task_type = request.get("taskType")
        if not isinstance(task_type, str) or not task_type:
            sentence = f'A task has no taskType; give one such as "{TASK_TYPE}".'
            raise RequestError("missingTaskType", sentence, parameter="taskType")
        if task_type not in methods:
            raise _unsupported(f'The taskType "{task_type[:60]}" is not supported here; this service does {TASK_TYPE}.')
        return methods[task_type]

    # One method a task type

    def _inference(self, call: _Call) -> None:
        task = Task.from_request(call.request)
        model = base.engine_for(task.model, self._choice)
        self.tasks.check_new(task.uuid)
        image, image_url = task_image(task.image, self.files)
        identity = {"taskType": TASK_TYPE, "taskUUID": task.uuid}
        if call.dry_run:
            call.reply.add({**identity, "cost": 0, "engine": model})
            return
        seed = task.settings.get("seed")
        record = TaskRecord(
            uuid=task.uuid,
            settings=task.settings,
            model=model,
            request=without_payload(call.request),
            seed=random_seed() if seed is None else seed,
            base_url=call.base_url,
            image=image,
            image_url=image_url,
            slots=[Slot() for _ in range(task.settings.value("number_results"))],
        )
        self.tasks.add(record)
        self._worker.submit(record)
        log.info("Task %s accepted for %s", task.uuid, model)
        if task.settings.value("delivery_method") == "sync":
            call.waiting.append(record)
        else:
            call.reply.add(identity)

    def _get_response(self, call: _Call) -> None:
        record = self.tasks.get(_uuid(call.request))
        data, errors = self.tasks.items(record) if record is not None else ([], [])
        call.reply.add(*data)
        call.reply.report(errors)

    def _get_task_details(self, call: _Call) -> None:
        record = self._known(call.request)
        data, errors = self.tasks.items(record)
        response = {key: items for key, items in (("data", data), ("errors", errors)) if items}
        call.reply.add({**echo(call.request), "request": [record.request], "response": response})

    def _cancel(self, call: _Call) -> None:
        """Our own extension; the platform cannot cancel. `cancelled` is false when the task was done before."""
        record = self._known(call.request)
        cancelled = not call.dry_run and self.tasks.cancel(record)
        call.reply.add({**echo(call.request), "cancelled": cancelled})

    def _media(self, call: _Call) -> None:
        if call.dry_run:
            call.reply.add({**echo(call.request), "cost": 0})
        else:
            call.reply.add(answer_media(call.request, self.files, call.base_url))

    def _authenticate(self, call: _Call) -> None:
        key = call.request.get("apiKey")
        if not self.knows(key):
            raise key_error(key)
        call.reply.add({**echo(call.request), "connectionSessionUUID": new_uuid()})

    def _ping(self, call: _Call) -> None:
        call.reply.add({**echo(call.request), "pong": True})

    def _account(self, call: _Call) -> None:
        # A balance of 0 would read as "no credit left".
        raise _unsupported(
            "This is a service on your own machine: it has no account and no balance; its results cost nothing."
        )

    # The rest

    def _deliver(self, record: TaskRecord, index: int) -> None:
        settings = record.settings
        slot = record.slots[index]
        news = slot.item or slot.error
        if self.closing or news is None:
            return
        if "webhook_url" in settings:
            self._delivery.post_item(settings["webhook_url"], news)
        if "upload_endpoint" in settings and slot.item is not None:
            file = slot.item["outputs"]["files"][0]
            self._delivery.put_file(settings["upload_endpoint"], self.files.folder / f"{file['uuid']}.glb")

    def _known(self, request: JsonObject) -> TaskRecord:
        uuid = _uuid(request)
        record = self.tasks.get(uuid)
        if record is None:
            raise RequestError(
                "taskNotFound", f"No task with the UUID {uuid} is known here (any more).", parameter="taskUUID"
            )
        return record

    def _serves(self, model: str) -> bool:
        try:
            base.engine_for(model, self._choice)
        except FieldError:
            return False
        return True


def key_error(key: Any) -> RequestError:
    """The refusal of a token that is wrong, or not there."""
    fields = {"parameter": "apiKey", "taskType": "authentication"}
    if key is None:
        return RequestError("missingApiKey", "No token: send the header Authorization: Bearer TOKEN.", **fields)
    return RequestError("invalidApiKey", "The token is not this service's; use the one it was started with.", **fields)


def _uuid(request: JsonObject) -> str:
    uuid = request.get("taskUUID")
    if uuid is None:
        sentence = "taskUUID: nothing was given; say which task is meant."
        raise RequestError("missingTaskUUID", sentence, parameter="taskUUID")
    return check_uuid(uuid)


def _unsupported(sentence: str) -> RequestError:
    return RequestError("unsupportedTaskType", sentence, parameter="taskType")
