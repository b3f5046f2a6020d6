"""Hostile input against a real service process: refused with the right code and one sentence, memory flat, and honest
clients are served meanwhile and afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import itertools
import json
import random
import socket
import struct
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import PATIENCE, disc, encoded
from hostile_tools import (
    MIB,
    Target,
    attacked,
    chunk,
    data_uri,
    exif_bomb,
    jpeg_of,
    png,
    received,
    refused,
    webp_of,
)
from PIL import Image
from service_tools import PIXEL, ROOT, TOKEN, Running, local_server, only_error, task

from trellis_addon.service.edge.guard import Guard
from trellis_addon.service.limits import Limits, most_connections


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with attacked(Target(tmp_path_factory.mktemp("hostile"), connections=60)) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One without patience."""
    quick = {"header_seconds": 1.5, "pause_seconds": 1.5, "body_seconds": 2.0, "write_seconds": 1.5}
    with attacked(Target(tmp_path_factory.mktemp("hasty"), **quick)) as running:
        yield running


# Who asks


@pytest.mark.parametrize(
    "key", ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "x" * 12_000, "\u00e9\u00fc", "null", "{}", "' or 1=1"]
)
def test_a_wrong_token(target: Target, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}".strip().encode("latin-1")}
    with target.flat(64):
        for answer in (
            httpx.post(target.url, json=[task()], headers=headers),
            httpx.get(target.url, headers=headers),
            httpx.post(target.url, json=[{"taskType": "authentication", "apiKey": key}, task()]),
            httpx.post(target.url, json=[task()], headers={**headers, "X-Runware-Dry-Run": "1"}),
        ):
            refused(answer, 401, "invalidApiKey")
            assert TOKEN not in answer.text


def test_headers_without_end(target: Target) -> None:
    answers: list[bytes] = []
    with target.flat(64):
        for request in (
            b"GET /v1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"x" * MIB,
            b"GET /" + b"x" * MIB,
            b"GET /v1 HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(50_000)),
            b"\x16\x03\x01\x02\x00\x01\x00" + bytes(1000),  # somebody speaks TLS
            b"\r\n" * 5000,
        ):
            with target.connect() as connection:
                try:
                    connection.sendall(request)
                    answer = received(connection)
                except (BrokenPipeError, ConnectionResetError):
                    answer = b""  # it may close before all was sent, and its answer is lost then
            answers.append(answer)
    assert all(answer == b"" or answer.startswith(b"HTTP/1.1 400") for answer in answers)
    assert answers[3].startswith(b"HTTP/1.1 400"), "so few bytes are read to their end, and answered"


# Bodies


def zeros(megabytes: int) -> Iterator[bytes]:
    return itertools.repeat(b"0" * MIB, megabytes)


def test_hundreds_of_megabytes_from_strangers(target: Target) -> None:
    with target.flat(64):
        for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}):
            answer = target.send(zeros(100), **headers)  # in chunks, without a length
            refused(answer, 401, "invalidApiKey" if headers["Authorization"] else "missingApiKey")
        refused(target.send(zeros(100), Content_Type="text/plain"), 415, "unsupportedMediaType")


def test_a_picture_behind_the_token_in_the_first_task_is_read(target: Target) -> None:
    """What nobody has proven himself for is not kept; what comes after the proof is."""
    key = {"taskType": "authentication", "apiKey": TOKEN}
    upload = {"taskType": "imageUpload", "image": data_uri(encoded(disc(160))) + " " * 100_000}
    answer = target.send(json.dumps([key, upload]).encode(), Authorization="")
    assert answer.status_code == 200 and answer.json()["data"][1]["imageUUID"]
    late = json.dumps([{**key, "pad": "x" * 20_000}, upload]).encode()
    refused(target.send(late, Authorization=""), 401, "missingApiKey")


def test_more_than_a_body_may_have(target: Target) -> None:
    with target.flat(64):
        refused(target.send(b"0" * (65 * MIB)), 413, "bodyTooLarge")
    with target.flat(100):  # in chunks nobody knows before how long it gets: what may be is kept
        refused(target.send(zeros(100)), 413, "bodyTooLarge")
        chunk = b"%x\r\n%b\r\n" % (MIB, bytes(MIB))
        with target.connect(target.head(Transfer_Encoding="chunked") + b"\r\n") as endless:
            sent = itertools.count()
            with contextlib.suppress(OSError):
                while next(sent) < 400:
                    endless.sendall(chunk)
            assert next(sent) < 350


