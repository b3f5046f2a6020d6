"""Several machines without Ray: what goes to a process and comes back, which machines fit, and who makes it again."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import PATIENCE
from PIL import Image
from service_tools import FakeEngine, Running, task

from trellis_addon.cluster import engine as cluster_engine
from trellis_addon.cluster.actor import EngineActor
from trellis_addon.cluster.engine import ClusterEngine
from trellis_addon.cluster.joining import cannot_join
from trellis_addon.cluster.members import Member, Node
from trellis_addon.cluster.node import code_mark, unfit
from trellis_addon.cluster.pool import _slots
from trellis_addon.core.errors import Cancelled, EngineError, ImageError, LostWorkerError
from trellis_addon.core.messages import message
from trellis_addon.core.progress import Place, Progress
from trellis_addon.core.version import VERSION
from trellis_addon.engines.engine import Made, Order
from trellis_addon.service.worker import MOST_LOSSES
from trellis_addon.task.settings import DRAFT_MODEL, Settings


class Near:
    """A member of the cluster whose process is this one; what goes to it and back is pickled by nobody."""

    is_handed_over = False
    node = SimpleNamespace(name="here")

    def __init__(self, create_engine: Callable[[str], Any]) -> None:
        self.actor = EngineActor(create_engine, {})
        self.doing: dict[str, tuple[str, float]] = {}
        self.busy = 0
        self.made: list[str] = []
        self.largest = 0
        self.cause: object = None

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        self.busy += 1
        yield
        self.busy -= 1

    def call(self, method: str, *arguments: Any, look: Callable[[], bool] = lambda: False) -> Any:
        self.largest = max([self.largest, *(len(each) for each in arguments if isinstance(each, bytes))])
        found = getattr(self.actor, method)(*arguments)
        self.largest = max(self.largest, len(found) if isinstance(found, bytes) else 0)
        return found

    def tell(self, method: str, *arguments: Any) -> None:
        self.call(method, *arguments)

    def has_made(self, seconds: float, model: str) -> None:
        self.made.append(model)

    def give_up(self, cause: object) -> None:
        self.cause = cause

    lose = give_up


class Echo:
    """What it was given, as its result."""

    model = DRAFT_MODEL

    def generate(self, order: Order, progress: Progress) -> Made:
        progress.update(message("Stage {number}", number=1), 0.5)
        progress.leave_device()
        progress.take_device()
        pictures = {"front": order.image, **order.views}
        told = {name: picture.tobytes() for name, picture in pictures.items() if picture is not None}
        return Made(
            b"glTF" + b"".join(told.values()),
            order.latents,
            {"names": list(told), "seed": order.seed, **order.settings},
        )

    def release(self) -> None:
        pass


def test_pictures_latents_and_results_go_there_and_back_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_engine, "PIECE", 1000)
    member = Near(lambda model: Echo())
    front, back = Image.effect_noise((40, 30), 90).convert("RGBA"), Image.new("RGBA", (3, 5), (1, 2, 3, 0))
    moves, stages = [], []

    class Seat(Place):
        def leave(self, check: Callable[[], None]) -> None:
            moves.append("leave")

        def take(self, check: Callable[[], None]) -> None:
            moves.append("take")

    order = Order(front, Settings({"resolution": 512}), 2**63 - 1, latents=bytes(range(256)) * 20, views={"back": back})
    made = ClusterEngine(member, DRAFT_MODEL).generate(  # type: ignore[arg-type]
        order, Progress(lambda stage, share: stages.append((stage, share)), place=Seat())
    )
    assert made.glb == b"glTF" + front.tobytes() + back.tobytes() and made.latents == bytes(range(256)) * 20
    assert made.facts == {"names": ["front", "back"], "seed": 2**63 - 1, "resolution": 512}
    assert stages == [("Stage 1", 0.5)] and stages[0][0].template == "Stage {number}"
    assert moves == ["leave", "take"]
    assert member.largest == 1000 and member.made == [DRAFT_MODEL] and member.busy == 0 and not member.doing
    assert not member.actor._jobs


def test_a_call_that_is_made_twice_does_nothing_twice() -> None:
    engine = FakeEngine()
    actor = EngineActor(lambda model: engine, {})
    from trellis_addon.cluster.actor import RemoteOrder

    for _ in range(2):
        actor.add("job", "image", 0, bytes(4))
    for _ in range(2):
        actor.begin("job", RemoteOrder(DRAFT_MODEL, Order(None, Settings(), 7), {"image": (1, 1)}))
    heard, kinds = 0, []
    while "made" not in kinds:
        first = actor.news("job", heard, 0, PATIENCE)
        again = actor.news("job", heard, 0, PATIENCE)
        assert again[: len(first)] == first or again[-1][0] >= first[-1][0]
        kinds += [event[0] for _, event in again]
        heard = again[-1][0]
    assert engine.seeds == [7]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ImageError("The picture is empty."), ImageError, "The picture is empty."),
        (ValueError("no such thing"), EngineError, "The engine failed (ValueError: no such thing)"),
        (MemoryError(), EngineError, "not enough memory"),
    ],
)
def test_what_fails_there_fails_here(error: BaseException, kind: type[Exception], words: str) -> None:
    engine = FakeEngine()
    engine.errors[1] = error
    with pytest.raises(kind) as caught:
        ClusterEngine(Near(lambda model: engine), DRAFT_MODEL).generate(Order(None, Settings(), 1), Progress())  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_a_device_that_is_lost_there_is_a_lost_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    engine.errors[1] = RuntimeError("CUDA error: an illegal memory access was encountered")
    member = Near(lambda model: engine)
    ended = threading.Event()
    monkeypatch.setattr("trellis_addon.cluster.actor._LAST_WORDS", 0.0)
    monkeypatch.setattr("trellis_addon.cluster.actor.os._exit", lambda code: ended.set())
    with pytest.raises(LostWorkerError, match="went wrong") as caught:
        ClusterEngine(member, DRAFT_MODEL).generate(Order(None, Settings(), 1), Progress())  # type: ignore[arg-type]
    assert caught.value.is_blamed and member.cause and ended.wait(PATIENCE)


def test_a_lost_process_gets_nothing_new_before_its_loss_is_told() -> None:
    """Or the result that it has lost comes back to it, is lost again, and is given up for that."""
    actor = SimpleNamespace(hello=SimpleNamespace(remote=lambda: None), watch=SimpleNamespace(remote=lambda: None))
    member, told = Member(Node("id", "host", "", {}), actor), threading.Event()

    def lose() -> None:
        member.lose(message("its machine is gone"))
        told.set()

    thread = threading.Thread(target=lose)
    thread.start()
    end = time.monotonic() + PATIENCE
    while member.gone is None:
        assert time.monotonic() < end
        time.sleep(0.005)
    assert not told.is_set() and not member.is_closed
    member.close()  # as the pool does, which has seen that it is gone
    assert told.wait(PATIENCE) and str(member.gone) == "its machine is gone"
    thread.join(PATIENCE)


def test_cancelling_reaches_the_engine_there() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    with pytest.raises(Cancelled):
        ClusterEngine(Near(lambda model: engine), DRAFT_MODEL).generate(  # type: ignore[arg-type]
            Order(None, Settings(), 1), Progress(is_cancelled=engine.began.is_set)
        )
    assert engine.stopped.wait(PATIENCE)


def test_which_machines_fit() -> None:
    about = {"version": VERSION, "code": code_mark(), "lacks": [], "weights": "/weights", "weightsMark": "1234"}
    assert unfit(about, needs_trellis2=True, weights_mark="1234") == ""
    assert unfit(about | {"weights": "", "lacks": ["torch"]}, needs_trellis2=False) == ""
    for other, words in (
        ({"version": "0.0.1"}, "version 0.0.1 in place of"),
        ({"code": "deadbeef"}, "deadbeef in place of"),
        ({"lacks": ["torch", "warp"]}, "lacks torch, warp"),
        ({"weights": ""}, "no weights"),
        ({"weightsMark": "4321"}, "4321 in place of 1234"),
    ):
        assert words in unfit(about | other, needs_trellis2=True, weights_mark="1234")


def test_what_a_process_takes_of_its_machine() -> None:
    assert _slots({"CPU": 8, "GPU": 2}, True) == [{"num_gpus": 1, "num_cpus": 0}] * 2
    assert _slots({"CPU": 3}, True) == [{"num_cpus": 3}]
    assert _slots({"CPU": 3, "GPU": 2}, False) == [{"num_cpus": 1}] * 3
    assert _slots({"GPU": 2}, False) == [{"num_gpus": 1, "num_cpus": 0}] * 2
    assert _slots({"memory": 1.0}, True) == _slots({}, False) == []


@pytest.mark.parametrize("address", ["", "gpu-box", "gpu-box:", ":6399", "gpu-box:0", "gpu-box:port", "gpu-box:70000"])
def test_an_address_that_cannot_be_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert "HOST:PORT" in cannot_join(address)
    assert cannot_join("auto") == cannot_join("gpu-box:6399") == ""


def test_without_ray_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install" in cannot_join("auto")


class Machines:
    """Stands for a cluster: each of its processes is an engine of the test's."""

    def __init__(self) -> None:
        self.open: Any = None
        self.close: Any = None

    def has_trellis2(self) -> bool:
        return False

    def start(self, open_station: Any, close_station: Any) -> None:
        self.open, self.close = open_station, close_station

    def status(self) -> dict[str, Any]:
        return {"nodes": []}

    def stop(self) -> None:
        pass


