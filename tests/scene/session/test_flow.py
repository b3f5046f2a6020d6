"""From Generate to the asset: the card, what may happen to it meanwhile, and the choice among several results."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import PATIENCE, disc
from fault_server import SUBMIT, FaultServer
from PIL import Image
from test_extension import extension, part  # noqa: F401  (a fixture)

bpy = pytest.importorskip("bpy")
QUICK = {"resolution": 512, "texture_size": 1024}


@pytest.fixture
def flow(extension: ModuleType, disc_file: Path) -> Iterator[Flow]:  # noqa: F811
    return Flow(disc_file)


class Flow:
    """Generations as the button begins them in a window; the pump, which timers would call, is turned by hand."""

    def __init__(self, picture: Path) -> None:
        self.queue, self.placeholder = part("trellis_addon.scene.queue"), part("trellis_addon.scene.place.placeholder")
        self.arrival, self.resume = part("trellis_addon.scene.arrival"), part("trellis_addon.scene.resume")
        self.api, self.store = part("trellis_addon.api"), part("trellis_addon.jobs.store").JobStore()
        self.target, self.task = part("trellis_addon.scene.target"), part("trellis_addon.task.task")
        self.backend = part("trellis_addon.client.backends").Backend("draft")
        self.settings = part("trellis_addon.task.settings").Settings
        self.picture = picture

    def begin(self, *, location: Any = (1.0, 2.0, 0.5), height: float = 2.0, hold: Any = None, **settings: Any) -> Any:
        """`hold()` keeps the work from going on, so that something can happen while it is under way."""
        uuid, scene = self.task.new_uuid(), bpy.context.scene
        self.placeholder.stand(uuid, "Blue Disc", scene.collection, location, height)
        target = self.target.Target(scene.name, bpy.data.filepath, tuple(location), height, self.target.SESSION, uuid)
        wished = self.settings({**QUICK, **settings})

        def make(progress: Any, report: Any) -> Any:
            prepared = self.api.prepare_task(self.picture, self.backend, wished, name="Blue Disc", uuid=uuid)
            job = prepared.write_down(self.store, self.backend, target=target.to_json())
            self.queue.show_picture(uuid, job.thumbnail)
            asset = self.api.finish(job, self.backend, self.store, progress)
            while hold is not None and not hold():
                progress.check()
                time.sleep(0.01)
            return asset

        return self.queue.start("Blue Disc", make, target)

    def until(self, happened: Callable[[], Any], what: str = "it did not happen") -> None:
        give_up = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < give_up, what
            part("trellis_addon.scene.pump").pump()
            time.sleep(0.01)

    def end(self, generation: Any, state: str = "done") -> None:
        self.until(lambda: generation.state not in ("running", "ready"))
        assert generation.state == state, generation.message

    def cards(self) -> list[Any]:
        return self.placeholder.all_cards()


def meshes() -> list[Any]:
    return sorted((obj for obj in bpy.data.objects if obj.type == "MESH"), key=lambda obj: obj.name)


def bottom(obj: Any) -> tuple[float, ...]:
    return tuple(obj.matrix_world.translation)


def buttons_of(generation: Any) -> list[str]:
    """What is written on the buttons below its results."""
    words: list[str] = []

    class Layout(SimpleNamespace):
        def operator(self, name: str, text: str = "", **_: Any) -> SimpleNamespace:
            words.append(text)
            return SimpleNamespace()

        def row(self, **_: Any) -> Layout:
            return self

        grid_flow = column = row
        label = template_icon = lambda *_, **__: None

    part("ui.job_panels").draw_results(Layout(), generation, bpy.context)
    return words


class Gate:
    """Closed until it is opened."""

    def __init__(self) -> None:
        self.is_open = False

    def __call__(self) -> bool:
        return self.is_open


def test_the_card_shows_the_picture_and_the_asset_takes_its_place(flow: Flow) -> None:
    gate = Gate()
    generation = flow.begin(hold=gate)
    (card,) = flow.cards()
    assert card.name == "Blue Disc" and card.empty_display_type == "IMAGE"
    flow.until(lambda: card.data is not None, "the picture never came")
    width, height = card.data.size
    assert card.data.packed_file is not None and max(width, height) >= 200
    assert card.empty_display_size * height / max(width, height) == pytest.approx(2.0), "as tall as the asset will be"

    gate.is_open = True
    flow.end(generation)
    (obj,) = meshes()
    assert obj.name == "Blue Disc"
    assert not flow.cards() and not [
        image for image in bpy.data.images if image.name.startswith("Blue Disc") and not image.users
    ]
    assert bottom(obj) == pytest.approx((1.0, 2.0, 0.5)) and obj.dimensions.z == pytest.approx(2.0, rel=1e-4)
    assert obj.rotation_euler[:] == pytest.approx((0, 0, 0), abs=1e-5) and obj.scale[:] == pytest.approx((1, 1, 1))
    assert flow.store.get(generation.target.card).delivered


def test_a_card_may_be_moved_turned_scaled_renamed_and_parented(flow: Flow) -> None:
    gate = Gate()
    generation = flow.begin(hold=gate)
    (card,) = flow.cards()
    shelf = bpy.data.objects.new("Shelf", None)
    bpy.context.scene.collection.objects.link(shelf)
    shelf.location = (0, 0, 3)
    box = bpy.data.collections.new("Box")
    bpy.context.scene.collection.children.link(box)
    box.objects.link(card)
    bpy.context.scene.collection.objects.unlink(card)
    card.parent = shelf
    card.location, card.scale = (4.0, 0.0, 0.0), (1.5, 1.5, 1.5)
    card.rotation_euler.z = math.radians(90)
    card.name = "Guardian"
    bpy.context.view_layer.update()

    gate.is_open = True
    flow.end(generation)
    (obj,) = meshes()
    assert obj.name == "Guardian" and obj.parent == shelf
    bpy.context.view_layer.update()
    assert bottom(obj) == pytest.approx((4.0, 0.0, 3.0)), "where the card stood, on the shelf"
    assert obj.scale[:] == pytest.approx((1.5, 1.5, 1.5))
    assert obj.rotation_euler.z == pytest.approx(math.radians(90), abs=1e-5)
    assert obj.users_collection[0].name in {child.name for child in box.children}


def test_every_copy_of_a_card_is_replaced_and_the_mesh_is_shared(flow: Flow) -> None:
    gate = Gate()
    generation = flow.begin(hold=gate)
    (card,) = flow.cards()
    other_scene = bpy.data.scenes.new("Other")
    for x, scene in ((5.0, bpy.context.scene), (9.0, other_scene)):
        copy = card.copy()
        copy.location.x = x
        scene.collection.objects.link(copy)
    gate.is_open = True
    flow.end(generation)
    objects = sorted(meshes(), key=lambda obj: obj.location.x)
    assert [obj.location.x for obj in objects] == pytest.approx([1.0, 5.0, 9.0])
    assert len({obj.data.name for obj in objects}) == 1 and not flow.cards()
    assert [obj.users_scene[0].name for obj in objects] == ["Scene", "Scene", "Other"]


def test_a_card_that_is_gone_keeps_the_asset_for_later(flow: Flow) -> None:
    """Deleted, or undone: nothing comes into the scene unasked, and nothing is lost."""
    gate = Gate()
    generation = flow.begin(hold=gate)
    (card,) = flow.cards()
    bpy.data.objects.remove(card)
    gate.is_open = True
    flow.end(generation, "kept")
    assert not meshes() and "Import" in generation.message
    bpy.context.scene.cursor.location = (7.0, 0.0, 0.0)
    assert bpy.ops.trellis2.keep_results(generation=generation.id) == {"FINISHED"}
    (obj,) = meshes()
    assert obj.location.x == pytest.approx(7.0) and generation.state == "done"


def test_a_card_that_comes_back_gets_its_asset(flow: Flow) -> None:
    """As a redo brings it back."""
    gate = Gate()
    generation = flow.begin(hold=gate)
    (card,) = flow.cards()
    bpy.context.scene.collection.objects.unlink(card)
    gate.is_open = True
    flow.end(generation, "kept")
    bpy.context.scene.collection.objects.link(card)
    flow.queue.look_again()
    assert generation.state == "ready"
    flow.end(generation)
    assert len(meshes()) == 1 and not flow.cards()


def test_saved_closed_and_opened_again_while_it_runs(flow: Flow, tmp_path: Path) -> None:
    """The file is closed before the job is over; another is open when it is; then the first is opened again."""
    path, gate = tmp_path / "work.blend", Gate()
    generation = flow.begin(hold=gate)
    (card,) = flow.cards()
    card.location.x = -3.0
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True)
    gate.is_open = True
    flow.end(generation, "kept")
    assert not bpy.data.objects, "never into another file"

    bpy.ops.wm.open_mainfile(filepath=str(path))
    assert generation.state == "ready", "the handler looks for its place"
    flow.end(generation)
    (obj,) = meshes()
    assert obj.location.x == pytest.approx(-3.0) and not flow.cards()


def test_another_session_finds_the_card_in_the_file(flow: Flow, tmp_path: Path) -> None:
    """The asset came, and the file was closed without saving: its card still stands there, and gets the asset."""
    path = tmp_path / "work.blend"
    gate = Gate()
    generation = flow.begin(hold=gate)
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    gate.is_open = True
    flow.end(generation)
    assert flow.store.get(generation.target.card).delivered
    flow.queue.stop_all()  # the session ends

    bpy.ops.wm.open_mainfile(filepath=str(path))
    assert len(flow.cards()) == 1
    flow.resume.go_on(lambda job: flow.backend)
    flow.until(lambda: meshes())
    assert not flow.cards() and len(meshes()) == 1


def test_a_job_that_the_former_session_left_half_done_goes_to_its_card(flow: Flow, tmp_path: Path) -> None:
    path, uuid = tmp_path / "work.blend", flow.task.new_uuid()
    flow.placeholder.stand(uuid, "Blue Disc", bpy.context.scene.collection, (0, 0, 0), 1.0)
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    target = flow.target.Target("Scene", str(path), (0.0, 0.0, 0.0), 1.0, "another session", uuid)
    prepared = flow.api.prepare_task(flow.picture, flow.backend, flow.settings(QUICK), uuid=uuid)
    prepared.write_down(flow.store, flow.backend, target=target.to_json())
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "renamed.blend"))

    flow.resume.go_on(lambda job: flow.backend)
    flow.until(lambda: meshes())
    assert not flow.cards(), "the card counts, not the name of the file"


def test_a_job_that_somebody_works_on_is_looked_at_again(flow: Flow, tmp_path: Path) -> None:
    """As the threads of what was loaded before an upgrade do for a moment yet."""
    uuid = flow.task.new_uuid()
    flow.placeholder.stand(uuid, "Blue Disc", bpy.context.scene.collection, (0, 0, 0), 1.0)
    target = flow.target.Target("Scene", "", (0.0, 0.0, 0.0), 1.0, "another session", uuid)
    prepared = flow.api.prepare_task(flow.picture, flow.backend, flow.settings(QUICK), uuid=uuid)
    job = prepared.write_down(flow.store, flow.backend, target=target.to_json())
    told: list[bool] = []
    with flow.store.claim(job):
        flow.resume.go_on(lambda job: flow.backend, lambda: told.append(True))
        flow.until(lambda: told)
        assert flow.cards() and not meshes()
    flow.resume.go_on(lambda job: flow.backend, lambda: told.append(False))
    flow.until(lambda: meshes())
    assert told == [True] and not flow.cards()


def test_what_was_never_paid_waits_for_the_artists_word(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written down for the paid API and never sent, as a crash leaves it: the next session says so, and sends none."""
    with FaultServer() as server:
        monkeypatch.setenv("RUNWARE_BASE_URL", server.url)
        backend, uuid = dataclasses.replace(flow.backend, name="remote", key=server.token), flow.task.new_uuid()
        flow.placeholder.stand(uuid, "Blue Disc", bpy.context.scene.collection, (0, 0, 0), 1.0)
        target = flow.target.Target("Scene", "", (0.0, 0.0, 0.0), 1.0, "another session", uuid)
        prepared = flow.api.prepare_task(flow.picture, backend, flow.settings(), uuid=uuid)
        prepared.write_down(flow.store, backend, target=target.to_json())
        flow.resume.go_on(lambda job: backend)
        flow.until(lambda: any(generation.state == "failed" for generation in flow.queue.generations()))
        (line,) = flow.queue.generations()
        assert "never sent" in line.message and "Retry" in line.message and server.log == []
        assert flow.store.get(uuid).state == "failed" and len(flow.cards()) == 1

        again = flow.api.retry(flow.store.get(uuid), flow.store, target=target.to_json())
        flow.queue.forget_line(line)
        flow.resume.finish_into(again, backend, target)
        flow.until(lambda: flow.store.get(again.uuid).state == "ready")
        assert [task["taskUUID"] for task in server.asked(SUBMIT)] == [again.uuid]


