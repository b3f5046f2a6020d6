"""The fault matrix: what becomes of a job for every way in which a service and a network can fail.

    python tests/jobs/test_faults.py    runs it and prints it as a table

Each row runs one job, with the real client, runner and store, against a fault server that stands for the paid
API. A job that is not over then is run once more, after the trouble has passed. In no row is a task sent under
two taskUUIDs, or made (and paid) more often than it was asked for.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import disc, encoded, sentence  # first: it is what finds the package

# isort: split
import faults as f
import numpy as np
import pytest
from fault_server import DETAILS, FILE, FOREVER, POLL, SUBMIT, UPLOAD, FastEngine, Fault, FaultServer, small_glb
from PIL import Image

from trellis_addon.api import finish, prepare_task
from trellis_addon.client.backends import Backend
from trellis_addon.client.client import Client
from trellis_addon.core.errors import (
    AccessError,
    ApiKeyError,
    BalanceError,
    BusyError,
    Cancelled,
    ContentError,
    DamagedFileError,
    EngineError,
    JobError,
    NetworkError,
    RefusedError,
    ServiceError,
    StoreError,
    TimedOutError,
    TrellisError,
)
from trellis_addon.core.machine.parallel import as_ready
from trellis_addon.core.progress import Progress
from trellis_addon.engines.engine import Made, Order
from trellis_addon.jobs.job import Job, State
from trellis_addon.jobs.runner import run_job
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.settings import Settings

PICTURE = encoded(disc(64))


class Time:
    """The client's time: what it would sleep through passes at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)
        if len(self.waits) < 200:
            time.sleep(0.002)  # the service works in real time

    def clock(self) -> float:
        return self.now


@dataclass
class World:
    """A service with faults, a store, and a client between them."""

    server: FaultServer
    store: JobStore
    token: str = ""
    time: Time = field(default_factory=Time)

    def job(self, picture: bytes = PICTURE, **settings: Any) -> Job:
        backend = Backend("remote", "not used here")
        return prepare_task(picture, backend, Settings({"seed": 7, **settings})).write_down(self.store, backend)

    def run(self, job: Job, progress: Progress | None = None, **options: Any) -> Job:
        with Client(self.server.url, self.token or self.server.token, sleep=self.time.sleep) as client:
            return run_job(job, self.store, client, progress, clock=self.time.clock, **options)

    def fail(self, job: Job, error: type[TrellisError], **options: Any) -> str:
        with pytest.raises(error) as caught:
            self.run(job, **options)
        assert type(caught.value) is error
        return sentence(caught.value)

    def state(self, job: Job) -> State:
        found = self.store.get(job.uuid)
        assert found is not None
        return found.state

    @property
    def submissions(self) -> list[str]:
        return [task["taskUUID"] for task in self.server.asked(SUBMIT)]

    @property
    def paid(self) -> int:
        """How many results were made."""
        return len(self.server.engine.calls)

    def end_faults(self) -> None:
        self.server._faults.clear()


@pytest.fixture
def world(tmp_path: Path) -> Iterable[World]:
    with FaultServer() as server:
        yield World(server, JobStore(tmp_path))


@dataclass(frozen=True)
class Row:
    """One kind of trouble and what is to come of it; `then` is the state after another run without it."""

    name: str
    faults: Callable[[], list[Fault]]
    state: State = State.READY
    error: type[TrellisError] | None = None
    says: str = ""
    submissions: int = 1
    then: State = State.READY
    settings: dict[str, Any] = field(default_factory=dict)
    results: int = 1
    token: str = ""
    failing_seeds: tuple[int, ...] = ()
    engine_seconds: float = 0.0


def _row(name: str, *faults: Callable[[], Fault], **expected: Any) -> Row:
    return Row(name, lambda: [fault() for fault in faults], **expected)


W, U, FAILED = State.RUNNING, State.UNCERTAIN, State.FAILED
NEVER: dict[str, Any] = {"state": FAILED, "then": FAILED}

