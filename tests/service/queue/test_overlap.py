"""While one result is finished on the processor, the next is sampled on the device: what happens when, and how it ends.

Nothing is timed. Each stage waits for what must happen meanwhile: were the stages one after the other, it would never
come, and the test fail after `conftest.PATIENCE`.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import PATIENCE, disc
from service_tools import FakeEngine, Running, task, until

from trellis_addon.core.configuration import DEVICE_VARIABLE
from trellis_addon.core.errors import EngineError
from trellis_addon.core.progress import Progress
from trellis_addon.engines.engine import Made, Order
from trellis_addon.service.queue.journal import Journal
from trellis_addon.service.queue.station import Station

# all of the work, as little of it as there can be
QUICK_MODEL = {
    **{name: {"steps": 1} for name in ("sparseStructure", "shapeSlat", "texSlat")},
    **{"resolution": 512, "textureSize": 1024, "remesh": False},
}


class Moments:
    """What has happened, in its order, and a way to wait for what has not."""

    def __init__(self) -> None:
        self._happened: list[str] = []
        self._news = threading.Condition()

    def note(self, what: str) -> None:
        with self._news:
            self._happened.append(what)
            self._news.notify_all()

    def wait(self, what: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: what in self._happened, PATIENCE), f"{what} never came"

    def __contains__(self, what: str) -> bool:
        return what in self._happened

    def __call__(self) -> list[str]:
        with self._news:
            return list(self._happened)


class Staged(FakeEngine):
    """Samples, leaves the device, finishes; each stage of a seed waits for what `awaited` names, if it names any."""

    def __init__(self) -> None:
        super().__init__()
        self.moments = Moments()
        self.awaited: dict[str, str] = {}
        self.failing: dict[str, Exception] = {}
        self.lock = threading.Lock()
        self.shares: dict[int, list[float]] = {}

    def generate(self, order: Order, progress: Progress) -> Made:
        seed = order.seed
        assert self.lock.acquire(blocking=False), "two are at the device"
        try:
            self._stage("sample", seed, progress, 0.0)
        finally:
            self.lock.release()
        progress.leave_device()
        self._stage("finish", seed, progress, 0.7)
        return Made(b"glTF" + str(seed).encode())

    def _stage(self, name: str, seed: int, progress: Progress, share: float) -> None:
        self.moments.note(f"{name} {seed}")
        progress.update(name, share)
        self.shares.setdefault(seed, []).append(share)
        if f"{name} {seed}" in self.awaited:
            self.moments.wait(self.awaited[f"{name} {seed}"])
        progress.check()
        if f"{name} {seed}" in self.failing:
            raise self.failing[f"{name} {seed}"]
        self.moments.note(f"{name} {seed} over")


@pytest.fixture
def run() -> Iterator[Running]:
    running = Running(engine="draft", workers=1)
    running.engine = Staged()
    yield running
    running.engine.moments.note("never")  # whoever waits for it may go
    running.close()


def send(run: Running, results: int, seed: int) -> str:
    asked = task(seed=seed, numberResults=results)
    run.post(asked)
    return asked["taskUUID"]


def test_the_next_is_sampled_while_one_is_finished(run: Running) -> None:
    engine: Any = run.engine
    engine.awaited = {"finish 5": "sample 6", "finish 6": "sample 7", "sample 6": "finish 5", "sample 7": "finish 6"}
    uuid = send(run, 3, seed=5)
    body = run.settle(uuid, PATIENCE)
    assert [item["seed"] for item in sorted(body["data"], key=lambda item: item["resultIndex"])] == [5, 6, 7]
    moments = engine.moments()
    assert [moment for moment in moments if moment.startswith("sample") and "over" not in moment] == [
        "sample 5",
        "sample 6",
        "sample 7",
    ]
    # one after the other within a stage
    for stage in ("sample", "finish"):
        own = [moment for moment in moments if moment.startswith(stage)]
        assert own == [f"{stage} {seed}{end}" for seed in (5, 6, 7) for end in ("", " over")]
    assert all(shares == sorted(shares) for shares in engine.shares.values())


def test_of_two_tasks_too(run: Running) -> None:
    engine: Any = run.engine
    engine.awaited = {"finish 10": "sample 20"}
    first = send(run, 1, seed=10)
    second = send(run, 1, seed=20)
    assert run.settle(first, PATIENCE)["data"][0]["seed"] == 10
    assert run.settle(second, PATIENCE)["data"][0]["seed"] == 20


def test_at_most_one_waits_to_be_finished(run: Running) -> None:
    engine: Any = run.engine
    engine.awaited = {"finish 5": "go on"}
    uuid = send(run, 4, seed=5)
    engine.moments.wait("sample 6 over")
    station = run.service._workers._stations[0]
    # the one that waits has left the device, and nobody has come to it: both threads are taken
    until(lambda: not station.at_device.locked())
    assert "sample 7" not in engine.moments and "finish 6" not in engine.moments
    engine.moments.note("go on")
    assert len(run.settle(uuid, PATIENCE)["data"]) == 4


def test_what_waits_for_finishing_can_be_cancelled(run: Running) -> None:
    engine: Any = run.engine
    engine.awaited = {"finish 10": "go on"}
    first = send(run, 1, seed=10)
    second = send(run, 2, seed=20)
    engine.moments.wait("sample 20 over")
    run.post({"taskType": "cancelTask", "taskUUID": second})
    third = send(run, 1, seed=30)
    engine.moments.wait("sample 30 over")  # the place at the device is free again
    assert "finish 20" not in engine.moments and "sample 21" not in engine.moments
    engine.moments.note("go on")
    assert run.settle(first, PATIENCE)["data"][0]["status"] == "success"
    assert run.settle(third, PATIENCE)["data"][0]["status"] == "success"


@pytest.mark.parametrize("stage", ["sample", "finish"])
def test_one_that_fails_does_not_take_the_others_with_it(run: Running, stage: str) -> None:
    engine: Any = run.engine
    engine.failing = {f"{stage} 6": EngineError("It came to nothing.")}
    engine.awaited = {f"{stage} 6": "sample 7" if stage == "finish" else "finish 5"}
    body = run.settle(send(run, 3, seed=5), PATIENCE)
    assert sorted(item["seed"] for item in body["data"] if item["status"] == "success") == [5, 7]
    assert body["errors"][0]["message"] == "It came to nothing."


def test_what_ended_the_process_is_held_against_both_stages(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun is what is sampled and what is finished, until it is over: either may have been what ended it."""
    written = Moments()
    begin, clear = Journal.begin, Journal.clear_starts
    monkeypatch.setattr(Journal, "begin", lambda self, uuid: (written.note(f"+{uuid}"), begin(self, uuid))[1])
    monkeypatch.setattr(Journal, "clear_starts", lambda self, uuid: (written.note(f"-{uuid}"), clear(self, uuid))[1])
    engine: Any = run.engine
    engine.awaited = {"finish 10": "go on", "sample 20": "go on"}
    first, second, third = (send(run, 1, seed=seed) for seed in (10, 20, 30))
    engine.moments.wait("finish 10")
    engine.moments.wait("sample 20")
    assert written() == [f"+{first}", f"+{second}"]  # and nothing of the third, which nobody has touched
    engine.moments.note("go on")
    for uuid in (first, second, third):
        run.settle(uuid, PATIENCE)
        written.wait(f"-{uuid}")


