"""What the tests of the network share: a SOCKS5 server, a company of our own, servers that show its certificates."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NETWORK_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
NETWORK_VARIABLES += ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "PIP_CONFIG_FILE", "SSLKEYLOGFILE")


def forget_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of what this machine says of proxies and certificates is to be seen."""
    for name in NETWORK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


class Socks:
    """A SOCKS5 server on this machine that leads every name to `target`; `asked` is what it was asked for.

    `login` is (name, password); `does` is "serve", "refuse" the connection, "hush" and say nothing, or "speak" HTTP.
    """

    def __init__(self, target: tuple[str, int], login: tuple[bytes, bytes] | None = None, does: str = "serve") -> None:
        self._target, self._login, self._does = target, login, does
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.asked: list[tuple[str, int]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def url(self) -> str:
        login = "" if self._login is None else "{}:{}@".format(*(part.decode() for part in self._login))
        return f"socks5://{login}127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if self._does == "hush":
                client.recv(1000)
                client.recv(1000)
                return
            if self._does == "speak":
                client.recv(1000)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
            _, count = client.recv(2)
            methods = client.recv(count)
            if self._login is not None:
                if 2 not in methods:
                    client.sendall(b"\x05\xff")
                    return
                client.sendall(b"\x05\x02")
                _, length = client.recv(2)
                name = client.recv(length)
                password = client.recv(client.recv(1)[0])
                client.sendall(b"\x01\x00" if (name, password) == self._login else b"\x01\x01")
                if (name, password) != self._login:
                    return
            else:
                client.sendall(b"\x05\x00")
            _, _, _, kind = client.recv(4)
            if kind == 3:
                host = client.recv(client.recv(1)[0]).decode()
            else:
                family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
                host = socket.inet_ntop(family, client.recv(size))
            self.asked.append((host, struct.unpack(">H", client.recv(2))[0]))
            client.sendall(bytes([5, 5 if self._does == "refuse" else 0, 0, 1, 0, 0, 0, 0, 0, 0]))
            if self._does == "serve":
                with socket.create_connection(self._target) as there:
                    _join(client, there)


def _join(one: socket.socket, other: socket.socket) -> None:
    def carry(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=carry, args=(other, one), daemon=True)
    back.start()
    carry(one, other)
    back.join(5)


@contextmanager
def socks_server(target: tuple[str, int], **options: Any) -> Iterator[Socks]:
    server = Socks(target, **options)
    try:
        yield server
    finally:
        server.close()


class Company:
    """A certificate authority of our own in `folder`, and certificates by it; `file` is its own."""

    def __init__(self, folder: Path) -> None:
        if not shutil.which("openssl"):
            pytest.skip("openssl is not here")
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.file = folder / "company.pem"
        subject = ["-subj", "/CN=A Company", "-addext", "basicConstraints=critical,CA:TRUE"]
        use = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        self._run("req", "-x509", *KEY, "-keyout", "company.key", "-out", "company.pem", "-days", "900", *subject, *use)

    def context(self, *names: str, days: int = 900) -> ssl.SSLContext:
        """What a server needs that shows a certificate for these names."""
        kinds = ("IP:" + name if name.replace(".", "").isdigit() else "DNS:" + name for name in names)
        (self.folder / "names").write_text("subjectAltName=" + ",".join(kinds) + "\n")
        self._run("req", *KEY, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
        by = ["-CA", "company.pem", "-CAkey", "company.key", "-CAcreateserial"]
        self._run(
            "x509", "-req", "-in", "server.csr", *by, "-out", "server.pem", "-days", str(days), "-extfile", "names"
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        return context

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


KEY = ("-newkey", "rsa:2048", "-nodes")
Answer = Callable[[http.server.BaseHTTPRequestHandler, bytes], tuple[int, bytes]]


def pong(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
    """What the task API answers to a ping."""
    task = json.loads(body)[0]
    item = {"taskType": task["taskType"], "taskUUID": task["taskUUID"], "pong": True}
    return 200, json.dumps({"data": [item]}).encode()


class Server(http.server.ThreadingHTTPServer):
    """A web server on this machine, by TLS where a context is given; `seen` are (method, target, headers)."""

    daemon_threads = True

    def __init__(
        self, answer: Answer = pong, context: ssl.SSLContext | None = None, more: dict[str, str] | None = None
    ) -> None:
        seen: list[tuple[str, str, dict[str, str]]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen.append((self.command, self.path, headers))
                status, content = answer(self, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                for name, value in (more or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_CONNECT = handle_any

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = seen
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: Any) -> None:
        pass  # a client that does not trust it hangs up


@contextmanager
def serving(
    answer: Answer = pong, context: ssl.SSLContext | None = None, headers: dict[str, str] | None = None
) -> Iterator[Server]:
    server = Server(answer, context, headers)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
