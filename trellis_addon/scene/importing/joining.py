"""Several mesh objects made one, without Blender's operator: none runs under an override (see `gltf`)."""

from __future__ import annotations

from collections.abc import Sequence

import bmesh
import bpy
import numpy as np


def join(objects: Sequence[bpy.types.Object]) -> None:
    """Take the meshes of all `objects` into that of the first, in whose space they are, with materials and groups.

    Layers of one name become one. The other objects stay, and are of no more use.
    """
    main = objects[0]
    materials: list[bpy.types.Material | None] = []
    groups = list(dict.fromkeys(group.name for obj in objects for group in obj.vertex_groups))
    whole = bmesh.new()
    try:
        for obj in objects:
            _renumber(obj.data, materials)
            begin = len(whole.verts)
            whole.from_mesh(obj.data, face_normals=False)
            _regroup(whole, begin, [groups.index(group.name) for group in obj.vertex_groups])
        main.data.materials.clear()
        for material in materials:
            main.data.materials.append(material)
        whole.to_mesh(main.data)
    finally:
        whole.free()
    for name in groups[len(main.vertex_groups) :]:  # its own are the first of them
        main.vertex_groups.new(name=name)


def _renumber(mesh: bpy.types.Mesh, materials: list[bpy.types.Material | None]) -> None:
    """Let the faces of a mesh speak of `materials`, which grows by those that are not among them yet."""
    own = list(mesh.materials) or [None]
    for material in own:
        if material not in materials:
            materials.append(material)
    places = np.array([materials.index(material) for material in own], dtype=np.int32)
    slots = np.empty(len(mesh.polygons), dtype=np.int32)
    mesh.polygons.foreach_get("material_index", slots)
    mesh.polygons.foreach_set("material_index", places[np.clip(slots, 0, len(own) - 1)])


def _regroup(whole: bmesh.types.BMesh, begin: int, numbers: Sequence[int]) -> None:
    """Let the vertices from `begin` on speak of the groups of the whole: group `i` of theirs is `numbers[i]` of it."""
    layer = whole.verts.layers.deform.active
    if layer is None or list(numbers) == list(range(len(numbers))):
        return
    whole.verts.ensure_lookup_table()
    for vertex in whole.verts[begin:]:
        weights = vertex[layer]
        own = weights.items()
        weights.clear()
        for number, weight in own:
            if number < len(numbers):
                weights[numbers[number]] = weight
