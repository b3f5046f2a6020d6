"""A part of an asset changed in Blender: the rest stays where it stands; and a job taken back into the panel."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

bpy = pytest.importorskip("bpy")

import bmesh  # noqa: E402
from test_extension import extension, part  # noqa: E402, F401


def figure(path: Any, horn: bool) -> str:
    image = Image.new("RGBA", (150, 200))
    draw = ImageDraw.Draw(image)
    draw.ellipse((30, 60, 120, 190), fill=(200, 120, 60, 255))
    if horn:
        draw.polygon([(62, 75), (88, 75), (105, 10)], fill=(240, 230, 90, 255))
    image.save(path)
    return str(path)


@pytest.fixture
def state(extension: ModuleType) -> Any:  # noqa: F811
    found = bpy.context.scene.trellis2
    found.backend = "draft"
    found.settings.resolution, found.settings.texture_size = "512", "1024"
    return found


def world(obj: Any) -> np.ndarray:
    places = np.empty(3 * len(obj.data.vertices), np.float32)
    obj.data.vertices.foreach_get("co", places)
    return places.reshape(-1, 3) @ np.array(obj.matrix_world.to_3x3()).T + np.array(obj.matrix_world.translation)


def test_a_part_is_changed_where_the_asset_stands(state: Any, tmp_path: Any) -> None:
    bpy.ops.trellis2.image_open(filepath=figure(tmp_path / "pot.png", horn=False))
    before = set(bpy.data.objects)
    assert bpy.ops.trellis2.generate(location=(3.0, -2.0, 0.5)) == {"FINISHED"}
    (made,) = [obj for obj in set(bpy.data.objects) - before if obj.type == "MESH"]
    made.rotation_euler.z = 0.7
    bpy.context.view_layer.update()
    old = world(made)
    bpy.ops.mesh.primitive_cube_add(size=1.0)
    cube = bpy.context.object
    cube.matrix_world = made.matrix_world.copy()
    low, high = (np.array(corner) for corner in (old.min(0), old.max(0)))
    cube.location.z += float(high[2] - low[2])  # its lower half is the asset's upper one
    cube.scale = (5.0, 5.0, float(high[2] - low[2]))
    bpy.context.view_layer.update()
    cube.select_set(True)
    made.select_set(True)
    bpy.context.view_layer.objects.active = made
    bpy.ops.trellis2.image_open(filepath=figure(tmp_path / "horned.png", horn=True))
    assert bpy.ops.trellis2.change_part(source="PANEL") == {"FINISHED"}
    new = world(made)
    assert new[:, 2].max() > high[2] + 0.1 * (high[2] - low[2]), "the horn stands out"
    below = high[2] - 0.75 * (high[2] - low[2])
    mine, theirs = (np.unique(np.round(places[places[:, 2] < below], 4), axis=0) for places in (old, new))
    assert abs(len(mine) - len(theirs)) < 0.02 * len(mine)
    assert np.allclose(mine.min(0), theirs.min(0), atol=1e-3) and np.allclose(mine.max(0), theirs.max(0), atol=1e-3)
    cube.select_set(False)
    assert not bpy.ops.trellis2.change_part.poll()


@pytest.fixture
def pot(state: Any, tmp_path: Any) -> Any:
    """A draft, turned, moved and stretched, and the picture of another one in the panel."""
    bpy.ops.trellis2.image_open(filepath=figure(tmp_path / "pot.png", horn=False))
    before = set(bpy.data.objects)
    assert bpy.ops.trellis2.generate(location=(3.0, -2.0, 0.5)) == {"FINISHED"}
    (made,) = [obj for obj in set(bpy.data.objects) - before if obj.type == "MESH"]
    made.rotation_euler.z, made.scale = 0.7, (1.0, 2.0, 1.5)
    bpy.ops.object.select_all(action="DESELECT")
    made.select_set(True)
    bpy.context.view_layer.objects.active = made
    bpy.context.view_layer.update()
    bpy.ops.trellis2.image_open(filepath=figure(tmp_path / "horned.png", horn=True))
    return made


def heights(obj: Any) -> np.ndarray:
    """Of each face's middle, from 0 to 1."""
    mesh = obj.data
    middles = np.empty(3 * len(mesh.polygons), np.float32)
    mesh.polygons.foreach_get("center", middles)
    z = middles.reshape(-1, 3)[:, 2]
    return (z - z.min()) / (z.max() - z.min())


def select(obj: Any, above: float) -> None:
    """In Edit Mode, the faces above a height."""
    chosen = heights(obj) > above
    bpy.ops.object.mode_set(mode="EDIT")
    edited = bmesh.from_edit_mesh(obj.data)
    for face in edited.faces:
        face.select_set(False)
    for face, is_chosen in zip(edited.faces, chosen.tolist(), strict=True):
        if is_chosen:
            face.select_set(True)
    bmesh.update_edit_mesh(obj.data)