def test_an_engine_that_never_leaves_the_device_is_alone_with_it() -> None:
    """As the draft does: no second thread is made for it."""
    running = Running(engine="draft", workers=1)
    try:
        running.settle(send(running, 3, seed=1), PATIENCE)
        assert running.engine.seeds == [1, 2, 3] and not running.service._workers._seconds
    finally:
        running.close()


def test_a_seat_is_in_one_place_at_a_time() -> None:
    station = Station()
    seat = station.sit()
    seat.take(lambda: None)  # it has the device
    seat.leave(lambda: None)
    seat.leave(lambda: None)  # twice is once
    assert station.at_finishing.locked() and not station.at_device.locked()
    other = station.sit()

    def stop() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        other.leave(stop)  # finishing is taken
    other.close()
    assert not station.at_device.locked()
    seat.take(lambda: None)
    assert station.at_device.locked() and not station.at_finishing.locked()
    seat.close()
    seat.close()
    assert not station.at_device.locked() and not station.at_finishing.locked()


# The real engine, with small weights


class Finishing:
    """In place of finishing, which takes seconds: tells when it begins, and what there is to finish at that moment."""

    def __init__(self, moments: Moments) -> None:
        self.moments = moments
        self.awaited: dict[int, str] = {}
        self.short: list[int] = []  # calls that run out of memory
        self.calls = 0
        self.assets: list[Any] = []  # weak references to all dense ones that were made
        self.most = 0

    def __call__(self, dense: Any, *, provenance: dict[str, Any], progress: Progress, **_: Any) -> Any:
        number, self.calls = self.calls, self.calls + 1
        self.moments.note(f"finish {number}")
        progress.update("Finishing", 0.0)
        if number in self.awaited:
            self.moments.wait(self.awaited[number])
        gc.collect()
        self.most = max(self.most, sum(asset() is not None for asset in self.assets))
        if number in self.short:
            raise MemoryError
        progress.update("Finishing", 1.0)
        self.moments.note(f"finish {number} over")
        return SimpleNamespace(glb=b"glTF" + f"{provenance['seed']} {len(dense.faces)}".encode())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from devtools.pipeline.make_small import make_small

    return make_small(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def real(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, Finishing]]:
    from trellis_addon.engines import trellis2
    from trellis_addon.geometry.finish import finish
    from trellis_addon.pipeline.pipeline import Pipeline

    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    moments = Moments()
    finishing = Finishing(moments)
    monkeypatch.setattr(finish, "finish", finishing)
    made = trellis2.dense_asset

    def dense_asset(result: Any) -> Any:
        asset = made(result)
        finishing.assets.append(weakref.ref(asset))
        moments.note(f"asset {len(finishing.assets) - 1}")
        return asset

    monkeypatch.setattr(trellis2, "dense_asset", dense_asset)
    paint, begun = Pipeline.paint, iter(range(100))

    def paint_and_tell(self: Any, sample: Any) -> Any:
        number = next(begun)
        moments.note(f"sample {number}")
        result = paint(self, sample)
        moments.note(f"sample {number} over")
        return result

    monkeypatch.setattr(Pipeline, "paint", paint_and_tell)
    running = Running(engine="draft", workers=1)
    running.engine = trellis2.Trellis2Engine(weights)  # type: ignore[assignment]
    running.engine.gate = threading.Event()
    yield running, finishing
    running.close()