MATRIX = [
    _row("no fault"),
    # the submission
    _row("submit: answer lost, polling settles it", lambda: f.lost_answer(SUBMIT), submissions=2),
    _row("submit: answers lost for good", lambda: f.lost_answer(SUBMIT, times=FOREVER), state=U, error=NetworkError,
         says="cannot be reached", submissions=5),
    _row("submit: never arrived at all", lambda: f.dropped(SUBMIT, times=5), state=U, error=NetworkError,
         says="check the address and the network", submissions=5),
    _row("submit: never arrived, then it does", lambda: f.dropped(SUBMIT, times=2), submissions=3),
    _row("submit: done, 502 in place of the answer", lambda: f.status(502, SUBMIT, done=True), submissions=2),
    _row("submit: done, a web page in place of the answer", lambda: f.html(SUBMIT, done=True), submissions=2),
    _row("submit: done, the answer is cut off", lambda: f.truncated(SUBMIT), submissions=2),
    _row("submit: done, the answer is not JSON", lambda: f.garbage(SUBMIT, done=True), submissions=2),
    _row("submit: done, an empty answer", lambda: f.empty(SUBMIT, done=True), submissions=2),
    _row("submit: answer lost, then no credit", lambda: f.lost_answer(SUBMIT),
         lambda: f.refused("insufficientCredits", 402, SUBMIT), submissions=2),
    _row("submit: 503 storm, then fine", lambda: f.status(503, SUBMIT, times=4), submissions=5),
    _row("submit: 503 and no end", lambda: f.status(503, SUBMIT, times=FOREVER), state=U, error=ServiceError,
         says="out of order", submissions=5),
    _row("submit: 429 with Retry-After", lambda: f.rate_limited(SUBMIT, 7, times=2), submissions=3),
    _row("submit: 429 and no end", lambda: f.rate_limited(SUBMIT, times=FOREVER), state=U, error=BusyError,
         says="busy", submissions=5),
    _row("submit: a rate limit in a 200, then fine", lambda: f.said_busy(SUBMIT, times=3), submissions=4),
    _row("submit: a rate limit in a 400, then fine", lambda: f.said_busy(SUBMIT, 400, times=2), submissions=3),
    _row("submit: out of order in a 200, then fine",
         lambda: f.said_busy(SUBMIT, name="serviceUnavailable", times=2), submissions=3),
    _row("submit: a rate limit in a 200 and no end", lambda: f.said_busy(SUBMIT, times=FOREVER), state=U,
         error=BusyError, says="busy", submissions=5),
    _row("submit: a web page, as in a hotel", lambda: f.html(SUBMIT, times=FOREVER), state=U, error=NetworkError,
         says="no JSON", submissions=5),
    _row("submit: reset while waiting", lambda: f.hang(0.2, SUBMIT), submissions=2),
    _row("submit: the result comes at once", lambda: f.in_the_acknowledgement()),
    _row("submit: acknowledged with empty data", lambda: f.no_data(SUBMIT)),
    _row("submit: acknowledged as an object", lambda: f.data_as_object(SUBMIT)),
    _row("wrong key", token="some-other-key-0815", error=ApiKeyError, says="key is not accepted", **NEVER),
    _row("no credit", lambda: f.refused("insufficientCredits", 402, SUBMIT, "Not enough.", times=FOREVER),
         error=BalanceError, says="Add credit", **NEVER),
    _row("no permission", lambda: f.refused("forbidden", 403, SUBMIT, times=FOREVER), error=AccessError,
         says="may not do this", **NEVER),
    _row("content refused", lambda: f.refused("contentPolicyViolation", 400, SUBMIT, "No.", times=FOREVER),
         error=ContentError, says="Use another picture", **NEVER),
    _row("a field refused", lambda: f.refused("invalidInteger", 400, SUBMIT, "It must be 512.", times=FOREVER,
         parameter="settings.resolution"), error=RefusedError, says="It must be 512", **NEVER),
    _row("two fields refused", lambda: f.list_parameter(times=FOREVER), error=RefusedError, says="go together",
         **NEVER),
    # polling
    _row("poll: answers lost", lambda: f.lost_answer(POLL, times=3)),
    _row("poll: reset in mid-body", lambda: f.reset(POLL, times=2)),
    _row("poll: 500s, then fine", lambda: f.status(500, POLL, times=4)),
    _row("poll: 503 and no end", lambda: f.status(503, POLL, times=FOREVER), state=W, error=ServiceError,
         says="out of order"),
    _row("poll: 429 with Retry-After", lambda: f.rate_limited(POLL, 3, times=2)),
    _row("poll: a rate limit in a 200", lambda: f.said_busy(POLL, times=4)),
    _row("poll: a rate limit in a 200 and no end", lambda: f.said_busy(POLL, times=FOREVER), state=W,
         error=BusyError, says="busy"),
    _row("poll: a web page", lambda: f.html(POLL, 404, times=FOREVER), state=W, error=ServiceError, says="no JSON"),
    _row("poll: the key is accepted no more", lambda: f.refused("invalidApiKey", 401, POLL, times=FOREVER), state=W,
         error=ApiKeyError, says="key is not accepted"),
    _row("poll: 'not found' for a while", lambda: f.refused("taskNotFound", 404, POLL, times=3)),
    _row("poll: empty, the details know", lambda: f.no_data(POLL, times=FOREVER)),
    _row("poll: empty, the details fail at first", lambda: f.no_data(POLL, times=FOREVER),
         lambda: f.status(500, DETAILS, times=2)),
    _row("poll: without a status", lambda: f.without_status(times=FOREVER)),
    _row("poll: an unknown status", lambda: f.status_word("pending", times=4)),
    _row("poll: an object for data", lambda: f.data_as_object(POLL, times=FOREVER)),
    _row("poll: an empty list of errors", lambda: f.empty_errors(POLL, times=FOREVER)),
    _row("poll: other tasks' news only", lambda: f.for_others(POLL, times=3)),
    _row("poll: among other tasks' news", lambda: f.among_others(POLL, times=FOREVER)),
    _row("poll: everything twice", lambda: f.duplicated(times=FOREVER), settings={"number_results": 2}, results=2),
    _row("poll: last result first", lambda: f.reversed_order(times=FOREVER), settings={"number_results": 3}, results=3),
    _row("poll: four results, one by one", lambda: f.trickling(), settings={"number_results": 4}, results=4),
    _row("poll: no resultIndex", lambda: f.without_index(times=FOREVER), lambda: f.trickling(),
         settings={"number_results": 3}, results=3),
    _row("poll: processing without end", lambda: f.status_word("processing", times=FOREVER), state=W,
         error=TimedOutError, says="can be asked for again"),
    _row("poll: one of two results fails", settings={"number_results": 2}, results=1, failing_seeds=(7,),
         engine_seconds=0.05),
    _row("the generation fails", failing_seeds=(7,), error=EngineError, says="generation failed", **NEVER),
    _row("fails in a single error", lambda: f.single_error(POLL, times=FOREVER), error=EngineError,
         says="generation failed", state=FAILED),
    _row("fails inside of the item", lambda: f.item_error(times=FOREVER), error=EngineError,
         says="generation failed", state=FAILED),
    _row("an item says it was not our picture", lambda: f.item_error(POLL, "nsfwContentDetected", times=FOREVER),
         error=ContentError, says="Use another picture", state=FAILED),
    _row("fails with a service's code", lambda: f.item_error(POLL, "internalServerError", times=FOREVER),
         error=EngineError, says="generation failed", state=FAILED),
    _row("the service ails for two polls", lambda: f.single_error(POLL, "internalServerError", times=2)),
    # files
    _row("file: cut off, gone on with", lambda: f.truncated(FILE)),
    _row("file: reset in mid-body", lambda: f.reset(FILE, 0.3, times=3)),
    _row("file: 422 and 502 just after success", lambda: f.status(422, FILE, times=3),
         lambda: f.status(502, FILE, times=3)),
    _row("file: expired", lambda: f.status(404, FILE, times=FOREVER), state=W, error=NetworkError, says="404"),
    _row("file: forbidden", lambda: f.status(403, FILE, times=FOREVER), state=W, error=NetworkError, says="403"),
    _row("file: a web page once", lambda: f.html(FILE)),
    _row("file: a web page always", lambda: f.html(FILE, times=FOREVER), state=W, error=DamagedFileError, says="GLB"),
    _row("file: half of it as if it were all", lambda: f.cut_short(times=FOREVER), state=W, error=DamagedFileError),
    _row("file: altered", lambda: f.altered(times=2)),
    _row("file: longer than it says", lambda: f.wrong_length(FILE, -100)),
    _row("file: drips in", lambda: f.dripping(FILE, 0.3)),
    _row("file: on another host", lambda: f.files_elsewhere(times=FOREVER)),
    _row("file: sent on to another host", lambda: f.redirected()),
    _row("file: packed, which was not asked for", lambda: f.packed(times=FOREVER), state=W, error=NetworkError,
         says="packs it"),
    _row("file: at an address of this machine's disk", lambda: f.results_at("file:///etc/hostname", times=FOREVER),
         state=W, error=NetworkError, says="none of the web"),
    _row("file: sent round in a circle", lambda: f.looping(times=FOREVER), state=W, error=NetworkError,
         says="broke off"),
    # time
    _row("clock: hours forward", lambda: f.clock_jump(3 * 3600, POLL)),
    _row("clock: an hour back", lambda: f.clock_jump(-3600, POLL)),
    _row("clock: past the files' life", lambda: f.clock_jump(3600, FILE), settings={"ttl": 60}, state=W,
         error=NetworkError, says="404", then=W),
]  # fmt: skip


