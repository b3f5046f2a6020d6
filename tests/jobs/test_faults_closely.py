"""Single faults more closely: lost answers, uploads, downloads that break off, jobs that are over or another's."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from conftest import encoded  # first: it is what finds the package

# isort: split
import fault_world
import faults as f
import numpy as np
import pytest
from fault_server import DETAILS, FILE, FOREVER, POLL, SUBMIT, UPLOAD, FastEngine, Fault, FaultServer, small_glb
from fault_world import World
from PIL import Image

from trellis_addon.client.client import Client
from trellis_addon.core.errors import (
    BalanceError,
    Cancelled,
    ContentError,
    EngineError,
    JobError,
    NetworkError,
    RefusedError,
    TimedOutError,
)
from trellis_addon.core.progress import Progress
from trellis_addon.engines.engine import Made, Order
from trellis_addon.jobs.job import State
from trellis_addon.jobs.store import JobStore

world = fault_world.world


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
