"""What the reference's narrow-band remeshing did to its input, in a number: reported, never judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .cases import Result

_PAIRS = 1 << 20


def reference_offset(case: Mapping[str, NDArray[Any]]) -> Result:
    """The largest distance of the stored result from its input surface, next to the band's width."""
    from .cases import Result

    corners = case["vertices"].astype(np.float64)[case["faces"].astype(np.int64)]
    points = case["mesh_vertices"].astype(np.float64)
    width = float(case["band"]) * float(case["scale"]) / float(case["resolution"])
    away = distances(points, corners)
    note = f"from the input surface; the band is {width:.2e} wide, projected back by {float(case['project_back']):.1f}"
    return Result(None, float(away.max(initial=0.0)), note)


def distances(points: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (M,) of points (M, 3) from the nearest of a few thousand triangles (F, 3, 3), by trying them all."""
    step = max(1, _PAIRS // max(len(corners), 1))
    out = np.empty(len(points))
    for start in range(0, len(points), step):
        out[start : start + step] = np.sqrt(_squares(points[start : start + step, None], corners[None]).min(1))
    return out


def _squares(p: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances of points and triangles that broadcast: from the sides, and from the plane where it is met."""
    best = np.full(np.broadcast_shapes(p.shape[:-1], corners.shape[:-2]), np.inf)
    for number in range(3):
        a = corners[..., number, :]
        side = corners[..., (number + 1) % 3, :] - a
        share = ((p - a) * side).sum(-1) / np.maximum((side * side).sum(-1), 1e-300)
        away = p - a - np.clip(share, 0, 1)[..., None] * side
        best = np.minimum(best, (away * away).sum(-1))
    e1, e2 = corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    normal = np.cross(e1, e2)
    area = np.maximum((normal * normal).sum(-1), 1e-300)
    away = p - corners[..., 0, :]
    v = (np.cross(away, e2) * normal).sum(-1) / area
    w = (np.cross(e1, away) * normal).sum(-1) / area
    inside = (v >= 0) & (w >= 0) & (v + w <= 1)
    return np.where(inside, np.minimum(best, (away * normal).sum(-1) ** 2 / area), best)