@pytest.mark.parametrize("length", [2**40, 2**62, 2**70, 10**300])
def test_a_length_that_is_a_lie(target: Target, length: int) -> None:
    with target.flat(64):
        answer = target.raw(target.head(Content_Length=length) + b"\r\n[]")
        assert answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400")), answer[:200]


def test_a_body_that_ends_too_early(hasty: Target) -> None:
    answer = hasty.raw(hasty.head(Content_Length=1000) + b"\r\n[]")
    assert answer.startswith(b"HTTP/1.1 408") and b"requestTooSlow" in answer
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    "field", ["Content-Length: -1", "Content-Length: 1\r\nContent-Length: 2", "Content-Length: 0x10",
              "Transfer-Encoding: chunked\r\nContent-Length: 4", "Transfer-Encoding: gzip, chunked",
              "Content-Length: 2\r\n folded: yes", "Transfer-Encoding: xchunked"]
)  # fmt: skip
def test_requests_that_two_servers_could_read_differently(target: Target, field: str) -> None:
    smuggled = b"0\r\n\r\nGET /v1 HTTP/1.1\r\nHost: evil\r\n\r\n"
    answer = target.raw(target.head() + field.encode() + b"\r\n\r\n" + smuggled)
    assert answer.startswith(b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.1 501"), answer[:200]
    assert b'"data"' not in answer.partition(b"\r\n\r\n")[2] or b'"errors"' in answer


def test_bodies_that_are_packed(target: Target) -> None:
    bomb = gzip.compress(bytes(100 * MIB))
    with target.flat(64):
        for encoding in ("gzip", "br", "deflate", "zstd", "gzip, gzip"):
            refused(target.send(bomb, Content_Encoding=encoding), 415, "unsupportedMediaType")
        refused(target.send(bomb), 400, "invalidJSON")


# JSON


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" * 50_000, "invalidJSON"),
        (b'{"a":' * 50_000, "invalidJSON"),
        (b"[" * 20_000_000, "taskLimitExceeded"),
        (b"[" + b"{}," * 8_000_000 + b"{}]", "taskLimitExceeded"),
        (b'[{"a":[' + b"1," * 8_000_000 + b"1]}]", "taskLimitExceeded"),
        (b"[" + b"7" * 5000 + b"]", "invalidJSON"),
        (b"[" + b"7" * 30_000_000 + b"]", "invalidJSON"),
        (b'["' + "\U0001f600".encode() + b"x" * 20_000_000 + b'"]', "invalidJSON"),
        (b"[" + b" " * 30_000_000 + b"]", "emptyRequest"),
        (b"\xef\xbb\xbf[" + b"\x00" * 1000, "invalidJSON"),
        (("[" * 2000).encode("utf-16"), "invalidJSON"),
    ],
    ids=[
        "depth",
        "deep objects",
        "depth by megabytes",
        "objects",
        "numbers",
        "digits",
        "many digits",
        "wide letters",
        "blanks",
        "zeros",
        "utf-16",
    ],
)
def test_json_that_would_burst(target: Target, body: bytes, code: str) -> None:
    with target.flat(len(body) * 4 // MIB + 24):  # as it came, as text, and as one value of it
        refused(target.send(body), 400, code)


def test_numbers_and_texts_beyond_all_bounds(target: Target) -> None:
    dry = {"X-Runware-Dry-Run": "1"}
    for raw in ("1e999", "-1e999", "9" * 4000, "1" + "0" * 308 + ".5", '"\\ud800"', "null", "[[]]", "1e-999"):
        for field in ("seed", "numberResults", "ttl"):
            body = json.dumps([{**task(), field: 4711}]).replace("4711", raw).encode()
            answer = target.send(body, **dry)
            assert answer.status_code in (200, 400), (raw, field)
            json.loads(answer.text, parse_constant=lambda name: pytest.fail(name))


def test_thousands_of_tasks(target: Target) -> None:
    with target.flat(64):
        refused(target.send(json.dumps([{"taskType": "ping"}] * 1001).encode()), 400, "taskLimitExceeded")
        many = target.post(*[{"taskType": "nonsense" * 100, "taskUUID": "u" * 5000}] * 1000)
        assert many.status_code == 400 and len(many.json()["errors"]) == 1000 and len(many.content) < MIB
        assert len(target.post(*[{"taskType": "ping"}] * 1000).json()["data"]) == 1000


# Slow clients


def test_slow_clients_do_not_hold_up_honest_ones(hasty: Target) -> None:
    big = encoded(Image.frombytes("RGB", (2000, 2000), random.Random(1).randbytes(12_000_000)), compress_level=0)
    address = hasty.post({"taskType": "imageUpload", "image": data_uri(big)}).json()["data"][0]["imageURL"]
    path = address.split(str(hasty.port))[1].encode()
    host = b"Host: 127.0.0.1:%d\r\n" % hasty.port
    with hasty.flat(96):
        headers = [hasty.connect(b"POST /v1 HTTP/1.1\r\nHost: 1") for _ in range(15)]
        bodies = [hasty.connect(hasty.head(Content_Length=10_000_000) + b"\r\n[") for _ in range(15)]
        dripping = [hasty.connect(hasty.head(Content_Length=10_000_000) + b"\r\n[") for _ in range(5)]
        silent = [hasty.connect() for _ in range(10)]
        deaf = [hasty.connect(b"GET %b HTTP/1.1\r\n%b\r\n" % (path, host), SO_RCVBUF=4096) for _ in range(5)]
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            hasty.ping()
            for connection in dripping + headers[:3]:
                with contextlib.suppress(OSError):  # let go
                    connection.sendall(b" ")
            time.sleep(0.15)
        for connection in headers[3:]:
            assert received(connection).startswith(b"HTTP/1.1 408")
        answers = [received(connection) for connection in bodies]
        assert all(answer.startswith(b"HTTP/1.1 408") and b"requestTooSlow" in answer for answer in answers)
        for connection in dripping:  # one that still sends when the service closes loses the answer
            answer = received(connection)
            assert not answer or (answer.startswith(b"HTTP/1.1 408") and b"requestTooSlow" in answer)
        assert all(received(connection) == b"" for connection in silent)
        assert all(len(received(connection)) < len(big) for connection in deaf)
        for connection in headers + bodies + dripping + silent + deaf:
            connection.close()
    assert hasty.http.get(path.decode()).content == big


def test_more_connections_than_there_may_be(target: Target) -> None:
    """Whoever only holds a connection loses it to those who ask for something."""
    descriptors = Path(f"/proc/{target.process.pid}/fd")
    held: list[socket.socket] = []
    with target.flat(64):
        for number in range(150):
            held.append(target.connect())
            if number % 50 == 49:
                target.ping()
        if descriptors.exists():
            assert len(list(descriptors.iterdir())) < 60 + 40
        for connection in held:
            connection.close()


def test_a_websocket_that_has_not_shown_the_token_may_send_little(target: Target) -> None:
    pytest.importorskip("websockets")
    hello = (
        f"GET /v1 HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    with target.flat(64), target.connect(hello) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 101")
        with contextlib.suppress(OSError):
            connection.sendall(b"\x81\xff" + struct.pack(">Q", 60 * MIB) + bytes(4))  # a text of 60 MB, masked
            for _ in range(60):
                connection.sendall(bytes(MIB))
        assert received(connection) == b""


HELLO = (
    "GET /v1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def text_frame(text: str) -> bytes:
    """As a client sends it, which masks it: here with nothing."""
    return b"\x81" + bytes([0x80 | len(text)]) + bytes(4) + text.encode()


def ask_over(connection: socket.socket, *tasks: Any) -> bytes:
    connection.sendall(text_frame(json.dumps(list(tasks))))
    return connection.recv(4096)


def test_websockets_of_strangers_lock_nobody_out(target: Target) -> None:
    """Who has not shown the token goes first, whatever it does in place of that; who has shown it stays."""
    pytest.importorskip("websockets")
    hello, key = HELLO.format(port=target.port).encode(), {"taskType": "authentication", "apiKey": TOKEN}
    wrong = text_frame('[{"taskType":"authentication","apiKey":"wrong"}]')
    ways = (b"", wrong, b"\x81\xff", b"\x89\x80" + bytes(4), text_frame("[]"))  # silent, half a frame, a ping
    with contextlib.ExitStack() as open_ones:
        honest = open_ones.enter_context(target.connect(hello))
        assert honest.recv(4096).startswith(b"HTTP/1.1 101") and b"connectionSessionUUID" in ask_over(honest, key)
        strangers = []
        for number in range(180):  # thrice what there is room for
            strangers.append(open_ones.enter_context(target.connect()))
            with contextlib.suppress(OSError):  # others of its kind come
                strangers[-1].sendall(hello)
                if strangers[-1].recv(4096).startswith(b"HTTP/1.1 101"):
                    strangers[-1].sendall(ways[number % len(ways)])
            if number % 20 == 19:
                target.ping()
                late = open_ones.enter_context(target.connect(hello))
                assert late.recv(4096).startswith(b"HTTP/1.1 101") and b"connectionSession" in ask_over(late, key)
                late.close()
        assert b"pong" in ask_over(honest, {"taskType": "ping"})
        for connection in strangers[1::5]:
            received(connection)  # to its end, which comes though they do nothing
        assert b"pong" in ask_over(honest, {"taskType": "ping"})


# Who one says to be


@pytest.mark.parametrize(
    ("proto", "host", "expected"),
    [
        ("https", "gpu-box.example", "https://gpu-box.example"),
        ("https", "gpu-box.example:8443", "https://gpu-box.example:8443"),
        ("HTTPS", "[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("javascript", "evil.example/x?", "http://127.0.0.1"),
        ("", 'a"b', "http://127.0.0.1"),
        ("https, http", "a, b", "http://127.0.0.1"),
        ("http", "x" * 300, "http://127.0.0.1"),
    ],
)
def test_a_proxy_on_this_machine_says_how_it_was_asked(target: Target, proto: str, host: str, expected: str) -> None:
    headers = {"X-Forwarded-Proto": proto, "X-Forwarded-Host": host}
    (item,) = target.post({"taskType": "imageUpload", "image": PIXEL}, headers=headers).json()["data"]
    assert item["imageURL"].startswith(expected)
    assert item["imageURL"].count("//") == 1


# Paths


def test_paths_that_lead_elsewhere(target: Target) -> None:
    upload = target.post({"taskType": "imageUpload", "image": PIXEL}).json()["data"][0]["imageURL"]
    secret, name = upload.split("/files/")[1].split("/")
    tricks = [
        "/files/../../../../../../etc/passwd",
        "/files/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        f"/files/{secret}/../{secret}/x",
        f"/files/{secret}/..%2f..%2f..%2fetc%2fpasswd",
        f"/files/{secret}/%2fetc%2fpasswd",
        f"/files/{secret}/{name}%00",
        f"/files/{secret}/{name}/",
        f"/files/{secret}/",
        f"/files/{secret}",
        "/files//etc/passwd",
        f"/files/{secret[:-1]}/{name}",
        f"/files/{secret}/C:%5CWindows%5Cwin.ini",
        f"/files/{secret}/%5C%5Chost%5Cshare%5Cx",
        f"//files/{secret}/{name}",
        f"/files/{secret.upper()}/{name}",
        f"/files/{secret}/{name.upper()}",
        f"/files/*/{name}",
        f"/FILES/{secret}/{name}",
        "/etc/passwd",
        "/../etc/passwd",
        "/v1/../files",
        "/%00",
        "/files/%ff%fe/x",
        "/files/" + "a/" * 3000,
        "/v1;/x",
        "http://169.254.169.254/latest/meta-data",
        "*",
    ]
    for path in tricks:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nConnection: close\r\n\r\n"
        answer = target.raw(request.encode())
        assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400", b"HTTP/1.1 405")), (path, answer[:80])
        assert b"root:" not in answer and str(ROOT).encode() not in answer
    assert target.http.get(f"/files/{secret}/{name}").status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "..\\..\\x",
        "C:\\x.png",
        "\\\\host\\share\\x.png",
        "file:///etc/passwd",
        "a\x00b",
        "%2e%2e%2f",
        "~/x",
        "$HOME",
        "CON",
        "x" * 100_000,
        str(uuid.uuid4()) + "\x00",
        "\u202e",
        "ftp://x/y",
        "gopher://x",
    ],
)
def test_names_that_are_no_uuids_and_no_pictures(target: Target, name: str) -> None:
    dry = {"X-Runware-Dry-Run": "1"}
    for request in (
        {"taskType": "getResponse", "taskUUID": name},
        {"taskType": "getTaskDetails", "taskUUID": name},
        {"taskType": "cancelTask", "taskUUID": name},
        {"taskType": "mediaStorage", "operation": "delete", "mediaUUID": name},
        {"taskType": "mediaStorage", "operation": "upload", "media": name},
        {"taskType": "imageUpload", "image": name},
        task(taskUUID=name),
        task(inputs={"image": name}),
    ):
        answer = target.post(request, headers=dry if request["taskType"] == "3dInference" else {})
        assert answer.status_code == 400, (request["taskType"], answer.text[:300])
        error = only_error(answer)
        assert len(error["message"]) < 400 and "root:" not in answer.text


# Pictures


REFUSED: dict[str, Callable[[], bytes]] = {
    "100 megapixels": lambda: png(10_000, 10_000),
    "100 megapixels in colour": lambda: png(10_000, 10_000, colour=6),
    "100 megapixels, one bit each": lambda: png(10_000, 10_000, depth=1),
    "100 megapixels as a progressive JPEG": lambda: jpeg_of(10_000, 10_000, progressive=True),
    "a header of four thousand megapixels": lambda: png(65_000, 65_000, rows=100),
    "a header beyond all": lambda: png(2**31 - 1, 2**31 - 1, rows=0),
    "a JPEG that lies": lambda: jpeg_of(65_000, 65_000),
    "a WebP that lies": lambda: webp_of(16_384, 16_384),
    "50 megapixels that are not there": lambda: png(7000, 7000, rows=0),
    "a packed text": lambda: png(64, 100, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100 * MIB)))),
    "a cut off picture": lambda: encoded(disc(160))[:-200],
    "nothing but a signature": lambda: b"\x89PNG\r\n\x1a\n",
    "a pickle": lambda: b"\x80\x04\x95" + bytes(100),
    "an archive": lambda: b"PK\x03\x04" + bytes(100),
    "a GIF": lambda: encoded(Image.new("L", (8, 8)), "GIF"),
    "a TIFF": lambda: encoded(Image.new("L", (8, 8)), "TIFF"),
    "an SVG": lambda: b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><svg>&y;</svg>',
    "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run",
}


