"""Which pixels triangles cover, with NumPy alone: for what must work where nothing else is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

_AT_ONCE = 4_000_000  # pixels looked at together


def never() -> None:
    """Nobody wants it to stop."""


def hits(
    corners: F32,
    shape: tuple[int, int],
    *,
    over: float = 0.0,
    wrap: bool = False,
    check: Callable[[], None] = never,
) -> Iterator[tuple[I64, I64, F32]]:
    """Triangle by triangle the pixels whose centres it covers: triangles (N,), flat pixel numbers (N,), weights (N, 3).

    `corners` (F, 3, 2) are x and y in pixels of a picture of `shape` (rows, columns), and the weights how much of each
    corner there is at the centre. A triangle reaches beyond itself by `over` of its own size. What lies outside of the
    picture is left out, or with `wrap` comes in from the other side.
    """
    rows, columns = shape
    plane = Corners(corners)
    low = np.floor(corners.min(1) - 0.5).astype(np.int64)
    high = np.ceil(corners.max(1) - 0.5).astype(np.int64)
    if not wrap:
        low, high = np.maximum(low, 0), np.minimum(high, [columns - 1, rows - 1])
    extent = np.maximum(high - low + 1, 0)
    amounts = extent.prod(1)
    ends = np.cumsum(amounts)
    first = 0
    while first < len(corners):
        check()
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + _AT_ONCE, "right")))
        mine = amounts[first:last]
        face = np.repeat(np.arange(first, last), mine)
        step = np.arange(len(face)) - np.repeat(ends[first:last] - mine - before, mine)
        wide = np.maximum(extent[face, 0], 1)
        down = step // wide
        x, y = low[face, 0] + step - down * wide, low[face, 1] + down
        weights = plane.weights(face, x + 0.5, y + 0.5)
        hit = weights.min(1) >= -over
        yield face[hit], (y[hit] % rows) * columns + x[hit] % columns, weights[hit]
        first = last


class Corners:
    """Triangles (F, 3, 2) on a plane, asked for how much of each corner there is at a place."""

    def __init__(self, corners: F32) -> None:
        a = corners[:, 0].astype(np.float64)
        one, two = corners[:, 1] - a, corners[:, 2] - a
        double = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
        is_flat = np.abs(double) <= 1e-12
        by = np.where(is_flat, 1.0, double)[:, None]
        self._start = a.astype(np.float32)
        self._second = (np.stack([two[:, 1], -two[:, 0]], 1) / by).astype(np.float32)
        self._third = (np.stack([-one[:, 1], one[:, 0]], 1) / by).astype(np.float32)
        self._is_flat = is_flat

    def weights(self, face: NDArray[np.integer], x: NDArray[Any], y: NDArray[Any]) -> F32:
        """(N, 3) at (x, y) of the triangles `face` (N,), negative outside and where there is no area."""
        start, second, third = self._start[face], self._second[face], self._third[face]
        right, down = np.asarray(x - start[:, 0], np.float32), np.asarray(y - start[:, 1], np.float32)
        found = np.empty((len(face), 3), np.float32)
        found[:, 1] = right * second[:, 0] + down * second[:, 1]
        found[:, 2] = right * third[:, 0] + down * third[:, 1]
        found[:, 0] = 1.0 - found[:, 1] - found[:, 2]
        if self._is_flat.any():
            found[self._is_flat[face]] = -1.0
        return found
