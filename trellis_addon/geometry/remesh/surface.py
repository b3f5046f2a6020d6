"""From a lattice whose outside is known to the surface that is seen from there: closed, manifold, facing outward.

Every passed grid edge gives one quad for each of its corners that is outside. A wall round something closed is
seen from one side, a sheet with outside on both sides from two, what lies inside from none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..arrays import by_rows, each_part
from ..mesh.topology import F32, I32, I64, Bool
from .lattice import Lattice
from .tables import edge_number, rings
from .thin import Thin

_RINGS = 8
# How far sheets of the surface that pass one voxel are moved apart, in voxels: towards where each
# passes the voxel's edges and, where that is the same for both, towards the side it is seen from.
_APART = 0.25
_THICKNESS = 0.1
_SMOOTHING_STEPS = 16
# Voxels round an edge, in winding order for someone at its lower end, as steps back along the next two axes.
_ROUND = ((1, 1), (1, 0), (0, 0), (0, 1))


@dataclass(frozen=True)
class Quads:
    """The surface as quads, and where they come from."""

    vertices: F32
    """(N, 3) in voxels."""
    corners: I32
    """(Q, 4) vertices, wound to face outward."""
    voxels: I32
    """(Q, 4) rows of `places` for the same corners."""
    upper: Bool
    """(Q,) quads seen from their edge's upper end."""
    sheet: Bool
    """(Q,) quads of edges with outside at both ends; each such edge has two."""
    places: F32
    """(V, 3) in voxels: one for each voxel, those given first."""
    lower: I64
    """(Q, 3) the lower corner of each quad's edge."""
    axis: I64
    """(Q,) the axis of each quad's edge."""


