"""A request can be left at any moment, whatever the other side does, and what never answers is not waited for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from conftest import PATIENCE, disc, encoded, sentence  # first: it is what finds the package

# isort: split
import faults as f
import httpx
import pytest
from fault_server import FILE, FOREVER, POLL, SUBMIT, UPLOAD, Fault, FaultServer
from weights_mirror import Mirror, serving

from trellis_addon.api import prepare_task
from trellis_addon.client.backends import Backend
from trellis_addon.client.client import Client
from trellis_addon.core.errors import (
    Cancelled,
    DamagedFileError,
    Interrupted,
    NetworkError,
    TimedOutError,
    TrellisError,
)
from trellis_addon.core.progress import Progress
from trellis_addon.images.reading import web
from trellis_addon.jobs.job import State
from trellis_addon.jobs.runner import run_job
from trellis_addon.jobs.store import JobStore
from trellis_addon.local.environment import index
from trellis_addon.local.environment.pip_settings import PipSettings
from trellis_addon.task.settings import Settings
from trellis_addon.task.task import Result
from trellis_addon.transfer import file, small
from trellis_addon.transfer import line as line_module
from trellis_addon.transfer.client import make_client
from trellis_addon.transfer.download import fetch_file
from trellis_addon.transfer.line import Line
from trellis_addon.transfer.part import Remote

AT_ONCE = 1.0  # seconds, on a machine with other things to do


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def silent(on: str) -> Fault:
    return f.hang(30.0, on, times=FOREVER)


@pytest.mark.parametrize("kind", [Cancelled, Interrupted])
@pytest.mark.parametrize(
    ("on", "fault"),
    [
        (SUBMIT, silent),
        (SUBMIT, f.header_drips),
        (SUBMIT, lambda on: f.dripping(on, 30.0, pieces=300)),
        (POLL, silent),
        (POLL, f.header_drips),
        (UPLOAD, silent),
        (FILE, silent),
        (FILE, f.header_drips),
        (FILE, lambda on: f.dripping(on, 30.0, pieces=3)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_cancel_ends_whatever_is_in_flight(
    on: str, fault, kind: type[TrellisError], server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis_addon.jobs.runner.UPLOAD_ABOVE", 10 if on == UPLOAD else 2**20)
    server.add(fault(on))
    store, where = JobStore(tmp_path), Backend("remote", server.token)
    job = prepare_task(encoded(disc(64)), where, Settings(seed=7)).write_down(store, where)
    since: list[float] = []

    def is_cancelled() -> bool:
        if not any(seen.fault for seen in server.log):
            return False
        since.append(time.monotonic())
        if since[-1] < since[0] + 0.3:  # until the thread waits for something that does not come
            return False
        if kind is Interrupted:
            raise Interrupted("Blender ends.")
        return True

    with Client(server.url, server.token) as client, pytest.raises(kind):
        run_job(job, store, client, Progress(is_cancelled=is_cancelled))
    assert time.monotonic() - since[0] - 0.3 < AT_ONCE
    if kind is Cancelled:
        assert store.get(job.uuid).state is State.CANCELLED  # type: ignore[union-attr]


def test_the_thread_of_a_request_that_was_left_ends(server: FaultServer) -> None:
    """Not a minute later, when its time is up: the connection is shut."""
    server.add(silent(POLL))
    before = set(threading.enumerate())
    with Client(server.url, server.token) as client:
        client.account()  # so that it is a connection that was kept
        begun = time.monotonic()
        with pytest.raises(Cancelled):
            client.poll("x", Progress(is_cancelled=lambda: time.monotonic() > begun + 0.3))
        end = time.monotonic() + PATIENCE
        while (left := _lines(before)) and time.monotonic() < end:
            time.sleep(0.02)
        assert not left
        client.account()  # and the client goes on with a new one


def _lines(before: set[threading.Thread]) -> set[threading.Thread]:
    """The threads of requests that are not over."""
    return {thread for thread in set(threading.enumerate()) - before if "(_run)" in thread.name}


def test_cancelling_does_not_wait_for_a_service_of_ones_own(server: FaultServer) -> None:
    server.add(silent("cancelTask"))
    with Client(server.url, server.token, remote=False) as client:
        begun = time.monotonic()
        client.cancel("x")
        assert time.monotonic() - begun < 2.5


def test_a_header_that_drips_in_for_ever_is_given_up(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.client.client.TIMEOUT", httpx.Timeout(0.5, connect=5.0))
    server.add(f.header_drips(POLL, 0.05, times=FOREVER))
    with Client(server.url, server.token, sleep=lambda seconds: None) as client, pytest.raises(TimedOutError) as caught:
        client._post([{"taskType": POLL, "taskUUID": "x"}], attempts=2, timeout=httpx.Timeout(0.5))
    assert "in time" in sentence(caught.value) and not caught.value.unsent


def test_a_reply_that_is_too_large(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.client.client.REPLY_LIMIT", 2**20)
    server.add(f.packed(POLL, 50_000_000, times=FOREVER))
    with Client(server.url, server.token, sleep=lambda seconds: None) as client, pytest.raises(NetworkError) as caught:
        client.poll("x")
    assert "too large" in sentence(caught.value) and len(server.asked(POLL)) == 1


def test_what_has_left_and_what_has_not(server: FaultServer) -> None:
    with httpx.Client() as client, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for address, has_left in (
            (f"http://127.0.0.1:{taken.getsockname()[1]}/", False),
            (f"https://127.0.0.1:{server._port}/", False),  # no handshake
            ("ftp://127.0.0.1/", False),
            (server.base + "/", True),
        ):
            line = Line(client)
            try:
                with line.open("POST", address, Progress().check, content=b"x" * 100) as reply:
                    list(reply.pieces())
            except httpx.HTTPError:
                assert not has_left
            assert line.has_left is has_left


@pytest.mark.parametrize("what", ["a picture", "a small file", "a large file", "an index"])
def test_a_header_that_drips_in_holds_up_no_other_request_either(
    what: str, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(f.header_drips(FILE, 0.05, times=FOREVER))
    for module, name, value in (
        (web, "FETCH_TIMEOUT", 0.5),
        (small, "HEAD_LIMIT", 0.3),
        (small, "ATTEMPTS", 1),
        (file, "HEAD_LIMIT", 0.3),
        (file, "ATTEMPTS", 1),
        (line_module, "HEAD_LIMIT", 0.3),
        (index, "_PAUSES", ()),
    ):
        monkeypatch.setattr(module, name, value)
    address = f"{server.base}/files/x"
    ended = threading.Event()

    ask: dict[str, Callable[[httpx.Client], object]] = {
        "a picture": lambda client: web.fetch(address),
        "a small file": lambda client: small.fetch_bytes(Remote(address), client, 1000),
        "a large file": lambda client: fetch_file(Remote(address), tmp_path / "x", client=client),
        "an index": lambda client: index.Finder(PipSettings((address,)), client)._ask(address, "x"),
    }

    def run() -> None:
        with make_client() as client, pytest.raises(TrellisError) as caught:
            ask[what](client)
        assert "127.0.0.1" in caught.value.message
        ended.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ended.wait(PATIENCE), "it waits for ever"


def test_who_leaves_one_reply_leaves_the_others_of_the_same_client_alone() -> None:
    body = bytes(300_000)
    with serving(Mirror({"x": body})) as mirror, make_client() as client:
        mirror.stall.set()
        with Line(client).open("GET", f"{mirror.url}/x", lambda: None) as reply:
            pieces = reply.pieces()
            received = len(next(pieces))
            with Line(client).open("GET", f"{mirror.url}/x", lambda: None):
                pass  # left before its body
            mirror.stall.clear()
            assert received + sum(len(piece) for piece in pieces) == len(body)


# --- files ---


def fetch(server: FaultServer, url: str, path: Path) -> tuple[str, float, int]:
    """(what was said, seconds that were waited for, requests)"""
    waits: list[float] = []
    with Client(server.url, server.token, sleep=waits.append) as client, pytest.raises(NetworkError) as caught:
        client.download(Result("x", 0, 7, "f", url), path)
    return sentence(caught.value), sum(waits), len(server.log)


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/hostname", "data:model/gltf-binary;base64,Z2xURg==", "/files/a.glb", "a.glb", "ftp://host/a.glb",
        "http://", "http:///a.glb", "https://host:99999/a.glb", "http://[::1/a.glb", "javascript:alert(1)", "//host/a",
        "C:\\assets\\a.glb", "\\\\host\\a.glb",
    ],
)  # fmt: skip
def test_addresses_that_can_never_be_fetched(address: str, server: FaultServer, tmp_path: Path) -> None:
    said, waited, asked = fetch(server, address, tmp_path / "a.glb")
    assert waited == 0 and asked == 0 and address[:20] in said and not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["file:///etc/hostname", "ftp://127.0.0.1/a.glb", "data:,x"])
def test_redirects_out_of_the_web(to: str, server: FaultServer, tmp_path: Path) -> None:
    server.add(f._instead("away", FILE, 302, b"", {"location": to}, script={"times": FOREVER}))
    _, waited, asked = fetch(server, server.base + "/files/a.glb", tmp_path / "a.glb")
    assert waited == 0 and asked == 1


def test_a_circle_of_redirects_is_gone_round_once(server: FaultServer, tmp_path: Path) -> None:
    server.add(f.looping(times=FOREVER))
    said, waited, asked = fetch(server, server.base + "/files/a.glb", tmp_path / "a.glb")
    assert waited == 0 and asked <= 22 and "without an end" in said


def test_a_host_that_refuses_is_not_waited_for_long(server: FaultServer, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        _, waited, _ = fetch(server, f"http://127.0.0.1:{taken.getsockname()[1]}/a.glb", tmp_path / "a.glb")
    assert 4 < waited < 12


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "GZIP", "x-unknown"])
def test_what_is_packed_is_not_unpacked(encoding: str, server: FaultServer, tmp_path: Path) -> None:
    import gzip

    body = gzip.compress(bytes(10_000_000))
    server.add(f._instead("packed", FILE, 200, body, {"content-encoding": encoding}, script={"times": FOREVER}))
    said, waited, asked = fetch(server, server.base + "/files/a.glb", tmp_path / "a.glb")
    assert "packs it" in said and waited == 0 and asked == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("length", ["x", "-5", "9" * 400])
def test_lengths_that_are_none(length: str, tmp_path: Path) -> None:
    """A header that says nonsense is no reason for a traceback."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(20):
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            with connection:
                connection.recv(10_000)
                connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nglTF".encode())

    threading.Thread(target=serve, daemon=True).start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with listener, Client(address + "/v1", sleep=lambda seconds: None) as client:
        with pytest.raises((NetworkError, DamagedFileError)) as caught:
            client.download(Result("x", 0, 7, "f", address + "/a.glb"), tmp_path / "a.glb")
        sentence(caught.value)
