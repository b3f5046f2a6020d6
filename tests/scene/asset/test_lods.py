"""Levels of detail: a chain beside the asset, lighter from one to the next, replaced whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import sentence

bpy = pytest.importorskip("bpy")

from mathutils import Matrix  # noqa: E402
from scene_objects import ball, mesh_object  # noqa: E402

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import Cancelled, FieldError, InputError  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.jobs.job import Asset  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


def test_a_chain_of_a_real_asset(draft: Asset) -> None:
    obj = blender.import_asset(draft, location=(3, 1, 0))
    before = (obj.data, len(obj.data.polygons), obj.matrix_world.copy(), len(bpy.data.materials), len(bpy.data.images))
    levels = blender.make_lods(obj)
    assert before == (
        obj.data,
        len(obj.data.polygons),
        obj.matrix_world.copy(),
        len(bpy.data.materials),
        len(bpy.data.images),
    )
    full = before[1]
    assert [level.object.name for level in levels] == [f"{obj.name}_LOD{n}" for n in range(3)]
    assert [level.triangles / full for level in levels] == pytest.approx([1, 0.25, 0.05], rel=0.02)
    assert levels[0].object.data == obj.data, "nothing is kept twice"
    collection = blender.lods_of(obj)
    assert collection.name in obj.users_collection[0].children and set(collection.objects) == {
        level.object for level in levels
    }
    for level in levels:
        made = level.object
        assert made["trellis2_lod_level"] == level.level and made["trellis2_lod_triangles"] == level.triangles
        assert len(made.data.polygons) == level.triangles and not made.modifiers and not made.vertex_groups
        assert [slot.material for slot in made.material_slots] == [slot.material for slot in obj.material_slots]
        assert len(made.data.uv_layers) == 1 and made.data.has_custom_normals == obj.data.has_custom_normals
        assert list(made.dimensions) == pytest.approx(list(obj.dimensions), rel=0.03)
        found = blender.measure(made).surface
        assert found.open_edges == 0 and found.components == 1
        assert found.uv_area == pytest.approx(blender.measure(obj).surface.uv_area, rel=0.05)
        assert blender.read_provenance(made) == blender.read_provenance(obj)
    assert not [s.name for s in bpy.data.scenes if "TRELLIS" in s.name] and len(bpy.data.meshes) == 3
    assert not any(level.object.select_get() for level in levels)


def test_side_by_side_they_do_not_touch() -> None:
    obj = ball(16)
    obj.matrix_world = Matrix.Translation((3, 1, 0))
    levels = blender.make_lods(obj, (0.5, 0.1))
    width = obj.dimensions.x
    places = [tuple(found.matrix_world.translation) for found in (obj, *(level.object for level in levels))]
    assert [x - places[0][0] > n * width for n, (x, _, _) in enumerate(places)][1:] == [True, True]
    assert all((y, z) == (1, 0) for _, y, z in places)
    for arrange, hidden in (("HIDDEN", True), ("IN_PLACE", False)):
        levels = blender.make_lods(obj, (0.5, 0.1), arrange=arrange)
        assert all(level.object.matrix_world == obj.matrix_world for level in levels)
        collection = blender.lods_of(obj)
        assert collection.hide_viewport == collection.hide_render == hidden


def test_once_more_replaces_the_chain() -> None:
    obj = ball(32)
    blender.make_lods(obj)
    mine = bpy.data.objects.new("Mine", None)
    blender.lods_of(obj).objects.link(mine)
    counts = len(bpy.data.objects), len(bpy.data.meshes), len(bpy.data.collections)
    levels = blender.make_lods(obj, (1, 0.5, 0.1))
    assert counts == (len(bpy.data.objects), len(bpy.data.meshes), len(bpy.data.collections))
    assert [level.object.name for level in levels] == [f"{obj.name}_LOD{n}" for n in range(3)]
    assert mine.name in bpy.context.scene.collection.objects, "what the artist put there is not thrown away"
    other = obj.copy()
    bpy.context.scene.collection.objects.link(other)
    blender.make_lods(other, (0.5,))
    assert blender.lods_of(obj) != blender.lods_of(other) and len(blender.lods_of(obj).objects) == 3
    blender.remove_lods(obj)
    blender.remove_lods(other)
    assert len(bpy.data.meshes) == 1 and not bpy.data.collections


def test_modifiers_are_part_of_the_levels() -> None:
    obj = ball(16)
    obj.modifiers.new("Subdivision", "SUBSURF").levels = 1
    levels = blender.make_lods(obj, (1, 0.25))
    shown = sum(len(face.vertices) - 2 for face in obj.data.polygons)
    assert levels[0].triangles > 2 * shown and levels[1].triangles < levels[0].triangles / 3
    assert len(obj.modifiers) == 1 and not levels[0].object.modifiers
    assert len(bpy.data.meshes) == 3, "the original and two levels"


def test_custom_normals_are_those_of_the_original() -> None:
    """All pointing up, as for foliage: a face tells nothing of them."""
    obj = ball(48)
    obj.data.shade_smooth()
    obj.data.normals_split_custom_set_from_vertices([(0, 0, 1)] * len(obj.data.vertices))
    for level in blender.make_lods(obj, (0.25, 0.05)):
        normals = np.empty((len(level.object.data.loops), 3), np.float32)
        level.object.data.corner_normals.foreach_get("vector", normals.reshape(-1))
        assert np.degrees(np.arccos(np.clip(normals[:, 2], -1, 1))).max() < 3


def test_seams_are_spared() -> None:
    from trellis_addon.scene.asset.decimate import seam_vertices

    obj = ball(64)
    before = seam_vertices(obj.data)
    assert before.sum() == 33, "one meridian, its poles included"
    (level,) = blender.make_lods(obj, (0.25,))
    after = seam_vertices(level.object.data)
    assert after.sum() > 0.8 * before.sum() and len(after) < 0.3 * len(before)


@pytest.mark.parametrize("ratios", [(), (0.5, 0.5), (0.2, 0.4), (1.5,), (0.0,), (float("nan"),)])
def test_ratios_that_make_no_chain(ratios: tuple[float, ...]) -> None:
    obj = ball(16)
    with pytest.raises(FieldError) as caught:
        blender.make_lods(obj, ratios)
    sentence(caught.value)
    assert blender.lods_of(obj) is None


def test_what_cannot_have_levels() -> None:
    obj = ball(16)
    (level, *_) = blender.make_lods(obj)
    for wrong in (level.object, bpy.data.objects.new("Empty", None), mesh_object([], [])):
        with pytest.raises(InputError) as caught:
            blender.make_lods(wrong)
        sentence(caught.value)
    with pytest.raises(FieldError, match="HIDDEN"):
        blender.make_lods(obj, arrange="beside")


def test_cancelled_the_former_chain_stays() -> None:
    obj = ball(16)
    former = [level.object for level in blender.make_lods(obj)]
    counts = len(bpy.data.objects), len(bpy.data.meshes), len(bpy.data.scenes)
    asked: list[str] = []

    def stop() -> bool:
        asked.append("")
        return len(asked) == 3

    with pytest.raises(Cancelled):
        blender.make_lods(obj, progress=Progress(is_cancelled=stop))
    assert counts == (len(bpy.data.objects), len(bpy.data.meshes), len(bpy.data.scenes))
    assert list(blender.lods_of(obj).objects) == former
