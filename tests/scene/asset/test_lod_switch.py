"""Levels of detail of one object, switched by the camera's distance, and as exports carry them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from test_delivery import asset, read_back  # noqa: E402, F401  (a fixture)

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import FieldError  # noqa: E402
from trellis_addon.core.progress import Cancelled, Progress  # noqa: E402
from trellis_addon.formats.glb.check import split_glb  # noqa: E402
from trellis_addon.scene.asset import lod_switch  # noqa: E402
from trellis_addon.scene.importing.placement import world_bounds  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def ball(asset: Any) -> Any:  # noqa: F811
    """2048 faces of radius 1 m, in the material of a box."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32)
    obj = bpy.context.object
    obj.name = "Ball"
    obj.data.materials.append(asset.data.materials[0])
    bpy.data.objects.remove(asset)
    return obj


def shown(obj: Any, distance: float | None = None) -> int:
    """The triangles that are seen of it from so far away."""
    camera = bpy.context.scene.camera
    if distance is not None:
        camera.location = (0, -distance, 0)
        bpy.context.view_layer.update()
    mesh = obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    return len(mesh.loops) - 2 * len(mesh.polygons)


def put_camera() -> None:
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera


def test_it_shows_the_level_for_its_distance(ball: Any) -> None:
    levels = blender.make_lods(ball, (1.0, 0.25, 0.05), arrange="BY_DISTANCE")
    assert levels[0].object == ball and levels[0].triangles == shown(ball), "itself, where there is no camera"
    assert [level.object.name for level in levels] == ["Ball", "Ball_LOD1", "Ball_LOD2"]
    assert list(blender.lods_of(ball).objects) == [level.object for level in levels[1:]], "no second copy"
    assert 0 < levels[1].error < levels[2].error < 0.2
    assert [level.object["trellis2_lod_distance"] for level in levels[1:]] == [level.distance for level in levels[1:]]
    put_camera()
    near, far = levels[1].distance, levels[2].distance
    # of Blender's own camera: 1080 lines, 22.9 degrees
    assert near == pytest.approx(levels[1].error * 1080 / (2 * np.tan(np.radians(11.45))), rel=0.02)
    for level, distance in ((0, 0.99 * near), (1, 1.01 * near), (1, 0.99 * far), (2, 1.01 * far)):
        assert shown(ball, distance) == levels[level].triangles
    ball.location.x = 500
    assert shown(ball, 0.5 * near) == levels[2].triangles, "its distance, not the camera's place"
    ball.location.x = 0
    with lod_switch.as_themselves([ball]):
        assert shown(ball, 2 * far) == levels[0].triangles
    assert shown(ball) == levels[2].triangles

    def stop() -> bool:
        return True

    with pytest.raises(Cancelled):
        blender.make_lods(ball, (1.0, 0.5), arrange="BY_DISTANCE", progress=Progress(is_cancelled=stop))
    assert shown(ball) == levels[2].triangles, "as it was"
    again = blender.make_lods(ball, (0.5,), arrange="BY_DISTANCE")
    assert [level.ratio for level in again] == [1.0, 0.5] and len(ball.modifiers) == 1
    assert again[0].triangles == levels[0].triangles, "of itself, not of the level that was shown"
    blender.remove_lods(ball)
    assert not ball.modifiers and shown(ball, 1e6) == levels[0].triangles
    for ratios in ((1.0,), (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)):
        with pytest.raises(FieldError, match="1 to 6"):
            blender.make_lods(ball, ratios, arrange="BY_DISTANCE")


def test_a_screen_share_is_that_of_the_camera() -> None:
    scene = bpy.context.scene
    near = lod_switch.distance_for(0.001, scene)  # a millimetre is a pixel of 1080 there
    assert lod_switch.screen_share(0.540, near, scene) == pytest.approx(0.5, rel=1e-3)
    assert lod_switch.screen_share(10.0, near, scene) == 1.0


@pytest.mark.parametrize("arrange", ["BY_DISTANCE", "SIDE_BY_SIDE", "HIDDEN"])
@pytest.mark.parametrize("ending", [".glb", ".fbx", ".usdc"])
def test_exports_carry_the_chain(ball: Any, tmp_path: Path, ending: str, arrange: str) -> None:
    put_camera()
    bpy.context.scene.camera.location.y = -1e6  # the coarsest is shown
    levels = blender.make_lods(ball, (1.0, 0.25, 0.05), arrange=arrange)
    names = {obj.name: obj.name for obj in bpy.data.objects}
    (path, *_) = blender.export_asset(ball, tmp_path / f"ball{ending}")
    assert {obj.name for obj in bpy.data.objects} == set(names) and ball.name == "Ball"
    made = {obj.name.split(".")[0]: obj for obj in read_back(path)}
    assert sorted(name for name in made if "LOD" in name) == ["Ball_LOD0", "Ball_LOD1", "Ball_LOD2"]
    for number, level in enumerate(levels):
        obj = made[f"Ball_LOD{number}"]
        triangles = sum(len(face.vertices) - 2 for face in obj.data.polygons)
        assert triangles == level.triangles
        low, high = world_bounds(obj)
        assert np.allclose(low, -1, atol=0.2) and np.allclose(high, 1, atol=0.2), "all in one place"
        assert obj.material_slots[0].material and obj.data.uv_layers
    alone = blender.export_asset(ball, tmp_path / f"alone{ending}", levels=False)
    assert len(read_back(alone[0])) == 1


def test_each_engine_finds_its_levels(ball: Any, tmp_path: Path) -> None:
    blender.make_lods(ball, (1.0, 0.25), arrange="BY_DISTANCE")
    (path, *_) = blender.export_asset(ball, tmp_path / "ball.fbx", engine="unreal")
    assert b"LodGroup" in path.read_bytes() and ball.parent is None and "Ball" in bpy.data.objects
    (path, *_) = blender.export_asset(ball, tmp_path / "unity.fbx", engine="unity")
    assert b"LodGroup" not in path.read_bytes() and b"Ball_LOD1" in path.read_bytes()
    (path, scene) = blender.export_asset(ball, tmp_path / "ball.glb", engine="godot")
    distance = blender.lods_of(ball).objects[0]["trellis2_lod_distance"]
    assert scene == tmp_path / "ball.tscn"
    assert scene.read_text().splitlines()[2:] == [
        '[ext_resource type="PackedScene" path="ball.glb" id="1"]',
        "",
        '[node name="ball" instance=ExtResource("1")]',
        "",
        '[node name="Ball_LOD0" parent="."]',
        f"visibility_range_end = {distance:.4g}",
        f"visibility_range_end_margin = {0.05 * distance:.4g}",
        "",
        '[node name="Ball_LOD1" parent="."]',
        f"visibility_range_begin = {distance:.4g}",
        f"visibility_range_begin_margin = {0.05 * distance:.4g}",
    ]
    assert [node["name"] for node in split_glb(path.read_bytes())[0]["nodes"]] == ["Ball_LOD0", "Ball_LOD1"]
    assert len(blender.export_asset([ball, *blender.lods_of(ball).objects], tmp_path / "all.glb")) == 1
    assert len(split_glb((tmp_path / "all.glb").read_bytes())[0]["nodes"]) == 2, "each once"
    (path,) = blender.export_asset(ball, tmp_path / "ball.stl")
    assert (path.stat().st_size - 84) // 50 == 3968, "a printer gets one"
