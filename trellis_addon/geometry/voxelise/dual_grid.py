"""From triangles to the flexible dual grid: one vertex per voxel, where it fits the surface best.

A voxel is made wherever the surface crosses one of the lattice edges at its far corner's side, or those of
its neighbours round that edge; its vertex minimises a quadric of the planes that pass, of open borders, and
of the mean crossing (dual contouring of Hermite data, Ju et al. 2002).
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError
from ...core.progress import Progress
from ..voxels.dual_grid import grid_of
from ..voxels.index import VoxelIndex
from . import single
from .overlap import OverlapTest, overlaps, walk
from .scan import Float, Hits, Int, corner_voxels, scan
from .solve import ENTRIES, least_points


class QuadricWeights(TypedDict):
    """The three weights of `mesh_to_dual_grid`, to be passed on as they are."""

    face_weight: float
    boundary_weight: float
    regularization_weight: float


# What TRELLIS.2 uses to texture a mesh, and what its networks were trained on.
TEXTURING_WEIGHTS: QuadricWeights = {"face_weight": 1.0, "boundary_weight": 0.2, "regularization_weight": 0.01}

_PAIRS = 1 << 22
_ROUND = 0.3  # the least cosine between the outward normals on both sides of a rounding: walls and rims have less
_NONE: Int = np.zeros(0, np.int64)


def mesh_to_dual_grid(
    vertices: NDArray[Any],
    faces: NDArray[Any],
    *,
    voxel_size: Any = None,
    grid_size: Any = None,
    aabb: Any = None,
    face_weight: float = 1.0,
    boundary_weight: float = 1.0,
    regularization_weight: float = 0.1,
    closed_ties: bool = False,
    drop_grazed: bool = False,
    single_precision: bool = False,
    progress: Progress | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
    """Coordinates (L, 3) sorted by x, y, z, dual vertices (L, 3) voxel-local in 0..1, and flags (L, 3).

    `vertices` (V, 3) and `faces` (F, 3); the grid is given as for `dual_grid_to_mesh`, and by the mesh itself
    where there is no `aabb`. `face_weight` above 0 counts the planes of all triangles that touch a voxel, its
    size does not matter, as in TRELLIS.2; `boundary_weight` pulls toward edges with one triangle only, by
    index; `regularization_weight` toward the mean crossing. `closed_ties` keeps a surface closed where
    lattice lines meet its edges exactly, which TRELLIS.2 does not. `drop_grazed` takes back the flags of
    lattice edges that pass a surface twice, in and out over a rounding: their quads would stand off it like fins.
    Thin walls and sharp rims, which live by such quads, keep them. `single_precision` rounds as TRELLIS.2 does, for
    comparing with it. Raises `InputError` for arrays and sizes that cannot be used.
    """
    progress = progress or Progress()
    points, triangles = _checked(vertices, faces)
    size, shape, origin = grid_of(
        voxel_size, grid_size, _box_of(points, voxel_size, grid_size) if aabb is None else aabb
    )
    corners = (points - origin).astype(np.float64)[triangles]
    wide = size.astype(np.float64)
    hits = []
    for found in scan(corners, wide, shape, closed=closed_ties):
        progress.update("voxels", 0.1)
        hits.append(found)
    keys = _voxels(hits, shape)
    coords = (
        np.stack(np.unravel_index(keys, shape), axis=1).astype(np.int32) if len(keys) else np.zeros((0, 3), np.int32)
    )
    index = VoxelIndex(coords, shape)
    flags = np.zeros((len(coords), 3), bool)
    for found in hits:
        flags[index.inside(*found.voxel.T), found.axis] = True
    if drop_grazed:
        _drop_grazed(flags, hits, index, _normals(corners))
    borders = _borders(corners, triangles) if boundary_weight > 0 else corners[:0, :2]
    if single_precision:
        total, sums, number = single.quadrics(
            (points - origin)[triangles], hits, index, len(coords), wide, face_weight > 0
        )
        single.add_borders(total, borders, index, wide, boundary_weight)
        rounded = single.least_points(total, sums, number, regularization_weight, coords, size)
        return coords, np.asarray(rounded / size - coords, np.float32), flags
    quadrics, mean, count = _quadrics(corners, hits, index, len(coords), wide, face_weight > 0, progress)
    _add_borders(quadrics, borders, index, wide, boundary_weight)
    progress.update("voxels", 0.8)
    low = coords * wide
    _pull(quadrics, mean, regularization_weight * count)
    best = least_points(quadrics, low, low + wide)
    progress.update("voxels", 1.0)
    return coords, np.clip((best - low) / wide, 0, 1).astype(np.float32), flags


def _drop_grazed(flags: NDArray[np.bool_], hits: list[Hits], index: VoxelIndex, normals: Float) -> None:
    """Unset the flags of edges with two crossings whose outward normals are much the same."""
    for axis in range(3):
        row = np.concatenate([index.inside(*found.voxel.T) for found in hits if found.axis == axis] or [_NONE])
        triangle = np.concatenate([found.triangle for found in hits if found.axis == axis] or [_NONE])
        order = np.argsort(row, kind="stable")
        row, triangle = row[order], triangle[order]
        start = np.flatnonzero(np.diff(row, prepend=-1))
        start = start[np.diff(start, append=len(row)) == 2]
        one, two = normals[triangle[start]], normals[triangle[start + 1]]
        # Turned so that the edge enters through one and leaves through the other, whichever way they were wound.
        one = one * np.where(one[:, axis] < 0, -1.0, 1.0)[:, None]
        two = two * np.where(two[:, axis] < 0, 1.0, -1.0)[:, None]
        grazed = np.einsum("ec,ec->e", one, two) > _ROUND
        flags[row[start[grazed]], axis] = False


def _quadrics(
    corners: Float, hits: list[Hits], index: VoxelIndex, voxels: int, size: Float, touch: bool, progress: Progress
) -> tuple[Float, Float, Float]:
    """Sums of plane quadrics (L, 10), the mean crossing (L, 3), the number of crossings (L,)."""
    normals = _normals(corners)
    sums = _Sums(_planes(normals, corners), voxels)
    mean = np.zeros((voxels, 3))
    count = np.zeros(voxels)
    for number, found in enumerate(hits):
        progress.update("voxels", 0.2 + 0.3 * number / len(hits))
        for voxel in corner_voxels(found):
            row = index.inside(*voxel.T)
            sums.add(row, found.triangle)
            count += np.bincount(row, minlength=voxels)
            for axis in range(3):
                mean[:, axis] += np.bincount(row, found.point[:, axis], voxels)
    mean /= np.maximum(count, 1)[:, None]
    if touch:
        test = OverlapTest(corners, normals, size)
        for triangle, voxel in overlaps(corners, size, index.shape):
            progress.update("voxels", 0.6)
            row = index.inside(*voxel.T)
            there = np.flatnonzero(row >= 0)
            triangle, row = triangle[there], row[there]
            touching = test.touch(triangle, voxel[there])
            sums.add(row[touching], triangle[touching])
    return sums.total(), mean, count


def _pull(quadrics: Float, mean: Float, weight: Float) -> None:
    """Add the squared distance to `mean` (L, 3), times `weight` (L,)."""
    for axis, place in enumerate((0, 4, 7)):
        quadrics[:, place] += weight
        quadrics[:, (3, 6, 8)[axis]] -= weight * mean[:, axis]
    quadrics[:, 9] += weight * np.einsum("lc,lc->l", mean, mean)


class _Sums:
    """Sums of the triangles' plane quadrics per voxel, gathered until adding them up is worth it."""

    def __init__(self, planes: Float, count: int) -> None:
        self._planes = planes
        self._sum = np.zeros((len(ENTRIES), count))
        self._waiting: list[tuple[Int, Int]] = []
        self._pairs = 0

    def add(self, row: Int, triangle: Int) -> None:
        self._waiting.append((row.astype(np.int32), triangle.astype(np.int32)))
        self._pairs += len(row)
        if self._pairs > _PAIRS:
            self._flush()

    def total(self) -> Float:
        """(L, 10), as in `ENTRIES`."""
        self._flush()
        return self._sum.T

    def _flush(self) -> None:
        if not self._pairs:
            return
        row = np.concatenate([pair[0] for pair in self._waiting])
        triangle = np.concatenate([pair[1] for pair in self._waiting])
        self._waiting, self._pairs = [], 0
        for number, (i, j) in enumerate(ENTRIES):
            value = (self._planes[:, i] * self._planes[:, j])[triangle]
            self._sum[number] += np.bincount(row, value, self._sum.shape[1])