def test_less_than_was_asked_for_is_said_on_arrival(flow: Flow) -> None:
    uuid = flow.task.new_uuid()
    flow.placeholder.stand(uuid, "Blue Disc", bpy.context.scene.collection, (0, 0, 0), 1.0)
    target = flow.target.Target("Scene", "", (0.0, 0.0, 0.0), 1.0, flow.target.SESSION, uuid)

    def make(progress: Any, report: Any) -> Any:
        report("The picture is small.")
        prepared = flow.api.prepare_task(flow.picture, flow.backend, flow.settings(QUICK), uuid=uuid)
        asset = flow.api.finish(prepared.write_down(flow.store, flow.backend), flow.backend, flow.store, progress)
        return dataclasses.replace(asset, provenance={**asset.provenance, "notes": ["1 of 2 results came."]})

    generation = flow.queue.start("Blue Disc", make, target)
    flow.end(generation)
    assert "The picture is small. 1 of 2 results came." in generation.message


def test_several_results_are_chosen_from(flow: Flow) -> None:
    generation = flow.begin(number_results=3)
    flow.until(lambda: generation.state == "choose" and len(generation.previews) == 3)
    assert not meshes() and len(flow.cards()) == 1
    from PIL import Image

    pictures = [Image.open(path).convert("RGBA") for path in generation.previews.values()]
    for picture in pictures:
        covered = sum(alpha > 0 for alpha in picture.getchannel("A").tobytes()) / (picture.width * picture.height)
        assert picture.size == (256, 256) and 0.2 < covered < 0.9

    # each can be looked at closely, from all around
    flow.until(lambda: generation.turns)
    assert all(len(set(views)) == 8 and all(path.is_file() for path in views) for views in generation.turns.values())
    assert all(1000 < triangles <= 50_000 for triangles in generation.triangles.values())
    bpy.ops.trellis2.look_at_result(generation=generation.id, result=1)
    for view in (7, 0, 1):
        bpy.ops.trellis2.turn_result(generation=generation.id, step=-1 if view == 7 else 1)
        assert (generation.shown, generation.view) == (1, view)
    bpy.ops.trellis2.look_at_all(generation=generation.id)
    assert generation.shown is None

    bpy.ops.trellis2.pick_result(generation=generation.id, result=0)
    bpy.ops.trellis2.pick_result(generation=generation.id, result=2)
    assert bpy.ops.trellis2.keep_results(generation=generation.id) == {"FINISHED"}
    first, second = sorted(meshes(), key=lambda obj: obj.location.x)
    assert first.location[:] == pytest.approx((1.0, 2.0, 0.5)) and second.location.x > 1.0 + first.dimensions.x
    read = part("trellis_addon.scene").read_provenance
    seeds = [asset.seed for asset in generation.assets]
    assert [read(first)["seed"], read(second)["seed"]] == [seeds[0], seeds[2]]
    assert not flow.cards() and all(asset.path.is_file() for asset in generation.assets), "dropped is not deleted"