def picture() -> str:
    import base64
    import io

    buffer = io.BytesIO()
    disc(64).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def sent(run: Running, results: int) -> list[bytes]:
    """The files of a task's results, in their order."""
    asked = task(inputs={"image": picture()}, numberResults=results, seed=3, settings=QUICK_MODEL)
    run.post(asked)
    body = run.settle(asked["taskUUID"], PATIENCE)
    assert not body.get("errors"), body
    items = sorted(body["data"], key=lambda item: item["resultIndex"])
    return [run.http.get(item["outputs"]["files"][0]["url"]).content for item in items]


def test_trellis2_samples_while_it_finishes(real: tuple[Running, Finishing]) -> None:
    run, finishing = real
    finishing.awaited = {0: "asset 1", 1: "sample 2"}
    files = sent(run, 3)
    assert [file.split()[0] for file in files] == [b"glTF3", b"glTF4", b"glTF5"]
    moments = finishing.moments()
    for number in (0, 1):
        assert moments.index(f"sample {number + 1}") < moments.index(f"finish {number} over")
    assert (
        len(finishing.assets) == 3 and finishing.most == 2
    )  # dense assets: the one that is finished, and the one that waits


def test_finishing_that_runs_out_of_memory_has_the_device_again(real: tuple[Running, Finishing]) -> None:
    """Meanwhile the next was sampled; now that one waits, the first is made again, and both come out."""
    run, finishing = real
    alone = sent(run, 2)
    finishing.calls, finishing.short = 100, [100]
    finishing.awaited = {100: "sample 3"}
    assert sent(run, 2) == alone
    assert finishing.calls == 103