class Mortal(FakeEngine):
    """Its process is gone as often as it is asked to work, so many times."""

    def __init__(self, deaths: int, *, is_blamed: bool = True) -> None:
        super().__init__()
        self.deaths, self.is_blamed = deaths, is_blamed

    def generate(self, order: Order, progress: Progress) -> Made:
        if self.deaths:
            self.deaths -= 1
            error = LostWorkerError("its machine is gone")
            error.is_blamed = self.is_blamed
            raise error
        return super().generate(order, progress)


@pytest.fixture
def running() -> Iterator[tuple[Running, Machines]]:
    machines = Machines()
    one = Running("draft", cluster=machines)
    yield one, machines
    one.close()


def settled(one: Running, uuid: str) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = one.poll(uuid)
        if found.get("errors") or found["data"][0]["status"] != "processing":
            return found
        time.sleep(0.01)
    raise AssertionError("it never ended")


def test_what_a_lost_process_made_is_made_by_another(running: tuple[Running, Machines]) -> None:
    one, machines = running
    sent = task(seed=5)
    one.post(sent)
    assert one.service.about()["workers"] == 0 and one.engine.seeds == []
    mortal, other = Mortal(1), FakeEngine()
    number = machines.open(lambda model: mortal)
    machines.open(lambda model: other)
    assert one.service.about()["workers"] == 2
    found = settled(one, sent["taskUUID"])
    assert found["data"][0]["status"] == "success" and found["data"][0]["seed"] == 5
    assert len(mortal.seeds + other.seeds) == 1
    machines.close(number)
    assert one.service.about()["workers"] == 1