def taller(obj: Any, old: np.ndarray) -> bool:
    """Whether the new picture's horn has come, and all that lay far from it is where it was."""
    new = world(obj)
    size = old[:, 2].max() - old[:, 2].min()
    below = old[:, 2].max() - 0.75 * size
    mine, theirs = (np.unique(np.round(places[places[:, 2] < below], 4), axis=0) for places in (old, new))
    assert abs(len(mine) - len(theirs)) < 0.02 * len(mine) and np.allclose(mine.min(0), theirs.min(0), atol=1e-3)
    return bool(new[:, 2].max() > old[:, 2].max() + 0.1 * size)


def test_a_part_is_what_is_selected_in_edit_mode(pot: Any) -> None:
    old = world(pot)
    select(pot, 0.85)
    assert bpy.ops.trellis2.change_part.poll()
    assert bpy.ops.trellis2.change_part(where="FACES", source="PANEL", reach=0.4) == {"FINISHED"}
    assert pot.mode == "OBJECT" and taller(pot, old)
    select(pot, 2.0)
    with pytest.raises(RuntimeError, match="No face of the asset is selected"):
        bpy.ops.trellis2.change_part(where="FACES")
    assert pot.mode == "EDIT", "nothing has happened"
    bpy.ops.object.mode_set(mode="OBJECT")


def test_a_part_is_what_a_vertex_group_is_painted_on(pot: Any) -> None:
    assert not bpy.ops.trellis2.change_part.poll()
    group, old = pot.vertex_groups.new(name="Top"), world(pot)
    with pytest.raises(RuntimeError, match="covers no face"):
        bpy.ops.trellis2.change_part(where="GROUP")
    corners = np.array([list(polygon.vertices) for polygon in pot.data.polygons])
    group.add(np.unique(corners[heights(pot) > 0.8]).tolist(), 0.9, "REPLACE")
    pot.vertex_groups.new(name="Another").add([0], 1.0, "REPLACE")
    pot.vertex_groups.active = group
    assert bpy.ops.trellis2.change_part(where="GROUP", source="PANEL", reach=0.4) == {"FINISHED"}
    assert taller(pot, old)


def test_what_faces_and_empties_mean_in_the_file_and_variations(pot: Any) -> None:
    """The asset's own units, whatever was done to the object: the numbers are those of the GLB itself."""
    rework = part("trellis_addon.scene.rework")
    pot.data.polygons.foreach_set("select", heights(pot) > 0.9)
    told = rework.region_of_faces(pot, painted=False, reach=0.1, rim=0.05)
    points = np.array(told["points"])
    places = part("trellis_addon.formats.glb.read").read_glb(rework._file_of(pot)).vertices[:, [0, 2, 1]] * [1, -1, 1]
    low, high = places.min(0), places.max(0)
    assert told["radius"] == pytest.approx(0.15)
    assert points[:, 1].max() == pytest.approx(high[2], abs=0.01) and points[:, 1].min() > high[2] - 0.2 * (
        high[2] - low[2]
    )
    assert len(points) < 2000 and np.abs(points[:, 0]).max() < 0.5
    pot.data.polygons.foreach_set("select", np.ones(len(pot.data.polygons), bool))
    whole = np.array(rework.region_of_faces(pot, painted=False, reach=0.1, rim=0.05)["points"])
    assert np.allclose(whole.min(0)[[0, 1]], [low[0], low[2]], atol=0.02)
    assert len(rework._spread(np.array([[[0, 0, 0], [9, 0, 0], [0, 9, 0]]], float), 0.001)) <= 20_000, (
        "as many as may be"
    )
    empty = bpy.data.objects.new("Ball", None)
    bpy.context.collection.objects.link(empty)
    empty.empty_display_type, empty.empty_display_size = "SPHERE", 0.3
    pot.scale = (1.0, 1.0, 1.0)
    empty.location = pot.matrix_world.translation
    bpy.context.view_layer.update()
    ball = rework.region_of(pot, empty)["sphere"]
    found = part("trellis_addon.scene.importing.placement").bounds(pot.data)
    assert ball[3] == pytest.approx(0.3 / float((found[1] - found[0]).max() / (high - low).max()), rel=1e-4)
    empty.scale = (1.0, 2.0, 1.0)
    bpy.context.view_layer.update()
    assert "box" in rework.region_of(pot, empty), "stretched it is the box around it"

    # and while it stands here: relatives of it come beside it
    old = world(pot)
    assert bpy.ops.trellis2.vary.poll()
    before = set(bpy.data.objects)
    assert bpy.ops.trellis2.vary(strength=0.5, count=2, seed="11") == {"FINISHED"}
    made = [obj for obj in set(bpy.data.objects) - before if obj.type == "MESH"]
    assert len(made) == 2 and np.array_equal(world(pot), old)
    job = part("trellis_addon.jobs.store").JobStore().recent(1)[0]
    assert job.task.variation == 0.5 and job.source["stage"] == "vary"
    assert min(world(obj)[:, 0].min() for obj in made) > old[:, 0].mean()
    read = part("trellis_addon.scene.importing.provenance").read_provenance
    assert {read(obj)["seed"] for obj in made} == {11, 12}


