"""What glTF cannot express is baked by Blender: each material's values are looked up in the GLB that comes of it.

All materials stand side by side in one file, which a Blender without a window takes to a GLB once.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

bpy = pytest.importorskip("bpy")

from trellis_addon.formats.glb.check import split_glb  # noqa: E402
from trellis_addon.formats.glb.read import read_glb  # noqa: E402
from trellis_addon.formats.glb.textured_mesh import Texture, TexturedMesh  # noqa: E402
from trellis_addon.runtime.child import run_blender  # noqa: E402
from trellis_addon.scene.rebaking.copies import save_copies  # noqa: E402
from trellis_addon.scene.rebaking.sayable import is_sayable  # noqa: E402

SIZE = 512
RED, BLUE = (0.8, 0.1, 0.05, 1.0), (0.05, 0.1, 0.8, 1.0)


class Wires:
    """A material being made: `new` adds a node, `link` links by names or numbers."""

    def __init__(self, name: str) -> None:
        self.material = bpy.data.materials.new(name)
        if bpy.app.version < (5, 0):
            self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.principled = self.tree.nodes["Principled BSDF"]
        self.output = self.tree.nodes["Material Output"]

    def new(self, kind: str, **inputs: Any) -> Any:
        return node_in(self.tree, kind, **inputs)

    def link(self, source: Any, target: Any, output: Any = 0, into: Any = 0) -> None:
        self.tree.links.new(source.outputs[output], target.inputs[into])


def node_in(tree: Any, kind: str, **inputs: Any) -> Any:
    node = tree.nodes.new(f"ShaderNode{kind}")
    for name, value in inputs.items():
        node.inputs[name].default_value = value
    return node


def halves(wires: Wires) -> Any:
    """A node whose first output is 0 left of the object's own middle and 1 right of it."""
    place, split, step = wires.new("TexCoord"), wires.new("SeparateXYZ"), wires.new("Math")
    step.operation = "GREATER_THAN"
    step.inputs[1].default_value = 0.0
    wires.link(place, split, "Object")
    wires.link(split, step)
    return step


def by_object(wires: Wires) -> None:
    step, mix = halves(wires), wires.new("MixRGB", Color1=RED, Color2=BLUE)
    wires.link(step, mix, into="Fac")
    wires.link(mix, wires.principled, into="Base Color")
    wires.link(step, wires.principled, into="Metallic")
    wires.principled.inputs["Roughness"].default_value = 0.25


def mixed(wires: Wires) -> None:
    one, other = wires.new("BsdfDiffuse", Color=RED), wires.new("BsdfAnisotropic", Color=BLUE, Roughness=0.5)
    mix = wires.new("MixShader", Fac=0.25)
    wires.link(one, mix, into=1)
    wires.link(other, mix, into=2)
    wires.link(mix, wires.output)


def grouped(wires: Wires) -> None:
    """A group that lets a shader through, and adds light whose colour comes from outside and is brighter than one."""
    group = bpy.data.node_groups.new("Glow", "ShaderNodeTree")
    for name, way, kind in (("In", "INPUT", "Shader"), ("Light", "INPUT", "Color"), ("Out", "OUTPUT", "Shader")):
        group.interface.new_socket(name, in_out=way, socket_type=f"NodeSocket{kind}")
    source, sink = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    shine, total = node_in(group, "Emission", Strength=4.0), node_in(group, "AddShader")
    for pair in ((source.outputs["Light"], shine.inputs["Color"]), (source.outputs["In"], total.inputs[0]),
                 (shine.outputs[0], total.inputs[1]), (total.outputs[0], sink.inputs["Out"])):  # fmt: skip
        group.links.new(*pair)
    node = wires.tree.nodes.new("ShaderNodeGroup")
    node.node_tree = group
    node.inputs["Light"].default_value = (0.5, 0.25, 0.0, 1.0)
    step, mix = halves(wires), wires.new("MixRGB", Color1=RED, Color2=BLUE)
    paint = wires.new("BsdfDiffuse")
    wires.link(step, mix, into="Fac")
    wires.link(mix, paint)
    wires.link(paint, node, into="In")
    wires.link(node, wires.output)


def glass_pane(wires: Wires) -> None:
    """A quarter of green over what is behind; the clear part has a colour that must not be seen."""
    clear, paint = wires.new("BsdfTransparent", Color=RED), wires.new("BsdfDiffuse", Color=(0.0, 0.5, 0.0, 1.0))
    half, mix = wires.new("Math"), wires.new("MixShader")
    half.operation = "MULTIPLY"
    half.inputs[1].default_value = 0.5
    wires.link(halves(wires), half)
    wires.link(half, mix)
    wires.link(clear, mix, into=1)
    wires.link(paint, mix, into=2)
    wires.link(mix, wires.output)


def cut_out(wires: Wires) -> None:
    wires.link(halves(wires), wires.principled, into="Alpha")
    wires.principled.inputs["Base Color"].default_value = RED


