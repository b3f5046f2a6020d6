"""Arrivals: nothing that goes wrong stops the queue, a render goes first, and what has arrived is to be seen."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from test_extension import extension, part  # noqa: F401  (a fixture)
from test_flow import Flow, Gate, flow, meshes  # noqa: F401  (a fixture)

bpy = pytest.importorskip("bpy")

from scene_objects import write  # noqa: E402
from test_glb_check import simple  # noqa: E402


@pytest.fixture
def turn(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:  # noqa: F811
    """One turn of the pump, which must never raise: Blender would drop the timer."""
    return part("trellis_addon.scene.pump").pump


@pytest.fixture
def ready(flow: Flow, tmp_path: Path) -> Callable[..., Any]:  # noqa: F811
    """Lists a generation whose results are there, without any work before."""

    def make(name: str, results: int = 1, **place: Any) -> Any:
        assets = [
            part("trellis_addon.jobs.job").Asset.from_file(write(tmp_path, simple(), f"{name}{number}"))
            for number in range(results)
        ]
        target = flow.target.Target(bpy.context.scene.name, "", (0, 0, 0), 1.0, flow.target.SESSION, **place)
        generation = flow.queue.Generation(name, target, state="ready", assets=tuple(assets))
        flow.queue._generations.append(generation)
        return generation

    return make


def failing(times: int, error: type[BaseException], real: Any = None) -> Callable[..., Any]:
    left = itertools.count(1)

    def fail(*arguments: Any, **options: Any) -> Any:
        if next(left) <= times:
            raise error("something nobody foresaw")
        return real(*arguments, **options) if real else None

    return fail


@pytest.mark.parametrize("error", [RuntimeError, KeyError, TypeError, MemoryError, OSError, RecursionError])
@pytest.mark.parametrize("place", ["import_asset", "deliver", "hands_full", "_elsewhere"])
def test_an_exception_that_nobody_foresaw(
    error: type[Exception],
    place: str,
    flow: Flow,  # noqa: F811
    ready: Any,
    turn: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = ready("first"), ready("second")
    monkeypatch.setattr(flow.arrival, place, failing(1, error, getattr(flow.arrival, place)))
    for _ in range(4):
        turn()
    assert second.state == "done", second.message
    assert first.state == "failed" and error.__name__ in first.message and "Traceback" not in first.message


def test_of_several_results_all_or_none(flow: Flow, ready: Any, turn: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    real, calls = flow.arrival.import_asset, []

    def odd(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("the second of three")
        return real(*arguments, **options)

    monkeypatch.setattr(flow.arrival, "import_asset", odd)
    first, second = ready("first", results=3), ready("second", results=2)
    for _ in range(3):
        turn()
    assert first.state == "failed" and second.state == "done", second.message
    assert [obj.name for obj in meshes()] == ["second0", "second1"]
    assert len(bpy.data.collections) == 2


def test_copies_of_a_card_or_none(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    gate = Gate()
    generation = flow.begin(hold=gate)
    flow.until(lambda: flow.cards())
    copy = flow.cards()[0].copy()
    bpy.context.scene.collection.objects.link(copy)
    monkeypatch.setattr(flow.arrival, "give_collection", failing(9, RuntimeError))
    collections = len(bpy.data.collections)
    gate.is_open = True
    flow.end(generation, "failed")
    assert len(flow.cards()) == 2 and not meshes() and len(bpy.data.collections) == collections


def test_what_goes_wrong_after_an_arrival_does_not_unmake_it(
    flow: Flow,  # noqa: F811
    ready: Any,
    turn: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history, device = part("trellis_addon.scene.history"), part("trellis_addon.scene.device")
    for module, name in (
        (flow.arrival, "_measure"),
        (flow.arrival, "join_local_views"),
        (flow.arrival, "mark_delivered"),
        (flow.arrival, "mark_asset"),
        (flow.queue, "redraw"),
        (history, "read_store"),
        (device, "ask_again"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, failing(9, RuntimeError))
            generation = ready(name, catalog="TRELLIS.2")
            for _ in range(3):
                turn()
        assert generation.state == "done", (name, generation.message)
    assert len(meshes()) == 7


def test_what_a_thread_reports_may_go_wrong(flow: Flow, ready: Any, turn: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    heard = []
    for _ in range(2):
        part("trellis_addon.scene.pump").later(failing(1, ValueError))
        part("trellis_addon.scene.pump").later(lambda: heard.append(1))
    turn()
    assert heard == [1, 1]


def test_previews_that_cannot_be_made_hold_nothing_up(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    previews = part("trellis_addon.scene.previews")
    monkeypatch.setattr(previews, "render", failing(9, RuntimeError))
    generation = flow.begin(number_results=2)
    flow.until(lambda: generation.state != "running")
    assert generation.state == "choose"
    assert bpy.ops.trellis2.keep_results(generation=generation.id, results="1") == {"FINISHED"}
    assert len(meshes()) == 1


def test_keeping_results_says_what_went_wrong(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    generation = flow.begin(number_results=2)
    flow.until(lambda: generation.state == "choose")
    monkeypatch.setattr(flow.arrival, "import_asset", failing(9, KeyError))
    with pytest.raises(RuntimeError, match="Unexpected problem"):  # what Blender makes of an operator's report
        bpy.ops.trellis2.keep_results(generation=generation.id)
    assert not meshes() and generation.state == "choose"


def test_a_settling_that_goes_wrong_is_told(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(flow.arrival, "_settle", failing(9, RuntimeError))
    generation = flow.begin()
    flow.until(lambda: generation.state != "running")
    assert generation.state == "failed" and "RuntimeError" in generation.message


# --- while Blender renders or bakes ---


@pytest.mark.parametrize("job", ["RENDER", "OBJECT_BAKE", "COMPOSITE"])
def test_an_arrival_waits_for_renders_and_bakes(
    job: str,
    flow: Flow,  # noqa: F811
    ready: Any,
    turn: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = {job}

    class App:
        """Blender's own cannot be made to say so without a window."""

        is_job_running = staticmethod(lambda kind: kind in running)

        def __getattr__(self, name: str) -> Any:
            return getattr(bpy.app, name)

    class Blender:
        app = App()

        def __getattr__(self, name: str) -> Any:
            return getattr(bpy, name)

    monkeypatch.setattr(flow.arrival, "bpy", Blender())
    generation = ready("thing")
    for _ in range(3):
        turn()
    assert generation.state == "ready" and not meshes()
    assert "arrives when this is done" in generation.message
    path = str(generation.assets[0].path)
    for ask in (
        lambda: bpy.ops.trellis2.import_glb(filepath=path),
        lambda: bpy.ops.trellis2.keep_results(generation=generation.id),
    ):
        with pytest.raises(RuntimeError, match="Blender is at work"):
            ask()
    assert not meshes()
    running.clear()
    turn()
    assert generation.state == "done" and len(meshes()) == 1


