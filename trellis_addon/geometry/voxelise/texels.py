"""Reading textures at places and at levels of detail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


class Pyramid:
    """A texture (H, W, C) uint8 with ever smaller versions of it, down to one texel.

    Each is the mean of 2 x 2 texels of the one before, rounded down to whole numbers where `whole` is set
    (as the reference does), an odd last row or column being left out.
    """

    def __init__(self, pixels: NDArray[np.uint8], *, whole: bool = False) -> None:
        self.levels: list[NDArray[Any]] = [pixels if whole else pixels.astype(np.float32)]
        while max(self.levels[-1].shape[:2]) > 1:
            below = self.levels[-1]
            rows, columns = max(below.shape[0] // 2, 1), max(below.shape[1] // 2, 1)
            wide = below.astype(np.int32) if whole else below
            total = sum(
                wide[row :: 2 if wide.shape[0] > 1 else 1][:rows, column :: 2 if wide.shape[1] > 1 else 1][:, :columns]
                for row in ((0, 1) if wide.shape[0] > 1 else (0, 0))
                for column in ((0, 1) if wide.shape[1] > 1 else (0, 0))
            )
            self.levels.append((np.asarray(total) // 4).astype(np.uint8) if whole else np.asarray(total) / 4)

    def read(
        self, u: Float, v: Float, level: Float, wrap: Sequence[str] = ("repeat", "repeat"), linear: bool = True
    ) -> Float:
        """Values (M, C) in 0..255 at `u` across and `v` down, both in 0..1 over the image.

        `level` (M,) is 0 for the image itself and 1 more for every halving; between two levels both are
        mixed. Without `linear` the nearest texel of the image is taken, whatever the level.
        """
        last = len(self.levels) - 1
        level = np.clip(np.where(np.isfinite(level), level, 0), 0, last)
        if not linear:
            return _nearest(self.levels[0], u, v, wrap)
        low = np.minimum(np.floor(level).astype(np.int64), max(last - 1, 0))
        share = (level - low)[:, None]
        out = np.zeros((len(u), self.levels[0].shape[2]))
        for number in np.unique(low):
            here = np.flatnonzero(low == number)
            value = _bilinear(self.levels[number], u[here], v[here], wrap)
            upper = np.flatnonzero(share[here, 0] > 0)
            if len(upper):
                rows = here[upper]
                above = _bilinear(self.levels[number + 1], u[rows], v[rows], wrap)
                value[upper] += share[rows] * (above - value[upper])
            out[here] = value
        return out


def _nearest(image: NDArray[Any], u: Float, v: Float, wrap: Sequence[str]) -> Float:
    height, width = image.shape[:2]
    column = _wrapped(np.floor(u * width).astype(np.int64), width, wrap[0])
    row = _wrapped(np.floor(v * height).astype(np.int64), height, wrap[1])
    return image[row, column].astype(np.float64)


def _bilinear(image: NDArray[Any], u: Float, v: Float, wrap: Sequence[str]) -> Float:
    height, width = image.shape[:2]
    x, y = u * width - 0.5, v * height - 0.5
    left, top = np.floor(x), np.floor(y)
    fx, fy = (x - left)[:, None], (y - top)[:, None]
    columns = [_wrapped(left.astype(np.int64) + step, width, wrap[0]) for step in (0, 1)]
    rows = [_wrapped(top.astype(np.int64) + step, height, wrap[1]) for step in (0, 1)]
    upper = image[rows[0], columns[0]] * (1 - fx) + image[rows[0], columns[1]] * fx
    lower = image[rows[1], columns[0]] * (1 - fx) + image[rows[1], columns[1]] * fx
    return np.asarray(upper * (1 - fy) + lower * fy)


def _wrapped(place: NDArray[np.int64], count: int, way: str) -> NDArray[np.int64]:
    if way == "clamp":
        return np.clip(place, 0, count - 1)
    if way == "mirror":
        place = np.mod(place, 2 * count)
        return np.minimum(place, 2 * count - 1 - place)
    return np.mod(place, count)


def stretch(corners: Float, uv: Float, least: float = 1e-6) -> Float:
    """sqrt(|dP/du| |dP/dv|) of triangles (F, 3, 3) with uv (F, 3, 2); 1e6 where these have less area than `least`."""
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    (du1, dv1), (du2, dv2) = (uv[:, 1] - uv[:, 0]).T, (uv[:, 2] - uv[:, 0]).T
    determinant = du1 * dv2 - du2 * dv1
    good = np.abs(determinant) >= least
    safe = np.where(good, determinant, 1)[:, None]
    along_u = np.linalg.norm((dv2[:, None] * e1 - dv1[:, None] * e2) / safe, axis=1)
    along_v = np.linalg.norm((du1[:, None] * e2 - du2[:, None] * e1) / safe, axis=1)
    return np.where(good, np.sqrt(along_u * along_v), 1e6)
