"""Objects in Blender get the look of a picture: mesh, UV maps, transform, names, groups, modifiers and slots stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from conftest import QUICK  # noqa: E402
from mathutils import Matrix  # noqa: E402
from PIL import Image  # noqa: E402
from views_tools import BODY, COLOURS, HORN, NOSE, picture  # noqa: E402

from trellis_addon import scene  # noqa: E402
from trellis_addon.core.errors import FieldError, InputError, TrellisError  # noqa: E402
from trellis_addon.formats.glb.read import read_glb  # noqa: E402
from trellis_addon.jobs.store import JobStore  # noqa: E402
from trellis_addon.scene.texturing import taking  # noqa: E402
from trellis_addon.scene.texturing.former import swap  # noqa: E402
from trellis_addon.scene.texturing.normal_maps import normal_map_of  # noqa: E402
from trellis_addon.scene.texturing.see_through import is_seen_through  # noqa: E402

FRONT = Matrix(((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)))


@pytest.fixture(autouse=True)
def _empty() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)


@pytest.fixture
def front(tmp_path: Path) -> Path:
    picture(0.0, colour=COLOURS["front"]).save(tmp_path / "front.png")
    return tmp_path / "front.png"


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "store")


def boxes(name: str, *parts: Any, uvs: bool = True) -> Any:
    """An object of boxes, their sides apart on the UV map."""
    points, faces = [], []
    for low, high in parts:
        first = len(points)
        points += [tuple((low, high)[(n >> k) & 1][k] for k in range(3)) for n in range(8)]
        for side in ((0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6)):
            faces.append([first + n for n in side])
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points, [], faces)
    if uvs:
        layer = mesh.uv_layers.new(name="Own")
        square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 0.8 + 0.1
        cells = [(square + [n % 5, n // 5]) / 5 for n in range(len(faces))]
        layer.uv.foreach_set("vector", np.concatenate(cells).astype(np.float32).reshape(-1))
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    bpy.context.view_layer.update()
    return obj


def painted(name: str) -> Any:
    return bpy.data.materials.new(name)


def uv_maps(obj: Any) -> dict[str, bytes]:
    found = {}
    for layer in obj.data.uv_layers:
        values = np.empty(2 * len(obj.data.loops), np.float32)
        layer.uv.foreach_get("vector", values)
        found[layer.name] = values.tobytes()
    return found


def state_of(obj: Any) -> dict[str, Any]:
    """What of an object must stay."""
    mesh = obj.data
    points = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", points)
    return {
        "names": (obj.name, mesh.name),
        "matrix": [list(row) for row in obj.matrix_world],
        "parent": obj.parent,
        "points": points.tobytes(),
        "modifiers": [(m.name, m.type) for m in obj.modifiers],
        "groups": [(g.name, [round(g.weight(n), 4) for n in range(2)]) for g in obj.vertex_groups],
        "uvs": uv_maps(obj),
        "active": mesh.uv_layers.active.name if mesh.uv_layers.active else "",
        "keys": [key.name for key in mesh.shape_keys.key_blocks] if mesh.shape_keys else [],
    }


def colour_on(obj: Any, polygon: int) -> np.ndarray:
    """The texture in the middle of a polygon, sRGB, 0 to 255; zeros where it has no texture."""
    mesh = obj.data
    material = obj.material_slots[mesh.polygons[polygon].material_index].material
    nodes = material.node_tree.nodes if material is not None and material.node_tree is not None else ()
    node = next((n for n in nodes if n.type == "TEX_IMAGE" and n.label == "Base Color"), None)
    if node is None:
        return np.zeros(3)
    layer = mesh.uv_layers[node.inputs["Vector"].links[0].from_node.uv_map]
    u, v = np.mean([layer.uv[n].vector for n in mesh.polygons[polygon].loop_indices], 0)
    width, height = node.image.size
    pixels = np.empty(width * height * 4, np.float32)
    node.image.pixels.foreach_get(pixels)
    return pixels.reshape(height, width, 4)[int(v * height) % height, int(u * width) % width, :3] * 255


def is_near(seen: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(seen - colour).max() < 12)


def test_a_mesh_is_textured_and_stays_what_it_is(front: Path, store: JobStore) -> None:
    parent = bpy.data.objects.new("Parent", None)
    bpy.context.scene.collection.objects.link(parent)
    parent.location = (400.0, -90.0, 7.0)
    obj = boxes("Thing", BODY, NOSE, HORN)
    obj.parent = parent
    obj.matrix_world = Matrix.Translation((9e3, 5.0, 1.0)) @ Matrix.Diagonal((-60.0, 60.0, 60.0, 1.0))
    obj.data.materials.append(painted("Skin"))
    obj.data.materials.append(painted("Horn"))
    for polygon in obj.data.polygons[12:]:
        polygon.material_index = 1
    group = obj.vertex_groups.new(name="Top")
    group.add([0, 1], 0.5, "REPLACE")
    obj.shape_key_add(name="Basis")
    obj.shape_key_add(name="Tall")
    obj.modifiers.new("Subdivide", "SUBSURF").subdivision_type = "SIMPLE"
    bpy.context.view_layer.update()
    before, blocks = state_of(obj), (len(bpy.data.objects), len(bpy.data.meshes), len(bpy.data.scenes))

    asset = scene.texture(obj, front, store=store, seed=5, settings=QUICK)
    assert state_of(obj) == before
    assert blocks == (len(bpy.data.objects), len(bpy.data.meshes), len(bpy.data.scenes))
    assert [slot.material.name for slot in obj.material_slots] == ["Thing", "Skin", "Horn"], "the new one is first"
    for polygon in (2, 8, 14):  # the sides towards -Y
        assert is_near(colour_on(obj, polygon), COLOURS["front"]), polygon
    kept = json.loads(obj["trellis2_texture_provenance"])
    assert kept["engine"] == "draft:relief@1" and kept["seed"] == 5 and kept["mesh_sha256"]
    assert "trellis2_provenance" not in obj and "trellis2_rework" not in obj and "trellis2_texture_number" not in obj
    assert asset.provenance["settings"]["settings"]["uvs"] == "keep"

    swap(obj)  # back to the former materials, each on its own faces
    assert [obj.data.polygons[n].material_index for n in (0, 12)] == [1, 2]
    swap(obj)
    assert [obj.data.polygons[n].material_index for n in (0, 12)] == [0, 0]
    scene.texture(obj, front, store=store, seed=6, settings=QUICK)  # once more: the former texture is the former one
    assert [slot.material.name for slot in obj.material_slots] == ["Thing.001", "Thing", "Skin", "Horn"]


def bumps(name: str, layer: str = "", strength: float = 0.4) -> Any:
    """A material with a normal map, as the importer of GLBs makes one."""
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    texture, bump = nodes.new("ShaderNodeTexImage"), nodes.new("ShaderNodeNormalMap")
    texture.image = bpy.data.images.new(f"{name} Bumps", 4, 4)
    texture.extension, bump.inputs["Strength"].default_value = "EXTEND", strength
    if layer:
        uv = nodes.new("ShaderNodeUVMap")
        uv.uv_map = layer
        links.new(uv.outputs[0], texture.inputs["Vector"])
    links.new(texture.outputs["Color"], bump.inputs["Color"])
    links.new(bump.outputs["Normal"], shader.inputs["Normal"])
    return material


def test_normal_maps_go_over_to_the_new_material(front: Path, store: JobStore) -> None:
    obj = boxes("Thing", BODY, NOSE, HORN)
    obj.data.uv_layers.new(name="Other")
    skin, horn = bumps("Skin"), bumps("Horn", layer="Other")
    for material in (skin, horn, painted("Plain")):
        obj.data.materials.append(material)
    for number, polygon in enumerate(obj.data.polygons):
        polygon.material_index = number // 6
    scene.texture(obj, front, store=store, seed=5, settings=QUICK)
    made = [obj.material_slots[obj.data.polygons[n].material_index].material for n in (0, 6, 12)]
    found = [normal_map_of(material, obj.data) for material in made]
    assert len(set(made)) == 3 and found[2] is None
    for new, former, layer in ((found[0], skin, "Own"), (found[1], horn, "Other")):
        assert new is not None and new.image == normal_map_of(former, obj.data).image  # type: ignore[union-attr]
        assert (new.layer, new.extension) == (layer, "EXTEND") and new.strength == pytest.approx(0.4)
    odd = bumps("Odd")
    next(node for node in odd.node_tree.nodes if node.type == "NORMAL_MAP").space = "OBJECT"
    assert normal_map_of(odd, obj.data) is None, "one that is not read as that"


def test_several_objects_are_one_and_each_keeps_its_own(front: Path, store: JobStore) -> None:
    body, rest = boxes("Body", BODY), boxes("Rest", NOSE, HORN, uvs=False)
    rest.data.uv_layers.new(name="Empty")  # all in one point: it cannot hold a texture
    rest.data.uv_layers["Empty"].uv.foreach_set("vector", np.zeros(2 * len(rest.data.loops), np.float32))
    before = uv_maps(body), uv_maps(rest)
    taken = taking.take([body, rest])
    assert len(taken.notes) == 1 and "Rest" in taken.notes[0]
    asset = scene.texture([body, rest], front, store=store, settings=QUICK)
    assert not asset.provenance.get("notes"), "together they are what the picture shows"
    assert uv_maps(body) == before[0] and list(uv_maps(rest)) == ["Empty", "TRELLIS.2"]
    assert uv_maps(rest)["Empty"] == before[1]["Empty"] and rest.data.uv_layers.active.name == "Empty"
    for obj, polygon in ((body, 2), (rest, 2), (rest, 8)):
        assert is_near(colour_on(obj, polygon), COLOURS["front"])


def test_a_selection_of_faces_is_textured_alone(front: Path, store: JobStore) -> None:
    obj = boxes("Thing", BODY, NOSE, HORN)
    obj.data.materials.append(painted("Skin"))
    chosen = np.zeros(18, bool)
    chosen[6:12] = True
    obj.data.polygons.foreach_set("select", chosen)
    obj.modifiers.new("Triangles", "TRIANGULATE")
    scene.texture(obj, front, store=store, only_selected=True, settings=QUICK)
    assert [slot.material.name for slot in obj.material_slots] == ["Thing", "Skin"]
    assert [polygon.material_index for polygon in obj.data.polygons] == [0 if c else 1 for c in chosen]
    assert is_near(colour_on(obj, 8), COLOURS["front"])
    obj.data.polygons.foreach_set("select", np.zeros(18, bool))
    with pytest.raises(InputError, match="No face is selected"):
        scene.texture(obj, front, store=store, only_selected=True)


def test_a_mirror_is_seen_and_not_applied() -> None:
    half = (np.array([0.0, -0.3, 0.0]), np.array([0.4, 0.3, 1.0]))
    obj = boxes("Half", half)
    obj.modifiers.new("Mirror", "MIRROR")
    seen = read_glb(taking.take([obj]).glb).bounds()
    assert np.allclose(seen[1] - seen[0], [0.8, 1.0, 0.6]) and len(obj.modifiers) == 1
    assert list(uv_maps(obj)) == ["Own"]


def test_materials_of_the_object_and_users_of_the_mesh_stay(front: Path, store: JobStore) -> None:
    obj = boxes("Thing", BODY, NOSE, HORN)
    obj.data.materials.append(painted("Skin"))
    other = bpy.data.objects.new("Other", obj.data)
    bpy.context.scene.collection.objects.link(other)
    other.location = (5.0, 0.0, 0.0)
    other.material_slots[0].link = "OBJECT"
    other.material_slots[0].material = painted("Of Other")
    scene.texture(obj, front, store=store, settings=QUICK)
    assert [slot.material.name for slot in obj.material_slots] == ["Thing", "Skin"]
    assert [(slot.link, slot.material.name) for slot in other.material_slots] == [
        ("DATA", "Thing"),
        ("OBJECT", "Of Other"),
    ]


def test_what_cannot_be_is_a_sentence(front: Path, store: JobStore) -> None:
    obj = boxes("Thing", BODY)
    with pytest.raises(FieldError, match="textures no mesh"):
        scene.texture(obj, front, store=store, backend="remote", key="k" * 32)
    empty = bpy.data.objects.new("Nothing", bpy.data.meshes.new("Nothing"))
    bpy.context.scene.collection.objects.link(empty)
    with pytest.raises(InputError, match='"Nothing" has no surface'):
        scene.texture(empty, front, store=store)
    with pytest.raises(FieldError, match="sideways"):
        scene.texture(obj, front, store=store, facing="sideways")
    assert not obj.material_slots and not store.unfinished()


def test_the_outline_is_seen_over_the_picture_before_it_is_done() -> None:
    """Two boxes, long in front; the one for the front is the picture that fits."""
    from trellis_addon.scene.texturing import facing

    one, other = boxes("Long", ((-2, -0.3, 0), (2, 0.3, 1))), boxes("Knob", ((1.5, -0.3, 0), (2, 0.3, 2)))
    other.matrix_world = Matrix.Translation((0, 0, 1)) @ Matrix.Scale(0.5, 4, (0, 0, 1))
    bpy.context.view_layer.update()
    picture_ = Image.new("RGBA", (400, 300))
    picture_.paste((200, 30, 30, 255), (0, 150, 400, 250))
    picture_.paste((200, 30, 30, 255), (350, 50, 400, 150))
    shown = facing.take([one, other], picture_)
    assert shown is not None
    fit = {yaw: shown.overlap(yaw) for yaw in (0.0, 90.0, 180.0, 270.0)}
    assert fit[0.0] > 0.9 and max(value for yaw, value in fit.items() if yaw) < 0.85
    assert shown.better(90.0, list(fit)) == 0.0 and shown.better(0.0, list(fit)) is None
    pixels = shown.pixels(0.0)
    assert pixels.shape == (facing.SIDE**2 * 4,) and pixels.dtype == np.float32
    assert facing.take([one], None).overlap(0.0) is None
    assert facing.take([], None) is None


def test_a_mesh_in_edit_mode_is_taken_as_it_is_there_and_given_nothing(store: Any, front: Path) -> None:
    obj = boxes("Thing", BODY, NOSE, HORN)
    bpy.context.view_layer.objects.active = obj
    before = taking.take([obj])
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    assert taking.take([obj]) == before and taking.take([obj], only_selected=True).objects == (obj,)
    with pytest.raises(TrellisError, match="leave Edit Mode"):
        scene.texture(obj, front, store=store, settings=QUICK)
    assert not store.recent() and obj.mode == "EDIT"


def clear_material(name: str, kind: str) -> Any:
    """A material that is seen through in one of the ways that artists and importers make one."""
    material = bumps(name, layer="Own")
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Emission Strength"].default_value = 3.0
    links.new(nodes.new("ShaderNodeRGB").outputs[0], shader.inputs["Base Color"])
    if kind == "value":
        shader.inputs["Alpha"].default_value = 0.25
    elif kind == "glass":
        shader.inputs["Transmission Weight"].default_value, shader.inputs["IOR"].default_value = 1.0, 1.7
    elif kind == "leaf":  # a cut-out, as the importer of GLBs makes one
        texture, cut = nodes.new("ShaderNodeTexImage"), nodes.new("ShaderNodeMath")
        texture.name, cut.operation = "Leaf", "GREATER_THAN"
        texture.image = bpy.data.images.new("Leaf", 4, 4, alpha=True)
        links.new(texture.outputs["Alpha"], cut.inputs[0])
        links.new(cut.outputs[0], shader.inputs["Alpha"])
        links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    elif kind == "mix":
        mix, clear = nodes.new("ShaderNodeMixShader"), nodes.new("ShaderNodeBsdfTransparent")
        output = next(node for node in nodes if node.type == "OUTPUT_MATERIAL")
        mix.inputs[0].default_value = 0.3
        links.new(clear.outputs[0], mix.inputs[1])
        links.new(shader.outputs[0], mix.inputs[2])
        links.new(mix.outputs[0], output.inputs["Surface"])
    material.surface_render_method, material.use_backface_culling = "BLENDED", True
    return material


def test_what_is_seen_through_stays_so(front: Path, store: JobStore) -> None:
    kinds = ("value", "glass", "leaf", "mix")
    obj = boxes("Thing", BODY, NOSE, HORN)
    for kind in kinds:
        obj.data.materials.append(clear_material(kind, kind))
    obj.data.materials.append(painted("Solid"))
    if bpy.app.version < (5, 0):
        obj.data.materials[-1].use_nodes = True
    for number, polygon in enumerate(obj.data.polygons):
        polygon.material_index = number % 5
    scene.texture(obj, front, store=store, seed=5, settings=QUICK)
    assert [slot.material.name for slot in obj.material_slots][5:] == [*kinds, "Solid"], (
        "the former ones are as they were"
    )
    assert not is_seen_through(obj.material_slots[9].material)
    for number, kind in enumerate((*kinds, "Solid")):
        material = obj.material_slots[obj.data.polygons[number].material_index].material
        former = obj.material_slots[5 + number].material
        nodes = material.node_tree.nodes
        shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
        colour = shader.inputs["Base Color"].links[0].from_node
        assert colour.label == "Base Color" and shader.inputs["Roughness"].is_linked, kind
        assert shader.inputs["Emission Strength"].default_value == 0.0 and not any(n.type == "RGB" for n in nodes)
        assert is_seen_through(material) == (kind != "Solid")
        if kind == "Solid":
            continue
        assert (material.surface_render_method, material.use_backface_culling) == ("BLENDED", True)
        before = next(node for node in former.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
        for name in ("Alpha", "Transmission Weight", "IOR"):
            assert shader.inputs[name].default_value == before.inputs[name].default_value
        assert normal_map_of(material, obj.data) == normal_map_of(former, obj.data)
        if kind == "leaf":
            cut = shader.inputs["Alpha"].links[0].from_node
            assert cut.operation == "GREATER_THAN" and cut.inputs[0].links[0].from_node.image.name == "Leaf"
    assert is_near(colour_on(obj, 2), COLOURS["front"])


def test_what_is_shaded_flat_faces_the_picture_however_it_is_stretched(front: Path, store: JobStore) -> None:
    obj = boxes("Deep", BODY, NOSE, HORN)
    obj.scale = (-1.0, 2.0, -0.5)
    bpy.context.view_layer.update()
    normals = read_glb(taking.take([obj]).glb).normals
    assert normals is not None and np.allclose(np.abs(normals).max(-1), 1.0), "of the sides, not of the corners"
    scene.texture(obj, front, store=store, settings=QUICK)
    assert min(colour_on(obj, n)[0] for n in range(18)) > 150, "no side is black"


def test_what_the_modifiers_leave_is_told(front: Path, store: JobStore) -> None:
    obj = boxes("Full", BODY, uvs=False)
    for number in range(8):
        obj.data.uv_layers.new(name=f"Map {number}")
    for layer in obj.data.uv_layers:
        layer.uv.foreach_set("vector", np.zeros(2 * len(obj.data.loops), np.float32))
    with pytest.raises(InputError, match='"Full" has as many UV maps as a mesh can have'):
        scene.texture(obj, front, store=store)
    with pytest.raises(FieldError, match="upside down"):
        scene.texture(obj, front, store=store, uvs="upside down")
    gone = boxes("Gone", BODY)
    gone.modifiers.new("Nothing", "NODES").node_group = bpy.data.node_groups.new("Nothing", "GeometryNodeTree")
    gone.modifiers[0].node_group.interface.new_socket("G", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    gone.modifiers[0].node_group.nodes.new("NodeGroupOutput")
    with pytest.raises(InputError, match='"Gone": its modifiers leave no surface'):
        scene.texture(gone, front, store=store)
    assert not store.recent()
