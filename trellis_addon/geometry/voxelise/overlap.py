"""Which voxels a triangle touches, and which an edge passes through."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .scan import Float, Int, chunks, expand

_BOXES = 1 << 18  # candidate boxes in hand at a time


def overlaps(corners: Float, size: Float, shape: tuple[int, int, int]) -> Iterator[tuple[Int, Int]]:
    """(triangle (M,), voxel (M, 3)) for candidates of overlap: every voxel that a triangle touches, and some more."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    main = np.abs(normal * size).argmax(1)
    lattice = corners / size
    for axis in range(3):
        mine = np.flatnonzero(main == axis)
        if len(mine):
            yield from _columns(mine, lattice[mine], (normal * size)[mine], shape, axis)


def _columns(
    mine: Int, corners: Float, normal: Float, shape: tuple[int, int, int], axis: int
) -> Iterator[tuple[Int, Int]]:
    """The same for triangles that are seen largest along `axis`, in voxels: rows, columns, then a few boxes each."""
    u_axis, v_axis = (axis + 1) % 3, (axis + 2) % 3
    low, high = _range(corners.min(1), corners.max(1), shape)
    count = np.maximum(high[:, v_axis] - low[:, v_axis] + 1, 0)
    slack = 1e-6
    for part in chunks(count, _BOXES):
        owner, number = expand(count[part])
        owner += part.start
        j = low[owner, v_axis] + number
        first, last = _extent_in_row(corners[:, :, [u_axis, v_axis]][owner], j)
        start = np.maximum(np.floor(first - slack), low[owner, u_axis]).astype(np.int64)
        stop = np.minimum(np.floor(last + slack), high[owner, u_axis]).astype(np.int64)
        columns = np.maximum(stop - start + 1, 0)
        for piece in chunks(columns, _BOXES):
            line, step = expand(columns[piece])
            line += piece.start
            i, row, triangle = start[line] + step, j[line], owner[line]
            n, p = normal[triangle], corners[triangle, 0]
            steep = np.where(n[:, axis] != 0, n[:, axis], 1)
            du, dv = n[:, u_axis] / steep, n[:, v_axis] / steep
            middle = p[:, axis] - du * (i + 0.5 - p[:, u_axis]) - dv * (row + 0.5 - p[:, v_axis])
            reach = (np.abs(du) + np.abs(dv)) / 2 + slack
            bottom = np.maximum(np.ceil(middle - reach) - 1, low[triangle, axis]).astype(np.int64)
            top = np.minimum(np.floor(middle + reach), high[triangle, axis]).astype(np.int64)
            depth = np.maximum(top - bottom + 1, 0)
            for rest in chunks(depth, _BOXES):
                column, level = expand(depth[rest])
                column += rest.start
                voxel = np.empty((len(column), 3), np.int64)
                voxel[:, u_axis], voxel[:, v_axis] = i[column], row[column]
                voxel[:, axis] = bottom[column] + level
                yield mine[triangle[column]], voxel


def _range(low: Float, high: Float, shape: tuple[int, int, int]) -> tuple[Int, Int]:
    """First and last cell of boxes given in voxels, as the reference counts them, cut off to the grid."""
    last = np.array(shape) - 1
    first = np.maximum(np.trunc(low), 0).astype(np.int64)
    return first, np.minimum(np.trunc(high + 1) - 1, last).astype(np.int64)


