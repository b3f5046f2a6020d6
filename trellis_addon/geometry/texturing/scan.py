"""Which pixels triangles cover, with NumPy alone: for what must work where nothing else is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
        x, y = low[face, 0] + step % wide, low[face, 1] + step // wide
        weights = barycentric(corners[face], x + 0.5, y + 0.5)
        hit = (weights >= -over).all(1)
        yield face[hit], (y[hit] % rows) * columns + x[hit] % columns, weights[hit]
        first = last


def barycentric(corners: F32, x: NDArray[np.float64], y: NDArray[np.float64]) -> F32:
    """How much of each corner (N, 3, 2) there is at (x, y): (N, 3), negative outside and where there is no area."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    double: NDArray[np.float64] = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    safe = np.where(np.abs(double) > 1e-12, double, 1.0)
    u = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])) / safe
    v = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])) / safe
    found = np.stack([1.0 - u - v, u, v], 1)
    found[np.abs(double) <= 1e-12] = -1.0
    return found.astype(np.float32)
