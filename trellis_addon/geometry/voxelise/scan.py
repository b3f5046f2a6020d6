"""Where triangles meet the lattice of voxels: scan conversion by expansion, without a loop over triangles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int = NDArray[Any]  # whole numbers of 32 or 64 bits
Float = NDArray[np.float64]

_LINES = 1 << 20  # lattice lines and points that are in hand at a time


@dataclass(frozen=True)
class Hits:
    """Crossings of lattice edges along `axis`: each has a triangle, the voxel whose far edge it is, and a place."""

    axis: int
    triangle: Int  # (H,)
    voxel: Int  # (H, 3)
    point: Float  # (H, 3), from the grid's lower corner


def expand(counts: Int) -> tuple[Int, Int]:
    """(owner, number within it) of `counts[i]` items for each owner i."""
    owner = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    return owner, np.arange(len(owner)) - first[owner]


def chunks(counts: Int, most: int) -> Iterator[slice]:
    """Runs of owners that have about `most` items together, and at least one owner."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + most, "right")), start + 1)
        yield slice(start, stop)
        start = stop


def scan(corners: Float, size: Float, shape: tuple[int, int, int], *, closed: bool = False) -> Iterator[Hits]:
    """All crossings of `corners` (F, 3, 3), measured from the grid's lower corner, with lattice edges inside the grid.

    The rule is the reference's: along an axis, a triangle crosses the lattice lines strictly after the cell
    that its lower end falls in, up to the cell of its upper end, both cut off to the grid. Where a lattice
    line meets the edge between two triangles, the reference may miss both by rounding; with `closed` exactly
    one of them is crossed, so that a closed surface stays closed.
    """
    for axis in range(3):
        yield from _scan_axis(corners, size, shape, axis, closed)


def _scan_axis(corners: Float, size: Float, shape: tuple[int, int, int], axis: int, closed: bool) -> Iterator[Hits]:
    u_axis, v_axis = (axis + 1) % 3, (axis + 2) % 3
    v = corners[:, :, v_axis]
    row = _cell(v, size[v_axis], shape[v_axis])
    count = row.max(1) - row.min(1)
    some = np.flatnonzero(count)
    for part in chunks(count[some], _LINES):
        chosen = some[part]
        order = np.argsort(v[chosen], axis=1, kind="stable")
        swept = np.take_along_axis(corners[chosen], order[:, :, None], axis=1)[:, :, [u_axis, v_axis, axis]]
        rows = np.take_along_axis(row[chosen], order, axis=1)
        owner, number = expand(rows[:, 2] - rows[:, 0])
        j = rows[owner, 0] + number
        above = (j >= rows[owner, 1]).astype(np.int64)
        at = (j + 1) * size[v_axis]
        # The two edges at this height: one from the lowest to the highest corner, one to the middle corner.
        if closed:  # both run upward, so that the neighbour's copy of an edge rounds the same way
            left = _on_line(swept[owner, above], swept[owner, above + 1], at, closed)
            right = _on_line(swept[owner, 0], swept[owner, 2], at, closed)
        else:
            left = _on_line(swept[owner, 2 * above], swept[owner, 1], at, closed)
            right = _on_line(swept[owner, 2 * above], swept[owner, 2 - 2 * above], at, closed)
        swap = left[:, 0] > right[:, 0]
        left, right = np.where(swap[:, None], right, left), np.where(swap[:, None], left, right)
        first = _cell(left[:, 0], size[u_axis], shape[u_axis])
        columns = _cell(right[:, 0], size[u_axis], shape[u_axis]) - first
        for piece in chunks(columns, _LINES):
            line, step = expand(columns[piece])
            line += piece.start
            i = first[line] + step
            u = (i + 1) * size[u_axis]
            w = _mix(left[line, 1], right[line, 1], left[line, 0], right[line, 0], u, closed)
            k = np.trunc(w / size[axis])
            good = (k >= 0) & (k < shape[axis])
            line, i, u, w, k = line[good], i[good], u[good], w[good], k[good]
            voxel = np.empty((len(line), 3), np.int32)
            voxel[:, u_axis], voxel[:, v_axis], voxel[:, axis] = i, j[line], k
            point = np.empty((len(line), 3))
            point[:, u_axis], point[:, v_axis], point[:, axis] = u, at[line], w
            yield Hits(axis, chosen[owner[line]].astype(np.int32), voxel, point)


def _cell(place: Float, size: float, count: int) -> Int:
    return np.clip(np.trunc(place / size), 0, count - 1).astype(np.int64)


def _on_line(a: Float, b: Float, v: Float, closed: bool) -> Float:
    """(u, w) where the line from `a` to `b`, both (u, v, w), is at `v`."""
    return np.stack([_mix(a[:, axis], b[:, axis], a[:, 1], b[:, 1], v, closed) for axis in (0, 2)], axis=1)


def _mix(a: Float, b: Float, start: Float, end: Float, at: Float, closed: bool) -> Float:
    """`a` at `start`, `b` at `end`, linear between, `a` where they coincide.

    The form decides ties. The reference's may round a constant; the other is exact at both ends and on
    constants, so that surfaces in line with the lattice are cut where they lie.
    """
    extent = end - start
    share = np.where(extent != 0, (at - start) / np.where(extent != 0, extent, 1), 0)
    if not closed:
        return np.asarray((1 - share) * a + share * b)
    return np.where(share == 1, b, np.clip(a + share * (b - a), np.minimum(a, b), np.maximum(a, b)))


def corner_voxels(hits: Hits) -> Iterator[Int]:
    """The four voxels (H, 3) round each crossed edge; the first is the one whose far edge it is."""
    u_axis, v_axis = (hits.axis + 1) % 3, (hits.axis + 2) % 3
    for du, dv in ((0, 0), (1, 0), (0, 1), (1, 1)):
        offset: NDArray[Any] = np.zeros(3, np.int32)
        offset[u_axis], offset[v_axis] = du, dv
        yield hits.voxel + offset
