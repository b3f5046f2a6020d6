"""The same tasks over a WebSocket at the same address, where a library for that is installed.

The first frame shows the token (`authentication`); each further frame is what a request's body is over
HTTP, and is answered by one frame. Frames are worked on side by side: one that waits for a `sync` task
does not hold up the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..handlers import Service, key_error
from ..people.caller import Caller
from ..protocol import JsonObject, RequestError, ServiceReply, encode, error_object
from ..records import TaskRecord
from .guard import KNOWN
from .origin import public_address

AT_ONCE = 32  # frames of one connection that may be in work
BYTES_AT_ONCE = 128 * 2**20  # ... and what these may be together
FIRST_FRAME_SECONDS = 5.0
LOOK_SECONDS = 0.5  # between two looks at whether a connection's token still counts

OpenBody = Callable[[bytes, Caller | None], tuple[list[Any], Caller]]
Wait = Callable[[TaskRecord, ServiceReply, Caller], Awaitable[None]]


def is_available() -> bool:
    """Whether uvicorn can speak the protocol here."""
    return importlib.util.find_spec("websockets") is not None


class SocketEdge:
    """What serves a connection. `open_body` and `wait` are those of the HTTP edge."""

    def __init__(self, service: Service, open_body: OpenBody, wait: Wait) -> None:
        self._service = service
        self._open = open_body
        self._wait = wait
        self._caller: Caller | None = None

    async def serve(self, socket: WebSocket) -> None:
        if "origin" in socket.headers:  # a web page, which may connect to any address unasked
            await socket.close()
            return
        await socket.accept()
        working: dict[asyncio.Task[None], int] = {}  # and the size of its frame
        try:
            first = await asyncio.wait_for(_receive(socket), FIRST_FRAME_SECONDS)
            if not await self._answer(socket, first):
                await socket.close(1008)
                return
            working[asyncio.create_task(self._watch(socket))] = 0
            while True:
                while len(working) > AT_ONCE or sum(working.values()) > BYTES_AT_ONCE:
                    await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
                frame = await _receive(socket)
                task = asyncio.create_task(self._answer_later(socket, frame))
                working[task] = len(frame)
                task.add_done_callback(lambda done: working.pop(done, None))
                del frame
        except TimeoutError:
            await socket.close(1008)
        except WebSocketDisconnect:
            pass
        finally:
            for task in list(working):
                task.cancel()

    async def _answer_later(self, socket: WebSocket, frame: bytes) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the client has gone in the meantime
            await self._answer(socket, frame)

    async def _watch(self, socket: WebSocket) -> None:
        """End the connection when its token counts no more, also where nobody says anything."""
        while self._caller is None or self._service.people.still(self._caller) is not None:
            await asyncio.sleep(LOOK_SECONDS)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await _send(socket, {"errors": [error_object(key_error(""))]})
            await socket.close(1008)

    async def _answer(self, socket: WebSocket, frame: bytes) -> bool:
        """Answer one frame, of which the first shows whose connection that is; whether it was let in."""
        try:
            if self._caller is not None and self._service.people.still(self._caller) is None:
                raise key_error("")
            requests, caller = await run_in_threadpool(self._open, frame, self._caller)
            self._caller = caller
        except RequestError as error:
            await _send(socket, {"errors": [error_object(error)]})
            return False
        socket.scope.setdefault("state", {})[KNOWN] = True
        reply, waiting = await run_in_threadpool(
            self._service.answer, requests, public_address(socket), False, "", caller, over_socket=True
        )
        for record in waiting:
            await self._wait(record, reply, caller)
        await _send(socket, reply.body)
        return True


async def _receive(socket: WebSocket) -> bytes:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1000)
    text = message.get("text")
    return message.get("bytes") or b"" if text is None else text.encode("utf-8", "replace")


async def _send(socket: WebSocket, body: JsonObject) -> None:
    await socket.send_text(encode(body).decode("ascii"))