@dataclass(frozen=True)
class Ending:
    state: State
    error: TrellisError | None
    then: State
    submissions: int
    uuids: int
    paid: int
    results: int


def play(row: Row, folder: Path) -> Ending:
    with FaultServer(row.faults()) as server:
        server.engine.seconds = row.engine_seconds
        server.engine.errors = {seed: EngineError("The engine stumbled.") for seed in row.failing_seeds}
        world = World(server, JobStore(folder), row.token)
        job = world.job(**row.settings)
        error = _outcome(world, job)
        state, submissions = world.state(job), len(world.submissions)
        world.end_faults()
        if state is not State.READY:
            _outcome(world, job)
        done = world.store.get(job.uuid)
        assert done is not None and all(asset.path.is_file() for asset in done.assets)
        uuids = len(set(world.submissions))
        return Ending(state, error, done.state, submissions, uuids, world.paid, len(done.assets))


def _outcome(world: World, job: Job) -> TrellisError | None:
    try:
        world.run(job)
    except TrellisError as error:
        return error
    return None


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: row.name)
def test_matrix(row: Row, tmp_path: Path) -> None:
    ending = play(row, tmp_path)
    assert type(ending.error) is (row.error or type(None)), ending
    assert (ending.state, ending.then) == (row.state, row.then), ending
    assert ending.submissions == row.submissions and ending.uuids == 1
    assert ending.paid <= row.settings.get("number_results", 1), "made, and paid, twice"
    if ending.error is not None:
        assert row.says in sentence(ending.error)
    if ending.then is State.READY:
        assert ending.results == row.results


