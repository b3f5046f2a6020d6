"""An object of the scene is textured and finished again: what takes its place, what stays, and what the buttons say."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import kept_stages
import numpy as np
import pytest
from conftest import PATIENCE, QUICK
from test_extension import extension, part  # noqa: F401  (a fixture)

from trellis_addon import generate
from trellis_addon.jobs.job import Asset
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.settings import DRAFT_MODEL
from trellis_addon.task.task import new_uuid

place, run, store = kept_stages.place, kept_stages.run, kept_stages.store


def stood(asset: Asset) -> Any:
    """The asset in the scene: moved, turned, with a parent and a name of its own."""
    library = part("trellis_addon.jobs.job").Asset
    obj = part("trellis_addon.scene").import_asset(library(asset.path, asset.name, asset.provenance), height=1.8)
    parent = bpy.data.objects.new("Table", None)
    bpy.context.scene.collection.objects.link(parent)
    obj.parent, obj.location, obj.rotation_euler, obj.name = parent, (1.0, 2.0, 3.0), (0.1, 0.2, 0.3), "My Disc"
    obj.modifiers.new("Weld", "WELD")
    bpy.context.view_layer.objects.active = obj
    bpy.context.view_layer.update()
    return obj


@pytest.fixture
def drafted(extension: ModuleType, store: JobStore, disc_file: Path) -> Any:  # noqa: F811
    return stood(generate(disc_file, seed=5, **QUICK))


@pytest.fixture
def made(extension: ModuleType, place: str, store: JobStore, disc_file: Path) -> Any:  # noqa: F811
    """One of a service that keeps latents; it is small, and has no textures."""
    return stood(generate(disc_file, backend=place, seed=5, **QUICK))


def images() -> dict[str, tuple[int, int]]:
    return {image.name: tuple(image.size) for image in bpy.data.images if image.size[0] and image.users}


def test_a_rework_takes_the_old_ones_place(made: Any, store: JobStore) -> None:
    scene = part("trellis_addon.scene")
    scene.make_lods(made, [1.0, 0.25])
    before = (made.matrix_world.copy(), made.dimensions.copy(), made.data.name, set(bpy.data.objects.keys()))
    collection, mesh = made.users_collection[0], made.data.as_pointer()
    assert bpy.ops.trellis2.finish_again(texture_size="2048") == {"FINISHED"}
    assert bpy.data.objects["My Disc"] == made and set(bpy.data.objects.keys()) == before[3]
    assert made.matrix_world == before[0] and made.dimensions[:] == pytest.approx(before[1][:], rel=1e-4)
    assert made.users_collection[0] == collection and made.parent.name == "Table" and len(made.modifiers) == 1
    assert made.data.as_pointer() != mesh, "the levels of detail still show the old one"
    assert len(scene.lods_of(made).objects) == 2
    known = scene.read_provenance(made)
    assert known["seed"] == 5 and known["source"]["stage"] == "finish"
    job = store.get(known["task_uuid"])
    assert job is not None and job.delivered and job.source["task_uuid"] == known["source"]["task_uuid"]
    assert part("trellis_addon.scene.place.waiting").MARK not in made


def test_what_the_old_one_alone_had_goes(drafted: Any) -> None:
    old = drafted.data.name
    assert {max(size) for size in images().values()} == {1024, 512} and len(images()) == 3
    assert bpy.ops.trellis2.finish_again(texture_size="2048", texture_format="png") == {"FINISHED"}
    known = part("trellis_addon.scene").read_provenance(drafted)
    assert known["seed"] == 5 and known["source"]["stage"] == "all"
    assert [mesh.name for mesh in bpy.data.meshes] == [old], "the new one has the old one's name"
    assert {max(size) for size in images().values()} == {2048, 1024} and len(images()) == 3
    assert len(bpy.data.materials) == 1 and all(image.users for image in bpy.data.images if image.size[0])


def test_the_new_one_beside_the_old_one(made: Any) -> None:
    mesh, place = made.data, made.matrix_world.copy()
    assert bpy.ops.trellis2.texture_again(keep_old=True) == {"FINISHED"}
    assert made.data == mesh and made.matrix_world == place
    (other,) = [obj for obj in bpy.data.objects if obj.type == "MESH" and obj != made]
    placement = part("trellis_addon.scene.importing.placement")
    (low, high), (other_low, other_high) = placement.world_bounds(made), placement.world_bounds(other)
    assert other_low.x > high.x and other_low.z == pytest.approx(low.z, abs=1e-3)
    assert other_high.z - other_low.z == pytest.approx(high.z - low.z, rel=1e-3)


def test_an_edited_size_is_kept(made: Any) -> None:
    """Applied scale, another origin, a copy with a mesh of its own: what counts is the mesh that is there."""
    from mathutils import Matrix

    made.data.transform(Matrix.Translation((0.5, 0.0, -0.25)) @ Matrix.Scale(3.0, 4))
    made.data.update()
    placement = part("trellis_addon.scene.importing.placement")
    before = placement.bounds(made.data)
    bpy.ops.trellis2.finish_again(texture_size="2048")
    assert np.allclose(placement.bounds(made.data), before, atol=1e-3)


def test_the_buttons_say_why_they_are_off(made: Any, store: JobStore) -> None:
    provenance = part("trellis_addon.scene.importing.provenance")
    known = provenance.read_provenance(made)
    operators = (bpy.ops.trellis2.texture_again, bpy.ops.trellis2.finish_again)

    def why(operator: Any) -> str:
        assert not operator.poll()
        with pytest.raises(RuntimeError) as caught:
            operator("EXEC_DEFAULT")
        return str(caught.value)

    for changes, words in (
        ({"backend": "remote"}, "remote API keeps no stages"),
        ({"task_uuid": new_uuid()}, "What it was decoded from is not kept"),
        ({"task_uuid": ""}, "not generated here"),
    ):
        made[provenance.PROPERTY] = json.dumps({**known, **changes})
        assert all(words in why(operator) for operator in operators)
    made[provenance.PROPERTY] = json.dumps({**known, "engine": DRAFT_MODEL})
    assert "without voxels" in why(bpy.ops.trellis2.export_stages)
    made[provenance.PROPERTY] = json.dumps(known)
    level = part("trellis_addon.scene").make_lods(made, [0.5])[0].object
    bpy.context.view_layer.objects.active = level
    assert "level of detail" in why(operators[0])
    bpy.context.view_layer.objects.active = made
    bpy.ops.object.mode_set(mode="EDIT")
    assert "Object Mode" in why(operators[0])
    bpy.ops.object.mode_set(mode="OBJECT")
    assert all(operator.poll() for operator in operators)
    job = store.get(known["task_uuid"])
    assert job is not None
    (job.folder / "image.txt").unlink()
    assert "picture" in why(operators[0]) and operators[1].poll()
    (job.folder / "latents.safetensors").unlink()
    assert "decoded from" in why(operators[1])
    bpy.context.view_layer.objects.active = made.parent
    assert "Select an asset" in why(operators[0])


def test_a_refusal_leaves_the_old_one_as_it_is(made: Any, store: JobStore) -> None:
    mesh, count = made.data, len(store.recent())
    with pytest.raises(RuntimeError, match="seed"):
        bpy.ops.trellis2.texture_again(seed="many")
    assert made.data == mesh and part("trellis_addon.scene.place.waiting").MARK not in made
    assert len(store.recent()) == count


class Line:
    """A rework in the queue, as in a window: a thread makes it, and the pump, called by hand, brings it in."""

    def __init__(self, obj: Any, hold: bool = False) -> None:
        import threading

        self.obj, self.id, self.gate = obj, new_uuid(), threading.Event()
        self.queue, self.rework = part("trellis_addon.scene.session").queue, part("trellis_addon.scene.rework")
        self.waiting = part("trellis_addon.scene.place.waiting")
        stages, target = part("trellis_addon.stages"), part("trellis_addon.scene.target")
        store = part("trellis_addon.jobs.store").JobStore()
        prepared, backend = stages.prepare_rework(
            self.rework.asset_of(obj),
            part("trellis_addon.task.settings").Settings(texture_size=2048),
            store,
            uuid=self.id,
        )
        if not hold:
            self.gate.set()
        self.waiting.mark(obj, self.id)
        where = target.Target(bpy.context.scene.name, bpy.data.filepath, (0, 0, 0), 1.0, target.SESSION, self.id)
        job = prepared.write_down(store, backend, target=where.to_json())

        def make(progress: Any, report: Any) -> Any:
            while not self.gate.wait(0.01):
                progress.check()
            return part("trellis_addon.api").finish(job, backend, store, progress)

        self.generation = self.queue.start("again", make, where)

    def run(self) -> str:
        import time

        give_up = time.monotonic() + PATIENCE
        while self.generation.state in ("running", "ready") and time.monotonic() < give_up:
            part("trellis_addon.scene.pump").pump()
            time.sleep(0.02)
        return self.generation.state


def test_a_rework_in_the_queue_finds_its_object_wherever_it_is(made: Any) -> None:
    line, mesh = Line(made, hold=True), made.data.as_pointer()
    with pytest.raises(RuntimeError, match="being made again already"):
        bpy.ops.trellis2.finish_again("EXEC_DEFAULT")
    made.location, made.name = (7.0, 0.0, 0.0), "Moved"
    copy = made.copy()  # a linked duplicate gets the new mesh as well
    bpy.context.scene.collection.objects.link(copy)
    line.gate.set()
    assert line.run() == "done", line.generation.message
    assert made.data.as_pointer() != mesh and copy.data == made.data and made.location.x == 7.0
    assert line.waiting.MARK not in made and line.waiting.MARK not in copy
    assert bpy.ops.trellis2.finish_again.poll()


def test_a_rework_that_is_given_up_leaves_no_mark(made: Any) -> None:
    line, mesh = Line(made, hold=True), made.data
    line.queue.cancel(line.generation)
    assert line.run() == "cancelled"
    assert made.data == mesh and line.waiting.MARK not in made


def test_a_rework_whose_object_is_gone_is_kept(made: Any) -> None:
    line = Line(made, hold=True)
    bpy.data.objects.remove(made)
    line.gate.set()
    assert line.run() == "kept" and not [obj for obj in bpy.data.objects if obj.type == "MESH"]
    assert bpy.ops.trellis2.keep_results(generation=line.generation.id) == {"FINISHED"}
    assert len([obj for obj in bpy.data.objects if obj.type == "MESH"]) == 1


def test_a_rework_of_a_former_session_goes_on(made: Any, tmp_path: Path) -> None:
    """Written down and never sent, as a crash leaves it: the object in the saved file still waits for it."""
    import time

    stages, rework_module = part("trellis_addon.stages"), part("trellis_addon.scene.rework")
    pump, resume = part("trellis_addon.scene.pump"), part("trellis_addon.scene.resume")
    store, target = part("trellis_addon.jobs.store").JobStore(), part("trellis_addon.scene.target")
    prepared, backend = stages.prepare_rework(
        rework_module.asset_of(made), part("trellis_addon.task.settings").Settings(remesh=False), store
    )
    uuid = prepared.task.uuid
    waiting = part("trellis_addon.scene.place.waiting")
    waiting.mark(made, uuid)
    where = target.Target(bpy.context.scene.name, "elsewhere.blend", (0, 0, 0), 1.0, "another session", uuid)
    prepared.write_down(store, backend, target=where.to_json())
    made.name = "Waits"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    resume.go_on(lambda job: backend)
    give_up = time.monotonic() + PATIENCE
    while not store.get(uuid).delivered and time.monotonic() < give_up:
        pump.pump()
        time.sleep(0.02)
    obj = bpy.data.objects["Waits"]
    known = part("trellis_addon.scene").read_provenance(obj)
    assert known["task_uuid"] == uuid and known["settings"]["settings"]["remesh"] is False
    assert waiting.MARK not in obj and obj.location[:] == (1.0, 2.0, 3.0)


def test_more_like_one_that_was_made_again(made: Any, store: JobStore) -> None:
    bpy.ops.trellis2.finish_again(texture_size="2048")
    assert bpy.ops.trellis2.more_like_this(count=2) == {"FINISHED"}
    newest = store.recent(1)[0]
    assert newest.source == {} and newest.settings["number_results"] == 2
