"""Room for something new: beside what stands there, not inside of it; and turned so that it is seen from its front."""

from __future__ import annotations

import itertools
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
_GROUND = 6.0  # widths: what is that much larger, and has the place within its outline, is a floor, a room, a sky
_STEEP = 0.95  # of a look straight down, from which on "in front" is what is below on the screen
# Towards these sides it is looked for, as turns in degrees from the right of the view, and how much farther than it is
# each counts: right, left, then before what stands there, then behind it.
_SIDES = {0: 1.0, 180: 1.05, -45: 1.5, -135: 1.55, 45: 1.6, 135: 1.65, -90: 1.9, 90: 2.2}


def free_place(
    layer: bpy.types.ViewLayer,
    wanted: Sequence[float],
    width: float,
    height: float,
    right: Sequence[float] = (1.0, 0.0),
    eye: Sequence[float] | None = None,
) -> tuple[float, float, float]:
    """The nearest place to `wanted` where something so wide and tall stands free; `wanted` where there is none.

    All in the scene's units. `right` (x, y) is where it is looked for first. From `eye`, where there is one, nothing
    stands before it, if that can be had. What is hidden takes no room, and neither does what lies flat below, such as a
    floor.
    """
    low, high = _boxes(layer)
    x, y, z = wanted
    half = width / 2
    stands = (high[:, 2] > z + 0.02 * height) & (low[:, 2] < z + height)
    around = (low[:, :2] <= (x, y)).all(axis=1) & (high[:, :2] >= (x, y)).all(axis=1)
    is_ground = around & ((high[:, :2] - low[:, :2]).min(axis=1) > _GROUND * width)
    low, high = low[stands & ~is_ground], high[stands & ~is_ground]
    reach = half + _MARGIN * width
    first = None
    for place in _places((x, y), width, right):
        if ((low[:, :2] < place + reach) & (high[:, :2] > place - reach)).all(axis=1).any():
            continue
        found = (float(place[0]), float(place[1]), float(z))
        if eye is None or not _is_hidden(np.array(found), half, height, np.asarray(eye), low, high):
            return found
        first = first or found
    return first or (float(x), float(y), float(z))


def right_of(view: bpy.types.RegionView3D) -> tuple[float, float]:
    """What is to the right in a view, as a direction (x, y) in steps of 45 degrees."""
    across = view.view_rotation @ Vector((1.0, 0.0, 0.0))
    step = math.pi / 4
    angle = round(math.atan2(across.y, across.x) / step) * step
    return (math.cos(angle), math.sin(angle))


def eye_of(view: bpy.types.RegionView3D) -> tuple[float, float, float]:
    """Where a view is looked at from; of one without perspective a point far behind it."""
    distance = 0.0 if view.is_perspective else 100.0 * view.view_distance
    return tuple(view.view_matrix.inverted() @ Vector((0.0, 0.0, distance)))


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


def _is_hidden(
    place: np.ndarray, half: float, height: float, eye: np.ndarray, low: np.ndarray, high: np.ndarray
) -> bool:
    """Whether a box stands between the eye and the middle, or an upper or lower corner, of what would stand there."""
    corners = [(dx, dy, dz) for dx in (-half, half) for dy in (-half, half) for dz in (0.1 * height, 0.9 * height)]
    for offset in ((0.0, 0.0, height / 2), *corners):
        ray = place + offset - eye
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = (low - eye) / ray, (high - eye) / ray
        near, far = np.fmin(one, other).max(axis=1, initial=0.0), np.fmax(one, other).min(axis=1, initial=1.0)
        if (near < far).any():
            return True
    return False


def _places(wanted: Sequence[float], width: float, right: Sequence[float]) -> Iterator[np.ndarray]:
    """The places (x, y) to look at, the nearest first."""
    start = np.asarray(wanted, dtype=np.float64)
    yield start
    ahead = math.atan2(right[1], right[0])
    rings = range(1, round(_FARTHEST / _STEP))
    for ring, degrees in sorted(itertools.product(rings, _SIDES), key=lambda place: place[0] * _SIDES[place[1]]):
        angle = ahead + math.radians(degrees)
        yield start + ring * _STEP * width * np.array((math.cos(angle), math.sin(angle)))


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
