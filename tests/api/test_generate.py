"""From a picture to an asset over real services: the one call, the store of jobs, and what goes wrong on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import PATIENCE, QUICK, ROOT, disc, encoded, photo, run_python, sentence
from PIL import Image

from trellis_addon import generate
from trellis_addon.api import finish, prepare_task
from trellis_addon.client.backends import Backend, connect
from trellis_addon.client.client import Client
from trellis_addon.client.local_service import local_service
from trellis_addon.core.errors import (
    ApiKeyError,
    Cancelled,
    DamagedFileError,
    EngineError,
    FieldError,
    ImageError,
    NetworkError,
    OfflineError,
    TrellisError,
)
from trellis_addon.core.progress import Progress
from trellis_addon.formats.glb.check import check_glb_file
from trellis_addon.images import load_image
from trellis_addon.jobs.job import TRANSITIONS, Asset, State
from trellis_addon.jobs.runner import run_job
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.settings import DRAFT_MODEL, SEED_MAX, TRELLIS2_MODEL, Settings
from trellis_addon.task.task import Task

TOKEN = "of-these-tests-only-815"


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of a service that somebody started on the command line."""
    arguments = [sys.executable, "-m", "trellis_addon", "serve", "--port", "0", "--token", TOKEN]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "store")


class Counting(httpx.HTTPTransport):
    """The real transport, with a note of each task that goes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.sent += [task["taskType"] for task in json.loads(request.read())]
        return super().handle_request(request)


def client_of(url: str, token: str = TOKEN) -> tuple[Client, Counting]:
    transport = Counting()
    return Client(url, token, remote=False, transport=transport), transport


# --- the one call ---


def test_a_draft_from_end_to_end(disc_file: Path, tmp_path: Path, store: JobStore) -> None:
    seen: list[tuple[str, float]] = []
    progress = Progress(lambda stage, share: seen.append((stage, share)))
    output = tmp_path / "new folder" / "Out.glb"
    asset = generate(disc_file, output=output, seed=SEED_MAX, store=store, progress=progress, **QUICK)
    assert asset.path == output and asset.name == "Blue Disc" and asset.engine == DRAFT_MODEL
    info = check_glb_file(output)
    assert info.triangles > 1000 and info.extras["seed"] == SEED_MAX
    assert info.extras["settings"]["settings"] == {"resolution": 512, "textureSize": 1024}
    assert asset.seed == SEED_MAX and asset.variations[0].path == output
    provenance = asset.provenance
    assert provenance["settings"] == {"seed": SEED_MAX, "settings": {"resolution": 512, "textureSize": 1024}}
    assert provenance["backend"] == "draft" and provenance["model"] == DRAFT_MODEL
    assert len(provenance["image_sha256"]) == 64 and provenance["image_sha256"] == load_image(disc_file).sha256
    assert Asset.from_file(output) == Asset(output, "Blue Disc", provenance)
    assert not any(secret in asset.sidecar.read_text() for secret in ("token", "http", "base64"))
    (job,) = store.recent()
    assert job.state is State.READY and job.assets[0].path.read_bytes() == output.read_bytes()
    assert not list(job.folder.glob("*.part"))
    assert [share for _, share in seen] == sorted(share for _, share in seen)
    assert {"Sending", "Downloading"} <= {stage for stage, _ in seen} and seen[-1][1] == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_file(draft: Asset, disc_file: Path, tmp_path: Path, store: JobStore) -> None:
    from trellis_addon.task.task import result_seed

    settings = Settings.from_request(draft.provenance["settings"])
    again = generate(disc_file, settings=settings, store=store)
    assert again.path.read_bytes() == draft.path.read_bytes()
    other = generate(disc_file, settings=settings, seed=result_seed(draft.seed or 0, 5), store=store)
    assert other.path.read_bytes() != draft.path.read_bytes()


def test_results_count_up(disc_file: Path, tmp_path: Path, store: JobStore) -> None:
    output = tmp_path / "two.glb"
    asset = generate(disc_file, number_results=2, seed=2**53 + 1, output=output, store=store, **QUICK)
    assert [v.seed for v in asset.variations] == [2**53 + 1, 2**53 + 2]
    assert [v.path.name for v in asset.variations] == ["two.glb", "two-2.glb"]
    first, second = (v.path.read_bytes() for v in asset.variations)
    assert first != second
    assert [v.provenance["result_index"] for v in asset.variations] == [0, 1]
    (job,) = store.recent()
    assert [a.seed for a in job.assets] == [2**53 + 1, 2**53 + 2]
    assert Asset.from_file(output.with_name("two-2.glb")).seed == 2**53 + 2


def test_every_kind_of_source(disc_file: Path, store: JobStore) -> None:
    data = disc_file.read_bytes()
    prepared = load_image(data, name="Given")
    for source, name in ((data, "image"), (prepared, "Given"), (prepared.data_uri(), "image")):
        asset = generate(source, store=store, seed=1, **QUICK)
        assert asset.name == name
    assert generate(prepared, name="a/b", store=store, seed=1, **QUICK).name == "a b"


def test_output_may_be_a_folder(disc_file: Path, tmp_path: Path, store: JobStore) -> None:
    assert generate(disc_file, output=tmp_path, store=store, seed=1, **QUICK).path == tmp_path / "Blue Disc.glb"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"resolution": 100}, FieldError),
        ({"resolutoin": 512}, FieldError),
        ({"backend": "cloud"}, FieldError),
        ({"backend": "remote", "model": DRAFT_MODEL}, FieldError),
        ({"model": "nothing:1@1"}, FieldError),
        ({"output": "x.obj"}, FieldError),
        ({"backend": "remote"}, ApiKeyError),
        ({"backend": "http://192.0.2.1:9", "allow_network": False}, OfflineError),
        ({"image": encoded(photo(), "JPEG")}, ImageError),
        ({"image": "nothing.png"}, ImageError),
    ],
    ids=str,
)
def test_what_cannot_work_is_said_before_anything_is_sent(
    arguments: dict[str, Any], error: type[TrellisError], disc_file: Path, store: JobStore
) -> None:
    begin = time.monotonic()
    with pytest.raises(error) as caught:
        generate(**{"image": disc_file, "store": store, **arguments})
    sentence(caught.value)
    assert time.monotonic() - begin < 10, "as long as a connection would be waited for"
    assert all(job.state in (State.WAITING, State.FAILED) for job in store.recent())


def test_addresses_go_to_the_platform_as_they_are() -> None:
    url = "https://example.org/My%20Helmet.webp?x=1"
    prepared = prepare_task(url, Backend("remote", "key"), Settings(seed=1))
    task = prepared.task
    assert (task.image, prepared.name, task.model) == (url, "My%20Helmet", TRELLIS2_MODEL)
    assert task.to_request()["inputs"] == {"image": url}


# --- a service at an address ---


def test_a_service_at_an_address(
    service: str, disc_file: Path, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRELLIS2_SERVICE_TOKEN", TOKEN)
    for address in (service, service.removesuffix("/v1"), service + "/"):
        asset = generate(disc_file, backend=address, store=store, seed=5, **QUICK)
        assert asset.engine == DRAFT_MODEL and asset.provenance["model"] == TRELLIS2_MODEL
        assert asset.provenance["backend"] == address
    monkeypatch.delenv("TRELLIS2_SERVICE_TOKEN")
    assert generate(disc_file, backend=service, key=TOKEN, store=store, seed=5, **QUICK).path.exists()
    assert generate(disc_file, backend=service, key=TOKEN, store=store, seed=5, allow_network=False, **QUICK).seed == 5


@pytest.mark.parametrize("key", ["wrong", ""])
def test_a_wrong_token_is_told(service: str, key: str, disc_file: Path, store: JobStore) -> None:
    with pytest.raises(ApiKeyError) as caught:
        generate(disc_file, backend=service, key=key, store=store)
    assert "key" in sentence(caught.value)
    assert store.recent()[0].state is State.FAILED
    with Client(service, "wrong", remote=False) as client, pytest.raises(ApiKeyError):
        client.ping()
    with Client(service, TOKEN, remote=False) as client:
        client.ping()


def test_nobody_at_the_address(disc_file: Path, store: JobStore) -> None:
    address = "http://127.0.0.1:1"
    begin = time.monotonic()
    with pytest.raises(NetworkError) as caught:
        generate(disc_file, backend=address, key="x", store=store)
    assert time.monotonic() - begin < 15
    assert address in sentence(caught.value)
    assert store.recent()[0].state is State.UNCERTAIN, "it is not known to be lost: it may be tried again"


def test_something_else_at_the_address(disc_file: Path, store: JobStore) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Welcome</html>")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(NetworkError, match="JSON") as caught:
            generate(disc_file, backend=f"http://127.0.0.1:{server.server_port}", key="x", store=store)
        sentence(caught.value)
    finally:
        server.shutdown()
        server.server_close()


# --- stopping ---


def test_cancelling(disc_file: Path, store: JobStore) -> None:
    stop = threading.Event()

    def watch(stage: str, share: float) -> None:
        if stage != "Sending":
            stop.set()

    big = load_image(encoded(disc(1500)))
    begin = time.monotonic()
    with pytest.raises(Cancelled):
        generate(big, resolution=1536, texture_size=4096, store=store, progress=Progress(watch, stop.is_set))
    assert time.monotonic() - begin < 30
    (job,) = store.recent()
    assert job.state is State.CANCELLED and not job.assets
    assert generate(disc_file, store=store, **QUICK).path.exists(), "the service is of use no more"


def test_cancelled_before_it_began(disc_file: Path, store: JobStore) -> None:
    with pytest.raises(Cancelled):
        generate(disc_file, store=store, progress=Progress(is_cancelled=lambda: True))
    assert store.recent()[0].state is State.CANCELLED


# --- crashes ---

_CRASH = """
import os, signal, sys
from trellis_addon import generate
from trellis_addon.jobs.store import JobStore
from trellis_addon.core.progress import Progress
image, url, when = sys.argv[1:]
def watch(stage, share):
    if stage == when:
        os.kill(os.getpid(), signal.SIGKILL)