def test_a_script_names_the_results_it_wants(flow: Flow) -> None:
    generation = flow.begin(number_results=2)
    flow.until(lambda: generation.state == "choose")
    with pytest.raises(RuntimeError, match="results.*1 to 2"):
        bpy.ops.trellis2.keep_results(generation=generation.id, results="3")
    assert bpy.ops.trellis2.keep_results(generation=generation.id, results="2") == {"FINISHED"}
    assert len(meshes()) == 1


def test_rough_shapes_are_chosen_from_and_go_on(flow: Flow) -> None:
    """They wait for the artist across sessions; what is chosen comes where the card stands."""
    generation = flow.begin(number_results=3, rough=True, seed=4)
    flow.until(lambda: generation.state == "choose" and len(generation.previews) == 3)
    assert not meshes() and len(flow.cards()) == 1
    flow.queue.stop_all()  # the session ends
    flow.resume.go_on(lambda job: flow.backend)
    flow.until(lambda: flow.queue.generations() and flow.queue.generations()[0].state == "choose")
    (offered,) = flow.queue.generations()
    assert offered.is_rough and [asset.seed for asset in offered.assets] == [4, 5, 6]

    assert "Go On with All" in buttons_of(offered)
    bpy.ops.trellis2.pick_result(generation=offered.id, result=1)
    bpy.ops.trellis2.pick_result(generation=offered.id, result=2)
    assert "Go On with 2" in buttons_of(offered)
    assert bpy.ops.trellis2.keep_results(generation=offered.id) == {"FINISHED"}
    first, second = sorted(meshes(), key=lambda obj: obj.location.x)
    assert first.location[:] == pytest.approx((1.0, 2.0, 0.5)) and second.location.x == pytest.approx(1 + 1.5 * 2.0)
    found = [part("trellis_addon.scene").read_provenance(obj) for obj in (first, second)]
    assert [told["seed"] for told in found] == [5, 6] and all(told["source"]["stage"] == "rest" for told in found)
    assert len(first.data.polygons) > 2000 and not flow.cards() and not flow.queue.generations()
    flow.resume.go_on(lambda job: flow.backend)
    flow.until(lambda: not part("trellis_addon.scene.pump").threads_at_work())
    assert not flow.queue.generations(), "the choice is made"