def _extent_in_row(corners: Float, j: Int) -> tuple[Float, Float]:
    """Lowest and highest u of triangles (M, 3, 2) within j <= v <= j + 1; the lowest is above the highest outside."""
    low, high = np.full(len(j), np.inf), np.full(len(j), -np.inf)
    for number in range(3):
        a, b = corners[:, number], corners[:, (number + 1) % 3]
        extent = b[:, 1] - a[:, 1]
        flat = extent == 0
        scale = 1 / np.where(flat, 1, extent)
        s, t = (j - a[:, 1]) * scale, (j + 1 - a[:, 1]) * scale
        s, t = np.where(flat, 0, np.minimum(s, t)), np.where(flat, 1, np.maximum(s, t))
        inside = np.where(flat, (a[:, 1] >= j) & (a[:, 1] <= j + 1), (s <= 1) & (t >= 0))
        s, t = np.clip(s, 0, 1), np.clip(t, 0, 1)
        u, v = a[:, 0] + s * (b[:, 0] - a[:, 0]), a[:, 0] + t * (b[:, 0] - a[:, 0])
        low = np.where(inside, np.minimum(low, np.minimum(u, v)), low)
        high = np.where(inside, np.maximum(high, np.maximum(u, v)), high)
    outside = low > high
    return np.where(outside, 0.0, low), np.where(outside, -2.0, high)


class OverlapTest:
    """Triangles against boxes of `size`, touching included (Schwarz and Seidel, "Fast parallel surface and solid
    voxelization on GPUs", 2010: the plane, then the three edges in each of three projections)."""

    def __init__(self, corners: Float, normals: Float, size: Float) -> None:
        self._size = size
        critical = np.where(normals > 0, size, 0.0)
        self._normal = normals
        self._near = np.einsum("fc,fc->f", normals, critical - corners[:, 0])
        self._far = np.einsum("fc,fc->f", normals, size - critical - corners[:, 0])
        edges = np.roll(corners, -1, axis=1) - corners
        across, offset = [], []
        for first, second, along in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            sign = np.where(normals[:, along] >= 0, 1.0, -1.0)[:, None]
            n = np.stack([-edges[:, :, second], edges[:, :, first]], axis=2) * sign[:, :, None]
            d = -np.einsum("feu,feu->fe", n, corners[:, :, [first, second]])
            d += np.maximum(0, size[first] * n[:, :, 0]) + np.maximum(0, size[second] * n[:, :, 1])
            across.append(n)
            offset.append(d)
        self._across = np.stack(across, axis=1)  # (F, projection, edge, 2)
        self._offset = np.stack(offset, axis=1)

    def touch(self, triangle: Int, voxel: Int) -> np.ndarray:
        """(M,) bool for pairs of a triangle and a voxel (M, 3)."""
        corner = voxel * self._size
        side = np.einsum("mc,mc->m", self._normal[triangle], corner)
        good = (side + self._near[triangle]) * (side + self._far[triangle]) <= 0
        left = np.flatnonzero(good)
        corner, triangle = corner[left], triangle[left]
        flat = np.stack([corner[:, [0, 1]], corner[:, [1, 2]], corner[:, [2, 0]]], axis=1)
        value = np.einsum("mpeu,mpu->mpe", self._across[triangle], flat) + self._offset[triangle]
        good[left] = (value >= 0).all((1, 2))
        return good


def walk(start: Float, end: Float, size: Float) -> Iterator[tuple[Int, Int]]:
    """(segment (M,), voxel (M, 3)) that segments pass through, step by step (Amanatides and Woo, 1987)."""
    extent = end - start
    length = np.linalg.norm(extent, axis=1)
    way = extent / length[:, None]
    voxel = np.floor(start / size).astype(np.int64)
    step = np.where(way > 0, 1, -1)
    moving = way != 0
    safe = np.where(moving, way, 1.0)
    border = (voxel + (step > 0)) * size
    reach = np.where(moving, (border - start) / safe, np.inf)
    pace = np.where(moving, size / np.abs(safe), np.inf)
    segment = np.arange(len(start))
    while len(segment):
        yield segment, voxel
        x, y, z = reach.T
        axis = np.where(x < y, np.where(x < z, 0, 2), np.where(y < z, 1, 2))
        rows = np.arange(len(segment))
        on = np.flatnonzero(reach[rows, axis] <= length)
        segment, voxel, reach, length, axis = segment[on], voxel[on].copy(), reach[on].copy(), length[on], axis[on]
        step, pace = step[on], pace[on]
        rows = np.arange(len(segment))
        voxel[rows, axis] += step[rows, axis]
        reach[rows, axis] += pace[rows, axis]
