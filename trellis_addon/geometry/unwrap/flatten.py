"""Charts that keep lengths as nearly as they can: as rigid as possible, from their projections on.

The method is local/global (L. Liu et al., "A local/global approach to mesh parameterization", 2008): each triangle's
best rotation, then all points at once by one sparse system, which is factored only once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .pack import triangle_areas

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

_ROUNDS = 6
_STEPS = 12
_PINNED = 1e3
# Cotangents of angles beyond which a corner counts no less or more: slivers would make the system unsound.
_LEAST, _MOST = 0.02, 20.0
# How much of the way from the projection is gone, tried in this order, until no more faces lie turned over.
_SHARES = (1.0, 0.6, 0.3, 0.0)


def flattened(vertices: F32, source: I64, faces: I32, points: F64, charts: I64) -> F64:
    """Points (V', 2) of charts whose triangles are nearly as they are on the surface.

    `points` are the charts' projections, in the mesh's units, `faces` (F, 3) into these, `source` (V',) the vertices
    they are of, `charts` (F,) numbered from 0. A chart in which faces would be turned over goes only a part of the way.
    """
    rigid = _Rigid(vertices, source, faces, points)
    flat = points
    for _ in range(_ROUNDS):
        flat = rigid.nearer(flat)
    return _without_turning(points, flat, faces, charts)


def relaxed(
    vertices: F32, source: I64, faces: I32, points: F64, charts: I64, pinned: NDArray[np.bool_] | None = None
) -> F64:
    """The same from charts of which no face is turned over on: none is in any step. `pinned` (V',) points stay."""
    rigid = _Rigid(vertices, source, faces, points, pinned)
    for _ in range(_STEPS):
        wanted = rigid.nearer(points)
        if pinned is not None:
            wanted[pinned] = points[pinned]
        points = _without_turning(points, wanted, faces, charts)
    return points


def stretches(vertices: F32, faces: I32, corners: F64) -> tuple[F64, F64]:
    """How much each face (F, 3) with flat `corners` (F, 3, 2) is longer there than on the surface: at most, at least.

    They are the singular values of the map from the triangle's plane; 0 for a face without area.
    """
    rest = _in_their_planes(vertices[faces].astype(np.float64))
    length, across = np.maximum(rest[:, 1, 0], 1e-300), np.maximum(rest[:, 2, 1], 1e-300)
    one = (corners[:, 1] - corners[:, 0]) / length[:, None]
    two = (corners[:, 2] - corners[:, 0] - rest[:, 2, :1] * one) / across[:, None]
    e, g, f = (one**2).sum(1), (two**2).sum(1), (one * two).sum(1)
    root = np.hypot(e - g, 2.0 * f)
    flat = rest[:, 2, 1] <= 1e-6 * length
    large, small = np.sqrt((e + g + root) / 2.0), np.sqrt(np.maximum(e + g - root, 0.0) / 2.0)
    return np.where(flat, 0.0, large), np.where(flat, 0.0, small)


class _Rigid:
    """The system of which each solution is nearer to triangles as they are on the surface."""

    def __init__(
        self, vertices: F32, source: I64, faces: I32, points: F64, pinned: NDArray[np.bool_] | None = None
    ) -> None:
        from scipy.sparse import csc_array, diags_array
        from scipy.sparse.linalg import splu

        rest = _in_their_planes(vertices[source[faces]].astype(np.float64))
        rest[..., 1] *= -1.0  # v runs down: seen from outside, triangles turn the other way
        self._faces, self._edges = faces, np.roll(rest, -1, 1) - rest
        self._weights = _cotangents(self._edges)
        self._start = faces.reshape(-1).astype(np.int64)
        self._end = np.roll(faces, -1, 1).reshape(-1).astype(np.int64)
        count, weight = len(points), self._weights.reshape(-1)
        both = np.concatenate([self._start, self._end]), np.concatenate([self._end, self._start])
        links = csc_array((np.tile(weight, 2), both), shape=(count, count))
        total = np.asarray(links.sum(0)).reshape(-1)
        # A chart may lie anywhere: a touch of where it is holds it there.
        hold = 1e-7 * total + 1e-12
        if pinned is not None:
            hold[pinned] += _PINNED * total[pinned]
        self._held = hold[:, None] * points
        self._factor = splu(
            csc_array(diags_array(total + hold) - links),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )

    def nearer(self, points: F64) -> F64:
        """Each triangle's best rotation, then all points at once."""
        corners, edges, weights = points[self._faces], self._edges, self._weights
        seen = np.roll(corners, -1, 1) - corners
        cosine = (weights * (seen * edges).sum(2)).sum(1)
        sine = (weights * (seen[..., 1] * edges[..., 0] - seen[..., 0] * edges[..., 1])).sum(1)
        length = np.maximum(np.hypot(cosine, sine), 1e-300)
        cosine, sine = (cosine / length)[:, None], (sine / length)[:, None]
        wanted = weights[..., None] * np.stack(
            [cosine * edges[..., 0] - sine * edges[..., 1], sine * edges[..., 0] + cosine * edges[..., 1]], 2
        )
        right = np.stack(
            [
                np.bincount(self._end, wanted[..., k].reshape(-1), len(points))
                - np.bincount(self._start, wanted[..., k].reshape(-1), len(points))
                for k in range(2)
            ],
            1,
        )
        return np.asarray(self._factor.solve(right + self._held))


def _in_their_planes(corners: F64) -> F64:
    """(F, 3, 2): each triangle (F, 3, 3) in its own plane, its first edge along x, counter-clockwise."""
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    length = np.maximum(np.linalg.norm(one, axis=1), 1e-300)
    along = np.einsum("ij,ij->i", one, two) / length
    across = np.linalg.norm(np.cross(one, two), axis=1) / length
    out = np.zeros((len(corners), 3, 2))
    out[:, 1, 0] = length
    out[:, 2, 0], out[:, 2, 1] = along, across
    return out


def _cotangents(edges: F64) -> F64:
    """(F, 3): half the cotangent of the angle across from each edge (F, 3, 2)."""
    before, after = np.roll(edges, -1, 1), np.roll(edges, 1, 1)
    area = np.abs(before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0])
    return 0.5 * np.clip(-(before * after).sum(2) / np.maximum(area, 1e-300), _LEAST, _MOST)


def _without_turning(points: F64, flat: F64, faces: I32, charts: I64) -> F64:
    """The flattened charts, as far as they turn over no more of their faces than their projections do."""
    count = int(charts.max()) + 1
    chart_of = np.zeros(len(points), np.int64)
    chart_of[faces.reshape(-1)] = np.repeat(charts, 3)

    def turned(places: F64) -> I64:
        return np.bincount(charts[triangle_areas(places, faces) > 0.0], minlength=count)

    allowed = turned(points)
    share = np.full(count, _SHARES[0])
    for less in _SHARES[1:]:
        mixed = points + share[chart_of, None] * (flat - points)
        bad = turned(mixed) > allowed
        if not bad.any():
            break
        share[bad] = less
    return np.asarray(points + share[chart_of, None] * (flat - points))
