"""What a file of a kind cannot hold of what is exported: a sentence each, where exporters say nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import bpy
import numpy as np

from ...core.messages import Message, message
from ..importing.materials import images_behind, images_of
from ..rebaking.sayable import is_sayable
from .stand_ins import is_exportable, rig_of

_WITH_MATERIALS = (".glb", ".fbx", ".usd", ".usda", ".usdc", ".usdz", ".obj")
# Here a value is a number or one picture; the others know glTF's channels and maps.
_PLAIN = (".fbx", ".obj")
_NAMED = 3  # objects in a sentence
_AT_BASIS = (".usd", ".usda", ".usdc", ".usdz")
_POSED = (".obj", ".stl", ".3mf")
_COLOURS_OF_VERTICES = ("VERTEX_COLOR", "ATTRIBUTE")


def losses_of_objects(objects: Sequence[bpy.types.Object], ending: str) -> list[Message]:
    """What is lost of their forms."""
    return [*_left_out(objects), *_of_forms(objects, ending), *_of_quads(objects, ending)]


def losses_of_materials(shown: Sequence[bpy.types.Object], ending: str) -> list[Message]:
    """What is lost of how these look that are written."""
    return list(_of_materials(shown, ending))


def _left_out(given: Sequence[bpy.types.Object]) -> Iterator[Message]:
    for obj in given:
        if obj.type == "MESH" and not is_exportable(obj):
            yield message('"{name}" has no faces, and is not in the file.', name=obj.name)


def _of_forms(objects: Sequence[bpy.types.Object], ending: str) -> Iterator[Message]:
    for obj in objects:
        if obj.type != "MESH":
            continue
        rig, keys = rig_of(obj), obj.data.shape_keys
        if rig and ending in _POSED:
            yield message(
                '"{name}" is written as it is posed: {ending} holds no skeleton.', name=obj.name, ending=ending
            )
        if keys and len(keys.key_blocks) > 1 and ending in _POSED:
            yield message(
                '"{name}" is written in the shape that it has: {ending} holds no shape keys.',
                name=obj.name,
                ending=ending,
            )
        if keys and ending in _AT_BASIS and any(key.value for key in keys.key_blocks[1:]):
            yield message(
                '"{name}" is written in its first shape: {ending} holds its shape keys without their values.',
                name=obj.name,
                ending=ending,
            )
        moving = (obj, rig, keys, rig.data if rig else None)
        if any(one.animation_data and one.animation_data.action for one in moving if one):
            yield message('"{name}" is written as it is at this frame, without its animation.', name=obj.name)
        if ending == ".obj" and len(obj.data.uv_layers) > 1:
            yield message('"{name}" has several UV maps: .obj holds one, the active one.', name=obj.name)


def _of_quads(objects: Sequence[bpy.types.Object], ending: str) -> Iterator[Message]:
    names = [obj.name for obj in objects if obj.type == "MESH" and any(total > 3 for total in _corners(obj.data))]
    if names and ending == ".glb":
        yield message(
            "A GLB has triangles alone, no quads; FBX, USD and OBJ keep those of {names}.", names=names[:_NAMED]
        )


def _corners(mesh: bpy.types.Mesh) -> set[int]:
    totals = np.zeros(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("loop_total", totals)
    return set(np.unique(totals).tolist())


def _of_materials(shown: Sequence[bpy.types.Object], ending: str) -> Iterator[Message]:
    if ending not in _WITH_MATERIALS:
        return
    meshes = [obj for obj in shown if obj.type == "MESH"]
    for image in dict.fromkeys(image for obj in meshes for image in images_of(obj)):
        if image.source == "FILE" and not image.packed_file and not image.has_data and not _is_there(image):
            yield message('The picture "{name}" has no file any more, and is not in the export.', name=image.name)
    for material in dict.fromkeys(slot.material for obj in meshes for slot in obj.material_slots if slot.material):
        if not is_sayable(material, also=partial(_is_taken, ending=ending)):
            yield message(
                'The material "{name}" is not whole in the file, which holds pictures and numbers alone; Remesh and '
                "Rebake makes pictures of it.",
                name=material.name,
            )
        elif ending in _PLAIN and _has_occlusion(material):
            yield message(
                'The occlusion map of "{name}" is not in the file: {ending} holds none.',
                name=material.name,
                ending=ending,
            )


def _is_taken(socket: bpy.types.NodeSocket, ending: str) -> bool:
    """Whether exporters take over what comes into a socket, though it is not as glTF has it."""
    node = socket.links[0].from_node
    if socket.name in ("Metallic", "Roughness", "Alpha"):
        return bool(node.type == "TEX_IMAGE" and node.image)  # a picture of its own, in grey
    return bool(ending == ".glb" and socket.name == "Base Color" and node.type in _COLOURS_OF_VERTICES)


def _has_occlusion(material: bpy.types.Material) -> bool:
    return any(
        node.type == "GROUP" and "Occlusion" in node.inputs and images_behind(node.inputs["Occlusion"])
        for node in (material.node_tree.nodes if material.node_tree else ())
    )


def _is_there(image: bpy.types.Image) -> bool:
    return Path(bpy.path.abspath(image.filepath, library=image.library)).is_file()
