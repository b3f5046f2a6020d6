"""Coordinates for a mesh that has none of use, by Blender's own unwrapping: polygons stay whole."""

from __future__ import annotations

import math

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.errors import TrellisError

_ANGLE = math.radians(66.0)
_GAP = 0.004  # of the square's side, between two islands


def unwrapped_loops(obj: bpy.types.Object) -> NDArray[np.float32]:
    """(L, 2) in the unit square for the loops of the object's mesh, v up, in proportion to their size in the world.

    Done on a copy in a scene of its own, which the window shows meanwhile. Main thread only. Raises `TrellisError`
    from a timer, which has no window: what Blender unwraps with works in no other context.
    """
    window = bpy.context.window
    if window is None:
        raise TrellisError("Texture coordinates cannot be made from a timer; unwrap the mesh first.")
    mesh = obj.data.copy()
    keys = mesh.shape_keys
    copy = bpy.data.objects.new("TRELLIS.2 Unwrap", mesh)
    staging = bpy.data.scenes.new("TRELLIS.2 Unwrap")
    try:
        while mesh.uv_layers:
            mesh.uv_layers.remove(mesh.uv_layers[0])
        mesh.uv_layers.new(name="Unwrap")
        if keys is not None:
            copy.shape_key_clear()
            keys = None  # gone with it
        mesh.transform(obj.matrix_world.to_3x3().to_4x4())
        for flag in ("hide", "select"):
            mesh.polygons.foreach_set(flag, np.full(len(mesh.polygons), flag == "select"))
        staging.collection.objects.link(copy)
        view = staging.view_layers[0]
        view.objects.active = copy
        copy.select_set(True, view_layer=view)
        before = window.scene
        window.scene = staging
        try:
            _unwrap()
        finally:
            window.scene = before
        found_uvs = np.empty(2 * len(mesh.loops), np.float32)
        mesh.uv_layers[0].uv.foreach_get("vector", found_uvs)
        return found_uvs.reshape(-1, 2)
    finally:
        bpy.data.batch_remove([block for block in (copy, mesh, keys, staging) if block is not None])


def _unwrap() -> None:
    """The context's object, by the operators that an artist uses."""
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.reveal()
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.uv.smart_project(angle_limit=_ANGLE, margin_method="FRACTION", island_margin=_GAP, area_weight=0.0)
    bpy.ops.object.mode_set(mode="OBJECT")
