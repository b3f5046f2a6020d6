"""The result's textures as materials of the objects: first in their slots, the former ones after it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.errors import DamagedFileError, InputError
from ...formats.glb.check import check_glb, split_glb
from ...jobs.job import Asset
from ..rules import colour
from ..rules.guards import require_not_edited, require_own
from .former import FORMER
from .normal_maps import NormalMap, add_normal_map, normal_map_of
from .see_through import copied, is_seen_through
from .taking import EXTRAS

NUMBER = "trellis2_texture_number"  # of an object that waits: which of the file's it is
PROVENANCE = "trellis2_texture_provenance"  # where its texture came from, in JSON

_SUFFIX = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}


def is_for_objects(asset: Asset) -> bool:
    """Whether the asset is a texture for objects that it was asked for."""
    return bool(asset.provenance.get("mesh_sha256"))


def give(objects: Sequence[bpy.types.Object], asset: Asset) -> list[bpy.types.Object]:
    """Give the objects that wait for it the asset's textures, each the ones that are meant for it.

    Transforms, names, modifiers, vertex groups and coordinates stay, and so do the former materials, in the slots after
    the new ones. Raises `InputError` where a mesh has changed so that they do not fit any more, `DamagedFileError`;
    then nothing has changed.
    """
    require_own(*objects, *(obj.data for obj in objects))
    require_not_edited(*objects)
    data = asset.path.read_bytes()
    check_glb(data, with_skins=True)
    document, binary = split_glb(data)
    nodes = {
        told["object"]: (node, told)
        for node in document.get("nodes", [])
        if "object" in (told := (node.get("extras") or {}).get(EXTRAS) or {})
    }
    wanted: dict[bpy.types.Mesh, tuple[bpy.types.Object, Any, Any]] = {}
    for obj in objects:
        found = nodes.get(obj.get(NUMBER))
        if found is None:
            raise InputError('The result has no texture for "{name}"; texture it again.', name=obj.name)
        _require_same(obj, found[1])
        wanted.setdefault(obj.data, (obj, *found))
    materials = _Materials(document, binary, asset.name)
    for mesh, (obj, node, told) in wanted.items():
        primitives = document["meshes"][node["mesh"]]["primitives"]
        former = {slot: _shown_in(obj, slot) for slot in told["slots"]}
        layer = _layer(mesh, told, document, binary)
        mine = {
            slot: materials.get(primitive["material"], layer, former[slot], normal_map_of(former[slot], mesh))
            for slot, primitive in zip(told["slots"], primitives, strict=True)
        }
        _put_first(mesh, obj, mine, _bytes(told.get("chosen"), document, binary))
    for obj in objects:
        obj[PROVENANCE] = json.dumps({"name": asset.name, **asset.provenance})
        obj.pop(NUMBER, None)
    return list(objects)


def _shown_in(obj: bpy.types.Object, slot: int) -> bpy.types.Material | None:
    return obj.material_slots[slot].material if slot < len(obj.material_slots) else None


def _require_same(obj: bpy.types.Object, told: Mapping[str, Any]) -> None:
    """What was made for faces, or for loops, of the mesh as it was fits no other mesh."""
    needs_loops, needs_faces = "uvs" in told, "chosen" in told
    has_changed = (needs_loops and len(obj.data.loops) != told["loops"]) or (
        needs_faces and len(obj.data.polygons) != told["polygons"]
    )
    if has_changed or (not needs_loops and told["layer"] not in obj.data.uv_layers):
        raise InputError(
            'The mesh of "{name}" has changed meanwhile, and its texture does not fit any more; texture it again.',
            name=obj.name,
        )


def _bytes(place: Any, document: Mapping[str, Any], binary: memoryview) -> bytes | None:
    if not isinstance(place, Mapping) or "bufferView" not in place:
        return None
    view = document["bufferViews"][place["bufferView"]]
    start = view.get("byteOffset", 0)
    return bytes(binary[start : start + view["byteLength"]])


def _layer(mesh: bpy.types.Mesh, told: Mapping[str, Any], document: Mapping[str, Any], binary: memoryview) -> str:
    """The name of the layer that the texture lies on, which is made where it is new."""
    content = _bytes(told.get("uvs"), document, binary)
    if content is None:
        return str(told["layer"])
    uvs = np.frombuffer(content, "<f4")
    if len(uvs) != 2 * len(mesh.loops):
        raise DamagedFileError("The texture's coordinates are not those of the mesh; texture it again.")
    layer = mesh.uv_layers.get(told["layer"]) or mesh.uv_layers.new(name=told["layer"], do_init=False)
    if layer is None:
        raise InputError('"{name}" has as many UV maps as a mesh can have; remove one first.', name=mesh.name)
    layer.uv.foreach_set("vector", uvs.astype(np.float32))
    return str(layer.name)


def _put_first(
    mesh: bpy.types.Mesh,
    obj: bpy.types.Object,
    mine: Mapping[int, bpy.types.Material],
    chosen: bytes | None,
) -> None:
    """New slots before the former ones; the faces that show a slot's material get the new one in its place."""
    count = len(mesh.materials)
    new = list(dict.fromkeys(mine.values()))
    users = [user for user in bpy.data.objects if user.data == mesh and user.is_editable]
    before = {user: [(slot.link, slot.material) for slot in user.material_slots] for user in users}
    own = list(mesh.materials)
    for _ in range(len(new) + (count == 0)):
        mesh.materials.append(None)
    for number, material in enumerate((*new, *own)):
        mesh.materials[number] = material
    for user, slots in before.items():
        for number in range(len(new)):
            user.material_slots[number].link = "DATA"
        for number, (link, material) in enumerate(slots):
            slot = user.material_slots[len(new) + number]
            slot.link = link
            if link == "OBJECT":
                slot.material = material
    index = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("material_index", index)
    index = np.minimum(index, max(count - 1, 0))
    place = np.array([new.index(mine[slot]) if slot in mine else -1 for slot in range(max(count, 1))], np.int32)
    taken = place[index]
    if chosen is not None:
        is_chosen = np.unpackbits(np.frombuffer(chosen, np.uint8), count=len(index)).astype(bool)
        taken = np.where(is_chosen, taken, -1)
    former = index + len(new)
    mesh.polygons.foreach_set("material_index", np.where(taken >= 0, taken, former).astype(np.int32))
    _remember(mesh, former)
    mesh.update()
    obj.active_material_index = 0


