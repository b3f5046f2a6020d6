"""An asset of the scene held against a contract and mended, and which way it stands."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene_objects import ball, cube, mesh_object
from test_extension import extension, part  # noqa: F401  (a fixture)

bpy = pytest.importorskip("bpy")

from mathutils import Matrix, Vector  # noqa: E402

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.contract.facts import AXES  # noqa: E402
from trellis_addon.contract.glb_facts import glb_facts  # noqa: E402
from trellis_addon.core.errors import FieldError, InputError, TrellisError  # noqa: E402
from trellis_addon.scene.importing.placement import world_bounds  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


def wedge(name: str = "Thing") -> Any:
    """An asset 2 m wide, 1 m deep and 3 m tall, standing on the ground; its front, a ridge, looks to -Y."""
    points = [(x, y, z) for x in (-1, 1) for y in (-0.5, 0.6) for z in (0, 3)]
    points.append((0, -0.6, 1.5))
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces += [(0, 4, 8), (4, 5, 8), (5, 1, 8), (1, 0, 8)]
    return mesh_object(points, faces, name)


def corners(obj: Any) -> np.ndarray:
    bpy.context.view_layer.update()
    return np.array([obj.matrix_world @ vertex.co for vertex in obj.data.vertices])


def ridge(obj: Any) -> Any:
    return Vector(corners(obj)[8] - np.array(obj.matrix_world.translation))


def broken(obj: Any, rules: Any) -> list[str]:
    return [finding.rule for finding in blender.check_contract(obj, rules)]


RULES = {"height": 3.05, "origin": "bottom", "front": "-Y", "applied": True, "triangles": 500, "watertight": True}


def test_what_stands_right_keeps_the_contract() -> None:
    obj = wedge("SM_Thing")
    assert broken(obj, {**RULES, "height": 3, "names": "SM_*", "parts": 1, "materials": 1}) == []
    facts = blender.asset_facts(obj)
    assert facts.height == pytest.approx(3) and facts.surface.triangles == 14 and facts.is_watertight


@pytest.mark.parametrize("scale_length", [1.0, 0.01])
def test_each_rule_is_caught_and_mended(scale_length: float) -> None:
    bpy.context.scene.unit_settings.scale_length = scale_length
    obj = wedge("Old")
    obj.data.transform(Matrix.Translation((0.3, 0.4, 0.5)))
    obj.matrix_world = (
        Matrix.Translation((5, 6, 7)) @ Matrix.Rotation(math.pi / 2, 4, "Z") @ Matrix.Diagonal((2, 2, 2, 1))
    )
    bpy.context.view_layer.update()
    rules = {"names": "SM_*_v1", "height": [0.5, 2], "front": "-Y", "origin": "bottom", "applied": True}
    before = broken(obj, rules)
    assert before[:1] == ["names"] and {"origin", "applied", "front"} <= set(before)
    assert "height" in before, "6 m, or 6 cm"
    assert blender.mend(obj, rules) == []
    assert obj.name == "SM_Old_v1" and obj.scale[:] == pytest.approx((1, 1, 1))
    assert ridge(obj).normalized().dot(Vector((0, -1, 0))) > 0.3, "its front looks to the front"
    low, _ = world_bounds(obj)
    assert low.z == pytest.approx(obj.matrix_world.translation.z, abs=1e-5)


def test_the_budget_and_the_textures_are_mended_and_the_rest_is_told() -> None:
    obj = ball(48)
    image = bpy.data.images.new("Paint", 2048, 1024)
    image.pack()
    material = bpy.data.materials.new("Paint")
    material.use_nodes = True
    tree = material.node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    shader = next(n for n in tree.nodes if n.type == "BSDF_PRINCIPLED")
    tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    obj.data.materials.append(material)
    rules = {"triangles": 700, "texture_size": 1024, "maps": ["base_colour", "normal"], "uvs": True}
    assert broken(obj, rules) == ["triangles", "maps", "texture_size"]
    left = blender.mend(obj, rules)
    assert [finding.rule for finding in left] == ["maps"] and "normal" in left[0].sentence
    facts = blender.asset_facts(obj)
    assert 500 < facts.surface.triangles <= 700
    assert [(i.width, i.height) for i in facts.images] == [(1024, 512)]


def test_a_material_slot_that_no_face_uses_does_not_count() -> None:
    obj = wedge()
    for name in ("A", "B"):
        obj.data.materials.append(bpy.data.materials.new(name))
    assert blender.asset_facts(obj).materials == ("A",)


@pytest.mark.parametrize("quarters", [1, 2, 3, 5])
@pytest.mark.parametrize("axis", ["X", "Y", "Z"])
def test_turning_by_quarters_is_about_the_worlds_axes(axis: str, quarters: int) -> None:
    obj = wedge()
    obj.matrix_world = Matrix.Translation((1, 2, 3)) @ Matrix.Rotation(0.7, 4, "Y") @ Matrix.Diagonal((1, 2, 3, 1))
    before = corners(obj)
    turned = Matrix.Rotation(quarters * math.pi / 2, 3, axis)
    blender.turn(obj, axis, quarters)
    wanted = [turned @ (Vector(point) - Vector((1, 2, 3))) + Vector((1, 2, 3)) for point in before]
    assert np.allclose(corners(obj), wanted, atol=1e-5)


def test_a_front_is_said_once_and_kept() -> None:
    obj = wedge()
    blender.set_front(obj, "-X")  # what looks along -X is its front: then it looks along -Y
    assert blender.asset_facts(obj).front == "-Y" and ridge(obj).x > 0.5
    blender.set_front(obj, "+X", "+X")
    assert blender.asset_facts(obj).front == "+X" and obj["trellis2_front"] == "+X"
    obj.rotation_euler = (0, 0, math.pi / 2)
    bpy.context.view_layer.update()
    assert blender.asset_facts(obj).front == "+Y"
    blender.apply_transform(obj)
    assert blender.asset_facts(obj).front == "+Y" and obj["trellis2_front"] == "+Y"


@pytest.mark.parametrize("scale", [(-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -2, -1)])
@pytest.mark.parametrize("front", ["-Y", "+X"])
def test_a_mirrored_asset_looks_where_its_front_is_seen(front: str, scale: tuple[float, float, float]) -> None:
    obj = wedge()
    blender.set_front(obj, "-Y", front)
    obj.scale = scale
    bpy.context.view_layer.update()
    seen = ridge(obj)
    along = max(AXES, key=lambda axis: seen.dot(Vector(AXES[axis])))
    assert blender.asset_facts(obj).front == along
    blender.apply_transform(obj)
    assert blender.asset_facts(obj).front == along and broken(obj, {"applied": True, "front": along}) == []


def test_the_front_goes_along_in_a_glb(tmp_path: Path) -> None:
    obj = wedge()
    blender.set_front(obj, "-Y", "+X")
    bpy.ops.export_scene.gltf(filepath=f"{tmp_path / 'a.glb'}", export_extras=True)
    facts = glb_facts(tmp_path / "a.glb")
    assert facts.front == "+X" and facts.height == pytest.approx(3)


def test_what_is_applied_looks_the_same_and_children_stay() -> None:
    obj = wedge()
    child = mesh_object(*cube(), name="Child")
    child.parent = obj
    obj.matrix_world = Matrix.Translation((1, 2, 3)) @ Matrix.Rotation(0.5, 4, "X") @ Matrix.Diagonal((1, -2, 3, 1))
    before, childs = corners(obj), corners(child)
    volume = signed_volume(obj)
    blender.apply_transform(obj)
    assert np.allclose(corners(obj), before, atol=1e-5) and np.allclose(corners(child), childs, atol=1e-5)
    assert obj.scale[:] == pytest.approx((1, 1, 1)) and obj.rotation_euler[:] == pytest.approx((0, 0, 0))
    assert volume < 0 < signed_volume(obj), "mirrored and looking inwards is turned inside out"
    blender.set_origin(obj, "centre")
    assert np.allclose(corners(obj), before, atol=1e-5) and np.allclose(corners(child), childs, atol=1e-5)
    low, high = world_bounds(obj)
    assert np.allclose((low + high) / 2, obj.matrix_world.translation, atol=1e-5)


def signed_volume(obj: Any) -> float:
    """Of the faces as they are wound, in the world's axes."""
    points = corners(obj)
    total = 0.0
    for face in obj.data.polygons:
        first, *rest = (points[number] for number in face.vertices)
        total += sum(float(np.dot(first, np.cross(a, b))) for a, b in itertools.pairwise(rest))
    return total


