"""Better shaped triangles on the same surface, by exchanging diagonals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..mesh.topology import I32, I64, Edges, TriMesh

# Pairs of faces in which one is worse than this are looked at; 1 is equilateral.
_POOR = 0.55
_LEAST_GAIN = 0.03
# The cosine by which a new face may turn against the two that it replaces.
_LEAST_AGREEMENT = 0.98
_PASSES = 12
# Another pass is not worth its time for less than this share of the faces.
_TOO_FEW = 0.002


def flip_diagonals(mesh: TriMesh, tolerance: float) -> TriMesh:
    """The mesh with edges between slivers flipped where that moves the surface by less than `tolerance`.

    An edge between two nearly flat faces is replaced by the one between their other corners if the worse of the two
    becomes better. Borders, creases, and how the mesh hangs together stay as they are.
    """
    faces = mesh.faces.copy()
    places = mesh.vertices.astype(np.float64)
    for _ in range(_PASSES):
        edges = Edges.of(faces)
        one, other, ring, gain = _candidates(faces, places, edges, tolerance)
        fresh = _keys(ring[:, 2], ring[:, 3], len(places))
        ends = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
        first = edges.order[edges.first]
        taken = np.sort(_keys(ends[0][first], ends[1][first], len(places)))
        found = taken[np.minimum(np.searchsorted(taken, fresh), max(len(taken) - 1, 0))] == fresh
        gain[found] = -1.0
        # No two flips at one face, and the better one goes first; a trace of the number decides between equals.
        gain = np.where(gain > 0, gain + np.arange(len(gain)) * 1e-12, -1.0)
        best = np.zeros(len(faces))
        np.maximum.at(best, one, gain)
        np.maximum.at(best, other, gain)
        chosen = np.flatnonzero((gain > 0) & (best[one] == gain) & (best[other] == gain))
        chosen = chosen[np.unique(fresh[chosen], return_index=True)[1]]
        a, b, c, d = ring[chosen].T
        faces[one[chosen]] = np.stack([a, d, c], axis=1)
        faces[other[chosen]] = np.stack([d, b, c], axis=1)
        if len(chosen) <= _TOO_FEW * len(faces):
            break
    return TriMesh(mesh.vertices, faces)


def _candidates(
    faces: I32, places: NDArray[np.float64], edges: Edges, tolerance: float
) -> tuple[I64, I64, I32, NDArray[np.float64]]:
    """Pairs of faces (n,) and (n,), corners (n, 4) of each pair, its edge's ends first, and what a flip gains or -1."""
    quality, normal = _shapes(places[faces])
    pairs = edges.with_count(2)
    pairs = pairs[(quality[pairs // 3] < _POOR).any(1)]
    flat = faces.reshape(-1)
    pairs = pairs[flat[pairs[:, 0]] != flat[pairs[:, 1]]]
    (one, other), slot = pairs.T // 3, pairs % 3
    a, b = faces[one, slot[:, 0]], faces[one, (slot[:, 0] + 1) % 3]
    c, d = faces[one, (slot[:, 0] + 2) % 3], faces[other, (slot[:, 1] + 2) % 3]
    away = np.abs(np.einsum("ij,ij->i", places[d] - places[a], normal[one]))
    even = (away < tolerance) & (c != d)
    one, other, ring = one[even], other[even], np.stack([a, b, c, d], axis=1)[even]
    worst = np.minimum(quality[one], quality[other])
    agreement = np.full(len(ring), 1.0)
    after = np.full(len(ring), 1.0)
    for corners in ((0, 3, 2), (3, 1, 2)):
        shape, turned = _shapes(places[ring[:, corners]])
        after = np.minimum(after, shape)
        for face in (one, other):
            # The normal of a face without area says nothing.
            sound = np.where(quality[face] > 1e-3, np.einsum("ij,ij->i", turned, normal[face]), 1.0)
            agreement = np.minimum(agreement, sound)
    gain = np.where((after > worst + _LEAST_GAIN) & (agreement > _LEAST_AGREEMENT), after - worst, -1.0)
    return one, other, ring, gain


def _shapes(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quality (n,), 4 sqrt(3) area / sum of squared sides, and unit normals (n, 3) of triangles (n, 3, 3)."""
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(cross, axis=1)
    squares = ((corners - np.roll(corners, 1, axis=1)) ** 2).sum((1, 2))
    return 2 * np.sqrt(3) * length / np.maximum(squares, 1e-300), cross / np.maximum(length, 1e-300)[:, None]


def _keys(a: NDArray, b: NDArray, count: int) -> I64:
    return np.minimum(a, b).astype(np.int64) * count + np.maximum(a, b)
