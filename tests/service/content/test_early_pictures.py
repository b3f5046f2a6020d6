"""What is being made is seen before it is made: from the engine through the status to whoever waits for it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE
from PIL import Image
from service_tools import TOKEN, FakeEngine, Running, png, task

from trellis_addon import api
from trellis_addon.client.backends import Backend
from trellis_addon.client.client import Client
from trellis_addon.client.replies import read_reply
from trellis_addon.core.errors import Cancelled
from trellis_addon.core.progress import Progress
from trellis_addon.engines.draft.engine import ReliefEngine
from trellis_addon.engines.engine import Made, Order
from trellis_addon.engines.memory_policy import Attempt, make_within_memory
from trellis_addon.formats.early_picture import BYTES_LIMIT, from_wire, is_small, to_wire
from trellis_addon.jobs.runner import run_job
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.settings import Settings


class Showing(FakeEngine):
    """Shows one picture for each seed, of its own size, and waits."""

    def generate(self, order: Order, progress: Progress) -> Made:
        progress.picture(lambda: png(8 + order.seed))
        return super().generate(order, progress)


@pytest.fixture
def run() -> Iterator[Running]:
    running = Running(engine="draft", workers=1)
    running.engine = Showing()
    yield running
    running.engine.gate.set()
    running.close()


def status(run: Running, uuid: str) -> list[dict[str, Any]]:
    return run.post({"taskType": "getResponse", "taskUUID": uuid}).json()["data"]


def test_the_status_has_the_picture_until_the_result_is_there(run: Running) -> None:
    run.engine.gate.clear()
    asked = task(seed=5, numberResults=2)
    run.post(asked)
    assert run.engine.began.wait(PATIENCE)
    first, second = status(run, asked["taskUUID"])
    assert from_wire(first["preview"]) == png(13) and "preview" not in second
    found = read_reply({"data": [first, second]}, asked["taskUUID"])
    assert found.pictures == {0: png(13)}
    run.engine.gate.set()
    assert not any("preview" in item for item in run.settle(asked["taskUUID"], PATIENCE)["data"])


def test_what_is_too_large_is_not_sent(run: Running) -> None:
    run.engine.gate.clear()
    asked = task(seed=600)  # larger than such a picture may be
    run.post(asked)
    assert run.engine.began.wait(PATIENCE)
    (item,) = status(run, asked["taskUUID"])
    assert "preview" not in item and item["progress"] == 42


def test_a_service_s_nonsense_is_passed_over() -> None:
    uuid = task()["taskUUID"]
    for told in (7, "data:text/html;base64,AAAA", to_wire(png(8) + bytes(BYTES_LIMIT)), {"url": "x"}):
        item = {"taskUUID": uuid, "status": "processing", "progress": 3, "preview": told}
        assert read_reply({"data": [item]}, uuid).pictures == {}
    many = [{"taskUUID": uuid, "resultIndex": n, "status": "processing", "preview": to_wire(png())} for n in range(99)]
    assert 4 <= len(read_reply({"data": many}, uuid).pictures) <= 20


def test_whoever_waits_for_the_job_sees_each_picture_once(run: Running, disc_file: Path, tmp_path: Path) -> None:
    seen: list[tuple[bytes, int]] = []
    polls: list[str] = []

    def on_picture(found: bytes, number: int) -> None:
        seen.append((found, number))
        polls.clear()

    progress = Progress(
        lambda stage, share: polls.append(stage), lambda: bool(seen) and len(polls) > 3, on_picture=on_picture
    )
    run.engine.gate.clear()
    backend, store = Backend(run.base + "/v1"), JobStore(tmp_path / "store")
    job = api.prepare_task(disc_file, backend, Settings({"seed": 4})).write_down(store, backend)
    with Client(run.base + "/v1", TOKEN, remote=False) as client, pytest.raises(Cancelled):
        run_job(job, store, client, progress)
    assert seen == [(png(12), 0)]


def test_no_work_fails_for_a_picture_and_none_is_made_for_nobody() -> None:
    def broken() -> bytes:
        raise ValueError("no picture")

    shown: list[tuple[bytes, int]] = []
    progress = Progress(on_picture=lambda found, number: shown.append((found, number)))
    progress.picture(broken)
    progress.picture(lambda: b"")
    Progress().picture(broken)
    progress.part(0.2, 0.4).picture(lambda: b"a", 3)
    assert shown == [(b"a", 3)]

    def make(attempt: Attempt) -> None:
        attempt.progress.picture(lambda: b"b")

    make_within_memory(make, Settings({"resolution": 512}), progress, lambda: None)
    assert shown[1:] == [(b"b", 0)]


@pytest.mark.parametrize("views", [{}, {"left": True}])
def test_a_draft_shows_itself_before_it_is_painted(views: dict[str, bool], disc_file: Path) -> None:
    told: list[Any] = []
    progress = Progress(lambda stage, share: told.append(stage), on_picture=lambda found, _: told.append(found))
    with Image.open(disc_file) as opened:
        image = opened.convert("RGBA")
    seen = {name: image for name in views}
    settings = Settings({"resolution": 512, "texture_size": 1024})
    ReliefEngine().generate(Order(image, settings, 1, views=seen), progress)
    (at,) = (n for n, entry in enumerate(told) if isinstance(entry, bytes))
    assert "texture" in told[at:] and "texture" not in told[:at]
    with Image.open(io.BytesIO(told[at])) as shown:
        alpha = shown.convert("RGBA").getchannel("A")
        assert is_small(told[at]) and alpha.getpixel((shown.width // 2, shown.height // 2)) == 255