def test_a_task_that_ends_every_process_is_given_up_with_the_cause(running: tuple[Running, Machines]) -> None:
    one, machines = running
    mortal = Mortal(1000)
    machines.open(lambda model: mortal)
    sent = task()
    one.post(sent)
    error = settled(one, sent["taskUUID"])["errors"][0]
    assert mortal.deaths == 1000 - MOST_LOSSES
    assert f"ended {MOST_LOSSES} times" in error["message"] and "its machine is gone" in error["message"]
    mortal.deaths = 0
    after = task()
    one.post(after)
    assert settled(one, after["taskUUID"])["data"][0]["status"] == "success"


def test_what_is_handed_over_is_not_held_against_the_task(running: tuple[Running, Machines]) -> None:
    one, machines = running
    mortal = Mortal(10, is_blamed=False)
    machines.open(lambda model: mortal)
    sent = task()
    one.post(sent)
    assert settled(one, sent["taskUUID"])["data"][0]["status"] == "success"


def test_a_closed_station_ends_what_it_works_on_and_takes_nothing_new(running: tuple[Running, Machines]) -> None:
    one, machines = running
    engine = FakeEngine()
    engine.gate.clear()
    number = machines.open(lambda model: engine)
    first, second = task(seed=1), task(seed=2)
    one.post(first)
    assert engine.began.wait(PATIENCE)
    machines.close(number)
    one.post(second)
    engine.gate.set()
    assert settled(one, first["taskUUID"])["data"][0]["status"] == "success"
    assert one.poll(second["taskUUID"])["data"][0]["status"] == "processing" and engine.seeds == [1]
    other = FakeEngine()
    machines.open(lambda model: other)
    assert settled(one, second["taskUUID"])["data"][0]["seed"] == 2 and other.seeds == [2]


def test_pictures_that_were_sent_are_what_the_engine_sees() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (2, 2), (9, 8, 7, 6)).save(buffer, "PNG")
    with Image.open(io.BytesIO(buffer.getvalue())) as picture:
        made = ClusterEngine(Near(lambda model: Echo()), DRAFT_MODEL).generate(
            Order(picture, Settings(), 0), Progress()
        )  # type: ignore[arg-type]
    assert made.glb == b"glTF" + bytes((9, 8, 7, 6)) * 4