def by_attribute(wires: Wires) -> None:
    """Colours at the corners: linear numbers."""
    colour = wires.new("VertexColor")
    colour.layer_name = "Painted"
    wires.link(colour, wires.principled, into="Base Color")


def by_generated(wires: Wires) -> None:
    """What has no coordinates of its own goes by "Generated": before anything was deformed."""
    ramp = wires.new("TexGradient")
    wires.link(ramp, wires.principled, into="Base Color")


def slope(wires: Wires) -> None:
    """A bump that rises by a half to the right, everywhere."""
    place, split, bump = wires.new("TexCoord"), wires.new("SeparateXYZ"), wires.new("Bump", Distance=0.5)
    wires.link(place, split, "Object")
    wires.link(split, bump, into="Height")
    wires.link(bump, wires.principled, into="Normal")


def plain(wires: Wires) -> None:
    image = bpy.data.images.new("Two", 2, 1)
    image.pixels.foreach_set([1, 0, 0, 1, 0, 0, 1, 1])
    node = wires.new("TexImage")
    node.image, node.interpolation = image, "Closest"
    wires.link(node, wires.principled, into="Base Color")


MATERIALS: dict[str, Callable[[Wires], None]] = {
    build.__name__: build
    for build in (by_object, mixed, grouped, glass_pane, cut_out, by_attribute, by_generated, slope, plain)
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The read GLB, where each material's plane stands, and what the file looked like before and after."""
    folder = tmp_path_factory.mktemp("procedural")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    places = {}
    for index, (name, build) in enumerate(MATERIALS.items()):
        bpy.ops.mesh.primitive_plane_add(size=2.0, location=(3.0 * index, 0.0, 0.0))
        obj = bpy.context.active_object
        obj.name = name
        wires = Wires(name)
        build(wires)
        assert is_sayable(wires.material) == (name == "plain")
        obj.data.materials.append(wires.material)
        places[name] = 3.0 * index
    colours = bpy.data.objects["by_attribute"].data.color_attributes.new("Painted", "FLOAT_COLOR", "CORNER")
    colours.data.foreach_set("color", [0.2, 0.4, 0.6, 1.0] * 4)
    moved = bpy.data.objects["by_generated"]
    moved.shape_key_add(name="Basis")
    key = moved.shape_key_add(name="Turned")
    for point, own in zip(key.data, moved.data.vertices, strict=True):
        point.co.x = -own.co.x  # the gradient turns with the mesh
    key.value = 1.0
    before = names()
    save_copies(list(bpy.context.scene.objects), folder / "copies.blend")
    assert names() == before, "nothing is left in the file that is open"
    told: list[tuple[str, float]] = []
    arguments = [str(folder / "copies.blend"), str(folder / "out.glb"), "--texture-size", str(SIZE)]
    what = run_blender(
        bpy.app.binary_path, ".scene.rebaking.process", arguments, lambda: None, lambda *report: told.append(report)
    )
    assert what == ""
    yield {"mesh": read_glb(folder / "out.glb"), "places": places, "told": told, "glb": folder / "out.glb"}
    bpy.ops.wm.read_factory_settings(use_empty=True)


def names() -> dict[str, list[str]]:
    kinds = ("objects", "meshes", "materials", "scenes", "images", "node_groups", "collections")
    return {kind: sorted(block.name_full for block in getattr(bpy.data, kind)) for kind in kinds}


def look(found: dict[str, Any], name: str, x: float) -> dict[str, Any]:
    """What the GLB says of the plane of a material, at `x` from its middle and half way up: linear values."""
    mesh: TexturedMesh = found["mesh"]
    point = np.array([found["places"][name] + x, 0.0, -0.5])  # glTF is Y up
    for face in range(len(mesh.faces)):
        a, b, c = mesh.vertices[mesh.faces[face]].astype(np.float64)
        weights = np.linalg.lstsq(np.stack([b - a, c - a], axis=1), point - a, rcond=None)[0]
        inside = weights.min() >= -1e-6 and weights.sum() <= 1 + 1e-6
        if inside and np.allclose(a + np.stack([b - a, c - a], axis=1) @ weights, point, atol=1e-4):
            break
    else:
        raise AssertionError(f"nothing is at {point}")
    material = mesh.materials[int(mesh.ids[face])]
    share = np.array([1 - weights.sum(), *weights])

    def texel(texture: Texture | None) -> np.ndarray | None:
        if texture is None:
            return None
        sets = (mesh.uvs, mesh.uvs_1)
        u, v = share @ np.asarray(sets[texture.uv_set])[face]
        height, width = texture.pixels.shape[:2]
        return texture.pixels[int(v * height) % height, int(u * width) % width] / 255

    colour, surface = texel(material.base_colour), texel(material.metallic_roughness)
    factor = np.array(material.base_colour_factor)
    base = factor[:3] if colour is None else factor[:3] * linear(colour[:3])
    bent = None
    if (normal := texel(material.normal)) is not None:
        # tangent and bitangent: where u grows and where v falls (glTF)
        uvs = np.asarray((mesh.uvs, mesh.uvs_1)[material.normal.uv_set])[face].astype(np.float64)
        along, up = np.linalg.lstsq(uvs[1:] - uvs[0], np.stack([b - a, c - a]), rcond=None)[0]
        frame = np.stack([along / np.linalg.norm(along), -up / np.linalg.norm(up), np.array([0.0, 1.0, 0.0])])
        bent = (normal * 2 - 1) @ frame
    return {
        "bent": bent,
        "base": base,
        "alpha": factor[3] * (colour[3] if colour is not None and len(colour) == 4 else 1.0),
        "metallic": material.metallic_factor * (1.0 if surface is None else surface[2]),
        "roughness": material.roughness_factor * (1.0 if surface is None else surface[1]),
        "mode": material.alpha_mode,
        "material": material,
    }


def linear(coded: np.ndarray) -> np.ndarray:
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def near(value: Any) -> Any:
    return pytest.approx(value, abs=0.02)


def test_coordinates_of_the_object(found: dict[str, Any]) -> None:
    left, right = look(found, "by_object", -0.5), look(found, "by_object", 0.5)
    assert left["base"] == near(RED[:3]) and right["base"] == near(BLUE[:3])
    assert (left["metallic"], right["metallic"]) == (near(0.0), near(1.0))
    assert left["roughness"] == near(0.25) and left["mode"] == "OPAQUE"


def test_mixed_closures_are_one_surface(found: dict[str, Any]) -> None:
    here = look(found, "mixed", 0.2)
    assert here["base"] == near([0.75 * a + 0.25 * b for a, b in zip(RED[:3], BLUE[:3], strict=True)])
    assert here["metallic"] == near(0.25) and here["roughness"] == near(0.875)


def test_groups_and_light(found: dict[str, Any]) -> None:
    assert look(found, "grouped", -0.5)["base"] == near(RED[:3])
    assert look(found, "grouped", 0.5)["base"] == near(BLUE[:3])
    document, binary = split_glb(found["glb"].read_bytes())
    (material,) = (m for m in document["materials"] if m["name"] == "grouped")
    strength = material["extensions"]["KHR_materials_emissive_strength"]["emissiveStrength"]
    image = document["images"][document["textures"][material["emissiveTexture"]["index"]]["source"]]
    view = document["bufferViews"][image["bufferView"]]
    start = view.get("byteOffset", 0)
    with Image.open(io.BytesIO(bytes(binary[start : start + view["byteLength"]]))) as picture:
        texels = linear(np.asarray(picture.convert("RGB")).reshape(-1, 3) / 255)
    lit = texels[texels.max(axis=1) > 0.1]
    assert strength * np.median(lit, axis=0) == near([2.0, 1.0, 0.0])


def test_what_is_seen_through(found: dict[str, Any]) -> None:
    right, left = look(found, "glass_pane", 0.5), look(found, "glass_pane", -0.5)
    assert right["alpha"] == near(0.5) and left["alpha"] == near(0.0) and right["mode"] == "BLEND"
    assert right["base"] == near([0.0, 0.5, 0.0]), "the clear part has no say in it"


def test_what_is_cut_out_stays_crisp_beside_it(found: dict[str, Any]) -> None:
    right, left = look(found, "cut_out", 0.5), look(found, "cut_out", -0.5)
    assert (right["alpha"], left["alpha"], right["mode"]) == (near(1.0), near(0.0), "MASK")
    assert right["base"] == near(RED[:3])


def test_colours_of_attributes(found: dict[str, Any]) -> None:
    assert look(found, "by_attribute", 0.1)["base"] == near([0.2, 0.4, 0.6])
    assert found["mesh"].colours is None, "or they would count twice"


def test_generated_coordinates_are_those_before_a_deformation(found: dict[str, Any]) -> None:
    # the gradient is 0 at the left of the box and 1 at its right; the shape key has exchanged the sides
    assert look(found, "by_generated", -0.5)["base"] == near([0.75] * 3)
    assert look(found, "by_generated", 0.5)["base"] == near([0.25] * 3)


def test_bumps_become_a_normal_map(found: dict[str, Any]) -> None:
    assert look(found, "slope", 0.3)["bent"] == near(np.array([-0.5, 1.0, 0.0]) / np.hypot(0.5, 1.0))


def test_what_gltf_can_say_is_not_baked(found: dict[str, Any]) -> None:
    here = look(found, "plain", -0.5)
    assert here["base"] == near([1.0, 0.0, 0.0]) and here["material"].base_colour.pixels.shape[:2] == (1, 2)


def test_it_tells_how_far_it_is(found: dict[str, Any]) -> None:
    shares = [share for _, share in found["told"]]
    assert shares == sorted(shares) and shares[-1] >= 0.9 and len(shares) > 3
    assert {stage for stage, _ in found["told"]} == {"Baking procedural materials", "Exporting"}