def test_dropping_to_the_ground_moves_it_straight_down() -> None:
    obj = wedge()
    obj.matrix_world = Matrix.Translation((4, 5, 6)) @ Matrix.Rotation(1.0, 4, "X")
    blender.drop_to_ground(obj)
    low, _ = world_bounds(obj)
    assert low.z == pytest.approx(0, abs=1e-5) and obj.location[:2] == pytest.approx((4, 5))


def test_others_that_share_the_mesh_stay_as_they_are_and_levels_follow() -> None:
    obj = ball(24)
    other = bpy.data.objects.new("Other", obj.data)
    bpy.context.scene.collection.objects.link(other)
    levels = blender.make_lods(obj, (0.5, 0.2), arrange="IN_PLACE")
    kept = corners(other)
    obj.data.transform(Matrix.Translation((0, 0, 0)))
    for change in (
        lambda: blender.turn(obj, "X"),
        lambda: blender.set_origin(obj, "bottom"),
        lambda: blender.mend(obj, {"height": 7}),
    ):
        change()
        assert np.allclose(corners(other), kept, atol=1e-6)
        for level in levels:
            ours, theirs = world_bounds(obj), world_bounds(level.object)
            assert np.allclose(ours, theirs, atol=0.2), "as far as a coarser ball is one"


