"""A web server of files that behaves as badly as told: slow, cut, damaged, without ranges, busy, changing, moved."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PIECE = 16384


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    sent: int = 0  # bytes of the body


@dataclass
class Mirror:
    """What the server serves and how. Files are by path, without the first slash."""

    files: dict[str, bytes]
    cuts: list[int] = field(default_factory=list)  # after how many bytes the next replies break off
    damaged: dict[str, int] = field(default_factory=dict)  # path -> how many times still with a byte turned
    rate: float = 0.0  # bytes per second; 0 is as fast as it goes
    ranges: bool = True
    tag: Callable[[bytes], str] = lambda body: f'"{hashlib.md5(body).hexdigest()}"'
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # the next answers
    redirect: str = ""  # where to everything is redirected
    headers: dict[str, str] = field(default_factory=dict)
    stall: threading.Event = field(default_factory=threading.Event)  # while set, bodies stop in the middle
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    most_at_once: int = 0
    _active: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path.partition("?")[0] == path]


class _Handler(BaseHTTPRequestHandler):
    mirror: Mirror
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        request = Request(self.path[1:], {name.lower(): value for name, value in self.headers.items()})
        with self.mirror._lock:
            self.mirror.requests.append(request)
            self.mirror._active += 1
            self.mirror.most_at_once = max(self.mirror.most_at_once, self.mirror._active)
            refusal = self.mirror.refusals.pop(0) if self.mirror.refusals else None
        try:
            if refusal:
                self._answer(refusal[0], refusal[1])
            elif self.mirror.redirect:
                self._answer(302, {"Location": self.mirror.redirect + self.path})
            else:
                self._file(request)
        except OSError:  # the other side has gone
            self.close_connection = True
        finally:
            with self.mirror._lock:
                self.mirror._active -= 1

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _file(self, request: Request) -> None:
        path = request.path.partition("?")[0]
        body = self.mirror.files.get(path)
        if body is None:
            self._answer(404, {})
            return
        tag = self.mirror.tag(body)
        start = self._start(request, len(body), tag)
        if start > len(body) or (start == len(body) and start):
            self._answer(416, {"Content-Range": f"bytes */{len(body)}"})
            return
        with self.mirror._lock:
            cut = self.mirror.cuts.pop(0) if self.mirror.cuts else len(body)
            if turned := self.mirror.damaged.get(path, 0) > 0:
                self.mirror.damaged[path] -= 1
        rest = bytearray(body[start:])
        if turned:
            rest[len(rest) // 2] ^= 1
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        if tag:
            self.send_header("ETag", tag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        for name, value in self.mirror.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self._send(request, bytes(rest), cut)

    def _start(self, request: Request, size: int, tag: str) -> int:
        asked = request.headers.get("range", "")
        if not self.mirror.ranges or not asked or request.headers.get("if-range", tag) != tag:
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _send(self, request: Request, rest: bytes, cut: int) -> None:
        began = time.monotonic()
        piece = max(1, min(PIECE, int(self.mirror.rate / 20))) if self.mirror.rate else PIECE
        for place in range(0, min(cut, len(rest)), piece):
            while self.mirror.stall.is_set() and place:
                time.sleep(0.01)
            sent = rest[place : min(place + piece, cut)]
            self.wfile.write(sent)
            self.wfile.flush()
            request.sent += len(sent)
            if self.mirror.rate:
                time.sleep(max(0.0, request.sent / self.mirror.rate - (time.monotonic() - began)))
        if cut < len(rest):
            self.close_connection = True
            self.connection.shutdown(2)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextlib.contextmanager
def serving(mirror: Mirror) -> Iterator[Mirror]:
    """Serve it on a free port of this machine."""

    handler = type("Handler", (_Handler,), {"mirror": mirror})
    server = _Server(("127.0.0.1", 0), handler)
    mirror.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        mirror.stall.clear()
        server.shutdown()
        server.server_close()
        thread.join()