def test_the_matrix_is_large() -> None:
    assert len(MATRIX) - 1 >= 30 and len({row.name for row in MATRIX}) == len(MATRIX)


# --- more closely ---


def test_a_wait_that_was_asked_for_is_kept(world: World) -> None:
    world.server.add(f.rate_limited(SUBMIT, 7, times=2))
    world.run(world.job())
    assert world.time.now >= 14


@pytest.mark.parametrize("known_by", ["poll", "details", "conflict", "nobody"])
def test_a_lost_answer_is_settled(known_by: str, world: World) -> None:
    """The answers to all attempts got lost, and the program ended. The next one asks before it sends."""
    world.server.add(f.dropped(SUBMIT, times=5) if known_by == "nobody" else f.lost_answer(SUBMIT, times=5))
    job = world.job()
    world.fail(job, NetworkError)
    assert world.state(job) is State.UNCERTAIN and len(world.submissions) == 5
    if known_by in ("details", "conflict"):
        world.server.add(f.no_data(POLL, times=1 if known_by == "conflict" else FOREVER))
    if known_by == "conflict":
        world.server.add(f.refused("taskNotFound", 404, DETAILS))
    assert world.run(job).state is State.READY
    assert len(world.submissions) == (6 if known_by in ("conflict", "nobody") else 5)
    assert set(world.submissions) == {job.uuid} and world.server.engine.calls == [7]