@pytest.mark.parametrize("what", REFUSED)
def test_pictures_that_are_refused(target: Target, what: str) -> None:
    text = data_uri(REFUSED[what]())
    with target.flat(96):
        refused(target.post({"taskType": "imageUpload", "image": text}), 400, "invalidImage")
        refused(target.post(task(inputs={"image": text})), 400, "invalidImage")


ACCEPTED: dict[str, Callable[[], bytes]] = {
    "an animation": lambda: encoded(disc(64), "PNG", save_all=True, append_images=[disc(64)] * 3),
    "16 bits": lambda: encoded(Image.new("I;16", (3000, 3000), 40_000)),
    "entries that point to the same": lambda: encoded(Image.new("RGB", (64, 64)), exif=exif_bomb()),
    "the same in a JPEG": lambda: encoded(Image.new("RGB", (64, 64)), "JPEG", exif=exif_bomb()[:60_000]),
    "a packed profile": lambda: png(100, 100, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(900_000)))),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_odd_pictures_that_do_no_harm(target: Target, what: str) -> None:
    with target.flat(128):
        answer = target.post({"taskType": "imageUpload", "image": data_uri(ACCEPTED[what]())})
        assert answer.status_code == 200, answer.text


def test_base64_that_takes_for_ever_to_tell(target: Target) -> None:
    """Blanks before a wrong sign: a careless pattern would try all ways to share them out."""
    with target.flat(96):
        text = "A" * 64 + " " * 3_000_000 + "!"
        refused(target.post({"taskType": "imageUpload", "image": text}), 400, "invalidImage")


