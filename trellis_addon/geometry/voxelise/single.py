"""The dual vertices as the reference rounds them: single precision, added up in its order, solved in its way.

The quadrics are badly conditioned where the regularisation is small, and single precision then moves a
vertex by thousandths of a voxel. This file is for comparing with the reference, to the last bit in most
voxels; the product solves the same equations in double precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..voxels.index import VoxelIndex
from .overlap import OverlapTest, overlaps, walk
from .scan import Float, Hits, Int, corner_voxels

Single = NDArray[np.float32]
_ONE = np.float32(1)


def quadrics(
    corners: Single, hits: Sequence[Hits], index: VoxelIndex, count: int, size: Float, touch: bool
) -> tuple[Single, Single, Single]:
    """Quadrics (L, 4, 4), sums of crossings (L, 3) and their numbers (L,), each in the order of the triangles."""
    planes = _planes(corners)
    outer = planes[:, :, None] * planes[:, None, :]
    total = np.zeros((count, 4, 4), np.float32)
    mean = np.zeros((count, 3), np.float32)
    number = np.zeros(count, np.float32)
    if hits:
        triangle, axis, j, i = (np.concatenate(part) for part in zip(*map(_order, hits), strict=True))
        order = np.lexsort((i, j, axis, triangle))
        triangle = triangle[order]
        point = np.concatenate([found.point for found in hits])[order].astype(np.float32)
        rows = [np.stack([index.inside(*voxel.T) for voxel in corner_voxels(found)], axis=1) for found in hits]
        row = np.concatenate(rows)[order].reshape(-1)
        np.add.at(total, row, outer[np.repeat(triangle, 4)])
        np.add.at(mean, row, np.repeat(point, 4, axis=0))
        np.add.at(number, row, _ONE)
    if touch:
        _add_touching(total, outer, corners, index, size)
    return total, mean, number


def _order(found: Hits) -> tuple[Int, Int, Int, Int]:
    u_axis, v_axis = (found.axis + 1) % 3, (found.axis + 2) % 3
    return found.triangle, np.full(len(found.triangle), found.axis), found.voxel[:, v_axis], found.voxel[:, u_axis]


def _add_touching(total: Single, outer: Single, corners: Single, index: VoxelIndex, size: Float) -> None:
    wide = corners.astype(np.float64)
    normals = np.cross(wide[:, 1] - wide[:, 0], wide[:, 2] - wide[:, 1])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    test = OverlapTest(wide, normals / np.where(length > 0, length, 1), size)
    pairs = []
    for triangle, voxel in overlaps(wide, size, index.shape):
        row = index.inside(*voxel.T)
        there = np.flatnonzero(row >= 0)
        good = test.touch(triangle[there], voxel[there])
        pairs.append(np.stack([triangle[there][good], row[there][good]]))
    if pairs:
        triangle, row = np.concatenate(pairs, axis=1)
        order = np.argsort(triangle, kind="stable")
        np.add.at(total, row[order], outer[triangle[order]])


def add_borders(total: Single, segments: Float, index: VoxelIndex, size: Float, weight: float) -> None:
    """Add the quadrics of open edges `segments` (S, 2, 3), none of them shorter than a millionth."""
    start, end = segments[:, 0].astype(np.float32), segments[:, 1].astype(np.float32)
    way = end - start
    way = way / np.sqrt(_dot(way, way))[:, None]
    across = np.eye(3, dtype=np.float32) - way[:, :, None] * way[:, None, :]
    offset = -np.stack([_dot(across[:, axis], start) for axis in range(3)], axis=1)
    full = np.zeros((len(segments), 4, 4), np.float32)
    full[:, :3, :3], full[:, :3, 3], full[:, 3, :3] = across, offset, offset
    full[:, 3, 3] = -_dot(start, offset)
    full *= np.float32(weight)
    for segment, voxel in walk(segments[:, 0], segments[:, 1], size):
        row = index.rows(*voxel.T)
        np.add.at(total, row[row >= 0], full[segment[row >= 0]])


def least_points(
    total: Single, mean: Single, number: Single, regularization: float, coords: NDArray[np.int32], size: Single
) -> Single:
    """Dual vertices (L, 3), from the grid's lower corner."""
    mean = mean / number[:, None]
    pull = np.float32(regularization) * number
    toward = np.zeros_like(total)
    toward[:, 0, 0] = toward[:, 1, 1] = toward[:, 2, 2] = 1
    toward[:, :3, 3] = toward[:, 3, :3] = -mean
    toward[:, 3, 3] = _dot(mean, mean)
    total = total + pull[:, None, None] * toward
    low, high = coords.astype(np.float32) * size, (coords + 1).astype(np.float32) * size
    best = _solve(total[:, :3, :3], -total[:, :3, 3])
    outside = np.flatnonzero(~((best >= low) & (best <= high)).all(1))
    if len(outside):
        best[outside] = _on_box(total[outside], low[outside], high[outside])
    return best


def _planes(corners: Single) -> Single:
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1]
    normal = np.cross(a, b).astype(np.float32)
    length = np.sqrt(_dot(normal, normal))
    normal = normal / np.where(length > 0, length, _ONE)[:, None]
    return np.concatenate([normal, -_dot(normal, corners[:, 0])[:, None]], axis=1)


def _dot(a: Single, b: Single) -> Single:
    part = a * b
    return np.asarray(part[:, 0] + (part[:, 1] + part[:, 2]))