def test_where_not_all_networks_fit_several_results_go_stage_by_stage(
    real: tuple[Running, Finishing], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that holds one network at a time: those of the shape are read once for all results, which are the same
    as one by one; of each result the bar only rises, and painting goes on while one is finished."""
    from trellis_addon.pipeline.device.store import ModelStore
    from trellis_addon.pipeline.pipeline import Pipeline
    from trellis_addon.service.queue.tasks import TaskStore

    run, finishing = real
    alone = sent(run, 3)
    read: list[str] = []
    bars: dict[int, list[float]] = {}
    engine: Any = run.engine
    engine._finishing, engine._painting = 0.0, 1.0
    load = engine._pipeline.store._load
    report = TaskStore.report

    def told(self: Any, record: Any, index: int, stage: str, fraction: float) -> None:
        bars.setdefault(index, []).append(fraction)
        report(self, record, index, stage, fraction)

    monkeypatch.setattr(TaskStore, "report", told)
    monkeypatch.setattr(Pipeline, "loads_again", lambda self, settings: True)
    monkeypatch.setattr(ModelStore, "_make_room", lambda self, needed: self._resident.clear())
    monkeypatch.setattr(engine._pipeline.store, "_load", lambda name: (read.append(name), load(name))[1])
    engine._pipeline.store.clear()
    finishing.calls, finishing.awaited = 0, {0: "sample 4", 1: "sample 5"}
    assert sent(run, 3) == alone
    shaping = ["sparse_structure_flow_model", "sparse_structure_decoder", "shape_slat_flow_model_512"]
    painting = ["tex_slat_flow_model_512", "shape_slat_decoder", "tex_slat_decoder"]
    assert read == ["image_cond_model", *shaping, *3 * painting]
    for index in range(3):
        assert bars[index] == sorted(bars[index]) and bars[index][-1] == pytest.approx(1.0)
    assert not engine._ahead


def test_where_finishing_takes_longer_than_painting_nothing_is_sampled_ahead(
    real: tuple[Running, Finishing], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the last results' finishing would come after all sampling, with nothing to hide behind."""
    from trellis_addon.pipeline.pipeline import Pipeline

    run, _ = real
    asked: list[int] = []
    shape_all = Pipeline.shape_all

    def count(self: Any, image: Any, settings: Any, seeds: Any, **options: Any) -> Any:
        asked.append(len(seeds))
        engine._finishing, engine._painting = 9.0, 1.0  # as measured with the first
        return shape_all(self, image, settings, seeds, **options)

    engine: Any = run.engine
    engine._finishing, engine._painting = 9.0, 1.0
    monkeypatch.setattr(Pipeline, "shape_all", count)
    monkeypatch.setattr(Pipeline, "loads_again", lambda self, settings: True)
    sent(run, 2)
    assert asked[0] == 1


def test_a_result_without_an_object_does_not_take_the_others_with_it(
    real: tuple[Running, Finishing], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trellis_addon.pipeline.pipeline import Pipeline

    run, _ = real
    occupied, calls = Pipeline._occupied, iter(range(3))

    def nothing(self: Any, *arguments: Any) -> Any:
        if next(calls) == 1:
            raise EngineError("The model found no object in the image.")
        return occupied(self, *arguments)

    monkeypatch.setattr(Pipeline, "_occupied", nothing)
    monkeypatch.setattr(Pipeline, "loads_again", lambda self, settings: True)
    asked = task(inputs={"image": picture()}, numberResults=3, seed=3, settings=QUICK_MODEL)
    run.post(asked)
    body = run.settle(asked["taskUUID"], PATIENCE)
    assert sorted(item["seed"] for item in body["data"] if item["status"] == "success") == [3, 5]
    assert "no object" in body["errors"][0]["message"]