def test_a_picture_server_that_sends_a_packed_flood(target: Target) -> None:
    flood = gzip.compress(bytes(200 * MIB))

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(flood)))
        handler.end_headers()
        with contextlib.suppress(OSError):  # the other side hangs up
            handler.wfile.write(flood)

    with local_server(answer) as address, target.flat(64):
        refused(target.post({"taskType": "imageUpload", "image": address + "/x.png"}), 400, "invalidImage")


# Limits that take long to reach


class Connection:
    """As much of a connection as a guard looks at."""

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: str, since: float, is_waiting: bool = True) -> None:
        self.loop, self.client, self.since, self.is_waiting = loop, (peer, 1), since, is_waiting
        self.is_stranger = False
        self.ended = False
        self.transport: Any = self

    def abort(self) -> None:
        self.ended = True

    def look(self, now: float, limits: Limits) -> None:
        pass


def test_one_client_has_only_so_many_connections() -> None:
    loop = asyncio.new_event_loop()
    guard = Guard(Limits(connections=100, client_connections=3))
    busy = Connection(loop, "192.0.2.7", 0.0, is_waiting=False)
    known = [busy, *(Connection(loop, "192.0.2.7", float(number)) for number in (5, 3))]
    other = Connection(loop, "192.0.2.8", 0.0)
    local = [Connection(loop, "127.0.0.1", 0.0) for _ in range(10)]  # a proxy on this machine stands for many
    for connection in (*known, other, *local):
        guard.add(connection)
    assert not any(connection.ended for connection in (*known, other, *local))
    guard.add(Connection(loop, "192.0.2.7", 9.0))
    assert [connection.ended for connection in known] == [False, False, True]  # the one that waited longest
    assert not other.ended and not any(connection.ended for connection in local)
    for connection in known:
        connection.is_waiting = False
    guard.add(first := Connection(loop, "192.0.2.7", 10.0, is_waiting=False))
    guard.add(second := Connection(loop, "192.0.2.7", 11.0))
    assert second.ended and not first.ended  # all others are at work: the newest goes
    assert 16 <= most_connections(Limits(connections=10**9)) <= 10**9
    loop.close()


