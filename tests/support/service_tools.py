"""What the tests of the service share: a running one with a small engine, and servers for it to talk to."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from conftest import PATIENCE
from PIL import Image

from trellis_addon.core.progress import Progress
from trellis_addon.engines.engine import Engine, Made, Order
from trellis_addon.service.content.delivery import Delivery
from trellis_addon.service.edge.app import create_app
from trellis_addon.service.handlers import Service
from trellis_addon.service.main import listen
from trellis_addon.service.page.routes import page_routes
from trellis_addon.task.settings import DRAFT_MODEL, TRELLIS2_MODEL

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-secret-for-the-tests-4711"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def png(side: int = 8) -> bytes:
    buffer = io.BytesIO()
    image = Image.new("RGBA", (side, side), (200, 40, 40, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.save(buffer, "PNG")
    return buffer.getvalue()


class FakeEngine:
    """Returns a GLB that tells what it was asked; `gate` holds it until it is set, `error` is raised."""

    model = DRAFT_MODEL

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()
        self.stopped = threading.Event()
        self.errors: dict[int, BaseException] = {}
        self.seeds: list[int] = []
        self.released = False

    def generate(self, order: Order, progress: Progress) -> Made:
        seed = order.seed
        self.seeds.append(seed)
        progress.update("begin", 0.425)
        self.began.set()
        try:
            while not self.gate.wait(0.005):
                progress.check()
        except BaseException:
            self.stopped.set()
            raise
        if seed in self.errors:
            raise self.errors[seed]
        progress.update("end", 1.0)
        size = order.image.size if order.image is not None else None
        return Made(b"glTF" + json.dumps({"seed": seed, "size": size, "settings": dict(order.settings)}).encode())

    def release(self) -> None:
        self.released = True


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def until(holds: Callable[[], Any]) -> None:
    """Wait until it holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


class Running:
    """A server in a thread with everything a test wants to reach."""

    def __init__(self, engine: str = "auto", *, page: bool = False, **options: Any) -> None:
        self.engine = FakeEngine()
        self.clock = Clock()
        self.created: list[str] = []
        self.service = Service(
            TOKEN,
            engine=engine,
            create_engine=self._create,
            clock=self.clock,
            delivery=Delivery(first_wait=0.02),
            previews=page,
            **options,
        )
        listener = listen("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        hosts = [f"127.0.0.1:{self.port}", f"localhost:{self.port}"]
        app = create_app(self.service, hosts, further=page_routes(self.service) if page else ())
        self.server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]}, daemon=True)
        self.service.start()
        self.thread.start()
        self.base = f"http://127.0.0.1:{self.port}"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        # nothing is encrypted: reading the certificates of all authorities would be most of what a test costs
        self.http = httpx.Client(base_url=self.base, headers=headers, timeout=PATIENCE, verify=False)

    def _create(self, model: str, device: str = "") -> Engine:
        self.created.append(model)
        return self.engine

    def close(self) -> None:
        self.engine.gate.set()
        self.http.close()
        self.service.close()
        self.server.should_exit = self.server.force_exit = True  # its thread is a daemon and ends soon

    def post(self, *tasks: Any, **options: Any) -> httpx.Response:
        response = self.http.post("/v1", json=list(tasks), **options)
        assert response.headers["content-type"] == "application/json"
        assert response.json().get("errors") != []
        assert not any(name.startswith("access-control") for name in response.headers)
        return response

    def poll(self, task_uuid: str) -> dict[str, Any]:
        response = self.post({"taskType": "getResponse", "taskUUID": task_uuid})
        assert response.status_code == 200
        return response.json()

    def settle(self, task_uuid: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Poll until nothing is processing any more."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            body = self.poll(task_uuid)
            if (body["data"] or body.get("errors")) and all(i["status"] != "processing" for i in body["data"]):
                return body
            time.sleep(0.01)
        raise AssertionError(f"not done in time: {body}")


def task(**changes: Any) -> dict[str, Any]:
    identity = {"taskType": "3dInference", "taskUUID": str(uuid.uuid4())}
    return {**identity, "model": TRELLIS2_MODEL, "inputs": {"image": PIXEL}, **changes}


def only_error(response: httpx.Response) -> dict[str, Any]:
    (error,) = response.json()["errors"]
    assert error["message"].endswith(".") or error["message"].endswith("?")
    assert "Traceback" not in response.text
    return error


@contextmanager
def local_server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            answer(self)

        do_GET = do_POST = do_PUT = handle_any

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def picture_server(data: bytes) -> Iterator[str]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200 if handler.path == "/frog.png" else 404)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    with local_server(answer) as base_url:
        yield base_url + "/frog.png"


class Mailbox:
    """Keeps what was sent to it; refuses the first `refuse` requests."""

    def __init__(self, refuse: int = 0) -> None:
        self.refuse = refuse
        self.attempts = 0
        self.kept: list[tuple[str, str, bytes]] = []

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.attempts += 1
        refused = self.attempts <= self.refuse
        if not refused:
            self.kept.append((handler.command, handler.headers["Content-Type"], body))
        handler.send_response(503 if refused else 204)
        handler.end_headers()

    def wait(self, count: int) -> list[tuple[str, str, bytes]]:
        end = time.monotonic() + PATIENCE
        while len(self.kept) < count and time.monotonic() < end:
            time.sleep(0.01)
        assert len(self.kept) == count
        return self.kept


SERVE = "import sys; from trellis_addon.service import serve; sys.exit(serve(**eval(sys.argv[1])))"


def start(temporary: Path | None = None, **options: Any) -> subprocess.Popen[str]:
    """A service in a process of its own, with `temporary` for the system's temporary folder."""
    folders = dict.fromkeys(("TMPDIR", "TEMP"), str(temporary)) if temporary else {}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, repr(options)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **folders},
    )  # fmt: skip


def ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@pytest.fixture
def run() -> Iterator[Running]:
    running = Running()
    yield running
    running.close()
