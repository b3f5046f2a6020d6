"""Listening for assistants of this user, and doing what they ask on the main thread.

A call is one POST of {"tool": ..., "arguments": {...}} with the token; the answer is {"result": ...} or {"error": ...}.
It waits for its turn while Blender renders or bakes. Each that changes something is an undo step.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import queue
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bpy

from ...core.doors import Door
from ...core.errors import TrellisError, unforeseen
from ...core.files import discard
from ...jobs.job import Job
from ..arrival import running_job
from . import tools

log = logging.getLogger(__name__)

INTERVAL = 0.1  # seconds between two looks at what is asked
LONGEST = 600.0  # seconds that a call waits for its turn and its end
_MOST = 1_000_000  # bytes of a call


@dataclass(frozen=True)
class _Call:
    tool: str
    arguments: dict[str, Any]
    answer: Future[Any]


class _Open:
    """The door of this Blender; None while it is shut."""

    server: ThreadingHTTPServer | None = None
    file: Path | None = None


_calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()


def is_open() -> bool:
    return _Open.server is not None


def open_door(key_of: Callable[[Job], str] | None = None) -> Door:
    """Listen from now on, and say where; main thread only. `key_of` has the key or token for a job.

    Raises `TrellisError` where that cannot be.
    """
    shut_door()
    if key_of is not None:
        tools.take_keys(key_of)
    token = secrets.token_urlsafe(24)
    try:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(token))
        door = Door(server.server_address[1], token, os.getpid(), bpy.path.basename(bpy.data.filepath))
        _Open.file = door.tell()
    except OSError as error:
        raise TrellisError("Assistants cannot be let in: {reason}.", reason=error.strerror or str(error)) from error
    server.daemon_threads = True
    _Open.server = server
    threading.Thread(target=server.serve_forever, name="trellis-door", daemon=True).start()
    if not bpy.app.background:
        bpy.app.timers.register(_look, first_interval=INTERVAL, persistent=True)
    return door


def shut_door() -> None:
    """Listen no more; who still waits is told."""
    server, _Open.server = _Open.server, None
    if server is None:
        return
    if bpy.app.timers.is_registered(_look):
        bpy.app.timers.unregister(_look)
    server.shutdown()
    server.server_close()
    if _Open.file is not None:
        discard(_Open.file)
    while not _calls.empty():
        _calls.get_nowait().answer.set_exception(TrellisError("The door for assistants has been shut."))


def work() -> None:
    """Do what is asked; main thread only. A script without a window calls it itself, again and again."""
    while not _calls.empty() and not running_job():
        call = _calls.get_nowait()
        if not call.answer.set_running_or_notify_cancel():  # nobody waits for it any more
            continue
        try:
            result = tools.TOOLS[call.tool](**call.arguments)
            if call.tool in tools.CHANGING and not bpy.app.background:
                bpy.ops.ed.undo_push(message=f"TRELLIS.2: {call.tool}")
            call.answer.set_result(result)
        except TrellisError as error:
            call.answer.set_exception(error)
        except Exception as error:
            log.exception("What an assistant asked could not be done")
            call.answer.set_exception(unforeseen(error))


def _look() -> float:
    work()
    return INTERVAL


def _handler(token: str) -> type[BaseHTTPRequestHandler]:
    wanted = f"Bearer {token}".encode()

    class Handler(BaseHTTPRequestHandler):
        timeout = 30.0  # seconds for a request to come in

        def do_POST(self) -> None:
            # a page in a browser can send requests here, but neither a token nor another Host than it has
            host = self.headers.get("Host", "").partition(":")[0]
            shown = self.headers.get("Authorization", "").encode("utf-8", "replace")
            if host not in ("127.0.0.1", "localhost") or not hmac.compare_digest(shown, wanted):
                return self._answer(401, {"error": "The token is missing or wrong."})
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > _MOST:
                return self._answer(413, {"error": "The call has no length, or too much of it."})
            try:
                asked = json.loads(self.rfile.read(int(length)))
                call = _Call(str(asked["tool"]), dict(asked.get("arguments") or {}), Future())
            except (ValueError, KeyError, TypeError):
                return self._answer(400, {"error": "A call is an object with a tool, and arguments by name."})
            if fault := tools.fault_of(call.tool, call.arguments):
                return self._answer(400, {"error": fault})
            _calls.put(call)
            try:
                return self._answer(200, {"result": call.answer.result(LONGEST)})
            except TookTooLong:
                call.answer.cancel()
                return self._answer(504, {"error": f"Blender did not come to it within {LONGEST:.0f} s."})
            except TrellisError as error:
                return self._answer(200, {"error": str(error)})

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            log.debug(format, *args)

    return Handler