@pytest.mark.parametrize("how", ["applied", "mirrored", "renamed copy", "sculpted", "reduced"])
def test_a_part_is_found_whatever_was_done_to_the_object(pot: Any, how: str) -> None:
    """Its transform applied, or mirrored; renamed and duplicated; dented, and with fewer faces."""
    if how == "mirrored":
        pot.scale = (-1.0, 1.5, 1.0)
        pot.rotation_euler.x = 0.4
    if how in ("applied", "mirrored"):
        bpy.ops.object.transform_apply(location=True, rotation=True, scale=True)
    if how == "renamed copy":
        bpy.ops.object.duplicate(linked=True)
        first, pot = pot, bpy.context.object
        pot.name, pot.data.name, pot.parent = "Krug", "Form", first
    if how == "sculpted":
        places = np.empty(3 * len(pot.data.vertices), np.float32)
        pot.data.vertices.foreach_get("co", places)
        places = places.reshape(-1, 3)
        places[places[:, 2] < 0.3 * places[:, 2].max(), 0] *= 1.8
        pot.data.vertices.foreach_set("co", places.ravel())
        pot.data.update()
    if how == "reduced":
        pot.modifiers.new("Fewer", "DECIMATE").ratio = 0.5
        bpy.ops.object.modifier_apply(modifier="Fewer")
    bpy.context.view_layer.update()
    old, rework = world(pot), part("trellis_addon.scene.rework")
    placed = np.array(rework._placed(pot))
    pot.data.polygons.foreach_set("select", upper_in_file(pot, placed) > 0.85)
    pot.vertex_groups.new(name="Asks for it")
    told = np.array(rework.region_of_faces(pot, painted=False, reach=0.1, rim=0.05)["points"])
    file = part("trellis_addon.formats.glb.read").read_glb(rework._file_of(pot)).vertices
    assert told[:, 1].max() == pytest.approx(file[:, 1].max(), abs=0.02), "its top is the file's"
    assert told[:, 1].min() > file[:, 1].max() - 0.25 * np.ptp(file[:, 1])
    assert bpy.ops.trellis2.change_part(where="FACES", source="PANEL", reach=0.4) == {"FINISHED"}
    again = np.array(rework._placed(pot))
    assert np.allclose(again, placed, atol=2e-3 * np.abs(placed).max()), "the rest stays where it was"
    new = world(pot)
    assert np.ptp(new, axis=0).max() > 1.05 * np.ptp(old, axis=0).max() or how == "sculpted"
    outward = np.array([polygon.normal for polygon in pot.data.polygons]) * (
        np.array([polygon.center for polygon in pot.data.polygons])
        - np.array([v.co for v in pot.data.vertices]).mean(0)
    )
    assert outward.sum(1).mean() > 0, "and its outside is outside"
    if how == "renamed copy":
        assert pot.name == "Krug" and pot.parent == first and first.data is not pot.data


def upper_in_file(obj: Any, placed: np.ndarray) -> np.ndarray:
    """Of each face's middle, from 0 to 1, how high it lies in the file."""
    middles = np.array([polygon.center for polygon in obj.data.polygons])
    z = (middles - placed[:3, 3]) @ np.linalg.inv(placed[:3, :3]).T[:, 2]
    return (z - z.min()) / (z.max() - z.min())


def test_of_what_was_joined_to_something_no_part_is_guessed(pot: Any) -> None:
    """Nobody can say where its parts are; nothing has happened."""
    bpy.ops.mesh.primitive_cube_add(size=3.0, location=(9.0, 0.0, 0.0))
    cube = bpy.context.object
    for obj in (cube, pot):
        obj.select_set(True)
    bpy.context.view_layer.objects.active = pot
    bpy.ops.object.join()
    count = len(pot.data.polygons)
    pot.data.polygons.foreach_set("select", heights(pot) > 0.8)
    pot.vertex_groups.new(name="Asks for it")
    with pytest.raises(RuntimeError, match="has not the form any more"):
        bpy.ops.trellis2.change_part(where="FACES", source="PANEL")
    assert len(pot.data.polygons) == count


