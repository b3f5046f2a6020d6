"""How thin a solid's walls are: from points strewn on its surface straight inwards, to where the surface comes again.

With nothing but numpy, and only as far as is asked for: a wall that is thick enough is not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .surface import MeshArrays

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_POINTS = 4_000
_CELLS = 64  # along the longest side, at the most
_CHUNK = 1_000_000  # pairs of a ray and a triangle at a time
_NOTHING = 1e-6  # of the longest side: nearer than that lies the face that the point is on
_GOLDEN = np.array([0.7548776662466927, 0.5698402909980532])  # steps of an even sequence of points in the square


@dataclass(frozen=True)
class ThinWalls:
    """The `share` of the surface where it is thinner than was asked for, and the `thinnest` of it."""

    share: float
    thinnest: float


def thin_walls(mesh: MeshArrays, limit: float) -> ThinWalls:
    """Where the walls of a closed surface that faces outwards are thinner than `limit`, in the mesh's units."""
    triangles = _triangles(mesh)
    crosses = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    areas = np.linalg.norm(crosses, axis=1)
    triangles, crosses, areas = triangles[areas > 0], crosses[areas > 0], areas[areas > 0]
    if not len(triangles) or limit <= 0:
        return ThinWalls(0.0, limit)
    normals = crosses / areas[:, None]
    at, points = _strewn(triangles, areas)
    ways = -normals[at] * limit
    rays, faces = _near(points, points + ways, triangles, limit)
    found = np.full(len(points), 1.0)
    least = _NOTHING * float(np.ptp(triangles.reshape(-1, 3), axis=0).max()) / limit
    for start in range(0, len(rays), _CHUNK):
        ray, face = rays[start : start + _CHUNK], faces[start : start + _CHUNK]
        leaves = np.einsum("ij,ij->i", ways[ray], normals[face]) > 0  # where it comes out again
        ray, face = ray[leaves], face[leaves]
        along = _hits(points[ray], ways[ray], triangles[face])
        np.minimum.at(found, ray, np.where(along > least, along, 1.0))
    return ThinWalls(float((found < 1.0).mean()), float(found.min()) * limit)


def _triangles(mesh: MeshArrays) -> F64:
    """(T, 3, 3): polygons as fans."""
    totals = np.diff(mesh.starts, append=len(mesh.corners))
    count = np.maximum(totals - 2, 0)
    face = np.repeat(np.arange(len(totals)), count)
    step = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    first = mesh.starts[face]
    corners = mesh.corners[np.stack([first, first + step + 1, first + step + 2], 1)]
    return mesh.positions[corners].astype(np.float64)


def _strewn(triangles: F64, areas: F64) -> tuple[I64, F64]:
    """Triangles by their area, and a point on each."""
    steps = (np.arange(_POINTS) + 0.5) / _POINTS * areas.sum()
    at = np.minimum(np.searchsorted(np.cumsum(areas), steps), len(areas) - 1)
    u, v = np.modf(np.arange(1, _POINTS + 1)[:, None] * _GOLDEN)[0].T
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    a, b, c = np.moveaxis(triangles[at], 1, 0)
    return at, a + u[:, None] * (b - a) + v[:, None] * (c - a)


def _near(start: F64, end: F64, triangles: F64, limit: float) -> tuple[I64, I64]:
    """Rays and triangles that share a cell of a grid: the numbers of both, pair by pair."""
    low = triangles.min((0, 1))
    cell = max(limit, float(np.ptp(triangles.reshape(-1, 3), axis=0).max()) / _CELLS)
    ray, cells_of_rays = _cells(np.minimum(start, end), np.maximum(start, end), low, cell)
    face, cells_of_faces = _cells(triangles.min(1), triangles.max(1), low, cell)
    kept = np.isin(cells_of_faces, cells_of_rays)
    face, cells_of_faces = face[kept], cells_of_faces[kept]
    order = np.argsort(cells_of_faces, kind="stable")
    face, cells_of_faces = face[order], cells_of_faces[order]
    first = np.searchsorted(cells_of_faces, cells_of_rays, "left")
    count = np.searchsorted(cells_of_faces, cells_of_rays, "right") - first
    pair = np.repeat(first, count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(ray, count), face[pair]


def _cells(low: F64, high: F64, origin: F64, cell: float) -> tuple[I64, I64]:
    """The cells that boxes lie in: the number of the box, and of the cell, for each."""
    first, last = (np.floor((corner - origin) / cell).astype(np.int64) + 2 for corner in (low, high))
    sides = last - first + 1
    count = sides.prod(1)
    box = np.repeat(np.arange(len(low)), count)
    step = np.arange(len(box)) - np.repeat(np.cumsum(count) - count, count)
    wide, deep = sides[box, 0], sides[box, 1]
    x, y, z = first[box, 0] + step % wide, first[box, 1] + step // wide % deep, first[box, 2] + step // (wide * deep)
    return box, (z << 40) + (y << 20) + x


def _hits(points: F64, ways: F64, triangles: F64) -> F64:
    """How far along its way each ray meets its triangle, in lengths of the way; infinite where it does not.

    Möller and Trumbore 1997.
    """
    a, b, c = np.moveaxis(triangles, 1, 0)
    ab, ac = b - a, c - a
    p = np.cross(ways, ac)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / np.einsum("ij,ij->i", ab, p)
        offset = points - a
        u = np.einsum("ij,ij->i", offset, p) * inverse
        q = np.cross(offset, ab)
        v = np.einsum("ij,ij->i", ways, q) * inverse
        along = np.einsum("ij,ij->i", ac, q) * inverse
        inside = (u >= 0) & (v >= 0) & (u + v <= 1)
    return np.where(inside & np.isfinite(along), along, np.inf)