def outer_quads(
    lattice: Lattice, corners: I64, axes: I64, coords: I64, vertices: F32, thin: Thin | None = None
) -> Quads:
    """The quads that are seen from the lattice's outside.

    Edges are given by their lower `corners` (E, 3) and `axes` (E,), each once; the lattice knows all of them as
    passed. `coords` and voxel-local `vertices` (L, 3) are the voxels; missing ones are made up. `thin` is what has
    got a body.
    """
    unit = np.eye(3, dtype=np.int64)
    lower_out = lattice.is_outside(corners)
    upper_out = by_rows(len(corners), lambda part: lattice.is_outside(corners[part] + unit[axes[part]]))
    seen = lower_out | upper_out
    corners, axes, lower_out, upper_out = corners[seen], axes[seen], lower_out[seen], upper_out[seen]

    voxels = _Voxels(lattice, coords)
    around = voxels.round(corners, axes)
    masks = voxels.masks(around)
    side = 2 * np.array([[edge_number(axis, *step) for step in _ROUND] for axis in range(3)])
    table = rings()
    keys, quads, uppers, sheets, edges = [], [], [], [], []
    for end, out, other in ((0, lower_out, upper_out), (1, upper_out, lower_out)):
        rows = np.flatnonzero(out)
        turned = around[rows] if end == 0 else around[rows, ::-1]
        turned_side = (side if end == 0 else side[:, ::-1]) + end
        keys.append(_corner_keys(turned, masks, table, turned_side, axes[rows]))
        quads.append(turned)
        uppers.append(np.full(len(rows), end == 1))
        sheets.append(other[rows])
        edges.append(rows)
    key = np.concatenate(keys)
    edge = np.concatenate(edges)
    used = np.zeros(len(voxels.coords) * _RINGS, np.bool_)
    used[key] = True
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    result = Quads(
        np.zeros((int(used.sum()), 3), np.float32),
        number[key],
        np.concatenate(quads),
        np.concatenate(uppers),
        np.concatenate(sheets),
        _places(voxels, vertices, around, corners, axes),
        corners[edge],
        axes[edge],
    )
    result = _placed(result, np.flatnonzero(used) // _RINGS, voxels.coords)
    return result if thin is None else _with_body(result, lattice, thin)


class _Voxels:
    """Voxels by their coordinates; asking for one that is missing makes it up."""

    def __init__(self, lattice: Lattice, coords: I64) -> None:
        self._lattice = lattice
        self.coords = coords
        self._row = np.full(len(lattice.crossed), -1, np.int32)
        self._row[lattice.place(*coords.T)] = np.arange(len(coords), dtype=np.int32)
        self._far: dict[tuple[int, int, int], int] = {}

    def round(self, corners: I64, axes: I64) -> I32:
        """(n, 4) rows of `coords` of the voxels round edges, in winding order."""

        def known(part: slice) -> I32:
            wanted = [_back(corners[part], axes[part], step) for step in _ROUND]
            return np.stack([self._row[self._lattice.place(*voxels.T)] for voxels in wanted], axis=1)

        rows = by_rows(len(corners), known)
        for column, step in enumerate(_ROUND):
            missing = np.flatnonzero(rows[:, column] < 0)
            if len(missing):
                rows[missing, column] = self.rows(_back(corners[missing], axes[missing], step))
        return rows

    def rows(self, wanted: I64) -> I32:
        """(n,) rows of `coords` of the voxels at (n, 3)."""
        place = self._lattice.place(*wanted.T)
        row = self._row[place]
        missing = np.flatnonzero(row < 0)
        if len(missing):
            distinct, which = np.unique(wanted[missing], axis=0, return_inverse=True)
            row[missing] = self._made_up(distinct)[which.reshape(-1)]
        return row

    def masks(self, around: I32) -> NDArray[np.int16]:
        """(rows,) of the voxels that `around` names: which of the twelve edges are passed."""
        used = np.zeros(len(self.coords), np.bool_)
        used[around] = True
        coords = self.coords[used]
        masks = np.zeros(len(self.coords), np.int16)
        masks[used] = by_rows(len(coords), lambda part: self._masks_of(coords[part]))
        return masks

    def _masks_of(self, coords: I64) -> NDArray[np.int16]:
        found = np.zeros(len(coords), np.int16)
        for offset in range(7):
            x, y, z = offset >> 2 & 1, offset >> 1 & 1, offset & 1
            bits = self._lattice.crossed[self._lattice.place(coords[:, 0] + x, coords[:, 1] + y, coords[:, 2] + z)]
            step = (x, y, z)
            for axis in range(3):
                if step[axis] == 0:
                    edge = edge_number(axis, step[(axis + 1) % 3], step[(axis + 2) % 3])
                    found |= (bits >> axis & 1).astype(np.int16) << np.int16(edge)
        return found

    def _made_up(self, coords: I64) -> I32:
        """Rows for distinct missing voxels; those in blocks that are not stored are few, so a dictionary does."""
        place = self._lattice.place(*coords.T)
        stored = self._lattice.stored(place)
        rows = np.empty(len(coords), np.int32)
        new = stored.copy()
        for i in np.flatnonzero(~stored):
            key = (int(coords[i, 0]), int(coords[i, 1]), int(coords[i, 2]))
            new[i] = key not in self._far
            if not new[i]:
                rows[i] = self._far[key]
        start = len(self.coords)
        rows[new] = np.arange(start, start + int(new.sum()), dtype=np.int32)
        for i in np.flatnonzero(new & ~stored):
            self._far[int(coords[i, 0]), int(coords[i, 1]), int(coords[i, 2])] = int(rows[i])
        self._row[place[stored]] = rows[stored]
        self.coords = np.concatenate([self.coords, coords[new]])
        return rows


def _corner_keys(turned: I32, masks: NDArray[np.int16], table: NDArray, side: NDArray, axes: I64) -> I64:
    """(n, 4) for the corners of quads: the voxel, and which of the sheets that pass it the corner is on."""

    def keys(part: slice) -> I64:
        quads = turned[part]
        return quads.astype(np.int64) * _RINGS + table[masks[quads], side[axes[part]]]

    return by_rows(len(turned), keys)


def _back(corners: I64, axes: I64, step: tuple[int, int]) -> I64:
    """The voxels that lie so many steps back from `corners` along the two axes after `axes`."""
    offsets = np.zeros((3, 3), np.int64)
    for axis in range(3):
        offsets[axis, (axis + 1) % 3], offsets[axis, (axis + 2) % 3] = step
    return corners - offsets[axes]


def _places(voxels: _Voxels, vertices: F32, around: I32, corners: I64, axes: I64) -> F32:
    """(V, 3) in voxels: the given vertices, and for voxels made up places spanned smoothly between their neighbours."""
    known = len(vertices)
    total = len(voxels.coords)
    places = np.empty((total, 3), np.float32)

    def put(part: slice) -> None:
        local = np.where(np.isfinite(vertices[part]), vertices[part], np.float32(0.5))
        places[part] = voxels.coords[part] + local

    each_part(known, put)
    if total == known:
        return places
    free = (around >= known).any(1)
    quads, middles = around[free], corners[free] + 0.5 * np.eye(3)[axes[free]]
    made_up = quads >= known
    rows = quads[made_up] - known
    count = np.maximum(np.bincount(rows, minlength=total - known), 1)[:, None]
    owner = np.nonzero(made_up)[0]
    start = _sums(rows, middles[owner], total - known) / count
    places[known:] = start
    links = np.concatenate([quads, np.roll(quads, 1, axis=1), np.roll(quads, -1, axis=1)], axis=0).reshape(3, -1)
    here = np.concatenate([links[0], links[0]])
    there = np.concatenate([links[1], links[2]])
    mine = here >= known
    here, there = here[mine] - known, there[mine]
    weight = np.bincount(here, minlength=total - known)[:, None]
    moved = weight[:, 0] > 0
    low = voxels.coords[known:] - 0.5
    for _ in range(_SMOOTHING_STEPS):
        mean = _sums(here, places[there], total - known) / np.maximum(weight, 1)
        places[known:][moved] = np.clip(mean, low, low + 2)[moved]
    return places


def _placed(quads: Quads, owner: I64, coords: I64) -> Quads:
    """The quads with their vertices in place: at their voxel's, or apart where several sheets pass one voxel."""
    corners, axes = quads.lower, quads.axis
    vertices = quads.places[owner]
    count = np.bincount(owner, minlength=len(coords))
    several = by_rows(len(quads.voxels), lambda part: count[quads.voxels[part]] > 1)
    rows, columns = np.divmod(np.flatnonzero(several), 4)
    vertex = quads.corners[rows, columns]
    middle = (corners[rows] + 0.5 * np.eye(3)[axes[rows]] - coords[quads.voxels[rows, columns]]).astype(np.float32)
    towards = np.eye(3, dtype=np.float32)[axes[rows]] * np.where(quads.upper[rows], 1, -1)[:, None]
    thin = quads.sheet[rows]
    number = len(vertices)
    size = np.maximum(np.bincount(vertex, minlength=number), 1)[:, None]
    middle = _sums(vertex, middle, number) / size
    side = _sums(vertex[thin], towards[thin], number)
    side /= np.maximum(np.linalg.norm(side, axis=1), 1e-9)[:, None]
    moved = np.flatnonzero(count[owner] > 1)
    voxel = owner[moved]
    mean = _sums(voxel, middle[moved], len(coords)) / np.maximum(count, 1)[:, None]
    vertices[moved] += _APART * (middle[moved] - mean[voxel]) + _THICKNESS * side[moved]
    return replace(quads, vertices=vertices)


def _with_body(quads: Quads, lattice: Lattice, thin: Thin) -> Quads:
    """The quads with the vertices of bodies in place."""
    corners, axes = quads.lower, quads.axis
    inner = corners.copy()
    below = ~quads.upper
    inner[below, axes[below]] += 1
    body = thin.filled(lattice)[lattice.place(*inner.T)]
    moved = np.zeros(len(quads.vertices), np.bool_)
    moved[quads.corners[body]] = True
    number = np.cumsum(moved) - 1
    near = moved[quads.corners]
    rows, _ = np.nonzero(near)
    vertex = number[quads.corners[near]]
    count = int(moved.sum())
    middle = _sums(vertex, corners[rows] + 0.5 * np.eye(3)[axes[rows]], count)
    middle /= np.maximum(np.bincount(vertex, minlength=count), 1)[:, None]
    vertices = quads.vertices.copy()
    vertices[moved] = thin.placed(middle.astype(np.float32))
    return replace(quads, vertices=vertices)


def _sums(groups: NDArray, values: NDArray, count: int) -> NDArray[np.float64]:
    """(count, 3) sums of rows (n, 3) by group."""
    return np.stack([np.bincount(groups, values[:, axis], count) for axis in range(3)], axis=1).astype(np.float64)
