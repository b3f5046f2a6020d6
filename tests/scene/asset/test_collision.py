"""Convex parts: around all of the surface, within their number, and where exports have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from scene_objects import mesh_object  # noqa: E402
from test_delivery import read_back  # noqa: E402
from test_extension import extension, part  # noqa: E402, F401  (a fixture)

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import FieldError, InputError  # noqa: E402
from trellis_addon.formats.glb.check import split_glb  # noqa: E402
from trellis_addon.scene.importing.placement import positions, world_bounds  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def horseshoe() -> Any:
    """Three blocks in a U, 3 m wide and 2 m tall: convex parts are three, or two with a gap filled."""
    blocks = [((0, 0, 0), (3, 1, 0.5)), ((0, 0, 0.5), (0.5, 1, 2)), ((2.5, 0, 0.5), (3, 1, 2))]
    corners, faces = [], []
    for low, high in blocks:
        base = len(corners)
        corners += [(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
        sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        faces += [tuple(base + corner for corner in side) for side in sides]
    return mesh_object(corners, faces, "Horseshoe")


def planes(obj: Any) -> tuple[np.ndarray, np.ndarray]:
    """The normals (F, 3) of a hull's faces, and how far along them they lie."""
    normals = np.array([face.normal[:] for face in obj.data.polygons])
    return normals, np.array([face.normal.dot(face.center) for face in obj.data.polygons])


def volume(obj: Any) -> float:
    total = 0.0
    for face in obj.data.polygons:
        total += face.normal.dot(face.center) * face.area / 3
    return total


def test_they_are_convex_and_hold_all_of_the_surface(horseshoe: Any) -> None:
    (whole,) = blender.make_collision(horseshoe, 1)
    assert volume(whole) == pytest.approx(6.0, rel=1e-3), "the hull of it all"
    made = blender.make_collision(horseshoe, 3)
    assert len(made) == 3 and blender.collision_of(horseshoe) == made
    assert sum(map(volume, made)) < 3.8, "of 3 that the blocks have; one hull has 6"
    points, outside = positions(horseshoe.data), np.full(len(horseshoe.data.vertices), np.inf)
    for hull in made:
        normals, lengths = planes(hull)
        assert ((positions(hull.data) @ normals.T) <= lengths + 1e-4).all(), "convex, and faces look outwards"
        outside = np.minimum(outside, (points @ normals.T - lengths).max(1))
        assert hull.parent == horseshoe and hull.hide_render and hull.display_type == "WIRE"
        assert len(hull.data.vertices) <= 128
    assert outside.max() < 1e-3
    assert len(blender.make_collision(horseshoe, 20)) < 20, "no more than are worth it"
    horseshoe.location = (5, 0, 0)
    bpy.context.view_layer.update()
    assert all(hull.matrix_world.translation.x == 5 for hull in blender.collision_of(horseshoe))
    blender.remove_collision(horseshoe)
    assert [obj.name for obj in bpy.data.objects] == ["Horseshoe"] and not blender.collision_of(horseshoe)


def test_a_sheet_has_one_too_and_what_cannot_be_is_told(horseshoe: Any) -> None:
    sheet = mesh_object([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], [(0, 1, 2, 3)], "Sheet")
    (hull,) = blender.make_collision(sheet, 4)
    assert 0 < volume(hull) < 1e-3
    for wrong in (0, 65):
        with pytest.raises(FieldError, match="1 to 64"):
            blender.make_collision(horseshoe, wrong)
    with pytest.raises(InputError, match="no surface"):
        blender.make_collision(mesh_object([(0, 0, 0)], [], "Nothing"))


@pytest.mark.parametrize(
    ("engine", "names"),
    [
        ("", ["Horseshoe", "Horseshoe_Collision_00", "Horseshoe_Collision_01"]),
        ("unreal", ["Horseshoe", "UCX_Horseshoe_00", "UCX_Horseshoe_01"]),
        ("unity", ["Horseshoe", "Horseshoe_Collider_00", "Horseshoe_Collider_01"]),
        ("godot", ["Horseshoe", "Horseshoe_00-convcolonly", "Horseshoe_01-convcolonly"]),
        ("film", ["Horseshoe", "Horseshoe_Collision_00", "Horseshoe_Collision_01"]),
    ],
)
def test_exports_name_them_as_the_engine_does(horseshoe: Any, tmp_path: Path, engine: str, names: list[str]) -> None:
    blender.make_collision(horseshoe, 2)
    before = sorted(obj.name for obj in bpy.data.objects)
    (path, *_) = blender.export_asset(horseshoe, tmp_path / "a.glb", engine=engine)
    assert sorted(node["name"] for node in split_glb(path.read_bytes())[0]["nodes"]) == sorted(names)
    assert sorted(obj.name for obj in bpy.data.objects) == before
    (path, *_) = blender.export_asset(horseshoe, tmp_path / "a.usda", engine=engine)
    prims = path.read_text(encoding="utf-8")
    assert all(f'def Mesh "{name.replace("-", "_")}"' in prims for name in names), "meshes too: readers go by these"
    assert sorted(obj.name for obj in bpy.data.objects) == before
    (path, *_) = blender.export_asset(horseshoe, tmp_path / "a.fbx", engine=engine)
    made = read_back(path)
    boxes = [world_bounds(obj) for obj in made]
    assert len(made) == 3 and np.allclose(np.min([low for low, _ in boxes], axis=0), (0, 0, 0), atol=0.01)
    assert np.allclose(np.max([high for _, high in boxes], axis=0), (3, 1, 2), atol=0.01)
    (path, *_) = blender.export_asset(horseshoe, tmp_path / "b.glb", levels=False)
    assert len(split_glb(path.read_bytes())[0]["nodes"]) == 1


def test_with_levels_they_are_those_of_the_finest(horseshoe: Any, tmp_path: Path) -> None:
    blender.make_lods(horseshoe, (1.0, 0.5), arrange="BY_DISTANCE")
    blender.make_collision(horseshoe, 1)
    (path, *_) = blender.export_asset(horseshoe, tmp_path / "a.glb", engine="unreal")
    names = [node["name"] for node in split_glb(path.read_bytes())[0]["nodes"]]
    assert sorted(names) == ["Horseshoe_LOD0", "Horseshoe_LOD1", "UCX_Horseshoe_LOD0_00"]


def test_the_button(extension: Any) -> None:  # noqa: F811
    bpy.ops.mesh.primitive_monkey_add()
    assert bpy.ops.trellis2.make_collision(parts=4) == {"FINISHED"}
    scene = part("trellis_addon.scene")
    assert 2 <= len(scene.collision_of(bpy.context.object)) <= 4