def test_a_rough_shape_in_the_scene_goes_on_in_its_place(flow: Flow) -> None:
    generation = flow.begin(rough=True, seed=4)
    flow.until(lambda: generation.state == "choose")  # even one: it may not be wanted
    flow.arrival.take(generation, [0], generation.target)
    (obj,) = meshes()
    assert len(obj.data.polygons) <= 2000
    bpy.context.view_layer.objects.active = obj
    assert not bpy.ops.trellis2.finish_again.poll()
    assert bpy.ops.trellis2.go_on() == {"FINISHED"}
    assert meshes() == [obj] and len(obj.data.polygons) > 2000
    assert part("trellis_addon.scene").read_provenance(obj)["seed"] == 4
    assert not bpy.ops.trellis2.go_on.poll()


def test_dropping_all_leaves_nothing_in_the_scene(flow: Flow) -> None:
    generation = flow.begin(number_results=2)
    flow.until(lambda: generation.state == "choose")
    bpy.ops.trellis2.forget(generation=generation.id)
    assert not bpy.data.objects and not flow.queue.generations()
    assert flow.store.get(generation.target.card).delivered, "it is not offered again with the next session"


def test_more_like_this_makes_others_of_the_same_picture(flow: Flow) -> None:
    generation = flow.begin(seed=5)
    flow.end(generation)
    bpy.context.view_layer.objects.active = meshes()[0]
    assert bpy.ops.trellis2.more_like_this(count=2) == {"FINISHED"}  # in the background it waits and imports all
    found = [part("trellis_addon.scene").read_provenance(obj) for obj in meshes()]
    seeds = [provenance["seed"] for provenance in found]
    assert len(seeds) == 3 and seeds.count(5) == 1 and len(set(seeds)) == 3
    assert len({provenance["image_sha256"] for provenance in found}) == 1
    assert all(provenance["settings"]["settings"]["resolution"] == 512 for provenance in found)


