"""Levels of detail baked from the asset's surface, each with UVs and maps of its own; what is seen of each."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

for package in ("scipy", "fast_simplification"):
    pytest.importorskip(package)

from test_extension import extension, part  # noqa: E402, F401  (a fixture)

bpy = pytest.importorskip("bpy")


@pytest.fixture
def ball(extension: ModuleType) -> Any:  # noqa: F811
    bpy.ops.mesh.primitive_uv_sphere_add(segments=48, ring_count=24, radius=0.5, location=(2.0, 1.0, 0.5))
    obj = bpy.context.active_object
    obj.name = "Ball"
    obj.rotation_euler.z = 0.5
    material = bpy.data.materials.new("Red")
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.8, 0.1, 0.1, 1.0)
    obj.data.materials.append(material)
    return obj


def triangles(obj: Any) -> int:
    return len(obj.data.loops) - 2 * len(obj.data.polygons)


def test_the_button_bakes_levels_that_the_asset_shows_from_afar(ball: Any) -> None:
    lods = part("trellis_addon.scene.asset.lods")
    before, mesh = triangles(ball), ball.data
    options = {"levels": 2, "ratios": (25.0, 5.0, 1.0, 0.5, 0.2, 0.1), "texture_size": "512"}
    assert bpy.ops.trellis2.bake_lods(**options) == {"FINISHED"}
    levels = lods.levels_of(ball)
    assert ball.data == mesh and triangles(ball) == before and not ball.hide_get(), "it is the finest itself"
    assert [level.object.name for level in levels] == ["Ball_LOD1", "Ball_LOD2"]
    assert [level.triangles for level in levels] == [triangles(level.object) for level in levels]
    assert before * 0.25 * 0.8 <= levels[0].triangles <= before * 0.25 >= 4 * levels[1].triangles
    for level in levels:
        (own,) = level.object.data.materials
        assert own != ball.data.materials[0] and len(level.object.data.uv_layers) == 1
        assert {image.size[0] for image in images_of(own)} == {512}
        assert (level.object.matrix_world.translation - ball.matrix_world.translation).length < 1e-4
        corners = [ball.matrix_world @ vertex.co for vertex in level.object.data.vertices]
        assert all(abs((corner - ball.location).length - 0.5) < 0.08 for corner in corners), "in its place"
    assert 0 < levels[0].error < levels[1].error and levels[0].distance < levels[1].distance
    assert 1 >= levels[0].screen > levels[1].screen > 0
    assert len(ball.modifiers) == 1, "switched by distance"
    assert bpy.ops.trellis2.bake_lods(maps="SHARED", levels=1, arrange="HIDDEN") == {"FINISHED"}
    (shared,) = lods.levels_of(ball)
    assert shared.object.data.materials[0] == ball.data.materials[0] and not ball.modifiers
    assert "Ball_LOD2" not in bpy.data.objects, "the former chain is gone"
    scene, errors = part("trellis_addon.scene"), part("trellis_addon.core.errors")
    for wrong in ((), (0.5, 0.6), (1.0,), (0.5, 0.0)):
        with pytest.raises(errors.FieldError, match="ratios"):
            scene.bake_lods(ball, wrong)
    with pytest.raises(errors.FieldError, match="arrange"):
        scene.bake_lods(ball, arrange="NOWHERE")
    with pytest.raises(errors.InputError, match="level of detail itself"):
        scene.bake_lods(shared.object)


def images_of(material: Any) -> set[Any]:
    return {node.image for node in material.node_tree.nodes if node.type == "TEX_IMAGE" and node.image}