generate(image, backend=url, seed=11, resolution=512, texture_size=1024, progress=Progress(watch))
"""


@pytest.mark.skipif(
    os.name != "posix", reason="needs SIGKILL; on Windows TerminateProcess does the same, and the store is no other"
)
@pytest.mark.parametrize(
    ("stage", "left", "submissions"),
    [("Sending", State.SENDING, 1), ("Generating", State.RUNNING, 0), ("Downloading", State.RUNNING, 0)],
)
def test_a_job_outlives_the_program_that_began_it(
    stage: str, left: State, submissions: int, service: str, disc_file: Path, store: JobStore
) -> None:
    environment = {"TRELLIS2_HOME": str(store.folder), "TRELLIS2_SERVICE_TOKEN": TOKEN}
    ended = run_python("-c", _CRASH, str(disc_file), service, stage, **environment)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    (job,) = store.recent()
    assert job.state is left
    client, transport = client_of(service)
    with client:
        done = run_job(job, store, client)
    assert transport.sent.count("3dInference") == submissions
    assert done.state is State.READY and done.assets[0].seed == 11
    check_glb_file(done.assets[0].path)
    assert store.get(job.uuid) == done


def test_an_answer_that_got_lost(service: str, disc_file: Path, store: JobStore) -> None:
    """Sent, accepted, and the program ended before it could write that down: no second task comes of it."""
    prepared = prepare_task(disc_file, Backend(service), Settings(seed=3, **QUICK))
    task = prepared.task
    job = store.move(prepared.write_down(store, Backend(service)), State.SENDING)
    client, transport = client_of(service)
    with client:
        client.submit(task)
        done = run_job(store.get(job.uuid), store, client)
        results = client.poll(task.uuid).results
    assert transport.sent.count("3dInference") == 1
    assert [result.file_uuid for result in results] == [done.assets[0].provenance["file_uuid"]]


def test_a_service_that_forgot_is_asked_again(service: str, disc_file: Path, store: JobStore) -> None:
    """Ours keeps its tasks in memory: a job that ran in one goes on in the next."""
    job = prepare_task(disc_file, Backend(service), Settings(seed=3, **QUICK)).write_down(store, Backend(service))
    for state in (State.SENDING, State.RUNNING):
        job = store.move(job, state)
    client, transport = client_of(service)
    with client:
        assert run_job(job, store, client).state is State.READY
    assert transport.sent.count("3dInference") == 1


def test_jobs_that_are_over_are_not_run_again(service: str, disc_file: Path, store: JobStore) -> None:
    done = generate(disc_file, backend=service, key=TOKEN, store=store, seed=1, **QUICK)
    job = store.get(done.provenance["task_uuid"])
    assert job is not None
    client, transport = client_of(service)
    with client:
        assert run_job(job, store, client) == job
        assert not transport.sent
    assert job.assets == (done,)


def test_a_job_given_up_can_be_asked_for_once_more(service: str, disc_file: Path, store: JobStore) -> None:
    """On the remote API a cancelled job is paid all the same: it must not be lost."""
    prepared = prepare_task(disc_file, Backend(service), Settings(seed=3, **QUICK))
    job = store.move(prepared.write_down(store, Backend(service)), State.CANCELLED)
    client, transport = client_of(service)
    with client:
        client.submit(prepared.task)
        assert run_job(job, store, client).state is State.READY
    assert transport.sent.count("3dInference") == 1


def test_the_local_service_is_started_again_when_it_died(disc_file: Path, store: JobStore) -> None:
    first = local_service("draft")
    first.process.kill()
    first.process.wait()
    assert generate(disc_file, store=store, seed=2, **QUICK).path.exists()
    second = local_service("draft")
    assert second.running and second.process.pid != first.process.pid
    assert local_service("draft") is second


def test_a_service_that_dies_under_way(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started again, and the job goes on there; what takes it down time and again is given up, with the cause."""
    monkeypatch.setattr("trellis_addon.service.lifetime.restarts.WAITS", (0.0,) * 20)
    kills = iter([True, False])

    def kill(stage: str, share: float) -> None:
        if stage in ("Generating", "mask", "height") and next(kills, False):
            local_service("draft").process.kill()

    big = load_image(encoded(disc(1200)))
    prepared = prepare_task(big, Backend("draft"), Settings(resolution=1536, seed=4))
    job = prepared.write_down(store, Backend("draft"))
    assert finish(job, Backend("draft"), store, Progress(kill)).seed == 4
    assert next(kills, None) is not True, "it was killed"

    kills = iter([True] * 1000)
    prepared = prepare_task(big, Backend("draft"), Settings(resolution=1536, seed=5))
    job = prepared.write_down(store, Backend("draft"))
    with pytest.raises(EngineError) as caught:
        finish(job, Backend("draft"), store, Progress(kill))
    assert "ended by force" in sentence(caught.value)
    assert store.get(job.uuid).state is State.FAILED


