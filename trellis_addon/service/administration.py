"""What an administrator sees and does: the row by person, devices, disk, what went wrong; and the switches."""

from __future__ import annotations

import os
import shutil

from ..core.errors import FieldError
from ..core.machine.memory import machine_memory
from ..core.version import VERSION
from ..engines.devices import device_memory
from .handlers import Service, task_not_found
from .monitoring.metrics import outcome
from .people.caller import THE_HOUSE, Caller
from .protocol import JsonObject
from .records import TaskRecord

MOST_ON_A_PAGE = 100


class Administration:
    """The service as those see it who look after it; plain data, with names as JSON has them."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def overview(self) -> JsonObject:
        """Everything that a first look needs."""
        service = self._service
        disk = shutil.disk_usage(service.files.folder)
        total, free = machine_memory()
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "engine": service.engine,
            "paused": service.paused,
            "draining": service.draining,
            "obstacle": service.obstacle(),
            "workers": service.workers,
            "running": service.meter.running,
            "waiting": service.waiting().total(),
            "unfinished": service.tasks.unfinished(),
            "people": self.people(),
            "devices": device_memory(service.devices()),
            "memory": {"total": total, "free": free},
            "disk": {
                "total": disk.total,
                "free": disk.free,
                "files": service.files.size,
                "quota": service.files.quota,
            },
            "errors": self.errors(),
        }

    def people(self) -> list[JsonObject]:
        """The holder of the single token, everybody with a named one, and whoever else has tasks here."""
        service = self._service
        waiting: dict[str, int] = {}
        for (person, _, _), count in service.waiting().items():
            waiting[person] = waiting.get(person, 0) + count
        running = service.meter.running_by_person()
        unfinished, used = service.tasks.unfinished_by_person(), service.used_today()
        callers = {caller.name: caller for caller in (THE_HOUSE, *service.people.all())}
        names = [*callers, *sorted({*waiting, *running, *unfinished, *used} - callers.keys())]
        return [
            {
                "name": name,
                **_of_token(callers.get(name), service.people.still(callers[name]) if name in callers else None),
                "waiting": waiting.get(name, 0),
                "running": running.get(name, 0),
                "unfinished": unfinished.get(name, 0),
                "usedToday": used.get(name, 0),
            }
            for name in names
        ]

    def tasks(
        self,
        person: str | None = None,
        unfinished: bool = False,
        before: int | None = None,
        limit: int = MOST_ON_A_PAGE,
    ) -> JsonObject:
        """A page of tasks, the last that came in first; `next` is the `before` of the page that follows, or None."""
        limit = min(limit, MOST_ON_A_PAGE)
        page = self._service.tasks.page(before, limit, person, unfinished)
        return {
            "tasks": [self._task(record) for _, record in page],
            "next": page[-1][0] if len(page) == limit else None,
        }

    def errors(self) -> list[JsonObject]:
        """The last first."""
        return self._service.troubles.last()

    def cancel(self, uuid: str) -> JsonObject:
        """Stop anybody's task; raises `RequestError` where it is not known."""
        record = self._service.tasks.get(uuid) if uuid.isascii() else None
        if record is None:
            raise task_not_found(uuid[:60])
        return {"taskUUID": record.uuid, "cancelled": self._service.tasks.cancel(record)}

    def cancel_all(self, person: str) -> JsonObject:
        """Stop all that somebody has running and waiting."""
        cancelled = 0
        while page := self._service.tasks.page(None, MOST_ON_A_PAGE, person, unfinished=True):
            done = sum(self._service.tasks.cancel(record) for _, record in page)
            cancelled += done
            if not done:
                break
        return {"name": person, "cancelled": cancelled}

    def revoke(self, name: str) -> JsonObject:
        """Have a token count no more, also on connections that are open; its tasks go on."""
        if name == THE_HOUSE.name:
            raise FieldError("name", name, "the single token ends with the service; start it with another one")
        self._service.people.revoke(name)
        return {"name": name, "revoked": True}

    def pause(self, paused: bool) -> JsonObject:
        self._service.pause(paused)
        return self._state()

    def drain(self) -> JsonObject:
        self._service.drain(True)
        return self._state()

    def resume(self) -> JsonObject:
        """Take back both."""
        self._service.drain(False)
        return self.pause(False)

    def _state(self) -> JsonObject:
        service = self._service
        unfinished = service.tasks.unfinished()
        return {"paused": service.paused, "draining": service.draining, "unfinished": unfinished}

    def _task(self, record: TaskRecord) -> JsonObject:
        running = self._service.meter.is_running(record.uuid)
        return {
            "taskUUID": record.uuid,
            "person": record.person,
            "client": record.client,
            "priority": record.priority,
            "engine": record.model,
            "state": _state(record, running),
            "accepted": record.accepted,
            "finished": record.finished,
            "results": [
                {
                    "state": _result_state(record, index),
                    **({} if slot.settled else slot.news()),
                    **({"code": slot.error["code"], "message": str(slot.error["message"])} if slot.error else {}),
                }
                for index, slot in enumerate(record.slots)
            ],
        }


def _of_token(caller: Caller | None, still: Caller | None) -> JsonObject:
    """`hasToken` is false of somebody whose tasks are here, and whose token was revoked."""
    if caller is None:
        return {"hasToken": False}
    return {
        "hasToken": True,
        "isValid": still is not None,
        "role": caller.role,
        "share": caller.share,
        "priority": caller.priority,
        "dailyLimit": caller.daily_limit,
        "end": caller.end,
    }


def _state(record: TaskRecord, running: bool) -> str:
    if not record.done:
        return "running" if running else "waiting"
    states = {_result_state(record, index) for index in range(len(record.slots))}
    return next((state for state in ("succeeded", "failed") if state in states), "cancelled")


def _result_state(record: TaskRecord, index: int) -> str:
    return outcome(record, index) if record.slots[index].settled else "processing"
