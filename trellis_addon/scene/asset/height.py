"""Giving an asset its real-world height, whenever it is known."""

from __future__ import annotations

import bpy
from mathutils import Matrix

from ...core.errors import FieldError, InputError
from ...core.messages import message
from ...task.height import check_height
from ..importing.placement import world_bounds
from ..rules.guards import require_points
from ..rules.units import metres_per_unit, scene_of
from .orientation import transform_meshes, with_levels


def height_of(obj: bpy.types.Object) -> float:
    """How tall a mesh object stands in the scene, in metres; for something that lies flat its longest side."""
    require_points(obj)
    low, high = world_bounds(obj)
    extent = (high - low) * metres_per_unit(scene_of(obj))
    return float(extent.z if extent.z > 1e-4 * max(extent) else max(extent))


def set_height(obj: bpy.types.Object, height: float) -> None:
    """Make an object `height` metres tall about its origin, which for an asset is its bottom centre: it stays where
    it stands, and its scale stays as it is. Its levels of detail follow; others that share its mesh do not.

    Raises `InputError` for a height that cannot be, an object without a surface or of another file, and
    `TrellisError` for what is being edited; then nothing has changed.
    """
    if height is None:
        raise FieldError("height", height, message("give metres, such as 1.8"))
    check_height(height)
    require_points(obj)
    together = with_levels(obj)
    bpy.context.view_layer.update()
    current = height_of(obj)
    if not current > 0:
        raise InputError('"{name}" is a single point: it has no height to scale.', name=obj.name)
    transform_meshes(together, Matrix.Scale(height / current, 4))