def test_an_unclear_job_is_not_given_up_for_want_of_credit(world: World) -> None:
    """The first attempt may have been accepted; that a later one is refused says nothing of it."""
    world.server.add(
        f.lost_answer(SUBMIT),
        f.refused("insufficientCredits", 402, SUBMIT, times=FOREVER),
        f.no_data(POLL, times=2),
        f.refused("taskNotFound", 404, DETAILS, times=2),
    )
    job = world.job()
    assert "Add credit" in world.fail(job, NetworkError)
    assert world.state(job) is State.UNCERTAIN
    assert "Add credit" in world.fail(job, BalanceError)
    assert world.state(job) is State.UNCERTAIN
    assert world.run(job).state is State.READY and world.paid == 1


def test_a_download_goes_on_where_it_broke_off(world: World) -> None:
    size = len(small_glb(7))
    world.server.add(f.truncated(FILE, 0.6), f.reset(FILE, 0.5))
    done = world.run(world.job())
    ranges = [seen.headers.get("range", "") for seen in world.server.log if seen.path.startswith("/files/")]
    had = [0, *(int(text.removeprefix("bytes=").removesuffix("-")) for text in ranges[1:])]
    assert had[:2] == [0, int(size * 0.6)] and had[1] < had[2] < size and len(had) == 3
    assert done.assets[0].path.read_bytes() == small_glb(7)


def test_a_download_goes_on_in_the_next_program(world: World) -> None:
    world.server.add(f.truncated(FILE, 0.5), f.dropped(FILE, times=FOREVER))
    job = world.job()
    world.fail(job, NetworkError)
    world.end_faults()
    done = world.run(job)
    assert world.server.log[-1].headers["range"] == f"bytes={len(small_glb(7)) // 2}-"
    assert done.assets[0].path.read_bytes() == small_glb(7) and not list(done.folder.glob("*.part"))


def test_a_bad_line_that_gets_on_is_not_given_up(world: World) -> None:
    world.server.add(f.reset(FILE, 0.06, times=30))
    assert world.run(world.job()).state is State.READY


def test_what_is_here_is_not_fetched_again(world: World) -> None:
    world.server.add(f.dropped(FILE, times=FOREVER, after=2))
    job = world.job(number_results=3)
    world.fail(job, NetworkError)
    before = len(world.server.log)
    world.end_faults()
    assert len(world.run(job).assets) == 3
    assert len([seen for seen in world.server.log[before:] if seen.path.startswith("/files/")]) == 1


def test_results_keep_their_places(world: World) -> None:
    """Without a resultIndex the seeds tell which is which, in whatever order they come."""
    world.server.add(f.without_index(times=FOREVER), f.reversed_order(times=FOREVER))
    done = world.run(world.job(number_results=4, seed=2**63 - 4))
    assert [asset.seed for asset in done.assets] == [2**63 - 4 + n for n in range(4)]
    assert [asset.provenance["result_index"] for asset in done.assets] == [0, 1, 2, 3]
    assert [asset.path.name for asset in done.assets] == [f"asset-{n}.glb" for n in (1, 2, 3, 4)]


def test_one_that_fails_early_takes_none_along(world: World) -> None:
    """The failure is told while the others are under way, and they are paid."""
    world.server.engine.seconds = 0.1
    world.server.engine.errors = {7: EngineError("The engine stumbled.")}
    done = world.run(world.job(number_results=4))
    assert [asset.seed for asset in done.assets] == [8, 9, 10]


def test_time_is_up_with_some_results(world: World) -> None:
    world.server.add(f.edited("one only", POLL, lambda body: {"data": body["data"][:1]}, times=FOREVER))
    done = world.run(world.job(number_results=2), time_limit=1200.0)
    assert len(done.assets) == 1 and 1200 <= world.time.now < 1300


