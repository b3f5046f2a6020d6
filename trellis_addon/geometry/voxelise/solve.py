"""The point of a voxel where a quadric is least."""

from __future__ import annotations

import numpy as np

from ...core.machine.parallel import on_all_cores, slices
from .scan import Float

_CHUNK = 1 << 15
# The upper half of a symmetric 4 x 4 matrix, row by row: where each of its entries is kept.
ENTRIES = ((0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3))
_FULL = [0, 1, 2, 1, 4, 5, 2, 5, 7]


def least_points(quadrics: Float, low: Float, high: Float) -> Float:
    """(L, 3): where x^T Q x is least over each closed box `low`..`high` (L, 3); `quadrics` (L, 10) as in `ENTRIES`.

    Inside of the box where the free minimum is there; otherwise the best of the feasible minima on its faces,
    edges and corners.
    """
    out = np.empty_like(low)

    def solve(part: slice) -> None:
        out[part] = _least(quadrics[part], low[part], high[part])

    on_all_cores(slices(len(low), _CHUNK), solve)
    return out


def _least(quadrics: Float, low: Float, high: Float) -> Float:
    # Seen from the box's middle, in halves of its extent: the numbers are of the same size everywhere.
    half, middle = (high - low) / 2, (high + low) / 2
    a = quadrics[:, _FULL].reshape(-1, 3, 3)
    b = quadrics[:, [3, 6, 8]]
    b = (b + np.einsum("lij,lj->li", a, middle)) * half
    a = a * half[:, :, None] * half[:, None, :]
    point = _solve(a, -b)
    outside = np.flatnonzero(~(np.abs(point) <= 1).all(1))
    if len(outside):
        point[outside] = _on_box(a[outside], b[outside])
    return np.clip(middle + point * half, low, high)


def _solve(a: Float, b: Float) -> Float:
    """Solutions (L, n) of symmetric systems, of the least length where there are many; not a number for none."""
    try:
        return np.linalg.solve(a, b[..., None])[..., 0]
    except np.linalg.LinAlgError:
        return np.einsum("lij,lj->li", np.linalg.pinv(a, hermitian=True), b)


def _on_box(a: Float, b: Float) -> Float:
    """The least of the feasible minima of x^T a x + 2 b x on the faces, edges and corners of -1..1."""
    best = np.zeros_like(b)
    least = np.full(len(b), np.inf)

    def consider(point: Float) -> None:
        nonlocal best, least
        feasible = (np.abs(point) <= 1).all(1)
        error = np.einsum("li,lij,lj->l", point, a, point) + 2 * np.einsum("li,li->l", b, point)
        better = feasible & (error < least)
        least = np.where(better, error, least)
        best = np.where(better[:, None], point, best)

    for fixed in range(3):
        free = [axis for axis in range(3) if axis != fixed]
        block = a[:, free][:, :, free]
        determinant = block[:, 0, 0] * block[:, 1, 1] - block[:, 0, 1] ** 2
        safe = np.where(determinant != 0, determinant, np.nan)
        for side in (-1.0, 1.0):
            right = -(b[:, free] + side * a[:, free, fixed])
            point = np.full_like(b, side)
            point[:, free[0]] = (right[:, 0] * block[:, 1, 1] - right[:, 1] * block[:, 0, 1]) / safe
            point[:, free[1]] = (right[:, 1] * block[:, 0, 0] - right[:, 0] * block[:, 0, 1]) / safe
            consider(point)
    for free_axis in range(3):
        first, second = (axis for axis in range(3) if axis != free_axis)
        slope = np.where(a[:, free_axis, free_axis] != 0, a[:, free_axis, free_axis], np.nan)
        for one in (-1.0, 1.0):
            for two in (-1.0, 1.0):
                point = np.empty_like(b)
                point[:, first], point[:, second] = one, two
                right = b[:, free_axis] + one * a[:, free_axis, first] + two * a[:, free_axis, second]
                point[:, free_axis] = -right / slope
                consider(point)
    for corner in range(8):
        consider(np.broadcast_to(np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1]) * 2.0 - 1.0, b.shape))
    return best
