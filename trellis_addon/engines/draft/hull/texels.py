"""Which place of the surface every texel of the square shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....geometry.texturing.scan import Corners, hits
from ..fields import F32, Check, never
from .charts import Charts
from .surface import HullSurface

_OVER = 0.02  # by which a face reaches beyond itself, so that no texel falls between two


@dataclass(frozen=True)
class Texels:
    """`index` (T,) are places in the square, row by row; `points` and `normals` (T, 3) what they show."""

    index: NDArray[np.int64]
    points: F32
    normals: F32


def texels_of(surface: HullSurface, charts: Charts, check: Check = never) -> Texels:
    corners = charts.texels[charts.faces]
    owner = np.full(charts.size * charts.size, -1, np.int32)
    for face, place, _ in hits(corners, (charts.size, charts.size), over=_OVER, check=check):
        owner[place] = face
    index = np.flatnonzero(owner >= 0)
    of = owner[index]
    row, column = np.divmod(index, charts.size)
    check()
    weights = np.clip(Corners(corners).weights(of, column + 0.5, row + 0.5), 0.0, 1.0)
    weights /= weights.sum(1, keepdims=True)
    of_face = surface.faces[of]
    points = sum(weights[:, [k]] * surface.points[of_face[:, k]] for k in range(3))
    normals = sum(weights[:, [k]] * surface.normals[of_face[:, k]] for k in range(3))
    return Texels(index, np.asarray(points, np.float32), np.asarray(normals, np.float32))
