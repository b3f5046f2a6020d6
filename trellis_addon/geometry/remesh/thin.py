"""What is thinner than a voxel gets a body of about a voxel, so that it stays in one piece.

Corners near a thin surface count as inside. What separates them from the outside is closed by construction, and its
vertices then go back to within a fraction of a voxel of the surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..mesh.closest import Surface
from ..mesh.topology import F32, I64, Bool, TriMesh, joined
from .lattice import Lattice

# How near a corner must be, in voxels. A line along the middle of a row of voxels is .71 from the nearest.
_REACH = 0.75
# How far from the thin surface the body's own surface lies, in voxels.
OFFSET = 0.15
# A vertex that is nearer than this to the surface says nothing about the side that it is on.
_ON_IT = 0.05
# What is lost is looked for at places so far apart, and so far from the surface that was made.
_STEP = 0.5
_LOST = 0.6
_SPARED = 2.0
# How much more of it gets a body, on either side.
_STRIDE = 1.5
_CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])


@dataclass(frozen=True)
class Thin:
    """`surface` is what has got a body, in voxels; `corners` (n, 3) are those within it."""

    surface: Surface
    corners: I64

    def filled(self, lattice: Lattice) -> Bool:
        """Which corners are within it, as the lattice's arrays are."""
        filled = np.zeros(len(lattice.outside), np.bool_)
        filled[lattice.place(*self.corners.T)] = True
        return filled

    def placed(self, vertices: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vertices (n, 3) of the body, moved along their way to the surface until they are near it."""
        found = self.surface.closest(vertices)
        away = vertices - found.points
        far = np.maximum(found.distances, 1e-9)[:, None]
        return np.where(far > _ON_IT, found.points + away / far * np.float32(OFFSET), vertices).astype(np.float32)


def give_body(lattice: Lattice, mesh: TriMesh, voxels: I64, edges: tuple[I64, I64], before: Thin | None = None) -> Thin:
    """Count the corners of `voxels` (n, 3) that are near a thin mesh (in voxels) as inside, in the lattice too.

    Of `edges` (lower corners (E, 3) and axes (E,)), which the surface passes, one end at least does. `before` is what
    has got a body already.
    """
    surface = Surface(mesh.vertices, mesh.faces)
    corners = np.unique((voxels[:, None] + _CORNERS).reshape(-1, 3), axis=0)
    corners = corners[lattice.is_outside(corners)]
    corners = corners[surface.closest(corners.astype(np.float32), _REACH).distances < _REACH]
    lattice.fill(corners)
    lower, axes = edges
    upper = lower.copy()
    upper[np.arange(len(axes)), axes] += 1
    bare = lower[lattice.is_outside(lower) & lattice.is_outside(upper)]
    lattice.fill(bare)
    corners = np.concatenate([corners, bare])
    if before is not None:
        both = joined([mesh, TriMesh(before.surface.vertices, before.surface.faces)])
        surface, corners = Surface(both.vertices, both.faces), np.concatenate([corners, before.corners])
    return Thin(surface, corners)


def lost_of(lattice: Lattice, shape: TriMesh, made: TriMesh, spared: TriMesh, voxels: I64) -> tuple[TriMesh, I64]:
    """What of a `shape` is nowhere near the surface that was `made` of it, though it is outside: thinner than a voxel.

    All are in voxels; `voxels` (n, 3) are those that the surface passes, and near what is `spared` nothing
    is lost. The triangles, and the voxels that they are lost in.
    """
    places, owner = _strewn(shape)
    cell = np.floor(places).astype(np.int64)
    span = cell.max(0, initial=0) + 3
    rows = np.flatnonzero(~_among(_keys(cell, span), np.unique(_keys(voxels, span))))
    # What lies within something solid is not lost.
    open_ = np.zeros(len(rows), np.bool_)
    for corner in _CORNERS:
        open_ |= lattice.is_outside(cell[rows] + corner)
    rows = _far_from(made, _LOST, places, rows[open_])
    rows = _far_from(spared, _SPARED, places, rows)
    if not len(rows):
        return shape.take(np.zeros(len(shape.faces), np.bool_)), np.zeros((0, 3), np.int64)
    # A little further, so that it joins what is left of it beside.
    around = cKDTree(places[rows]).query(places, distance_upper_bound=_STRIDE)[0] < np.inf
    return shape.take(np.unique(owner[around])), np.unique(cell[around], axis=0)


def _far_from(surface: TriMesh, reach: float, places: F32, rows: I64) -> I64:
    """Those of the rows whose places are `reach` from the surface or further."""
    if not len(rows) or not len(surface.faces):
        return rows
    found = Surface(surface.vertices, surface.faces).closest(places[rows], reach)
    return rows[~(found.distances < reach)]


def _strewn(shape: TriMesh) -> tuple[F32, I64]:
    """Places (S, 3) on the triangles, nowhere further than about half a voxel apart, and the triangle of each."""
    corners = shape.vertices[shape.faces]
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
    steps = np.maximum(np.ceil(sides / _STEP), 1).astype(np.int64)
    # Along the longest side and from it to the corner across: as many rows as the triangle is high.
    turn = sides.argmax(1)
    order = (turn[:, None] + np.arange(3)) % 3
    corners = np.take_along_axis(corners, order[:, :, None], axis=1)
    across = np.maximum(np.ceil(2 * shape.areas() / np.maximum(sides.max(1), 1e-12) / _STEP), 1).astype(np.int64)
    along = steps.max(1)
    owner = np.repeat(np.arange(len(corners)), along * across)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(along * across) - along * across, along * across)
    u = ((within % along[owner]) + 0.5) / along[owner]
    v = ((within // along[owner]) + 0.5) / across[owner]
    a, b, c = (corners[owner, k] for k in range(3))
    base = a + (b - a) * u[:, None]
    return (base + (c - base) * v[:, None]).astype(np.float32), owner


def _keys(cells: I64, span: I64) -> I64:
    cells = np.clip(cells, -1, span - 2) + 1
    return (cells[:, 0] * (span[1] + 1) + cells[:, 1]) * (span[2] + 1) + cells[:, 2]


def _among(keys: I64, known: I64) -> Bool:
    if not len(known):
        return np.zeros(len(keys), np.bool_)
    return known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] == keys