# --- the store ---


@pytest.fixture
def job(store: JobStore) -> Any:
    return store.add(Task("https://example.org/x.png", Settings(seed=2**63 - 1)), name="X", backend="draft")


_PATHS = {
    State.WAITING: (),
    State.SENDING: (State.SENDING,),
    State.UNCERTAIN: (State.SENDING, State.UNCERTAIN),
    State.RUNNING: (State.SENDING, State.RUNNING),
    State.READY: (State.SENDING, State.RUNNING, State.READY),
    State.FAILED: (State.FAILED,),
    State.CANCELLED: (State.CANCELLED,),
}


@pytest.mark.parametrize("begin", State)
def test_illegal_moves_are_refused(begin: State, store: JobStore) -> None:
    for end in State:
        job = store.add(Task("https://example.org/x.png"), name="X", backend="draft")
        for state in _PATHS[begin]:
            job = store.move(job, state)
        if end in TRANSITIONS[begin]:
            assert store.move(job, end, error="why").state is end
            assert store.get(job.uuid).state is end and store.get(job.uuid).error == "why"
        else:
            with pytest.raises(TrellisError, match=f"{begin} cannot become {end}") as caught:
                store.move(job, end)
            sentence(caught.value)
            assert store.get(job.uuid).state is begin
    assert not TRANSITIONS[State.READY]
    assert State.WAITING not in set().union(*TRANSITIONS.values()), "it might be paid twice"


