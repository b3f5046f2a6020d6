"""Texture coordinates for a mesh that has none: flat pieces side by side, made without anything that a fresh install
does not have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...geometry.texturing.sheets import Layout, in_one, vertex_normals
from .hull.charts import lay_out
from .hull.surface import HullSurface


def unwrapped(points: NDArray[np.float64], faces: NDArray[np.int64], size: int) -> Layout:
    """Charts of any mesh, `points` (V, 3) and `faces` (F, 3), for a texture of `size` texels a side."""
    kept, welded = in_one(points, faces)
    charts = lay_out(HullSurface(kept, welded, vertex_normals(kept.astype(np.float64), welded)), (), size, apart=True)
    return Layout.of(faces, charts.faces, charts.texels / np.float32(size))
