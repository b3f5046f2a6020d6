"""The pictures side by side: as tall as each other, each with its place in the object's space.

The space is Blender's: x to the right of the front view, y away from its camera, z up; the subject is 1 high, its
middle at the origin. Pictures are taken as if from far away (orthographic): nobody says how far the camera was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ....task.views import yaw_of
from ..fields import F32, blur, sample
from ..mask import Subject


@dataclass(frozen=True)
class Outline:
    """One picture and where it was taken from.

    `layers` (H, W, C) are what is to be brought onto the surface, continued beyond the outline; `scale` is pixels per
    unit; `middle` the pixels (x, y) at which the origin is seen; `share` (0..1) how much the picture counts: one that
    was made up counts little.
    """

    yaw: float
    cover: F32
    layers: F32
    scale: float
    middle: tuple[float, float]
    share: float = 1.0

    @property
    def towards(self) -> F32:
        """From the object to the camera, (3,)."""
        turn = math.radians(self.yaw)
        return np.array([math.sin(turn), -math.cos(turn), 0.0], np.float32)

    @property
    def right(self) -> F32:
        """What is to the right in the picture, (3,)."""
        turn = math.radians(self.yaw)
        return np.array([math.cos(turn), math.sin(turn), 0.0], np.float32)

    @property
    def axis(self) -> float:
        """The yaw in [0, 180): opposite views have the same outline, mirrored."""
        return self.yaw % 180.0

    @property
    def width(self) -> float:
        """Of the subject, in units."""
        columns = np.flatnonzero((self.cover >= 0.5).any(0))
        return float(columns[-1] + 1 - columns[0]) / self.scale

    def pixels(self, points: F32) -> tuple[F32, F32]:
        """Where points (N, 3) are seen, x and y in pixels."""
        along = points @ self.right
        return self.middle[0] + along * np.float32(self.scale), self.middle[1] - points[:, 2] * np.float32(self.scale)

    def covered(self, along: F32, heights: F32, softness: float) -> F32:
        """The outline (heights, along) at places of the picture's plane, in units; blurred by `softness` units."""
        soft = blur(np.pad(self.cover, 4), softness * self.scale)
        x = self.middle[0] + along * self.scale + 4.0
        y = self.middle[1] - heights * self.scale + 4.0
        grid_y, grid_x = np.meshgrid(y, x, indexing="ij")
        return sample(soft[..., None], grid_x.ravel(), grid_y.ravel(), beyond=0.0)[:, 0].reshape(grid_y.shape)


def outline_of(name: str, subject: Subject, layers: F32) -> Outline:
    """The picture of view `name`; its subject is taken to be 1 high, its middle to be the object's."""
    solid = subject.cover >= 0.5
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    middle = (0.5 * (columns[0] + columns[-1] + 1), 0.5 * (rows[0] + rows[-1] + 1))
    return Outline(yaw_of(name), subject.cover, layers, float(rows[-1] + 1 - rows[0]), middle)


def opposite(outline: Outline, layers: F32 | None = None, share: float = 0.1) -> Outline:
    """The view from the other side that nobody has given: the same outline mirrored, with these layers or the same.

    `layers` are as seen through the object, as `back.back_colours` makes them.
    """
    shown = outline.layers if layers is None else layers
    middle = (outline.cover.shape[1] - outline.middle[0], outline.middle[1])
    return replace(
        outline,
        yaw=(outline.yaw + 180.0) % 360.0,
        cover=outline.cover[:, ::-1],
        layers=shown[:, ::-1],
        middle=middle,
        share=share,
    )