_MOVE = """
import sys, time
from pathlib import Path
from trellis_addon.core.errors import TrellisError
from trellis_addon.jobs.job import State
from trellis_addon.jobs.store import JobStore
store = JobStore(Path(sys.argv[1]))
job = store.get(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
try:
    store.move(job, State.SENDING)
    print("moved")
except TrellisError as error:
    print(error)
"""


def test_of_two_programs_one_is_told(store: JobStore, job: Any) -> None:
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", _MOVE, str(store.folder), job.uuid],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    for program in programs:
        assert program.stdout is not None and program.stdout.readline() == "ready\n"
    said = sorted(program.communicate("go\n", timeout=PATIENCE)[0].strip() for program in programs)
    assert said.count("moved") == 1
    assert [line for line in said if line != "moved"] == ['The job "X" is being worked on by another program.'] * 2
    assert store.get(job.uuid).state is State.SENDING


def test_the_store_gives_back_what_it_was_given(store: JobStore, job: Any) -> None:
    again = JobStore(store.folder)
    assert again.get(job.uuid) == job
    assert again.get("nothing") is None
    asset = Asset(job.folder / "asset.glb", "X", {"seed": 2**63 - 1, "engine": "x"})
    for state in (State.SENDING, State.RUNNING):
        job = store.move(job, state)
    job = store.move(job, State.READY, cost=0.05, assets=(asset,))
    found = again.get(job.uuid)
    assert found == job and found.cost == 0.05 and found.assets[0].seed == 2**63 - 1
    assert found.assets[0].variations == found.assets
    (job.folder / "image.txt").unlink()
    assert again.get(job.uuid).state is State.READY


