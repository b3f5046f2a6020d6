"""Each rule of a contract in both directions: what keeps it is left alone, what breaks it is caught, and mended where
it can be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

bpy = pytest.importorskip("bpy")

from mathutils import Matrix  # noqa: E402
from test_delivery import image  # noqa: E402

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.contract.check import _RULES  # noqa: E402
from trellis_addon.scene.asset.contracts import MENDED  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")

KEPT: dict[str, Any] = {
    "names": "SM_*",
    "height": 3,
    "front": "-Y",
    "origin": "bottom",
    "applied": True,
    "triangles": 12,
    "parts": 1,
    "watertight": True,
    "wall": 0.5,
    "uvs": True,
    "materials": 1,
    "maps": ["base_colour", "normal"],
    "texture_size": 64,
    "power_of_two": True,
}


def asset() -> Any:
    """A box of 1 x 2 x 3 m that keeps all of it."""
    bpy.ops.mesh.primitive_cube_add(size=1)
    obj = bpy.context.object
    obj.name = "SM_Box"
    obj.data.transform(Matrix.Translation((0, 0, 1.5)) @ Matrix.Diagonal((1, 2, 3, 1)))
    material = bpy.data.materials.new("Box")
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    colour, normal = (tree.nodes.new("ShaderNodeTexImage") for _ in range(2))
    colour.image, normal.image = image("Colour", (200, 90, 30), False), image("Normal", (128, 128, 255), True)
    turned = tree.nodes.new("ShaderNodeNormalMap")
    tree.links.new(colour.outputs["Color"], shader.inputs["Base Color"])
    tree.links.new(normal.outputs["Color"], turned.inputs["Color"])
    tree.links.new(turned.outputs["Normal"], shader.inputs["Normal"])
    obj.data.materials.append(material)
    bpy.context.view_layer.update()
    return obj


def picture_of(obj: Any) -> Any:
    return next(node for node in obj.data.materials[0].node_tree.nodes if node.type == "TEX_IMAGE")


def with_edit(obj: Any, edit: Callable[[Any], None]) -> None:
    import bmesh

    mesh = bmesh.new()
    mesh.from_mesh(obj.data)
    mesh.faces.ensure_lookup_table()
    edit(mesh)
    mesh.to_mesh(obj.data)
    mesh.free()


def without_a_face(obj: Any) -> None:
    import bmesh

    with_edit(obj, lambda mesh: bmesh.ops.delete(mesh, geom=[mesh.faces[0]], context="FACES"))


def flipped(obj: Any) -> None:
    with_edit(obj, lambda mesh: mesh.faces[0].normal_flip())


def in_two_parts(obj: Any) -> None:
    import bmesh

    def edit(mesh: Any) -> None:
        apart = bmesh.ops.split(mesh, geom=[mesh.faces[0]])["geom"]
        bmesh.ops.translate(mesh, verts=[one for one in apart if isinstance(one, bmesh.types.BMVert)], vec=(-0.1, 0, 0))

    with_edit(obj, edit)


def finer(obj: Any) -> None:
    import bmesh

    with_edit(obj, lambda mesh: bmesh.ops.subdivide_edges(mesh, edges=mesh.edges[:], cuts=4, use_grid_fill=True))


def thin(obj: Any) -> None:
    obj.data.transform(Matrix.Diagonal((0.3, 1, 1, 1)))


def with_two_materials(obj: Any) -> None:
    obj.data.materials.append(obj.data.materials[0].copy())
    obj.data.polygons[0].material_index = 1


def turned(obj: Any, angle: float = math.pi / 2) -> None:
    obj.rotation_euler = (0, 0, angle)


def without_a_map(obj: Any) -> None:
    obj.data.materials[0].node_tree.nodes.remove(picture_of(obj))


def with_large_picture(obj: Any) -> None:
    picture_of(obj).image = bpy.data.images.new("Large", 128, 256)


def with_odd_picture(obj: Any) -> None:
    picture_of(obj).image = bpy.data.images.new("Odd", 60, 33)


CASES: list[tuple[str, Callable[[Any], object]]] = [
    ("names", lambda obj: setattr(obj, "name", "Box")),
    ("height", lambda obj: setattr(obj, "scale", (2, 2, 2))),
    ("height", lambda obj: obj.data.transform(Matrix.Scale(0.01, 4))),
    ("front", turned),
    ("front", lambda obj: turned(obj, 0.3)),
    ("front", lambda obj: obj.__setitem__("trellis2_front", "+X")),
    ("origin", lambda obj: obj.data.transform(Matrix.Translation((0, 0, -1.5)))),
    ("origin", lambda obj: obj.data.transform(Matrix.Translation((0.3, 0, 0)))),
    ("applied", turned),
    ("applied", lambda obj: setattr(obj, "scale", (1, 1, 1.005))),
    ("applied", lambda obj: setattr(obj, "scale", (-1, 1, 1))),
    ("triangles", finer),
    ("parts", in_two_parts),
    ("watertight", without_a_face),
    ("watertight", flipped),
    ("wall", thin),
    ("uvs", lambda obj: obj.data.uv_layers.remove(obj.data.uv_layers[0])),
    ("materials", with_two_materials),
    ("maps", without_a_map),
    ("texture_size", with_large_picture),
    ("power_of_two", with_odd_picture),
]


def test_what_keeps_all_of_it_is_left_alone() -> None:
    assert {rule for rule, _ in CASES} == set(_RULES) == set(KEPT), "no rule is forgotten"
    obj = asset()
    assert blender.check_contract(obj, KEPT) == [] == blender.mend(obj, KEPT)
    assert obj.name == "SM_Box" and len(obj.data.polygons) == 6


@pytest.mark.parametrize(("rule", "change"), CASES)
def test_what_breaks_a_rule_is_caught_and_mended(rule: str, change: Callable[[Any], object]) -> None:
    obj = asset()
    change(obj)
    bpy.context.view_layer.update()
    found = [finding.rule for finding in blender.check_contract(obj, {rule: KEPT[rule]})]
    assert found and set(found) == {rule}
    assert rule in {finding.rule for finding in blender.check_contract(obj, KEPT)}
    left = {finding.rule for finding in blender.mend(obj, KEPT)}
    assert (rule in left) == (rule not in MENDED)
    assert left <= {rule, "watertight", "wall"}, "and nothing else is broken by it"


@pytest.mark.parametrize(
    ("size", "most", "wanted"), [((60, 33), 64, (64, 32)), ((1000, 300), 1000, (512, 128)), ((300, 300), 100, (64, 64))]
)
def test_pictures_get_sides_that_both_rules_allow(size: tuple[int, int], most: int, wanted: tuple[int, int]) -> None:
    obj = asset()
    picture_of(obj).image = bpy.data.images.new("Odd", *size)
    assert blender.mend(obj, {"power_of_two": True, "texture_size": most}) == []
    assert tuple(picture_of(obj).image.size) == wanted