def test_the_time_limit_is_long_and_the_polls_are_few(world: World) -> None:
    world.server.add(f.status_word("processing", times=FOREVER))
    job = world.job()
    assert "45 minutes" in world.fail(job, TimedOutError)
    asked = len(world.server.asked(POLL))
    assert (
        45 * 60 <= world.time.now < 46 * 60 and asked < 45 * 60 / 10 + 40
    )  # a tenth of the time waited, at most every 10 s
    world.end_faults()
    assert world.run(job).state is State.READY and world.paid == 1


def test_a_task_that_is_forgotten(world: World) -> None:
    """Not found means nothing while a task is young; after days it is the end."""
    job = world.job()
    world.server.add(f.status_word("processing", times=FOREVER))
    world.fail(job, TimedOutError, time_limit=60.0)
    world.end_faults()
    world.server.add(f.no_data(POLL, times=FOREVER), f.refused("taskNotFound", 404, DETAILS, times=FOREVER))
    world.fail(job, TimedOutError, time_limit=200.0)
    assert world.state(job) is State.RUNNING
    world.store.clock = lambda: time.time() + 3 * 86400
    assert job.uuid in world.fail(job, JobError)
    assert world.state(job) is State.FAILED and len(world.submissions) == 1


# --- large pictures ---


def large_picture() -> bytes:
    noise = np.random.default_rng(3).integers(0, 256, (640, 640, 4), np.uint8)
    noise[..., 3] = 255
    noise[:40, :, 3] = 0  # a cut-out of its own
    return encoded(Image.fromarray(noise, "RGBA"))


def test_a_large_picture_is_uploaded_once(world: World) -> None:
    picture = large_picture()
    for _ in range(2):
        world.run(world.job(picture))
    assert len(world.server.asked(UPLOAD)) == 1
    sent = [task["inputs"]["image"] for task in world.server.asked(SUBMIT)]
    assert sent[0] == sent[1] and len(sent[0]) == 36 and not world.server.unused
    world.run(world.job())
    assert world.server.asked(SUBMIT)[-1]["inputs"]["image"].startswith("data:"), "a small one goes with the task"


@pytest.mark.parametrize("code", ["mediaNotFound", "mediaExpired", "invalidImage"])
def test_an_upload_that_is_gone(code: str, world: World) -> None:
    picture = large_picture()
    world.run(world.job(picture))
    world.server.add(f.refused(code, 400, SUBMIT, parameter="inputs.image"))
    world.run(world.job(picture))
    images = [task["inputs"]["image"][:5] for task in world.server.asked(SUBMIT)]
    assert images[2] == "data:" and len(set(world.submissions)) == 2 and world.paid == 2
    world.run(world.job(picture))
    assert len(world.server.asked(UPLOAD)) == 2, "it is uploaded anew"


@pytest.mark.parametrize("trouble", [f.lost_answer, lambda on: f.refused("uploadFailed", 400, on)])
def test_an_upload_that_fails(trouble: Callable[[str], Fault], world: World) -> None:
    world.server.add(trouble(UPLOAD))
    assert world.run(world.job(large_picture())).state is State.READY
    assert len(world.submissions) == 1 and world.paid == 1


def test_a_picture_refused_at_its_upload(world: World) -> None:
    world.server.add(f.refused("nsfwContentDetected", 400, UPLOAD))
    job = world.job(large_picture())
    world.fail(job, ContentError)
    assert world.state(job) is State.FAILED and not world.submissions


# --- how far it is ---


class StepByStep(FastEngine):
    """Goes on with the next stage when this one has been seen."""

    seen = 0.0

    def generate(self, order: Order, progress: Progress) -> Made:
        for fraction in (0.4, 0.8):
            progress.update("Shaping", fraction)
            told = time.monotonic()
            while self.seen < told + 0.05 and time.monotonic() < told + 5:
                time.sleep(0.01)
        return Made(small_glb(order.seed))


def test_several_results_move_the_bar_from_the_first_stage_on(tmp_path: Path) -> None:
    with FaultServer(workers=1) as server:
        server.engine = engine = StepByStep()
        world = World(server, JobStore(tmp_path))
        told: list[float] = []

        def see(stage: str, share: float) -> None:
            if stage == "Shaping":
                told.append(share)
                engine.seen = time.monotonic()

        assert len(world.run(world.job(number_results=4), Progress(see)).assets) == 4
    assert told == sorted(told), "the bar never goes back"
    for result in range(4):
        for fraction in (0.4, 0.8):
            share = 0.9 * (result + fraction) / 4  # the last tenth is for fetching the files
            assert any(abs(share - seen) < 0.01 for seen in told), (result, fraction, sorted(set(told)))


