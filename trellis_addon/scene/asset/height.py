"""Giving an asset its real-world height, whenever it is known."""

from __future__ import annotations

import bpy
from mathutils import Matrix

from ...core.errors import InputError
from ..importing.placement import world_bounds
from ..rules.guards import require_mesh, require_not_edited, require_own
from ..rules.units import metres_per_unit, scene_of
from .lods import lods_of


def height_of(obj: bpy.types.Object) -> float:
    """How tall a mesh object stands in the scene, in metres; for something that lies flat its longest side."""
    require_mesh(obj)
    low, high = world_bounds(obj)
    extent = (high - low) * metres_per_unit(scene_of(obj))
    return float(extent.z if extent.z > 1e-4 * max(extent) else max(extent))


def set_height(obj: bpy.types.Object, height: float) -> None:
    """Make an object `height` metres tall about its origin, which for an asset is its bottom centre: it stays where
    it stands, and its scale stays as it is. Its levels of detail follow; others that share its mesh do not.

    Raises `InputError` for a height that cannot be, an object without a surface or of another file, and
    `TrellisError` for what is being edited; then nothing has changed.
    """
    if not 0.0001 <= height <= 100_000:
        raise InputError("height: {height} m cannot be used; allowed: from 0.0001 to 100000 m.", height=height)
    if obj.type != "MESH" or not len(obj.data.vertices):
        raise InputError('"{name}" has no surface; choose a mesh object.', name=obj.name)
    chain = lods_of(obj)
    together = [member for member in (obj, *(chain.objects if chain else ())) if member.type == "MESH"]
    require_own(*together, *(member.data for member in together))
    require_not_edited(*together)
    bpy.context.view_layer.update()
    current = height_of(obj)
    if not current > 0:
        raise InputError('"{name}" is a single point: it has no height to scale.', name=obj.name)
    for mesh in dict.fromkeys(member.data for member in together):
        mine = _own(mesh, together)
        mine.transform(Matrix.Scale(height / current, 4), shape_keys=True)
        mine.update()


def _own(mesh: bpy.types.Mesh, together: list[bpy.types.Object]) -> bpy.types.Mesh:
    """The mesh, or where objects outside show it as well, a copy for those inside."""
    if not any(other.data == mesh for other in bpy.data.objects if other not in together):
        return mesh
    copy = mesh.copy()
    for member in together:
        if member.data == mesh:
            member.data = copy
    return copy
