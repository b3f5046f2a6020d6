"""Tasks as the page sees them: everything about one that may be looked at, and no picture in it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from ...core.errors import Cancelled
from ...images.reading.sources import image_kind
from ...task.views import FRONT
from ..protocol import JsonObject
from ..records import Slot, TaskRecord

if TYPE_CHECKING:
    from ..handlers import Service
    from ..people.caller import Caller
    from ..queue.tasks import TaskStore

WAITING, RUNNING, SUCCESS, ERROR, CANCELLED = "waiting", "running", "success", "error", "cancelled"


def listed(tasks: TaskStore, caller: Caller, before: int | None, count: int) -> JsonObject:
    """At most `count` tasks that `caller` may see, the newest first; `next` is the `before` of the answer that
    follows, or None."""
    change = tasks.changes.last
    page = tasks.page(before, count, whose(caller))
    return {"tasks": [seen(record, change) for _, record in page], "next": page[-1][0] if len(page) == count else None}


def whose(caller: Caller) -> str | None:
    """Whose tasks somebody sees: their own, or an administrator everybody's."""
    return None if caller.is_administrator else caller.name


def seen(record: TaskRecord, change: int) -> JsonObject:
    """What the page shows of a task; `change` is the number of a change, and everything up to it is in."""
    results = [_result(slot) for slot in record.slots]
    inputs = record.request.get("inputs", {})
    return {
        "taskUUID": record.uuid,
        "change": change,
        "status": _status([result["status"] for result in results]),
        "created": record.accepted or record.finished or 0,
        "person": record.person,
        "model": record.model,
        "seed": str(record.seed),  # beyond what JavaScript's numbers hold
        "settings": {name: value for name, value in record.settings.items() if name not in _OF_DELIVERY},
        "pictures": pictures_of(record),
        "image": _upload(inputs.get("image")),
        "views": {name: _upload(text) for name, text in (inputs.get("views") or {}).items()},
        "isRework": "latents" in inputs or "mesh" in inputs,
        "results": results,
    }


def pictures_of(record: TaskRecord) -> list[str]:
    """The names of what went in, the front first."""
    inputs = record.request.get("inputs", {})
    return [FRONT, *(inputs.get("views") or {})] if inputs.get("image") else []


def file_of(record: TaskRecord, index: int) -> tuple[str, str] | None:
    """The secret and the name of a result's file; None where there is none."""
    if not 0 <= index < len(record.slots) or (item := record.slots[index].item) is None:
        return None
    _, _, secret, name = item["outputs"]["files"][0]["url"].split("/")
    return secret, name


def state_of(service: Service, caller: Caller) -> JsonObject:
    """The service itself: what it runs on, who waits, how full the disk is."""
    disk = shutil.disk_usage(service.files.folder)
    return {
        **service.about(caller),
        "waiting": sum(service.waiting().values()),
        "running": service.meter.running,
        "disk": {"free": disk.free, "total": disk.total, "kept": service.files.size},
        "obstacle": service.obstacle(),
    }


_OF_DELIVERY = frozenset(("webhook_url", "upload_endpoint"))  # addresses that are nobody else's business


def _status(each: list[str]) -> str:
    for status in (RUNNING, WAITING, SUCCESS, ERROR):
        if status in each:
            # one result is there and another waits: the task is on its way
            return RUNNING if status == WAITING and set(each) != {WAITING} else status
    return CANCELLED


def _result(slot: Slot) -> JsonObject:
    if slot.error is not None:
        kept = {name: slot.error[name] for name in ("code", "message", "template", "values") if name in slot.error}
        return {"status": CANCELLED if kept.get("code") == Cancelled.code else ERROR, "error": kept}
    if slot.item is None:
        return {"status": RUNNING if slot.stage else WAITING, **slot.news()}
    names = ("seed", "cost", "engine", "performance", "stages", "notes", "noteTemplates", "outputs", "latents")
    told: dict[str, Any] = {name: slot.item[name] for name in names if name in slot.item}
    return {"status": SUCCESS, **told, "seed": str(told["seed"])}


def _upload(text: Any) -> str:
    """The upload that an input was, by which it can be used again; "" where it was none."""
    return text if isinstance(text, str) and image_kind(text.strip()) == "uuid" else ""