# --- jobs that are stopped, over, damaged or somebody else's ---


@pytest.mark.parametrize("stage", ["Sending", "Generating", "Downloading"])
def test_a_cancelled_job_can_be_fetched(stage: str, world: World) -> None:
    """On the paid API nothing can be cancelled: it is made and paid all the same."""
    seen: list[str] = []
    progress = Progress(lambda name, share: seen.append(name), lambda: stage in seen)
    world.server.add(f.status_word("processing"), f.dripping(FILE, 0.1, pieces=4))
    job = world.job()
    with pytest.raises(Cancelled):
        world.run(job, progress)
    assert world.state(job) is State.CANCELLED
    if stage == "Sending":  # told before the request left: there is nothing to fetch
        assert not world.submissions
        assert "retry" in world.fail(job, JobError)
        assert world.state(job) is State.CANCELLED
    else:
        assert world.run(job).state is State.READY and world.paid == 1


def test_cancelled_while_its_answer_is_lost(world: World) -> None:
    """The request was sent, and the user stopped the wait for another attempt."""
    world.server.add(f.lost_answer(SUBMIT))
    job = world.job()
    progress = Progress(is_cancelled=lambda: bool(world.time.waits))
    with pytest.raises(Cancelled):
        world.run(job, progress)
    assert world.state(job) is State.CANCELLED and world.store.get(job.uuid).sent is not None  # type: ignore[union-attr]
    assert world.run(job).state is State.READY
    assert len(world.submissions) == 1 and world.paid == 1


def test_a_refused_job_is_not_waited_for(world: World) -> None:
    world.server.add(f.refused("invalidInteger", 400, SUBMIT))
    job = world.job()
    world.fail(job, RefusedError)
    world.fail(job, JobError)
    assert world.state(job) is State.FAILED and world.time.now < 60 and len(world.submissions) == 1


def test_an_exception_nobody_thought_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the answer and its note in the store: the next run finds out."""
    job = world.job()
    with monkeypatch.context() as patch:
        patch.setattr(Client, "submit", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            world.run(job)
    assert world.state(job) is State.SENDING
    assert world.run(job).state is State.READY and len(world.submissions) == 1


# --- the store ---


def test_a_full_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever cannot be written: the job goes on when there is room again."""
    job = world.job()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("trellis_addon.client.download._save", full)
        assert "No space left" in world.fail(job, StoreError)
    found = world.store.get(job.uuid)
    assert found is not None and found.state is State.RUNNING and "No space left" in found.error
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        world.fail(job, StoreError)
    assert world.run(job).state is State.READY and world.paid == 1


