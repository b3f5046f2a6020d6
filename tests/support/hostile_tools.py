"""What the tests of hostile input share: a service process to attack, and pictures that are not what they say."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from conftest import PATIENCE, disc, encoded
from PIL import Image
from service_tools import ROOT, TOKEN, only_error

MIB = 2**20
SERVE = """
import json, sys
from trellis_addon.service.limits import Limits
from trellis_addon.service.main import Options, run
sys.exit(run(Options(token=sys.argv[1], engine="draft", limits=Limits(**json.loads(sys.argv[2])))))
"""
JSON = {"Content-Type": "application/json"}
AUTH = {"Authorization": f"Bearer {TOKEN}"}


class Target:
    """The service under attack."""

    def __init__(self, folder: Path, **limits: float) -> None:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.log = folder / "stderr.txt"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, TOKEN, json.dumps(limits)],
                cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(folder)},
            )  # fmt: skip
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]
        self.port = int(self.url.rsplit(":", 1)[1].removesuffix("/v1"))
        self.http = httpx.Client(base_url=self.url.removesuffix("/v1"), headers=AUTH, timeout=PATIENCE, verify=False)

    def close(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(PATIENCE)

    def post(self, *tasks: Any, **options: Any) -> httpx.Response:
        return self.http.post("/v1", json=list(tasks), **options)

    def send(self, body: bytes | Iterator[bytes], **headers: str) -> httpx.Response:
        """A body as it is; without our token where the headers say "Authorization": ""."""
        asked = {k.replace("_", "-"): v for k, v in {**JSON, **AUTH, **headers}.items() if v}
        return httpx.post(self.url, content=body, headers=asked, timeout=PATIENCE)

    def ping(self) -> None:
        """What an honest client does: it has its answer before it loses patience."""
        response = httpx.post(self.url, json=[{"taskType": "ping"}], headers=AUTH, timeout=PATIENCE)
        assert response.json() == {"data": [{"taskType": "ping", "pong": True}]}

    def connect(self, start: bytes = b"", **options: Any) -> socket.socket:
        connection = socket.socket()
        for name, value in options.items():
            connection.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(start)
        return connection

    def raw(self, request: bytes) -> bytes:
        with self.connect(request) as connection:
            return received(connection)

    def head(self, **headers: object) -> bytes:
        """The header of a POST, with our token."""
        fields = {"Host": f"127.0.0.1:{self.port}", **JSON, **AUTH, **headers}
        lines = (f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        return ("POST /v1 HTTP/1.1\r\n" + "".join(lines)).encode()

    def memory(self) -> dict[str, int]:
        """Bytes by the names of /proc/PID/status."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Vm")}

    @contextmanager
    def flat(self, most: int) -> Iterator[None]:
        """Its memory grows by at most so many megabytes meanwhile, and it answers afterwards."""
        if not Path(f"/proc/{self.process.pid}/clear_refs").exists():
            yield
        else:
            before = self.memory()["VmRSS"]
            Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")  # the highest so far is now the present one
            yield
            grown = (self.memory()["VmHWM"] - before) / MIB
            assert grown < most, f"{grown:.0f} MB more"
        self.ping()


@contextmanager
def attacked(running: Target) -> Iterator[Target]:
    """The service until its end; it must not have crashed over anything."""
    running.post({"taskType": "imageUpload", "image": data_uri(encoded(disc(64)))})  # what is loaded once is loaded
    yield running
    assert running.process.poll() is None
    running.close()
    assert "Traceback" not in running.log.read_text(errors="replace")


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side ends it."""
    found = b""
    while True:
        try:
            piece = connection.recv(1 << 16)
        except ConnectionResetError:
            return found
        if not piece:
            return found
        found += piece


def data_uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def refused(response: httpx.Response, status: int, code: str) -> None:
    assert (response.status_code, only_error(response)["code"]) == (status, code), response.text[:500]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, depth: int = 8, colour: int = 0, rows: int | None = None) -> bytes:
    """A PNG of zeros, of as many rows as it says or fewer."""
    pack = zlib.compressobj(1)
    row = bytes(1 + (width * depth * {0: 1, 2: 3, 6: 4}[colour] + 7) // 8)
    pieces = [pack.compress(row * 100) for _ in range((height if rows is None else rows) // 100)]
    data = b"".join([*pieces, pack.flush()])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_of(width: int, height: int, **options: Any) -> bytes:
    """A small JPEG that says it has another size."""
    data = bytearray(encoded(Image.new("RGB", (16, 16), (200, 60, 40)), "JPEG", **options))
    place = next(i for mark in (b"\xff\xc0", b"\xff\xc2") if (i := data.find(mark)) > 0)
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_of(width: int, height: int) -> bytes:
    """An animated WebP whose canvas is as large as it says."""
    frames = [Image.new("RGBA", (16, 16), (number, 90, 90, 128)) for number in (10, 200)]
    data = bytearray(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=50))
    place = data.find(b"VP8X")
    data[place + 12 : place + 18] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def exif_bomb() -> bytes:
    """Thousands of entries that all point to the same megabytes."""
    count, size = 20_000, 4_000_000
    first = 8 + 2 + count * 12 + 4
    entries = b"".join(struct.pack("<HHII", n, 7, size - first, first) for n in range(1, count + 1))
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4) + bytes(size - first)
