"""Quads of a GLB: glTF has triangles alone, and FB_ngon_encoding says which of them are one polygon."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from ...formats.glb.check import split_glb
from ...formats.glb.write import NGONS
from .placement import positions

_POSITIONS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5126: "<f4"}
_INDICES = {5121: "<u1", 5123: "<u2", 5125: "<u4"}


def restore_polygons(scene: bpy.types.Scene, glb: bytes) -> None:
    """Make the polygons of a file of one mesh out of the triangles that were imported from it, whole along its seams.

    Does nothing for a file that does not speak of polygons, and where not all of its triangles came.
    """
    try:
        found = _first_triangles(glb)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return  # the importer has made something of it; what it says of polygons makes no sense
    meshes = [obj for obj in scene.collection.all_objects if obj.type == "MESH" and len(obj.data.polygons)]
    if found is None or len(meshes) != 1:
        return
    (obj,) = meshes
    begins, is_line = found
    if len(obj.data.polygons) == len(begins) - is_line.sum() < len(begins):
        begins = _without(begins, is_line)
    if len(obj.data.polygons) != len(begins):
        return
    old, name = obj.data, obj.data.name
    if len(old.loops) != 3 * len(begins):
        return
    obj.data = _joined(old, begins)
    bpy.data.meshes.remove(old)
    obj.data.name = name


def _without(begins: np.ndarray, is_line: np.ndarray) -> np.ndarray:
    """The same without the triangles of which two corners lie at one place: Blender makes nothing of these."""
    polygon = np.cumsum(begins)[~is_line]
    return np.concatenate([[True], polygon[1:] != polygon[:-1]])


def _first_triangles(glb: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """(T,) whether a polygon begins with a triangle, and (T,) whether two of its corners lie at one place; None for a
    file without such, or of several meshes."""
    document, binary = split_glb(glb)
    meshes = document.get("meshes") or []
    if NGONS not in (document.get("extensionsUsed") or ()) or len(meshes) != 1:
        return None
    found, lines = [], []
    for primitive in meshes[0]["primitives"]:
        if NGONS not in primitive.get("extensions", {}) or primitive.get("mode", 4) != 4 or "indices" not in primitive:
            return None
        corners = _indices(document, binary, primitive["indices"]).reshape(-1, 3)
        begins = np.ones(len(corners), bool)
        begins[1:] = corners[1:, 0] != corners[:-1, 0]
        found.append(begins)
        a, b, c = np.moveaxis(_places(document, binary, primitive["attributes"]["POSITION"])[corners], 1, 0)
        lines.append((a == b).all(1) | (b == c).all(1) | (c == a).all(1))
    return np.concatenate(found), np.concatenate(lines)


def _places(document: dict[str, Any], binary: memoryview, number: int) -> np.ndarray:
    """(V, 3) positions as the file has them."""
    accessor = document["accessors"][number]
    kind = np.dtype(_POSITIONS[accessor["componentType"]])
    view = document["bufferViews"][accessor["bufferView"]]
    start, stride = view.get("byteOffset", 0) + accessor.get("byteOffset", 0), view.get("byteStride", 3 * kind.itemsize)
    return np.ndarray((accessor["count"], 3), kind, binary, start, (stride, kind.itemsize))


def _indices(document: dict[str, Any], binary: memoryview, number: int) -> np.ndarray:
    accessor = document["accessors"][number]
    view = document["bufferViews"][accessor["bufferView"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    return np.frombuffer(binary, _INDICES[accessor["componentType"]], accessor["count"], start)


def _joined(old: bpy.types.Mesh, begins: np.ndarray) -> bpy.types.Mesh:
    """A new mesh: triangles that follow one with which a polygon begins add their last corner to it."""
    kept = np.repeat(begins, 3)
    kept[2::3] = True
    places, number = np.unique(positions(old), axis=0, return_inverse=True)
    corners = np.empty(len(old.loops), np.int32)
    old.attributes[".corner_vert"].data.foreach_get("value", corners)
    normals = np.empty((len(old.loops), 3), np.float32)
    old.corner_normals.foreach_get("vector", normals.reshape(-1))
    slots = np.empty(len(begins), np.int32)
    old.polygons.foreach_get("material_index", slots)
    starts = np.cumsum(kept)[0::3][begins] - 1

    mesh = bpy.data.meshes.new(old.name)
    mesh.vertices.add(len(places))
    mesh.vertices.foreach_set("co", places.reshape(-1))
    mesh.loops.add(int(kept.sum()))
    mesh.loops.foreach_set("vertex_index", number.reshape(-1)[corners][kept].astype(np.int32))
    mesh.polygons.add(len(starts))
    mesh.polygons.foreach_set("loop_start", starts.astype(np.int32))
    for material in old.materials:
        mesh.materials.append(material)
    mesh.polygons.foreach_set("material_index", slots[begins])
    for layer in old.uv_layers:
        uvs = np.empty((len(old.loops), 2), np.float32)
        layer.uv.foreach_get("vector", uvs.reshape(-1))
        mesh.uv_layers.new(name=layer.name, do_init=False).uv.foreach_set("vector", uvs[kept].reshape(-1))
    mesh.update(calc_edges=True)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(starts), bool))
    for key in old.keys():  # noqa: SIM118  (a block of Blender's is no dictionary)
        mesh[key] = old[key]
    # corners of a face that lie at one place, of which nothing can be made, go
    if not mesh.validate(clean_customdata=False) and len(mesh.loops) == int(kept.sum()):
        mesh.normals_split_custom_set(normals[kept].tolist())
    return mesh