def test_what_is_done_is_cleared_at_once(flow: Flow) -> None:
    assert not bpy.ops.trellis2.clear_done.poll()
    done = flow.begin()
    flow.end(done)
    waiting = flow.begin(number_results=2)
    flow.until(lambda: waiting.state == "choose")
    assert bpy.ops.trellis2.clear_done() == {"FINISHED"}
    assert flow.queue.generations() == [waiting] and len(meshes()) == 1, "what is still to be chosen stays"
    assert not done.has_news, "its engine is all that there is to say"


def test_cancelling_takes_the_card_away(flow: Flow) -> None:
    generation = flow.begin(hold=Gate())
    flow.until(lambda: generation.picture is not None)
    bpy.ops.trellis2.cancel(generation=generation.id)
    flow.end(generation, "cancelled")
    assert not bpy.data.objects


def test_a_failed_job_leaves_its_card_and_can_be_tried_again(flow: Flow) -> None:
    generation = flow.begin(hold=lambda: (_ for _ in ()).throw(ValueError("no")))
    flow.end(generation, "failed")
    (card,) = flow.cards()
    before = card["trellis2_card"]
    assert bpy.ops.trellis2.retry(generation=generation.id) == {"FINISHED"}
    assert not flow.cards() and len(meshes()) == 1
    uuid = part("trellis_addon.scene").read_provenance(meshes()[0])["task_uuid"]
    assert uuid != before, "paid again is asked for again"


