"""One UV layer, the same for all objects, on which everything that is to be baked has a place of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import bpy
import numpy as np
from mathutils import Matrix

LAYER = "TRELLIS.2 Atlas"
MARGIN = 4  # texels around a chart that are filled, of an atlas of 1024; there is twice as much between two
# Ways to unwrap, the best first: (most degrees between faces of a chart, texels between charts, None for all of them).
# A rough surface falls apart into so many charts that the room between them leaves none for themselves.
_WAYS = ((66.0, None), (80.0, 3), (88.0, 1), (88.0, 0))
_FILLED = 0.25  # of the atlas is enough


def margin_of(size: int) -> int:
    """Texels around each chart that belong to it, in an atlas of `size` texels a side."""
    return max(2, MARGIN * size // 1024)


def lay_out(
    objects: Sequence[bpy.types.Object],
    matrices: Mapping[str, Matrix],
    materials: set[bpy.types.Material],
    size: int,
) -> None:
    """Unwrap the faces that have one of `materials`, in proportion to their size in the world (`matrices`, by name).

    The other faces have no area on the layer. The objects must be the scene's own; each mesh belongs to one of them.
    """
    layer = bpy.context.view_layer
    for other in layer.objects:
        other.select_set(False)
    before = []
    for obj in objects:
        mesh = obj.data
        uvs = mesh.uv_layers.new(name=LAYER, do_init=False)
        mesh.uv_layers.active = uvs
        points = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", points)
        before.append(points)
        mesh.transform(matrices[obj.name])
        _select_faces(mesh, materials)
        obj.select_set(True)
    layer.objects.active = objects[0]
    bpy.context.tool_settings.mesh_select_mode = (False, False, True)
    for angle, texels in _WAYS:
        gap = 2 * margin_of(size) + 1 if texels is None else texels
        _unwrap(math.radians(angle), gap / size)
        if sum(_area(obj.data) for obj in objects) > _FILLED:
            break
    for obj, points in zip(objects, before, strict=True):
        obj.data.vertices.foreach_set("co", points)
        obj.data.update()


def _unwrap(angle: float, gap: float) -> None:
    """The selected faces of all selected objects, charts `gap` apart."""
    bpy.ops.object.mode_set(mode="EDIT")
    try:
        bpy.ops.uv.smart_project(angle_limit=angle, margin_method="FRACTION", island_margin=gap, area_weight=0.0)
    finally:
        bpy.ops.object.mode_set(mode="OBJECT")


def _area(mesh: bpy.types.Mesh) -> float:
    """How much of the atlas the mesh's charts take."""
    mesh.calc_loop_triangles()
    corners = np.empty(3 * len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("loops", corners)
    uvs = np.empty(2 * len(mesh.loops), np.float32)
    mesh.uv_layers[LAYER].uv.foreach_get("vector", uvs)
    a, b, c = uvs.reshape(-1, 2)[corners].reshape(-1, 3, 2).transpose(1, 0, 2)
    (x, y), (u, v) = (b - a).T, (c - a).T
    return float(np.abs(x * v - y * u).sum() / 2)


def _select_faces(mesh: bpy.types.Mesh, materials: set[bpy.types.Material]) -> None:
    chosen = np.array([material in materials for material in mesh.materials], bool)
    slots = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("material_index", slots)
    mesh.polygons.foreach_set("hide", np.zeros(len(slots), bool))
    mesh.polygons.foreach_set("select", chosen[np.minimum(slots, len(chosen) - 1)])
