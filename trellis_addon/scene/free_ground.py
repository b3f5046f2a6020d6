"""Room for something new: beside what stands there, not inside of it; and turned so that it is seen from its front."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import bpy
import numpy as np
from mathutils import Vector

from . import placeholder

_SOLID = {"MESH", "CURVE", "CURVES", "SURFACE", "FONT", "META", "POINTCLOUD", "VOLUME"}
_MARGIN = 0.1  # of its own width, on every side
_STEP = 0.25  # of its own width, from one place that is looked at to the next
_FARTHEST = 60.0  # widths; beyond that it stands where it was wanted
_GROUND = 6.0  # widths: what is that much larger, and has the place within its outline, is a floor, a room or a sky
_STEEP = 0.95  # of a look straight down, from which on "in front" is what is below on the screen
# Towards these sides it is looked for, as turns from the right of the view: right, left, then before and behind.
_SIDES = tuple(math.radians(degrees) for degrees in (0, 180, -45, -135, 45, 135, -90, 90))


def free_place(
    layer: bpy.types.ViewLayer,
    wanted: Sequence[float],
    width: float,
    height: float,
    right: Sequence[float] = (1.0, 0.0),
) -> tuple[float, float, float]:
    """The nearest place to `wanted` where something so wide and tall stands free; `wanted` where there is none.

    All in the scene's units. `right` (x, y) is where it is looked for first. What is hidden takes no room, and neither
    does what lies flat below, such as a floor.
    """
    low, high = _boxes(layer)
    x, y, z = wanted
    half = width / 2
    stands = (high[:, 2] > z + 0.02 * height) & (low[:, 2] < z + height)
    around = (low[:, :2] <= (x, y)).all(axis=1) & (high[:, :2] >= (x, y)).all(axis=1)
    is_ground = around & ((high[:, :2] - low[:, :2]).min(axis=1) > _GROUND * width)
    low, high = low[stands & ~is_ground], high[stands & ~is_ground]
    reach = half + _MARGIN * width
    for place in _places((x, y), width, right):
        if not ((low[:, :2] < place + reach) & (high[:, :2] > place - reach)).all(axis=1).any():
            return (float(place[0]), float(place[1]), float(z))
    return (float(x), float(y), float(z))


def right_of(view: bpy.types.RegionView3D) -> tuple[float, float]:
    """The world's axis (x, y) that points most to the right in a view."""
    across = view.view_rotation @ Vector((1.0, 0.0, 0.0))
    if abs(across.x) >= abs(across.y):
        return (math.copysign(1.0, across.x), 0.0)
    return (0.0, math.copysign(1.0, across.y))


def turn_towards(view: bpy.types.RegionView3D, place: Sequence[float]) -> float:
    """The turn about Z, a multiple of 90 degrees in radians, that shows a view the front (-Y) of what stands there."""
    if view.is_perspective:
        towards = view.view_matrix.inverted().translation - Vector(place)
    else:
        towards = view.view_rotation @ Vector((0.0, 0.0, 1.0))
    if abs(towards.normalized().z) > _STEEP:
        towards = view.view_rotation @ Vector((0.0, -1.0, 0.0))
    quarter = math.pi / 2
    return round(math.atan2(towards.x, -towards.y) / quarter) * quarter


def _places(wanted: Sequence[float], width: float, right: Sequence[float]) -> Iterator[np.ndarray]:
    """The places (x, y) to look at, the nearest first."""
    start = np.asarray(wanted, dtype=np.float64)
    yield start
    ahead = math.atan2(right[1], right[0])
    for ring in range(1, round(_FARTHEST / _STEP)):
        distance = ring * _STEP * width
        for side in _SIDES:
            yield start + distance * np.array((math.cos(ahead + side), math.sin(ahead + side)))


def _boxes(layer: bpy.types.ViewLayer) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest corners (N, 3) of all that is to be seen and takes room."""
    layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get() if bpy.context.view_layer == layer else layer.depsgraph
    corners = []
    for instance in depsgraph.object_instances:
        obj = instance.object
        owner = instance.parent if instance.is_instance else obj
        if not instance.show_self and not instance.is_instance:
            continue
        if obj.type in _SOLID and owner.original.visible_get(view_layer=layer):
            corners.append([instance.matrix_world @ Vector(corner) for corner in obj.bound_box])
    for card in placeholder.all_cards():
        if card.name in layer.objects and card.visible_get(view_layer=layer):
            half = card.empty_display_size / 2
            box = [(x, y, z) for x in (-half, half) for y in (0.0, 2 * half) for z in (-half, half)]
            corners.append([card.matrix_world @ Vector(corner) for corner in box])
    found = np.array(corners, dtype=np.float64).reshape(-1, 8, 3)
    return found.min(axis=1), found.max(axis=1)