def test_what_was_turned_and_applied_is_made_again_as_it_lies(pot: Any) -> None:
    pot.rotation_euler.x = 1.2
    bpy.ops.object.transform_apply(location=False, rotation=True, scale=True)
    bpy.context.view_layer.update()
    old = world(pot)
    assert bpy.ops.trellis2.finish_again(texture_size="2048") == {"FINISHED"}
    new = world(pot)
    assert np.allclose(old.min(0), new.min(0), atol=1e-2) and np.allclose(old.max(0), new.max(0), atol=1e-2)


def test_a_job_is_taken_back_into_the_panel_and_linked(state: Any, tmp_path: Any, extension: ModuleType) -> None:  # noqa: F811
    bpy.ops.trellis2.image_open(filepath=figure(tmp_path / "vase.png", horn=False))
    state.settings.seed = "17"
    assert bpy.ops.trellis2.generate() == {"FINISHED"}
    store = part("trellis_addon.jobs.store").JobStore()
    first = store.recent()[0]
    state.settings.property_unset("seed")
    state.image = None
    assert bpy.ops.trellis2.job_edit(job=first.uuid) == {"FINISHED"}
    assert state.image is not None and state.settings.seed == "17" and state.edited == first.uuid
    assert tuple(state.image.size) == (150, 200)
    state.settings.seed = "18"
    assert bpy.ops.trellis2.generate() == {"FINISHED"}
    second = store.recent()[0]
    assert second.uuid != first.uuid and second.settings["seed"] == 18
    assert dict(second.source) == {"task_uuid": first.uuid, "stage": "edit"}
    assert state.edited == "", "once"


def test_what_was_corrected_comes_back_as_it_was_and_is_not_corrected_twice(state: Any, tmp_path: Any) -> None:
    bpy.ops.trellis2.image_open(filepath=figure(tmp_path / "vase.png", horn=False))
    state.image.trellis2.margin, state.image.trellis2.grow, state.height = 25.0, 4.0, 2.5
    state.settings.tex_slat_steps, state.settings.sparse_structure_guidance_strength = 20, 6.5
    assert bpy.ops.trellis2.generate() == {"FINISHED"}
    store = part("trellis_addon.jobs.store").JobStore()
    first = store.recent()[0]
    given = part("addon.properties").read_settings(state.settings)
    state.settings.property_unset("tex_slat_steps")
    state.height = 1.0
    assert bpy.ops.trellis2.job_edit(job=first.uuid) == {"FINISHED"}
    choice = state.image.trellis2
    assert (round(choice.margin, 3), round(choice.grow, 3), choice.right) == (25.0, 4.0, 0.0)
    assert state.height == 2.5 and part("addon.properties").read_settings(state.settings) == given
    assert bpy.ops.trellis2.generate() == {"FINISHED"}
    second = store.recent()[0]
    first, second = (store.get(job.uuid) for job in (first, second))
    assert second.picture == first.picture and second.chosen == first.chosen and second.uncorrected


def test_a_change_is_taken_back_with_its_part_and_its_asset(pot: Any, state: Any) -> None:
    asset = part("trellis_addon.scene.rework").asset_of(pot)
    store, region = part("trellis_addon.jobs.store").JobStore(), part("trellis_addon.task.region").as_region
    upper = region([-0.5, 0.8, -0.5, 0.5, 1.5, 0.5])
    stages = part("trellis_addon.stages")
    prepared, backend = stages.prepare_change(stages.source_of(asset, store)[1], upper, store, seed=5)
    first = prepared.write_down(store, backend)
    assert prepared.kind == first.kind == "change"
    assert part("ui.job_panels").line_name(first.name, first.kind) == f"Change {first.name}"
    bpy.ops.object.select_all(action="DESELECT")
    assert bpy.ops.trellis2.job_edit(job=first.uuid) == {"FINISHED"}
    assert bpy.context.selected_objects == [pot] and bpy.context.object == pot and state.edited_kind == "change"
    assert bpy.ops.trellis2.change_part.poll()
    assert bpy.ops.trellis2.change_part(where="BEFORE", source="PANEL", seed="6") == {"FINISHED"}
    second = store.recent()[0]
    first, second = (store.get(job.uuid) for job in (first, second))
    assert second.task.region == first.task.region and second.settings["seed"] == 6
    assert second.source["edited"] == first.uuid and second.source["task_uuid"] == asset.provenance["task_uuid"]
    assert not bpy.ops.trellis2.change_part.poll() and state.edited == "", "once"
