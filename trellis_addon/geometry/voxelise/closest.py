"""The point of a triangle that is closest to a given one, for many pairs at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .scan import Int

Float = NDArray[np.float64]


class ClosestOnTriangles:
    """Triangles (F, 3, 3), made ready to be asked."""

    def __init__(self, corners: Float) -> None:
        self._origin = np.ascontiguousarray(corners[:, 0])
        e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        self._edges = np.stack([e1, e2], axis=1)
        d11, d12, d22 = (np.einsum("fc,fc->f", a, b) for a, b in ((e1, e1), (e1, e2), (e2, e2)))
        area = d11 * d22 - d12 * d12
        # Slivers answer by their sides alone.
        flat = area <= 1e-14 * np.maximum(d11, d22) ** 2
        scale = np.where(flat, 0.0, 1 / np.where(flat, 1, area))
        self._gram = np.stack([d11, d12, d22, scale, flat.astype(np.float64)], axis=1)

    def find(self, points: Float, triangle: Int) -> tuple[Float, Float]:
        """Squared distances (M,) and the second and third barycentric coordinates (M, 2) for pairs."""
        away = points - self._origin[triangle]
        edges = self._edges[triangle]
        d1, d2 = np.einsum("mc,mc->m", away, edges[:, 0]), np.einsum("mc,mc->m", away, edges[:, 1])
        d11, d12, d22, scale, flat = self._gram[triangle].T
        v, w = (d22 * d1 - d12 * d2) * scale, (d11 * d2 - d12 * d1) * scale
        outside = np.flatnonzero((v < 0) | (w < 0) | (v + w > 1) | (flat > 0))
        if len(outside):
            v[outside], w[outside] = _on_sides(*(part[outside] for part in (d1, d2, d11, d12, d22)))
        square = np.einsum("mc,mc->m", away, away) - 2 * (v * d1 + w * d2)
        square += v * v * d11 + 2 * v * w * d12 + w * w * d22
        return np.maximum(square, 0), np.stack([v, w], axis=1)


def _on_sides(d1: Float, d2: Float, d11: Float, d12: Float, d22: Float) -> tuple[Float, Float]:
    """(v, w) of the closest point on the sides, from scalar products: of the point with the edges, and of those."""
    third = d11 - 2 * d12 + d22
    first = np.clip(d1 / np.where(d11 > 0, d11, 1), 0, 1)
    second = np.clip(d2 / np.where(d22 > 0, d22, 1), 0, 1)
    across = np.clip((d2 - d1 + d11 - d12) / np.where(third > 0, third, 1), 0, 1)
    best_v, best_w = first, np.zeros_like(first)
    least = first * first * d11 - 2 * first * d1
    for v, w in ((np.zeros_like(second), second), (1 - across, across)):
        error = v * v * d11 + 2 * v * w * d12 + w * w * d22 - 2 * (v * d1 + w * d2)
        better = error < least
        least = np.where(better, error, least)
        best_v, best_w = np.where(better, v, best_v), np.where(better, w, best_w)
    return best_v, best_w
