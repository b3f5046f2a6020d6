"""Which place of the surface every texel of the square shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..fields import F32, Check, never
from .charts import Charts
from .surface import Surface

_AT_ONCE = 4_000_000  # samples looked at together
_OVER = 0.02  # by which a face reaches beyond itself, so that no texel falls between two


@dataclass(frozen=True)
class Texels:
    """`index` (T,) are places in the square, row by row; `points` and `normals` (T, 3) what they show."""

    index: NDArray[np.int64]
    points: F32
    normals: F32


def texels_of(surface: Surface, charts: Charts, check: Check = never) -> Texels:
    corners = charts.texels[charts.faces]
    low = np.floor(corners.min(1) - 0.5).astype(np.int32)
    extent = np.ceil(corners.max(1) - 0.5).astype(np.int32) - low + 1
    owner = np.full(charts.size * charts.size, -1, np.int32)
    amounts = extent.prod(1).astype(np.int64)
    ends = np.cumsum(amounts)
    first = 0
    while first < len(corners):
        check()
        last = max(first + 1, int(np.searchsorted(ends, (ends[first - 1] if first else 0) + _AT_ONCE, "right")))
        faces = np.repeat(np.arange(first, last), amounts[first:last])
        step = np.arange(len(faces)) - np.repeat(
            ends[first:last] - amounts[first:last] - (ends[first - 1] if first else 0), amounts[first:last]
        )
        x = low[faces, 0] + (step % extent[faces, 0]).astype(np.int32)
        y = low[faces, 1] + (step // extent[faces, 0]).astype(np.int32)
        weights = _weights(corners[faces], x + 0.5, y + 0.5)
        hit = (weights >= -_OVER).all(1) & (x >= 0) & (y >= 0) & (x < charts.size) & (y < charts.size)
        owner[y[hit].astype(np.int64) * charts.size + x[hit]] = faces[hit]
        first = last
    index = np.flatnonzero(owner >= 0)
    face = owner[index]
    row, column = np.divmod(index, charts.size)
    check()
    weights = np.clip(_weights(corners[face], column + 0.5, row + 0.5), 0.0, 1.0)
    weights /= weights.sum(1, keepdims=True)
    of_face = surface.faces[face]
    points = sum(weights[:, [k]] * surface.points[of_face[:, k]] for k in range(3))
    normals = sum(weights[:, [k]] * surface.normals[of_face[:, k]] for k in range(3))
    return Texels(index, np.asarray(points, np.float32), np.asarray(normals, np.float32))


def _weights(corners: F32, x: NDArray[np.float64], y: NDArray[np.float64]) -> F32:
    """How much of each corner (N, 3, 2) there is at (x, y): (N, 3), negative outside."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    double: NDArray[np.float64] = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    safe = np.where(np.abs(double) > 1e-12, double, 1.0)
    u = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])) / safe
    v = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])) / safe
    found = np.stack([1.0 - u - v, u, v], 1)
    found[np.abs(double) <= 1e-12] = -1.0
    return found.astype(np.float32)
