"""Closest points on triangles with numpy and scipy alone: exact, but slower than a tree of boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

_TABLE = 1 << 21
_FIRST_NEIGHBOURS = 8
# Points strewn over the triangles: about this many for each triangle in all.
_POINTS_A_FACE = 3


class SampledTriangles:
    """Triangles under a k-d tree of points strewn on them so that none is further than `_reach` from one.

    Of the nearest few points' triangles the closest one is certain as soon as the last of these points is
    further away than that triangle by the reach; otherwise more are asked.
    """

    def __init__(self, vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> None:
        self._corners = vertices[faces].astype(np.float64)
        points, self._face, self._reach = _strew(self._corners)
        self._tree = cKDTree(points)

    def closest(
        self, points: NDArray[np.float32], max_distance: float
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Face numbers (Q,), -1 for none, and barycentrics (Q, 3)."""
        faces = np.full(len(points), -1, np.int32)
        weights = np.zeros((len(points), 3), np.float32)
        work = [(part, _FIRST_NEIGHBOURS) for part in _parts(np.arange(len(points)), _FIRST_NEIGHBOURS)]
        while work:
            rows, count = work.pop()
            count = min(count, len(self._face))
            asked = points[rows].astype(np.float64)
            found = self._nearest_of(asked, count)
            face, weights[rows], best, last = found
            faces[rows] = np.where(best <= max_distance, face, -1)
            certain = (last - self._reach >= np.minimum(best, max_distance)) | (count == len(self._face))
            if not certain.all():
                work += [(part, 4 * count) for part in _parts(rows[~certain], 4 * count)]
        return faces, weights

    def _nearest_of(
        self, points: NDArray[np.float64], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Of the triangles of the `count` nearest points: the closest, its weights and distance, the last point's."""
        far, near = self._tree.query(points, k=count)
        far, near = far.reshape(len(points), count), near.reshape(len(points), count)
        best = np.full(len(points), np.inf)
        faces = np.zeros(len(points), np.int64)
        weights = np.zeros((len(points), 3))
        for column in range(count):
            face = self._face[near[:, column]]
            # A point that cannot be on a closer triangle than the best one needs no exact answer.
            open_ = np.flatnonzero(far[:, column] - self._reach < best)
            bary, distance = closest_on_triangles(points[open_], self._corners[face[open_]])
            better = distance < best[open_]
            row = open_[better]
            best[row], faces[row], weights[row] = distance[better], face[row], bary[better]
        return faces, weights, best, far[:, -1]


def _parts(rows: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """The rows in parts for which `count` neighbours each fit in memory."""
    size = max(_TABLE // count, 1)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def closest_on_triangles(
    points: NDArray[np.float64], corners: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where triangles `corners` (Q, 3, 3) are closest to `points` (Q, 3): barycentrics (Q, 3), distances (Q,).

    The foot of the perpendicular where it lies inside, else the nearest of the three edges' places.
    """
    a = corners[:, 0]
    ab, ac, ap = corners[:, 1] - a, corners[:, 2] - a, points - a
    d11, d12, d22 = (np.einsum("ij,ij->i", x, y) for x, y in ((ab, ab), (ab, ac), (ac, ac)))
    d1, d2 = np.einsum("ij,ij->i", ab, ap), np.einsum("ij,ij->i", ac, ap)
    area = d11 * d22 - d12 * d12
    flat = area <= 1e-14 * np.maximum(d11, d22) ** 2
    safe = np.where(flat, 1, area)
    v, w = (d22 * d1 - d12 * d2) / safe, (d11 * d2 - d12 * d1) / safe
    weights = np.stack([1 - v - w, v, w], axis=1)
    outside = np.flatnonzero(flat | (weights < 0).any(1))
    if len(outside):
        weights[outside] = _closest_on_edges(points[outside], corners[outside])
    place = np.einsum("ik,ikc->ic", weights, corners)
    return weights, np.linalg.norm(points - place, axis=1)


def _closest_on_edges(points: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    best = np.full(len(points), np.inf)
    weights = np.zeros((len(points), 3))
    for first in range(3):
        second = (first + 1) % 3
        along = corners[:, second] - corners[:, first]
        length = np.einsum("ij,ij->i", along, along)
        share = np.einsum("ij,ij->i", points - corners[:, first], along) / np.where(length > 0, length, 1)
        share = np.clip(share, 0, 1)
        offset = points - corners[:, first] - share[:, None] * along
        distance = np.einsum("ij,ij->i", offset, offset)
        better = distance < best
        best[better] = distance[better]
        weights[better] = 0
        weights[better, first] = 1 - share[better]
        weights[better, second] = share[better]
    return weights


def _strew(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64], float]:
    """Points (P, 3) on triangles (F, 3, 3), their triangles (P,), and how far any place is from a point at most."""
    longest = np.sqrt(((corners - np.roll(corners, 1, axis=1)) ** 2).sum(2).max(1))
    # Triangles are cut into n * n like ones, each with a point at its centre: a place in one is
    # no further from the centre than two thirds of the longest median, and no median is longer than
    # the longest side.
    spacing = max(float(np.sqrt((longest**2).sum() / (_POINTS_A_FACE * len(longest)))), 1e-12)
    cuts = np.maximum(np.ceil(longest / spacing), 1).astype(np.int64)
    points, owners = [], []
    for n in np.unique(cuts):
        rows = np.flatnonzero(cuts == n)
        centres = _centres(int(n))
        points.append(np.einsum("pk,fkc->fpc", centres, corners[rows]).reshape(-1, 3))
        owners.append(np.repeat(rows, len(centres)))
    reach = float((longest / cuts).max()) * (2 / 3) * 1.0001
    return np.concatenate(points), np.concatenate(owners), reach


def _centres(n: int) -> NDArray[np.float64]:
    """Barycentrics (n * n, 3) of the centres of the n * n triangles that cut a triangle evenly."""
    i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    upright, inverted = i + j < n, i + j < n - 1
    v = np.concatenate([i[upright] + 1 / 3, i[inverted] + 2 / 3]) / n
    w = np.concatenate([j[upright] + 1 / 3, j[inverted] + 2 / 3]) / n
    return np.stack([1 - v - w, v, w], axis=1)
