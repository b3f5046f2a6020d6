"""A service with faults: our own service over real HTTP, which does wrong what a script tells it to.

    from fault_server import FILE, POLL, SUBMIT, FaultServer
    from faults import lost_answer, status, truncated

    with FaultServer([lost_answer(SUBMIT), status(503, POLL, times=3), truncated(FILE)]) as server:
        client = Client(server.url, server.token)
        ...
        assert server.unused == []                      # every fault of the script has happened
        assert len(server.asked(SUBMIT)) == 2           # the tasks of that type, as they came in
        assert "authorization" not in server.log[-1].headers

The script is a list of faults. Each request gets the first fault that is meant for it and not used up, and is
answered properly when there is none. Every fault takes

    on      which requests: SUBMIT, POLL, FILE, DETAILS, UPLOAD, ACCOUNT, any other taskType, or ANY
    times   how often it happens (1; FOREVER)
    after   how many such requests pass first (0)

What there is, by what it does to the request:

    never reaches the service   dropped, status, rate_limited, refused, html, empty, garbage, hang
    is done, the answer is lost lost_answer, or any of those above with done=True: status(502, SUBMIT, done=True)
    the answer is late          delayed (before it is done), late (after it was done)
    the answer breaks off       reset, truncated, wrong_length, dripping, header_drips
    busy, and says 200          said_busy
    a file is not what it says  cut_short (whole to HTTP, half a GLB), html(FILE), altered, redirected, looping, packed
    the answer's JSON is odd    data_as_object, without_status, without_index, empty_errors, single_error, item_error,
                                list_parameter, for_others, among_others, duplicated, reversed_order, trickling,
                                status_word, no_data, in_the_acknowledgement, files_elsewhere, results_at, costing,
                                edited (your own)
    time                        clock_jump: the service's clock, so that files expire; server.clock.jump() by hand

`server.engine` makes a small valid GLB at once (`seconds` to slow it down; `errors[seed]` to fail it; `calls` counts).
`server.service` is the service itself, `server.add(fault)` goes on with the script, `server.stop()` and
`server.start()` end and restart it at the same address (what it remembers then is in `folder`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from trellis_addon.core.progress import Progress
from trellis_addon.engines.engine import Made, Order
from trellis_addon.formats.glb.write import Material, Mesh, write_glb
from trellis_addon.service.content.delivery import Delivery
from trellis_addon.service.edge.app import create_app
from trellis_addon.service.handlers import Service
from trellis_addon.service.main import listen
from trellis_addon.task.settings import DRAFT_MODEL

SUBMIT, POLL, FILE, ANY = "3dInference", "getResponse", "file", "any"
DETAILS, UPLOAD, ACCOUNT = "getTaskDetails", "mediaStorage", "accountManagement"
FOREVER = 10**9
Json = dict[str, Any]


class FaultServer:
    """See the module's docstring."""

    def __init__(self, faults: Iterable[Fault] = (), *, workers: int = 4, folder: Path | None = None) -> None:
        self.token = "token-of-the-fault-server-4711"
        self.log: list[Seen] = []
        self.clock = Clock()
        self.engine = FastEngine()
        self._faults = list(faults)
        self._workers = workers
        self._folder = folder
        self._port = 0
        self.start()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return self.base + "/v1"

    @property
    def other_host(self) -> str:
        """The same server under a name that is another host to every client."""
        return f"http://localhost:{self._port}"

    @property
    def unused(self) -> list[Fault]:
        """What of the script has not happened (yet)."""
        return [fault for fault in self._faults if fault.times < FOREVER and fault.happened < fault.times]

    def asked(self, kind: str) -> list[Json]:
        """All tasks of this type that came in, whatever became of them."""
        return [task for seen in self.log for task in seen.tasks if task.get("taskType") == kind]

    def add(self, *faults: Fault) -> None:
        self._faults += faults

    def start(self) -> None:
        self.service = Service(
            self.token,
            workers=self._workers,
            folder=self._folder,
            create_engine=lambda model, device="": self.engine,
            clock=self.clock,
            delivery=Delivery(first_wait=0.02),
        )
        listener = listen("127.0.0.1", self._port)
        self._port = listener.getsockname()[1]
        self._inner = create_app(self.service, None)
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            log_config=None,
            http="h11",
            ws="none",
            lifespan="off",
            proxy_headers=False,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self.service.start()
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(5)
        self.service.close()

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.service.close()
        self._server.should_exit = self._server.force_exit = True  # its thread is a daemon and ends soon

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        exchange = Exchange(self, scope, send, await _body(receive), receive)
        fault = next((fault for fault in self._faults if fault.takes(exchange.kinds)), None)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.log.append(
            Seen(scope["method"], scope["path"], headers, exchange.tasks, fault.name if fault else "", time.monotonic())
        )
        if fault is None:
            await self._inner(scope, exchange.receive, send)
        else:
            with contextlib.suppress(asyncio.CancelledError):  # the end of the test, in the middle of a slow fault
                await fault.action(exchange)