def test_strangers_go_first() -> None:
    loop = asyncio.new_event_loop()
    guard = Guard(Limits(connections=16))
    known = [Connection(loop, "127.0.0.1", 0.0) for _ in range(12)]  # who has been here longest, and waits
    strangers = [Connection(loop, "127.0.0.1", float(number)) for number in (7, 5, 6, 8)]
    for connection in strangers:
        connection.is_stranger = True
    for connection in (*known, *strangers):
        guard.add(connection)
    assert not any(connection.ended for connection in (*known, *strangers))
    guard.add(Connection(loop, "127.0.0.1", 9.0))
    assert [connection.ended for connection in strangers] == [False, True, False, False]  # the one that waited longest
    guard.add(another := Connection(loop, "127.0.0.1", 10.0))
    another.is_stranger = True
    guard.add(one_more := Connection(loop, "127.0.0.1", 11.0))
    one_more.is_stranger = True
    assert [connection.ended for connection in strangers] == [True, True, True, False]
    assert not any(connection.ended for connection in (*known, another, one_more))
    loop.close()


def test_uploads_that_would_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running()
    try:
        upload = {"taskType": "imageUpload", "image": PIXEL}
        kept = running.post(upload).json()["data"][0]["imageUUID"]
        for name, value in (("uploads", 1), ("upload_bytes", 100), ("disk_reserve", 2**60)):
            with monkeypatch.context() as patched:
                patched.setattr(Limits, name, value)
                refused(running.post(upload), 507, "storageLimitExceeded")
        assert running.post({"taskType": "mediaStorage", "operation": "delete", "mediaUUID": kept}).status_code == 200
        monkeypatch.setattr(Limits, "uploads", 1)
        assert running.post(upload).status_code == 200
    finally:
        running.close()