def test_a_photograph_that_was_dropped_can_be_marked_from_its_line(
    flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "busy.jpg"
    noise = np.random.default_rng(1).integers(0, 255, (200, 240, 3)).astype(np.uint8)
    Image.fromarray(noise).resize((480, 400)).save(photo)
    monkeypatch.setattr(flow.arrival, "run", flow.arrival.queue.start)  # as in a window, where it is not waited for
    with pytest.raises(RuntimeError, match="image"):
        bpy.ops.trellis2.generate()  # the panel has no picture
    bpy.ops.trellis2.generate(directory=f"{tmp_path}", files=[{"name": photo.name}])
    (line,) = flow.queue.generations()
    flow.end(line, "failed")
    assert line.is_unmarked and line.source == photo and "mark the subject" in line.message
    assert bpy.ops.trellis2.mark_failed(generation=line.id) == {"FINISHED"}
    image = bpy.context.scene.trellis2.image
    assert image.size[:] == (480, 400) and image.packed_file is not None
    assert not flow.queue.generations() and not flow.cards(), "what failed is out of the way"


def test_several_jobs_of_one_picture_are_told_apart(
    flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow.arrival, "run", flow.arrival.queue.start)
    disc().save(tmp_path / "pot.png")
    for _ in range(3):
        assert bpy.ops.trellis2.generate(filepath=str(tmp_path / "pot.png")) == {"FINISHED"}
    names = {"pot", "pot 2", "pot 3"}
    assert {line.name for line in flow.queue.generations()} == names
    flow.until(lambda: {line.state for line in flow.queue.generations()} == {"done"})
    assert {obj.name for obj in meshes()} == names
    assert {job.name for job in part("trellis_addon.jobs.store").JobStore().recent(9)} == names


def test_another_failure_offers_no_marking(flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow.arrival, "run", flow.arrival.queue.start)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    bpy.ops.trellis2.generate(filepath=f"{tmp_path / 'broken.png'}")
    (line,) = flow.queue.generations()
    flow.end(line, "failed")
    assert not line.is_unmarked


def test_nothing_arrives_while_the_artist_edits(flow: Flow) -> None:
    mesh = bpy.data.meshes.new("Edited")
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
    obj = bpy.data.objects.new("Edited", mesh)
    bpy.context.scene.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    bpy.ops.object.mode_set(mode="EDIT")
    generation = flow.begin()
    flow.until(lambda: generation.state == "ready" and "Edit Mode" in generation.message)
    for _ in range(5):
        part("trellis_addon.scene.pump").pump()
    assert len(meshes()) == 1
    bpy.ops.object.mode_set(mode="OBJECT")
    flow.end(generation)
    assert len(meshes()) == 2


def test_an_import_that_fails_leaves_the_card(flow: Flow) -> None:
    gate = Gate()
    generation = flow.begin(hold=gate, number_results=1)
    flow.until(lambda: (job := flow.store.get(generation.target.card)) is not None and job.state == "ready")
    flow.store.get(generation.target.card).assets[0].path.write_bytes(b"glTF" + bytes(40))
    gate.is_open = True
    flow.end(generation, "failed")
    assert len(flow.cards()) == 1 and not meshes() and "Traceback" not in generation.message


def test_the_time_left_comes_from_the_pace(flow: Flow) -> None:
    generation = flow.queue.Generation("x", None)
    assert generation.seconds_left is None
    generation.begun, generation.share = time.monotonic() - 30.0, 0.25
    assert generation.seconds_left == pytest.approx(90.0, rel=0.01)
    generation.share, generation.usual = 0.0, 50.0
    assert generation.seconds_left == pytest.approx(20.0, abs=0.5)
    generation.state = "done"
    assert generation.seconds_left is None


def test_a_very_long_queue(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The panel draws some of it, what is at work always; an undo looks through the file once, not once a line."""
    target = flow.target.Target(bpy.context.scene.name, "", (0, 0, 0), 1.0, flow.target.SESSION, card="gone")
    states = ["failed"] * 100 + ["kept"] * 100
    made = [flow.queue.Generation(f"n{number}", target, state=state) for number, state in enumerate(states)]
    made.append(flow.queue.Generation("at work", target, state="running", share=0.5))
    flow.queue._generations.extend(made)
    drawn: list[str] = []

    class Layout(SimpleNamespace):
        def label(self, text: str = "", **_: Any) -> None:
            drawn.append(text)

        def progress(self, text: str = "", **_: Any) -> None:
            drawn.append(text)

        def operator(self, *_: Any, **__: Any) -> SimpleNamespace:
            return SimpleNamespace()

        def row(self, **_: Any) -> Layout:
            return self

        box = column = row

    panel = part("ui.job_panels").TRELLIS2_PT_queue
    monkeypatch.setattr(part("ui.job_panels"), "wrapped", lambda *_, **__: None)
    drawer = SimpleNamespace(layout=Layout(), _draw_buttons=lambda *_: None, _draw_done=lambda *_: None)
    panel.draw(drawer, bpy.context)
    assert "at work" in drawn and "150 more lines" in drawn and "n49" in drawn and "n50" not in drawn

    looks: list[int] = []
    real = flow.queue.placeholder.all_cards
    monkeypatch.setattr(flow.queue.placeholder, "all_cards", lambda: looks.append(1) or real())
    flow.queue.look_again()
    assert len(looks) == 1 and [g.state for g in made[100:200]] == ["kept"] * 100