@dataclass(frozen=True)
class Seen:
    """A request as it came in: its headers by lower-case name, its tasks, and the fault that it met."""

    method: str
    path: str
    headers: Mapping[str, str]
    tasks: list[Json]
    fault: str
    time: float


@dataclass
class Fault:
    name: str
    on: str
    action: Callable[[Exchange], Awaitable[None]]
    times: int = 1
    after: int = 0
    matched: int = 0
    happened: int = 0

    def takes(self, kinds: set[str]) -> bool:
        """Whether this request is one for it; counts."""
        if (self.on != ANY and self.on not in kinds) or self.happened >= self.times:
            return False
        self.matched += 1
        if self.matched <= self.after:
            return False
        self.happened += 1
        return True


class Clock:
    """The service's time, which can jump."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset

    def jump(self, seconds: float) -> None:
        self.offset += seconds


class FastEngine:
    """Makes a wavy sheet; the bytes depend on the seed."""

    model = DRAFT_MODEL

    def __init__(self) -> None:
        self.seconds = 0.0
        self.errors: dict[int, BaseException] = {}
        self.calls: list[int] = []

    def generate(self, order: Order, progress: Progress) -> Made:
        seed = order.seed
        self.calls.append(seed)
        progress.update("mesh", 0.3)
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            progress.check()
            time.sleep(0.005)
        if seed in self.errors:
            raise self.errors[seed]
        return Made(small_glb(seed))

    def release(self) -> None:
        pass


def small_glb(seed: int = 0, side: int = 40) -> bytes:
    """A valid GLB of some 50 kB."""
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, side), np.linspace(0, 1, side))
    positions = np.stack([x, y, 0.1 * np.sin(9 * x + seed % 7)], 2).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).reshape(-1, 1)
    faces = np.concatenate([corner + [0, 1, side], corner + [1, side + 1, side]]).astype(np.uint32)
    return write_glb(Mesh(positions, faces), Material(), {"seed": seed})


@dataclass
class Exchange:
    """One request, and the answer to it once `run` has asked the service."""

    server: FaultServer
    scope: Any
    send: Any
    request_body: bytes
    rest: Any
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    _given: bool = False

    @property
    def tasks(self) -> list[Json]:
        try:
            found = json.loads(self.request_body)
        except ValueError:
            return []
        return [task for task in (found if isinstance(found, list) else [found]) if isinstance(task, dict)]

    @property
    def kinds(self) -> set[str]:
        if self.scope["path"].startswith("/files/"):
            return {FILE}
        return {str(task.get("taskType")) for task in self.tasks}

    async def receive(self) -> Any:
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self.request_body, "more_body": False}
        return await self.rest()

    async def pass_on(self) -> None:
        await self.server._inner(self.scope, self.receive, self.send)

    async def run(self) -> None:
        """Let the service do and answer it, for us alone."""

        async def collect(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                self.body += message.get("body", b"")

        await self.server._inner(self.scope, self.receive, collect)

    async def reply(
        self,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        pieces: int = 1,
        pause: float = 0.0,
    ) -> None:
        """Answer properly, with what `run` got where nothing else is given."""
        body = self.body if body is None else body
        sent = {"content-type": "application/json", **self.headers, **(headers or {}), "content-length": str(len(body))}
        raw = [(name.encode(), value.encode()) for name, value in sent.items()]
        await self.send({"type": "http.response.start", "status": status or self.status or 200, "headers": raw})
        size = math.ceil(len(body) / pieces) or 1
        for start in range(0, len(body), size):
            await self.send({"type": "http.response.body", "body": body[start : start + size], "more_body": True})
            await asyncio.sleep(pause)
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def cut(self, data: bytes = b"", *, reset: bool = True) -> None:
        """Write these bytes as they are and end the connection, with a reset or in an orderly way."""
        transport = self.send.__self__.transport  # uvicorn's: ASGI knows no way to break off
        if data:
            transport.write(data)
            await asyncio.sleep(0.05)  # a reset would take back what is still on its way
        if reset:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
        await asyncio.sleep(0.05)  # until uvicorn has noticed and does not answer in our place


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body