def test_what_cannot_be_is_a_sentence() -> None:
    obj = wedge()
    empty = bpy.data.objects.new("Empty", None)
    bpy.context.scene.collection.objects.link(empty)
    with pytest.raises(InputError, match="no surface"):
        blender.check_contract(empty, "unity")
    for call in (
        lambda: blender.turn(obj, "W"),
        lambda: blender.set_front(obj, "up"),
        lambda: blender.set_origin(obj, "left"),
    ):
        with pytest.raises(FieldError):
            call()
    obj.scale = (1, 0, 1)
    bpy.context.view_layer.update()
    with pytest.raises(InputError, match="scaled to nothing"):
        blender.apply_transform(obj)
    obj.scale = (1, 1, 1)
    bpy.context.view_layer.objects.active = obj
    bpy.ops.object.mode_set(mode="EDIT")
    with pytest.raises(TrellisError, match="Edit Mode"):
        blender.mend(obj, {"height": 1})
    bpy.ops.object.mode_set(mode="OBJECT")
    assert blender.asset_facts(obj).height == pytest.approx(3)


def test_the_buttons(extension: Any, tmp_path: Path) -> None:  # noqa: F811
    obj = wedge("Old")
    bpy.context.view_layer.objects.active = obj
    state = bpy.context.scene.trellis2
    with pytest.raises(RuntimeError, match="Choose a contract first"):
        bpy.ops.trellis2.check_contract()
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(RuntimeError, match=r"no\.json"):
        bpy.ops.trellis2.contract_open(filepath=f"{tmp_path / 'no.json'}")
    (tmp_path / "ours.json").write_text('{"names": "SM_*", "height": 1.5, "maps": ["base_colour"]}')
    bpy.ops.trellis2.contract_open(filepath=f"{tmp_path / 'ours.json'}")
    recall = part("trellis_addon.scene.asset.contracts").recall_findings
    assert recall(obj, state.contract) is None
    bpy.ops.trellis2.check_contract()
    found, is_current = recall(obj, state.contract)
    assert [finding.rule for finding in found] == ["names", "height", "maps"] and is_current
    assert found[0].sentence.template, "it can be said in any language"
    obj.scale = (2, 2, 2)
    bpy.context.view_layer.update()
    assert not recall(obj, state.contract)[1], "it has changed"
    bpy.ops.trellis2.mend_contract()
    found, _ = recall(obj, state.contract)
    assert [finding.rule for finding in found] == ["maps"] and obj.name == "SM_Old"
    state.contract = "unity"
    assert recall(obj, "unity") is None
    state.contract = "nothing there"
    with pytest.raises(RuntimeError, match="nothing there"):
        bpy.ops.trellis2.check_contract()

    assert bpy.ops.trellis2.front_is(axis="+X") == {"FINISHED"}
    assert bpy.ops.trellis2.turn(axis="X", quarters=1) == {"FINISHED"}
    assert bpy.ops.trellis2.set_origin(origin="centre") == {"FINISHED"}
    assert bpy.ops.trellis2.apply_transform() == {"FINISHED"}
    assert bpy.ops.trellis2.drop_to_ground() == {"FINISHED"}
    assert world_bounds(obj)[0].z == pytest.approx(0, abs=1e-5)


def test_thin_walls_are_told_in_the_size_that_the_object_has() -> None:
    bpy.ops.mesh.primitive_cube_add(size=1)
    obj = bpy.context.object
    obj.scale = (0.05, 0.05, 0.0005)
    (found,) = blender.check_contract(obj, {"wall": 0.0008})
    assert found.rule == "wall" and "0.8 mm" in found.sentence and "0.5 mm" in found.sentence
    obj.scale = (0.05, 0.05, -0.0005)
    assert len(blender.check_contract(obj, {"wall": 0.0008})) == 1, "mirrored"
    obj.scale.z = 0.001
    assert not blender.check_contract(obj, {"wall": 0.0008})