def _checked(vertices: NDArray[Any], faces: NDArray[Any]) -> tuple[NDArray[np.float32], Int]:
    points = np.asarray(vertices, np.float32)
    triangles = np.asarray(faces).astype(np.int64)
    if points.ndim != 2 or points.shape[1] != 3 or triangles.ndim != 2 or triangles.shape[1] != 3:
        raise InputError("A mesh needs vertices (V, 3) and triangles (F, 3).")
    if not np.isfinite(points).all():
        raise InputError("A vertex of the mesh has a position that is not finite.")
    if len(triangles) and (triangles.min() < 0 or triangles.max() >= len(points)):
        raise InputError("A triangle of the mesh refers to a vertex that is not there.")
    return points, triangles


def _box_of(points: NDArray[np.float32], voxel_size: Any, grid_size: Any) -> NDArray[np.float32]:
    """The mesh's own bounds with half a cell of room on every side."""
    if not len(points):
        raise InputError("The mesh has no vertices, so its grid must be given.")
    low, high = points.min(0), points.max(0)
    if voxel_size is not None:
        cell = np.broadcast_to(np.asarray(voxel_size, np.float32), 3)
        cells = np.maximum(np.ceil((high - low) / cell), 1) + 1
        room = (cells * cell - (high - low)) / 2
    else:
        cells = np.broadcast_to(np.asarray(grid_size, np.float32), 3)
        room = (high - low) / np.maximum(cells - 1, 1) / 2
    room = np.where(room > 0, room, 0.5)
    return np.stack([low - room, high + room]).astype(np.float32)


