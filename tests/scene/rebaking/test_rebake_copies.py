"""Objects as they look: poses, instances, shears and unsaved paint, in the GLB that rebaking begins with."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from mathutils import Matrix  # noqa: E402
from rebaking_tools import sent  # noqa: E402

from trellis_addon.core.errors import InputError  # noqa: E402
from trellis_addon.formats.glb.read import read_glb  # noqa: E402
from trellis_addon.scene.rebaking.copies import save_copies  # noqa: E402


@pytest.fixture(autouse=True)
def _empty() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)


def cube(name: str, x: float, size: float = 1.0) -> Any:
    bpy.ops.mesh.primitive_cube_add(size=size, location=(x, 0.0, 0.0))
    obj = bpy.context.active_object
    obj.name = name
    return obj


def painted(name: str, colour: tuple[float, float, float]) -> Any:
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (*colour, 1.0)
    return material


def mirrored(x: float) -> Any:
    obj = cube("mirrored", x)
    obj.scale = (-1.0, 1.0, 1.0)
    obj.data.vertices[0].co.x -= 0.5
    return obj


def sheared(x: float) -> Any:
    """Turned below a parent that is longer than wide, which no translation, rotation and scale can say."""
    parent = bpy.data.objects.new("parent", None)
    bpy.context.collection.objects.link(parent)
    parent.location, parent.scale = (x, 0.0, 0.0), (2.0, 1.0, 1.0)
    obj = cube("sheared", 0.0)
    obj.parent, obj.rotation_euler = parent, (0.0, 0.0, math.radians(45))
    return obj


def posed(x: float) -> Any:
    """A bone that lifts what it holds by 2."""
    rig = bpy.data.objects.new("rig", bpy.data.armatures.new("rig"))
    bpy.context.collection.objects.link(rig)
    rig.location.x = x
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    bone = rig.data.edit_bones.new("bone")
    bone.tail = (0.0, 0.0, 1.0)
    bpy.ops.object.mode_set(mode="OBJECT")
    obj = cube("posed", x)
    obj.vertex_groups.new(name="bone").add(range(8), 1.0, "REPLACE")
    obj.modifiers.new("armature", "ARMATURE").object = rig
    rig.pose.bones["bone"].location.y = 2.0  # along the bone
    return obj


def shaped(x: float) -> Any:
    obj = cube("shaped", x)
    obj.shape_key_add(name="Basis")
    key = obj.shape_key_add(name="Tall")
    for point in key.data:
        point.co.z *= 3.0
    key.value = 0.5
    return obj


def lettered(x: float) -> Any:
    bpy.ops.object.text_add(location=(x, 0.0, 0.0))
    obj = bpy.context.active_object
    obj.data.body, obj.data.extrude = "I", 0.25
    return obj


def scattered(x: float) -> Any:
    """A cube on each corner of a plane by geometry nodes, in a material of its own; the plane itself is gone."""
    bpy.ops.mesh.primitive_plane_add(size=2.0, location=(x, 0.0, 0.0))
    obj = bpy.context.active_object
    obj.name = "scattered"
    tree = bpy.data.node_groups.new("scatter", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    kinds = ("NodeGroupInput", "GeometryNodeInstanceOnPoints", "GeometryNodeMeshCube", "GeometryNodeSetMaterial")
    source, strewn, box, paint = (tree.nodes.new(kind) for kind in kinds)
    sink = tree.nodes.new("NodeGroupOutput")
    box.inputs["Size"].default_value = (0.5, 0.5, 0.5)
    paint.inputs["Material"].default_value = painted("strewn", (0.0, 0.5, 0.0))
    for one, other in ((source, strewn.inputs["Points"]), (box, paint.inputs[0]), (paint, strewn.inputs["Instance"]),
                       (strewn, sink.inputs[0])):  # fmt: skip
        tree.links.new(one.outputs[0], other)
    obj.modifiers.new("scatter", "NODES").node_group = tree
    return obj


def instanced(x: float) -> Any:
    """A collection that is not in the scene itself, and holds an instance of another one."""
    inner, outer = (bpy.data.collections.new(name) for name in ("inner", "outer"))
    obj = cube("part", 0.0)
    bpy.context.scene.collection.objects.unlink(obj)
    inner.objects.link(obj)
    found = None
    for name, collection, home, place in (
        ("within", inner, outer, (0.0, 0.0, 2.0)),
        ("instanced", outer, bpy.context.scene.collection, (x, 0.0, 0.0)),
    ):
        found = bpy.data.objects.new(name, None)
        found.instance_type, found.instance_collection, found.location = "COLLECTION", collection, place
        home.objects.link(found)
    return found


def hidden(x: float) -> Any:
    obj = cube("hidden", x)
    obj.hide_set(True)
    return obj


# What each of them is seen as: (lowest corner, highest corner, triangles), with X counted from its place.
LOOKS: dict[Callable[[float], Any], tuple[tuple[float, ...], tuple[float, ...], int]] = {
    mirrored: ((-0.5, -0.5, -0.5), (1.0, 0.5, 0.5), 12),
    sheared: ((-math.sqrt(2), -math.sqrt(0.5), -0.5), (math.sqrt(2), math.sqrt(0.5), 0.5), 12),
    posed: ((-0.5, -0.5, 1.5), (0.5, 0.5, 2.5), 12),
    shaped: ((-0.5, -0.5, -1.0), (0.5, 0.5, 1.0), 12),
    scattered: ((-1.25, -1.25, -0.25), (1.25, 1.25, 0.25), 48),
    instanced: ((-0.5, -0.5, 1.5), (0.5, 0.5, 2.5), 12),
    hidden: ((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5), 12),
}
STEP = 10.0


def test_everything_as_it_looks(tmp_path: Path) -> None:
    objects = [make(STEP * index) for index, make in enumerate(LOOKS)]
    objects.append(letters := lettered(STEP * len(LOOKS)))
    cube("not chosen", -STEP)
    bpy.context.view_layer.update()
    before = [
        (obj.name, obj.matrix_world.copy(), obj.select_get(), obj.hide_get()) for obj in bpy.context.scene.objects
    ]
    mesh = read_glb(sent(objects, tmp_path))
    assert before == [(o.name, o.matrix_world, o.select_get(), o.hide_get()) for o in bpy.context.scene.objects]
    points = mesh.vertices[:, [0, 2, 1]] * np.array([1, -1, 1], np.float32)  # Z up
    corners = points[mesh.faces].astype(np.float64)
    middles = corners.mean(axis=1)
    assert middles[:, 0].min() > -STEP / 2, "what was not chosen is not there"
    for index, (low, high, triangles) in enumerate(LOOKS.values()):
        here = np.abs(middles[:, 0] - STEP * index) < STEP / 2
        name = list(LOOKS)[index].__name__
        own = corners[here] - [STEP * index, 0, 0]
        assert own.min(axis=(0, 1)) == pytest.approx(low, abs=1e-4), name
        assert own.max(axis=(0, 1)) == pytest.approx(high, abs=1e-4), name
        assert len(own) == triangles, name
        volume = np.einsum("ij,ij->i", own[:, 0], np.cross(own[:, 1], own[:, 2])).sum() / 6
        assert volume > 0, f"{name} is inside out"
        if name == "scattered":
            (number,) = np.unique(mesh.ids[here])
            assert mesh.materials[number].base_colour_factor[:3] == pytest.approx((0.0, 0.5, 0.0))
    letter = np.abs(middles[:, 0] - STEP * len(LOOKS)) < STEP / 2
    depth = corners[letter][..., 2]
    assert (depth.min(), depth.max()) == pytest.approx((-0.25, 0.25)) and letters.name in bpy.data.objects


def test_materials_of_the_object_and_paint_that_nobody_saved(tmp_path: Path) -> None:
    obj = cube("cube", 0.0)
    obj.data.materials.append(painted("of the mesh", (1.0, 0.0, 0.0)))
    obj.material_slots[0].link = "OBJECT"
    material = painted("of the object", (1.0, 1.0, 1.0))
    obj.material_slots[0].material = material
    image = bpy.data.images.new("paint", 4, 4)
    image.pixels.foreach_set([0.0, 1.0, 0.0, 1.0] * 16)
    image.update()
    assert image.is_dirty
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    material.node_tree.links.new(node.outputs[0], material.node_tree.nodes["Principled BSDF"].inputs["Base Color"])
    mesh = read_glb(sent([obj], tmp_path))
    (material,) = mesh.materials
    assert material.name == "of the object" and material.base_colour is not None
    assert (material.base_colour.pixels[..., :3] == [0, 255, 0]).all()
    assert image.is_dirty and not image.keys()


def test_a_surface_that_falls_apart_into_charts_is_baked_all_the_same(tmp_path: Path) -> None:
    """So rough that with room between all its charts none would be left for them."""
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=60, y_subdivisions=60)
    obj = bpy.context.active_object
    heights = np.random.default_rng(3).uniform(-0.2, 0.2, len(obj.data.vertices))
    for vertex, height in zip(obj.data.vertices, heights, strict=True):
        vertex.co.z = height
    obj.data.materials.append(material := painted("rough", (1.0, 1.0, 1.0)))
    mixed = material.node_tree.nodes.new("ShaderNodeRGB")
    mixed.outputs[0].default_value = (0.5, 0.25, 0.125, 1.0)
    shine = material.node_tree.nodes.new("ShaderNodeHueSaturation")
    material.node_tree.links.new(mixed.outputs[0], shine.inputs["Color"])
    material.node_tree.links.new(shine.outputs[0], material.node_tree.nodes["Principled BSDF"].inputs["Base Color"])
    mesh = read_glb(sent([obj], tmp_path, 256))
    texture = mesh.materials[0].base_colour
    assert texture is not None and mesh.uvs is not None
    u, v = (mesh.uvs.mean(axis=1) * 256).astype(int).T
    colours = texture.pixels[v, u, :3]
    right = np.abs(colours - np.array([188, 137, 99])).max(axis=1) <= 3  # sRGB codes of the colour
    assert right.mean() > 0.98


def test_what_another_file_has(tmp_path: Path) -> None:
    """Linked objects are copied with their materials, procedural ones too, which are baked."""
    obj = cube("far", 0.0)
    obj.data.materials.append(material := painted("checks", (1.0, 1.0, 1.0)))
    checks = material.node_tree.nodes.new("ShaderNodeTexChecker")
    material.node_tree.links.new(checks.outputs[1], material.node_tree.nodes["Principled BSDF"].inputs["Metallic"])
    bpy.data.libraries.write(str(tmp_path / "library.blend"), {obj})
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, into):
        into.objects = ["far"]
    (far,) = into.objects
    bpy.context.collection.objects.link(far)
    mesh = read_glb(sent([far], tmp_path))
    assert len(mesh.faces) == 12 and mesh.materials[0].metallic_roughness is not None
    assert far.library is not None and far.matrix_world == Matrix.Identity(4)


def test_nothing_to_see_is_a_sentence(tmp_path: Path) -> None:
    empty = bpy.data.objects.new("empty", None)
    bpy.context.collection.objects.link(empty)
    before = {kind: len(getattr(bpy.data, kind)) for kind in ("objects", "meshes", "scenes")}
    with pytest.raises(InputError, match="no mesh with faces"):
        save_copies([empty], tmp_path / "copies.blend")
    assert before == {kind: len(getattr(bpy.data, kind)) for kind in before}
