"""From where the picture is to show the objects, seen before it is done: their outline over the picture.

What is needed of the objects is taken once, when the question is asked; each look after that takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ...geometry.texturing.silhouette import Solid, is_cut_off, outlined, overlap, silhouette

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 256  # pixels
_MORE_ROOM = 0.27  # around a mesh that is much smaller than the picture over it
_SMALL = 96  # pixels, in which sides are compared
_MOST = 300_000  # polygons: of more the vertices will do, which are close enough to each other
ALIKE = 0.75  # overlap of the outlines, from where on the picture may well show it from there
_CLEARLY = 0.08  # by so much another side must fit better to be named,
_FITS = 0.6  # and not as badly as a picture of another thing


@dataclass
class Facing:
    """The objects' surface in the world, and the picture, cut out, where there is one."""

    solid: Solid
    picture: Image | None
    _overlaps: dict[float, float] = field(default_factory=dict)

    def pixels(self, yaw: float) -> NDArray[np.float32]:
        """SIDE x SIDE pixels of RGBA in 0..1, flat, the first row at the bottom."""
        mask = silhouette(self.solid, yaw, SIDE)
        if self.picture is not None and is_cut_off(mask, self.picture):
            mask = silhouette(self.solid, yaw, SIDE, _MORE_ROOM)
        found = outlined(mask, self.picture)
        return np.ascontiguousarray(found[::-1].astype(np.float32) / 255.0).reshape(-1)

    def overlap(self, yaw: float) -> float | None:
        """By how much the two outlines overlap; None without a picture."""
        if self.picture is None:
            return None
        if yaw not in self._overlaps:
            self._overlaps[yaw] = overlap(silhouette(self.solid, yaw, _SMALL), self.picture)
        return self._overlaps[yaw]

    def better(self, yaw: float, others: Sequence[float]) -> float | None:
        """Which of the other sides the picture fits clearly better; None where none does, or nobody knows."""
        now = self.overlap(yaw)
        if now is None or now >= ALIKE:
            return None
        best = max(others, key=lambda other: self.overlap(other) or 0.0)
        return best if (self.overlap(best) or 0.0) > max(now + _CLEARLY, _FITS) else None


def take(objects: Sequence[bpy.types.Object], picture: Image | None) -> Facing | None:
    """What is needed of mesh objects as they look; None where they have no surface. Main thread only."""
    graph = bpy.context.evaluated_depsgraph_get()
    points: list[NDArray[np.float64]] = []
    faces: list[NDArray[np.int64]] = []
    count = 0
    for obj in objects:
        evaluated = obj.evaluated_get(graph)
        mesh = evaluated.to_mesh()
        try:
            if mesh is None or not len(mesh.polygons):
                continue
            own, corners = _surface(mesh, with_faces=len(mesh.polygons) <= _MOST)
        finally:
            evaluated.to_mesh_clear()
        matrix = np.array(obj.matrix_world, np.float64)
        points.append(own @ matrix[:3, :3].T + matrix[:3, 3])
        faces.append(corners + count)
        count += len(own)
    if not points:
        return None
    return Facing(Solid.of(np.concatenate(points), np.concatenate(faces)), picture)


def _surface(mesh: bpy.types.Mesh, *, with_faces: bool) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    points = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", points)
    if not with_faces:
        return points.reshape(-1, 3).astype(np.float64), np.empty((0, 3), np.int64)
    mesh.calc_loop_triangles()
    faces = np.empty(3 * len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("vertices", faces)
    is_used = np.zeros(len(mesh.vertices), bool)
    is_used[faces] = True
    number = np.cumsum(is_used) - 1
    own = points.reshape(-1, 3)[is_used].astype(np.float64)
    return own, number[faces].reshape(-1, 3)


class _Icons:
    """The pictures as icons, each made when it is first shown."""

    def __init__(self) -> None:
        self._previews: Any = None

    def of(self, facing: Facing, yaw: float) -> int:
        import bpy.utils.previews

        if self._previews is None:
            self._previews = bpy.utils.previews.new()
        key = f"{id(facing)} {yaw:.1f}"
        if key not in self._previews:
            preview = self._previews.new(key)
            preview.image_size = (SIDE, SIDE)
            preview.image_pixels_float.foreach_set(facing.pixels(yaw))
        return int(self._previews[key].icon_id)

    def forget(self) -> None:
        import bpy.utils.previews

        if self._previews is not None:
            bpy.utils.previews.remove(self._previews)
            self._previews = None


icons = _Icons()
