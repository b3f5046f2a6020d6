"""Back to the material that a mesh had before it was textured, and forth again."""

from __future__ import annotations

import bpy
import numpy as np

from ...core.errors import InputError
from ..rules.guards import require_mesh, require_not_edited, require_own

FORMER = "trellis2_former_slot"  # attribute of the faces: the slot that each one showed before


def has_former(obj: bpy.types.Object) -> bool:
    """Whether there is a former material to go back to."""
    attribute = obj.data.attributes.get(FORMER) if obj.type == "MESH" else None
    return attribute is not None and attribute.domain == "FACE" and attribute.data_type == "INT"


def swap(obj: bpy.types.Object) -> None:
    """Have every face show the slot that it showed before, and remember the one that it shows now.

    Raises `InputError` where there is none.
    """
    require_mesh(obj)
    require_own(obj, obj.data)
    require_not_edited(obj)
    if not has_former(obj):
        raise InputError('"{name}" has no former material; texture it first.', name=obj.name)
    mesh = obj.data
    now, former = np.empty(len(mesh.polygons), np.int32), np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("material_index", now)
    mesh.attributes[FORMER].data.foreach_get("value", former)
    former = np.clip(former, 0, max(len(mesh.materials) - 1, 0)).astype(np.int32)
    mesh.polygons.foreach_set("material_index", former)
    mesh.attributes[FORMER].data.foreach_set("value", now)
    mesh.update()