def _remember(mesh: bpy.types.Mesh, former: NDArray[np.int32]) -> None:
    """Keep with the faces which slot each one showed before."""
    if (old := mesh.attributes.get(FORMER)) is not None:
        mesh.attributes.remove(old)
    attribute = mesh.attributes.new(FORMER, "INT", "FACE")
    attribute.data.foreach_set("value", former.astype(np.int32))


class _Materials:
    """The file's materials in Blender, each made when it is first asked for."""

    def __init__(self, document: Mapping[str, Any], binary: memoryview, name: str) -> None:
        self._document, self._binary, self._name = document, binary, name
        self._made: dict[tuple[int, str, bpy.types.Material | None, NormalMap | None], bpy.types.Material] = {}
        self._images: dict[int, bpy.types.Image] = {}

    def get(
        self, number: int, layer: str, former: bpy.types.Material | None, normal: NormalMap | None
    ) -> bpy.types.Material:
        """The material in the place of the `former` one, whose normal map it takes over."""
        clear = former if is_seen_through(former) else None
        key = number, layer, clear, normal
        if key not in self._made:
            self._made[key] = self._material(self._document["materials"][number], layer, clear)
            if normal is not None:
                add_normal_map(self._made[key], normal)
        return self._made[key]

    def _material(
        self, described: Mapping[str, Any], layer: str, clear: bpy.types.Material | None
    ) -> bpy.types.Material:
        mode = described.get("alphaMode", "OPAQUE")
        if clear is not None:
            material, shaders = copied(clear, self._name)
            mode = "OPAQUE"  # as far as the new texture goes
        else:
            material = bpy.data.materials.new(self._name)
            if bpy.app.version < (5, 0):
                material.use_nodes = True
            shaders = [node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"]
            material.surface_render_method = "BLENDED" if mode == "BLEND" else "DITHERED"
            material.use_backface_culling = not described.get("doubleSided", False)
        nodes, links = material.node_tree.nodes, material.node_tree.links
        surface = described["pbrMetallicRoughness"]
        uv = nodes.new("ShaderNodeUVMap")
        uv.uv_map, uv.location = layer, (-900, 100)
        mode = described.get("alphaMode", "OPAQUE")
        if "baseColorTexture" in surface:
            node = self._texture(nodes, links, uv, surface["baseColorTexture"], "Base Color", (-600, 300))
            for shader in shaders:
                links.new(node.outputs["Color"], shader.inputs["Base Color"])
                if mode != "OPAQUE":
                    links.new(node.outputs["Alpha"], shader.inputs["Alpha"])
            nodes.active = node
        if "metallicRoughnessTexture" in surface:
            info = surface["metallicRoughnessTexture"]
            node = self._texture(nodes, links, uv, info, "Metallic Roughness", (-600, 0))
            split = nodes.new("ShaderNodeSeparateColor")
            split.location = (-300, 0)
            links.new(node.outputs["Color"], split.inputs[0])
            for shader in shaders:
                links.new(split.outputs["Green"], shader.inputs["Roughness"])
                links.new(split.outputs["Blue"], shader.inputs["Metallic"])
        return material

    def _texture(
        self, nodes: Any, links: Any, uv: bpy.types.Node, info: Mapping[str, Any], label: str, place: tuple[int, int]
    ) -> bpy.types.Node:
        texture = self._document["textures"][info["index"]]
        webp = (texture.get("extensions") or {}).get("EXT_texture_webp") or {}
        node = nodes.new("ShaderNodeTexImage")
        node.location, node.label = place, label
        node.image = self._image(webp.get("source", texture.get("source")), label)
        links.new(uv.outputs[0], node.inputs["Vector"])
        return node

    def _image(self, number: int, label: str) -> bpy.types.Image:
        if number in self._images:
            return self._images[number]
        described = self._document["images"][number]
        content = _bytes(described, self._document, self._binary)
        assert content is not None  # the file was checked
        with tempfile.TemporaryDirectory(dir=bpy.app.tempdir) as folder:
            path = Path(folder, f"texture{_SUFFIX[described['mimeType']]}")
            path.write_bytes(content)
            image = bpy.data.images.load(str(path))
            image.pack()
        image.name = f"{self._name} {label}"
        image.filepath_raw = ""
        (colour.set_colour if label == "Base Color" else colour.set_data)(image)
        self._images[number] = image
        return image
