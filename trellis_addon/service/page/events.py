"""What changes in the tasks, as it changes: server-sent events, read with the token in the header.

    task    a task as `gallery.seen` has it, whenever something in it has changed; first of all those not finished
    gone    {"taskUUID": ...}: it is not kept any more
    state   as `gallery.state_of` has it, at the start and where it has changed
    out     the token does not count any more; the last event

Who connects anew reads the list of tasks anew; what happened in between is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from ..protocol import JsonObject, encode
from ..records import TaskRecord
from . import gallery

if TYPE_CHECKING:
    from ..handlers import Service
    from ..people.caller import Caller

_MOST_AT_ONCE = 500  # tasks
_LOOK = 0.25  # seconds between two looks at what has changed
_STATE = 4.0  # seconds between two looks at the service itself
_BREATH = 15.0  # seconds after which something is sent, so that no proxy takes the line for dead


async def changes(service: Service, caller: Caller) -> AsyncIterator[bytes]:
    """The events of what `caller` may see, until the token does not count any more or the service ends."""
    clock = asyncio.get_running_loop().time
    tasks = service.tasks
    change = tasks.changes.last
    for record in await run_in_threadpool(_unfinished, service, caller):
        yield _event("task", gallery.seen(record, change))
    state: JsonObject = {}
    looked = sent = -_BREATH
    while not service.closing:
        if service.people.still(caller) is None:
            yield _event("out", {})
            return
        now = clock()
        events: list[bytes] = []
        if now - looked >= _STATE:
            looked, found = now, await run_in_threadpool(gallery.state_of, service, caller)
            if found != state:
                state = found
                events.append(_event("state", state))
        if tasks.changes.last != change:
            since, change = change, tasks.changes.last
            events += await run_in_threadpool(_news, service, caller, since, change)
        if not events and now - sent >= _BREATH:
            events.append(b":\n\n")
        if events:
            sent = now
            yield b"".join(events)
        await asyncio.sleep(_LOOK)


def _unfinished(service: Service, caller: Caller) -> list[TaskRecord]:
    page = service.tasks.page(None, _MOST_AT_ONCE, gallery.whose(caller), unfinished=True)
    return [record for _, record in page]


def _news(service: Service, caller: Caller, since: int, change: int) -> list[bytes]:
    found = []
    for uuid in service.tasks.changes.since(since):
        record = service.tasks.get(uuid)
        found.append(
            _event("gone", {"taskUUID": uuid}) if record is None else _event("task", gallery.seen(record, change))
        )
    return found


def _event(name: str, body: JsonObject) -> bytes:
    return b"event: " + name.encode("ascii") + b"\ndata: " + encode(body) + b"\n\n"