def _sum_of_four(part: Single) -> Single:
    """In the order of a register of four lanes."""
    return np.asarray((part[..., 0] + part[..., 2]) + (part[..., 1] + part[..., 3]))


def _norm(a: Single) -> Single:
    square = a * a
    if a.shape[1] == 3:
        return np.asarray(np.sqrt(square[:, 0] + (square[:, 1] + square[:, 2])))
    return np.asarray(np.sqrt(square.sum(1)))


def _solve(matrix: Single, right: Single) -> Single:
    """Systems of two or three equations by Householder's QR with column pivoting (Golub and Van Loan, 5.4)."""
    count, n = right.shape
    rows = np.arange(count)
    a = np.concatenate([matrix, right[:, :, None]], axis=2)
    length = np.stack([_norm(a[:, :, column]) for column in range(n)], axis=1)
    direct, places = length.copy(), np.tile(np.arange(n), (count, 1))
    for k in range(n - 1):
        pivot = k + length[:, k:].argmax(1)
        for array in (length, direct, places):
            kept = array[rows, k].copy()
            array[rows, k] = array[rows, pivot]
            array[rows, pivot] = kept
        column = a[rows, :, pivot]
        a[rows, :, pivot] = a[rows, :, k]
        a[:, :, k] = column
        head, below = column[:, k], column[:, k + 1 :]
        tail = below[:, 0] * below[:, 0]
        if below.shape[1] == 2:
            tail = tail + below[:, 1] * below[:, 1]
        done = tail <= np.finfo(np.float32).tiny
        beta = np.sqrt(head * head + tail)
        beta = np.where(head >= 0, -beta, beta)
        beta = np.where(done, np.where(head != 0, head, _ONE), beta)
        essential = np.where(done[:, None], np.float32(0), below / np.where(done, _ONE, head - beta)[:, None])
        tau = np.where(done, np.float32(0), (beta - head) / beta)
        a[:, k, k] = np.where(done, head, beta)
        for j in range(k + 1, n + 1):
            _reflect(a[:, k:, j], essential, tau)
        for j in range(k + 1, n):
            _shorten(length, direct, j, a[:, k, j], a[:, k + 1 :, j])
    out = a[:, :, n].copy()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for k in range(n - 1, -1, -1):
            out[:, k] = out[:, k] / a[:, k, k]
            for i in range(k):
                out[:, i] -= out[:, k] * a[:, i, k]
    answer = np.empty_like(out)
    np.put_along_axis(answer, places, out, 1)
    return answer


def _reflect(column: Single, essential: Single, tau: Single) -> None:
    part = essential * column[:, 1:]
    along = part[:, 0] if part.shape[1] == 1 else part[:, 0] + part[:, 1]
    along = along + column[:, 0]
    column[:, 0] -= tau * along
    column[:, 1:] -= (tau[:, None] * essential) * along[:, None]


def _shorten(length: Single, direct: Single, j: int, gone: Single, rest: Single) -> None:
    """The length of what is left of a column, brought up to date, and measured anew where that would be inexact."""
    safe = np.where(length[:, j] != 0, length[:, j], _ONE)
    share = np.abs(gone) / safe
    share = np.maximum((_ONE + share) * (_ONE - share), 0)
    ratio = length[:, j] / np.where(direct[:, j] != 0, direct[:, j], _ONE)
    anew = share * ratio * ratio <= np.sqrt(np.finfo(np.float32).eps)
    measured = _norm(rest)
    length[:, j] = np.where(anew, measured, length[:, j] * np.sqrt(share))
    direct[:, j] = np.where(anew, measured, direct[:, j])


def _on_box(total: Single, low: Single, high: Single) -> Single:
    best = low.copy()
    least = np.full(len(low), np.inf, np.float32)

    def consider(point: Single, axes: Sequence[int]) -> None:
        nonlocal best, least
        full = np.concatenate([point, np.ones((len(point), 1), np.float32)], axis=1)
        with np.errstate(invalid="ignore", over="ignore"):
            error = _sum_of_four(full * _sum_of_four(total * full[:, None, :]))
            feasible = np.isfinite(error)
            for axis in axes:
                feasible &= (point[:, axis] >= low[:, axis]) & (point[:, axis] <= high[:, axis])
            better = feasible & (error < least)
        least = np.where(better, error, least)
        best = np.where(better[:, None], point, best)

    for fixed in range(3):
        first, second = (fixed + 1) % 3, (fixed + 2) % 3
        block = total[:, [first, second]][:, :, [first, second]]
        for side in (low, high):
            right = total[:, [first, second], fixed] * side[:, fixed, None] + total[:, [first, second], 3]
            point = side.copy()
            point[:, [first, second]] = _solve(block, -right)
            consider(point, (first, second))
    for free in range(3):
        first, second = (free + 1) % 3, (free + 2) % 3
        for one in (low, high):
            for two in (low, high):
                point = np.empty_like(low)
                point[:, first], point[:, second] = one[:, first], two[:, second]
                right = total[:, free, first] * point[:, first] + total[:, free, second] * point[:, second]
                steep = np.where(total[:, free, free] != 0, total[:, free, free], np.nan)
                point[:, free] = -(right + total[:, free, 3]) / steep
                consider(point, (free,))
    for corner in range(8):
        point = np.stack([(high if corner >> axis & 1 else low)[:, axis] for axis in range(3)], axis=1)
        consider(point, ())
    return best