@pytest.mark.parametrize("state", [State.SENDING, State.RUNNING, State.READY])
def test_a_store_that_cannot_be_written(state: State, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any step: another program holds the file, and nothing of the job gets lost."""
    job = world.job()
    move = JobStore.move

    def locked(store: JobStore, job: Job, to: State, **more: Any) -> Job:
        if to is not state:
            return move(store, job, to, **more)
        with sqlite3.connect(store.folder / "jobs.sqlite3") as other:
            other.execute("BEGIN IMMEDIATE")
            try:
                return move(store, job, to, **more)
            finally:
                other.rollback()

    with monkeypatch.context() as patch:
        patch.setattr("trellis_addon.jobs.store.BUSY_TIMEOUT", 0.05)
        patch.setattr(JobStore, "move", locked)
        assert "locked" in world.fail(job, StoreError)
    before = {State.SENDING: State.WAITING, State.RUNNING: State.SENDING, State.READY: State.RUNNING}
    assert world.state(job) is before[state]
    assert world.run(job).state is State.READY and world.paid == 1 and set(world.submissions) == {job.uuid}


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError) as caught:
        JobStore(tmp_path / "file")
    sentence(caught.value)
    (tmp_path / "store" / "jobs.sqlite3").mkdir(parents=True)
    with pytest.raises(StoreError) as caught:
        JobStore(tmp_path / "store")
    sentence(caught.value)


def test_files_that_were_deleted_are_fetched_again(world: World) -> None:
    done = world.run(world.job(number_results=2))
    done.assets[1].path.unlink()
    again = world.run(done)
    assert [asset.path.read_bytes() for asset in again.assets] == [small_glb(7), small_glb(8)]
    assert world.paid == 2 and len(world.submissions) == 1
    shutil.rmtree(done.folder)
    assert all(asset.path.is_file() and asset.sidecar.is_file() for asset in world.run(done).assets)
    done.assets[0].path.unlink()
    world.server.add(f.no_data(POLL, times=FOREVER), f.refused("taskNotFound", 404, DETAILS, times=FOREVER))
    assert "deleted" in world.fail(done, JobError)


def test_a_folder_that_was_deleted(world: World) -> None:
    running, waiting = world.job(), world.job()
    world.server.add(f.status_word("processing", times=FOREVER))
    world.fail(running, TimedOutError, time_limit=10.0)
    world.end_faults()
    for job in (running, waiting):
        shutil.rmtree(job.folder)
    assert world.run(running).state is State.READY, "nothing but the picture was in it"
    assert "picture was not kept" in world.fail(waiting, JobError)
    assert world.submissions == [running.uuid]
    (waiting.folder / "image.txt").write_bytes(b"\xff\xfe damaged")
    assert len(world.store.recent()) == 2, "one damaged job must not hide the others"


def test_a_deleted_job_is_not_run(world: World) -> None:
    job = world.job()
    world.store.delete(job)
    assert "deleted" in world.fail(job, JobError)
    assert not job.folder.exists() and not world.server.log


def test_a_service_that_is_gone(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    with FaultServer() as server:
        world = World(server, store)
        world.server.add(f.status_word("processing", times=FOREVER))
        job = world.job()
        world.fail(job, TimedOutError, time_limit=5.0)
        server.stop()
        assert "cannot be reached" in world.fail(job, NetworkError)
        assert world.state(job) is State.RUNNING


def test_two_at_once_do_not_fight(world: World) -> None:
    world.server.engine.seconds = 0.2
    job = world.job()
    outcomes: list[str] = []

    def work() -> None:
        try:
            outcomes.append(str(World(world.server, world.store).run(job).state))
        except JobError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("ready") >= 1 and world.paid == 1 and len(world.submissions) == 1
    assert all(text == "ready" or "another program" in text for text in outcomes)


def test_without_a_key_nothing_waits_for_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not be sent, and paid, on the day when there is a key."""
    monkeypatch.setattr("trellis_addon.client.backends.find_key", lambda given: ("", ""))
    job = world.job()
    with pytest.raises(ApiKeyError):
        finish(job, Backend("remote"), world.store)
    assert world.state(job) is State.FAILED and world.store.unfinished() == []


def test_what_nobody_waits_for_is_not_begun() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.02)
        return number

    outcomes = as_ready(range(20), work, 2)
    assert next(outcomes)[0] in (0, 1)
    outcomes.close()  # type: ignore[attr-defined]
    time.sleep(0.1)
    assert len(begun) <= 5
    assert [type(outcome) for _, outcome in as_ready([1], lambda number: sys.exit(), 1)] == [RuntimeError]


def main() -> int:
    logging.disable()
    wrong = 0
    width = max(len(row.name) for row in MATRIX)
    print(f"{'fault':<{width}}  {'state':<9} {'error':<16} sent as paid  then      sentence")
    for row in MATRIX:
        with tempfile.TemporaryDirectory() as folder:
            ending = play(row, Path(folder))
        error = type(ending.error).__name__ if ending.error else ""
        wrong += (ending.state, ending.then, error) != (row.state, row.then, row.error.__name__ if row.error else "")
        print(
            f"{row.name:<{width}}  {ending.state:<9} {error:<16} {ending.submissions:>4} {ending.uuids:>2} "
            f"{ending.paid:>4}  {ending.then:<9} {ending.error or ''}"
        )
    print(f"{len(MATRIX) - 1} kinds of faults, {wrong} not as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