# --- to be seen ---


def is_seen(obj: Any) -> bool:
    bpy.context.view_layer.update()
    return bool(obj.visible_get()) and not obj.hide_select


def hide(way: str, collection: Any) -> None:
    layer = bpy.context.view_layer
    layer.update()
    found = next(c for c in layer.layer_collection.children if c.collection == collection)
    if way == "excluded":
        found.exclude = True
    elif way == "hidden with the eye":
        found.hide_viewport = True
    elif way == "hidden in viewports":
        collection.hide_viewport = True
    elif way == "not selectable":
        collection.hide_select = True


WAYS = ("excluded", "hidden with the eye", "hidden in viewports", "not selectable")


@pytest.fixture
def props(flow: Flow) -> Any:  # noqa: F811
    collection = bpy.data.collections.new("Props")
    bpy.context.scene.collection.children.link(collection)
    return collection


@pytest.mark.parametrize("way", WAYS)
def test_it_is_seen_although_its_collection_is_not(way: str, ready: Any, turn: Any, props: Any) -> None:
    hide(way, props)
    generation = ready("thing", collection="Props")
    turn()
    (obj,) = meshes()
    assert generation.state == "done" and is_seen(obj) and not props.children
    obj.select_set(True)
    assert obj.select_get()
    assert "Props is hidden or locked" in generation.message
    assert "Scene Collection" in generation.message


def test_a_collection_that_is_open_is_taken_without_a_word(ready: Any, turn: Any, props: Any) -> None:
    generation = ready("thing", collection="Props")
    turn()
    assert len(props.children) == 1 and "hidden" not in generation.message


def test_below_a_hidden_one_the_nearest_that_is_open(ready: Any, turn: Any, props: Any) -> None:
    inner = bpy.data.collections.new("Inner")
    props.children.link(inner)
    inner.hide_viewport = True
    generation = ready("thing", collection="Inner")
    turn()
    assert len(props.children) == 2 and "it is in Props" in generation.message


@pytest.mark.parametrize("way", WAYS)
def test_a_card_and_its_asset_are_seen_too(way: str, flow: Flow, props: Any) -> None:  # noqa: F811
    gate = Gate()
    generation = flow.begin(hold=gate)
    flow.until(lambda: flow.cards())
    (card,) = flow.cards()
    bpy.context.scene.collection.objects.unlink(card)
    props.objects.link(card)
    hide(way, props)
    gate.is_open = True
    flow.end(generation)
    (obj,) = meshes()
    assert is_seen(obj) and "Props is hidden or locked" in generation.message


def test_a_card_stands_where_it_is_seen(flow: Flow, props: Any) -> None:  # noqa: F811
    hide("excluded", props)
    target = flow.target.Target(bpy.context.scene.name, "", (0, 0, 0), 1.0, flow.target.SESSION, collection="Props")
    card = flow.placeholder.stand("id", "card", target.parent_in(bpy.context.scene), (0, 0, 0), 1.0)
    assert is_seen(card)


def test_what_arrives_joins_local_view(flow: Flow, ready: Any, turn: Any) -> None:  # noqa: F811
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "WINDOW")
    view = area.spaces.active
    bpy.context.view_layer.update()
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.view3d.localview(frame_selected=False)
    bpy.context.view_layer.update()
    if not cube.local_view_get(view):
        pytest.skip("this Blender has no Local View without a window")
    generation = ready("thing")
    turn()
    obj = next(obj for obj in meshes() if obj != cube)
    assert generation.state == "done" and obj.local_view_get(view)
    card = flow.placeholder.stand("id", "card", bpy.context.scene.collection, (0, 0, 0), 1.0)
    assert card.local_view_get(view)


def test_the_store_may_be_out_of_order(flow: Flow, ready: Any, turn: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    errors: ModuleType = part("trellis_addon.core.errors")
    monkeypatch.setattr(flow.arrival, "mark_delivered", failing(9, errors.StoreError))
    generation = ready("thing")
    turn()
    assert generation.state == "done" and len(meshes()) == 1
