"""Room for something new: beside what stands there, not inside of it; and turned so that it is seen from its front."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Vector

from . import placeholder

_SOLID = {"MESH", "CURVE", "CURVES", "SURFACE", "FONT", "META", "POINTCLOUD", "VOLUME"}
_MARGIN = 0.1  # of its own width, on every side
_STEP = 0.25  # of its own width, from one place that is looked at to the next
_FARTHEST = 60.0  # widths; beyond that it stands where it was wanted
_NEARBY = 8.0  # widths in which it is looked for where it is seen whole
_GROUND = 6.0  # widths: what is that much larger, and has the place within its outline, is a floor, a room, a sky
_MOST = 20_000  # instances that are looked at: more would hold Blender up at the click
_STEEP = 0.95  # of a look straight down, from which on "in front" is what is below on the screen
# Towards these sides it is looked for, as turns in degrees from the right of the view, and how much farther than it is
# each counts: right, left, then before what stands there, then behind it.
_SIDES = {0: 1.0, 180: 1.05, -45: 1.5, -135: 1.55, 45: 1.6, 135: 1.65, -90: 1.9, 90: 2.2}


@dataclass(frozen=True)
class Frame:
    """What of the world is seen in a viewport.

    `matrix` (4, 4) takes it to where the window is -1 to 1; `low` and `high` are the lowest and highest x and y there
    which no toolbar lies over.
    """

    matrix: np.ndarray
    low: tuple[float, float]
    high: tuple[float, float]

    def holds(self, place: Sequence[float], half: float, height: float) -> bool:
        """Whether all of what stands there is seen."""
        around = itertools.product((-half, half), (-half, half), (0.0, height))
        corners = np.array([(*(np.add(place, offset)), 1.0) for offset in around]) @ self.matrix.T
        if (corners[:, 3] <= 0).any():  # behind the eye
            return False
        seen = corners[:, :2] / corners[:, 3:]
        return bool((seen > self.low).all() and (seen < self.high).all())


def frame_of(area: bpy.types.Area) -> Frame | None:
    """What is seen in a 3D viewport; None where it has no room."""
    window = next(region for region in area.regions if region.type == "WINDOW")
    left, right = window.x, window.x + window.width
    for region in area.regions:
        if region.type in ("UI", "TOOLS") and region.width > 1:
            if region.alignment == "RIGHT":
                right = min(right, region.x)
            elif region.alignment == "LEFT":
                left = max(left, region.x + region.width)
    if right <= left or window.width < 2:
        return None
    share = ((left - window.x) / window.width, (right - window.x) / window.width)
    matrix = np.array(area.spaces.active.region_3d.perspective_matrix)
    return Frame(matrix, (2 * share[0] - 1, -1.0), (2 * share[1] - 1, 1.0))


def free_place(
    layer: bpy.types.ViewLayer,
    wanted: Sequence[float],
    width: float,
    height: float,
    right: Sequence[float] = (1.0, 0.0),
    eye: Sequence[float] | None = None,
    frame: Frame | None = None,
) -> tuple[float, float, float]:
    """The nearest place to `wanted` where something so wide and tall stands free; `wanted` where there is none.

    All in the scene's units. `right` (x, y) is where it is looked for first. From `eye`, where there is one, nothing
    stands before it, and it is seen whole in `frame`, if that can be had nearby. What is hidden takes no room, and
    neither does what lies flat below, such as a floor.
    """
    low, high = _boxes(layer)
    x, y, z = wanted
    half = width / 2
    stands = (high[:, 2] > z + 0.02 * height) & (low[:, 2] < z + height)
    around = (low[:, :2] <= (x, y)).all(axis=1) & (high[:, :2] >= (x, y)).all(axis=1)
    is_ground = around & ((high[:, :2] - low[:, :2]).min(axis=1) > _GROUND * width)
    low, high = low[stands & ~is_ground], high[stands & ~is_ground]
    reach = half + _MARGIN * width
    first = unhidden = None
    for place in _places((x, y), width, right):
        if ((low[:, :2] < place + reach) & (high[:, :2] > place - reach)).all(axis=1).any():
            continue
        found = (float(place[0]), float(place[1]), float(z))
        first = first or found
        if eye is not None and _is_hidden(np.array(found), half, height, np.asarray(eye), low, high):
            continue
        unhidden = unhidden or found
        if frame is None or frame.holds(found, half, height):
            return found
        if math.dist(found[:2], (x, y)) > _NEARBY * width:
            return unhidden
    return unhidden or first or (float(x), float(y), float(z))


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


def _corners_of(matrices: Sequence[Matrix], boxes: Sequence[Sequence[tuple[float, ...]]]) -> np.ndarray:
    """(N, 8, 3) corners of boxes in the world."""
    places = np.array(matrices, np.float64).reshape(-1, 4, 4)
    corners = np.array(boxes, np.float64).reshape(-1, 8, 3)
    found: np.ndarray = np.einsum("nij,nkj->nki", places[:, :3, :3], corners) + places[:, None, :3, 3]
    return found


def _boxes(layer: bpy.types.ViewLayer) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest corners (N, 3) of all that is to be seen and takes room."""
    layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get() if bpy.context.view_layer == layer else layer.depsgraph
    matrices, boxes = [], []
    seen: dict[int, bool] = {}  # by owner: of a meadow's hundred thousand blades there is one
    for instance in itertools.islice(depsgraph.object_instances, _MOST):
        obj, is_instance = instance.object, instance.is_instance
        if obj.type not in _SOLID or not (is_instance or instance.show_self):
            continue
        owner = (instance.parent if is_instance else obj).original
        uid = owner.session_uid
        if uid not in seen:
            seen[uid] = owner.visible_get(view_layer=layer)
        if seen[uid]:
            matrices.append(instance.matrix_world.copy())
            boxes.append([tuple(corner) for corner in obj.bound_box])
    corners = [_corners_of(matrices, boxes)]
    for card in placeholder.all_cards():
        if card.name in layer.objects and card.visible_get(view_layer=layer):
            half = card.empty_display_size / 2
            box = [(x, y, z) for x in (-half, half) for y in (0.0, 2 * half) for z in (-half, half)]
            corners.append(_corners_of([card.matrix_world], [box]))
    found = np.concatenate(corners)
    return found.min(axis=1), found.max(axis=1)