def test_newest_first(tmp_path: Path) -> None:
    times = iter(range(100, 200))
    store = JobStore(tmp_path, clock=lambda: float(next(times)))
    jobs = [
        store.add(Task("https://example.org/x.png"), name=str(n), backend="draft", batch="b", fingerprint="f")
        for n in range(5)
    ]
    assert [job.name for job in store.recent(3)] == ["4", "3", "2"]
    assert store.in_batch("b", "f").name == "4"
    store.move(jobs[4], State.FAILED)
    store.move(jobs[3], State.CANCELLED)
    assert store.in_batch("b", "f").name == "2"
    assert store.in_batch("other", "f") is None is store.in_batch("b", "other")


def test_many_threads_at_once(store: JobStore) -> None:
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(5):
                job = store.add(Task("https://example.org/x.png"), name=str(number), backend="draft")
                for state in (State.SENDING, State.RUNNING, State.READY):
                    job = store.move(job, state)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert [job.state for job in store.recent(100)] == [State.READY] * 40


# --- downloads ---


def test_downloads_are_whole_or_not_there(service: str, disc_file: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    task = prepare_task(disc_file, Backend(service), Settings(seed=3, delivery_method="sync", **QUICK)).task
    with Client(service, TOKEN, remote=False, sleep=lambda seconds: None) as client:
        (result,) = client.submit(task).results
        path = client.download(result, tmp_path / "a" / "x.glb")
        assert check_glb_file(path).triangles > 1000 and [p.name for p in path.parent.iterdir()] == ["x.glb"]
        gone = replace(result, url=result.url[:-12] + "nothing.glb")
        with pytest.raises(NetworkError) as caught:
            client.download(gone, tmp_path / "b" / "x.glb")
        sentence(caught.value)
        no_glb = replace(result, url=service.removesuffix("/v1") + "/health")
        with pytest.raises((DamagedFileError, NetworkError)) as caught:
            client.download(no_glb, tmp_path / "b" / "x.glb")
        sentence(caught.value)
        assert not list((tmp_path / "b").iterdir())


def test_the_backend_is_connected_once_for_all_its_uses() -> None:
    with connect(Backend("draft")) as one, connect(Backend("draft")) as other:
        assert one.url == other.url and one.url.startswith("http://127.0.0.1:")


def test_studio_pictures_work_from_end_to_end(store: JobStore, tmp_path: Path) -> None:
    picture = Image.new("RGB", (200, 200), (240, 240, 240))
    picture.paste((30, 90, 60), (60, 40, 140, 170))
    picture.save(tmp_path / "box.jpg", quality=95)
    asset = generate(tmp_path / "box.jpg", store=store, seed=1, **QUICK)
    positions = check_glb_file(asset.path)
    assert positions.vertices > 500 and np.isfinite(positions.vertices)