def test_slow_picture_servers_do_not_take_all_threads(target: Target) -> None:
    gate = threading.Event()

    def answer(handler: Any) -> None:
        gate.wait(PATIENCE)
        handler.send_response(404)
        handler.end_headers()

    with local_server(answer) as address, ThreadPoolExecutor(Limits.fetches + 4) as pool:
        try:
            upload = {"taskType": "imageUpload", "image": address + "/x.png"}
            asked = [pool.submit(target.post, upload) for _ in range(Limits.fetches + 4)]
            early = [each.result().status_code for each in itertools.islice(as_completed(asked, 10), 4)]
            assert early == [429] * 4
            target.ping()
        finally:
            gate.set()
        assert sorted(each.result().status_code for each in asked) == [400] * Limits.fetches + [429] * 4


# Anything


def test_random_mutations_of_good_requests(target: Target) -> None:
    draw = random.Random(7)
    body = json.dumps([task(settings={"resolution": 512}), {"taskType": "ping"}]).encode()
    good = target.head(Content_Length=len(body), Connection="close", X_Runware_Dry_Run=1) + b"\r\n" + body
    with target.flat(96):  # a request that is still a good one is worked on meanwhile
        for _ in range(150):
            damaged = bytearray(good)
            for _ in range(draw.choice((1, 1, 3, 20))):
                place = draw.randrange(len(damaged))
                damaged[place : place + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
            connection = target.connect(bytes(damaged))
            connection.shutdown(socket.SHUT_WR)
            with connection:
                answer = received(connection)
            assert answer == b"" or answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4")), answer[:200]


def test_it_all_left_nothing_behind(target: Target) -> None:
    """Runs last: the whole suite above, and the process is hardly larger than when it began."""
    if Path("/proc").exists():
        assert target.memory()["VmRSS"] < 400 * MIB
        assert len(list(Path(f"/proc/{target.process.pid}/fd").iterdir())) < 40
    assert io.BytesIO(target.http.get("/openapi.json").content).read(1) == b"{"