def _voxels(hits: list[Hits], shape: tuple[int, int, int]) -> Int:
    """The flat numbers of all voxels round the crossed edges, sorted, each once."""
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    keys = [voxel @ strides for found in hits for voxel in corner_voxels(found)]
    return np.unique(np.concatenate(keys)) if keys else np.zeros(0, np.int64)


def _normals(corners: Float) -> Float:
    """Unit normals (F, 3), 0 for triangles without area."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(normals / np.where(length > 0, length, 1))


def _planes(normals: Float, corners: Float) -> Float:
    return np.concatenate([normals, -np.einsum("fc,fc->f", normals, corners[:, 0])[:, None]], axis=1)


def _borders(corners: Float, triangles: Int) -> Float:
    """Both ends (S, 2, 3) of the edges that one triangle has alone, without the shortest."""
    ends = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    segments = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    key = ends @ np.array([triangles.max(initial=0) + 1, 1])
    _, first, count = np.unique(key, return_index=True, return_counts=True)
    segments = segments[first[count == 1]]
    return np.asarray(segments[np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1) >= 1e-6])


def _add_borders(quadrics: Float, segments: Float, index: VoxelIndex, size: Float, weight: float) -> None:
    """Add the squared distance to the lines of open edges, in every voxel that they pass through."""
    way = segments[:, 1] - segments[:, 0]
    way = way / np.linalg.norm(way, axis=1, keepdims=True)
    across = np.eye(3) - way[:, :, None] * way[:, None, :]
    offset = -np.einsum("sij,sj->si", across, segments[:, 0])
    full = np.zeros((len(way), 4, 4))
    full[:, :3, :3], full[:, :3, 3] = across, offset
    full[:, 3, 3] = -np.einsum("si,si->s", segments[:, 0], offset)
    entries = weight * np.stack([full[:, i, j] for i, j in ENTRIES], axis=1)
    for segment, voxel in walk(segments[:, 0], segments[:, 1], size):
        row = index.rows(*voxel.T)
        there = row >= 0
        np.add.at(quadrics, row[there], entries[segment[there]])
