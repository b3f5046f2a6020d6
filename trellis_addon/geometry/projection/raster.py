"""Triangles on a grid of pixels, in NumPy alone: which one is seen at each pixel, and where on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

_AT_ONCE = 2_000_000  # samples looked at together


@dataclass(frozen=True)
class Seen:
    """What a grid of pixels shows: `pixels` (P,) are places in it, row by row, in rising order.

    `faces` (P,) are the triangles there, `weights` (P, 3) how much of each of its corners.
    """

    pixels: I64
    faces: I64
    weights: F32
    shape: tuple[int, int]

    def at(self, corners: NDArray[np.float32]) -> F32:
        """Values at the corners (F, 3, C) of all triangles as they are at the pixels: (P, C)."""
        return np.asarray(np.einsum("pk,pkc->pc", self.weights, corners[self.faces]), np.float32)

    def spread(self, values: NDArray[np.float32], beyond: float = 0.0) -> F32:
        """Values (P, ...) of the pixels in the whole grid (H, W, ...)."""
        whole = np.full((self.shape[0] * self.shape[1], *values.shape[1:]), beyond, np.float32)
        whole[self.pixels] = values
        return whole.reshape(*self.shape, *values.shape[1:])

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which pixels show anything: (H, W)."""
        found = np.zeros(self.shape[0] * self.shape[1], bool)
        found[self.pixels] = True
        return found.reshape(self.shape)


def rasterise(corners: F32, shape: tuple[int, int], nearness: F32 | None = None, over: float = 0.0) -> Seen:
    """The triangles `corners` (F, 3, 2), x and y in pixels, on a grid of (rows, columns) from (0.5, 0.5) on.

    Where several lie over a pixel the one of the largest `nearness` (F, 3) is seen, without it the last. `over` is by
    how much of itself a triangle reaches beyond its edges.
    """
    rows, columns = shape
    best = np.full(rows * columns, -np.inf, np.float32)
    owner = np.full(rows * columns, -1, np.int64)
    for faces, place, weights in _samples(corners, shape, over):
        if nearness is None:
            owner[place] = faces
            continue
        near = np.einsum("nk,nk->n", weights, nearness[faces]).astype(np.float32)
        np.maximum.at(best, place, near)
        first = near >= best[place]
        owner[place[first]] = faces[first]
    pixels = np.flatnonzero(owner >= 0)
    of_pixel = owner[pixels]
    row, column = np.divmod(pixels, columns)
    weights = np.clip(_weights(corners[of_pixel], column + 0.5, row + 0.5), 0.0, 1.0)
    weights /= weights.sum(1, keepdims=True)
    return Seen(pixels, of_pixel, weights.astype(np.float32), shape)


def _samples(corners: F32, shape: tuple[int, int], over: float) -> Iterator[tuple[I64, I64, F32]]:
    """The faces, the places and the weights of all pixels whose centres lie in a triangle, some at a time."""
    rows, columns = shape
    finite = np.isfinite(corners).all((1, 2))
    lowest = np.where(finite[:, None], np.nan_to_num(corners).min(1), np.inf)
    highest = np.where(finite[:, None], np.nan_to_num(corners).max(1), -np.inf)
    limit = np.array([columns, rows])
    with np.errstate(invalid="ignore"):
        margin = over * np.where(finite[:, None], highest - lowest, 0.0)
    low = np.clip(np.ceil(lowest - margin - 0.5), 0, limit).astype(np.int64)
    high = np.clip(np.floor(highest + margin - 0.5), -1, limit - 1).astype(np.int64)
    extent = np.maximum(high - low + 1, 0)
    amounts = extent.prod(1)
    hit = np.flatnonzero(amounts)
    low, extent, amounts = low[hit], extent[hit], amounts[hit]
    planes = _planes(corners[hit], low)
    ends = np.cumsum(amounts)
    first = 0
    while first < len(hit):
        begun = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, begun + _AT_ONCE, "right")))
        counts = amounts[first:last]
        mine = np.repeat(np.arange(first, last, dtype=np.int32), counts)
        step = (np.arange(len(mine)) - np.repeat(ends[first:last] - counts - begun, counts)).astype(np.int32)
        down, along = np.divmod(step, extent[mine, 0].astype(np.int32))
        u, v = (plane[mine, 0] + plane[mine, 1] * along + plane[mine, 2] * down for plane in planes)
        w = 1.0 - u - v
        inside = np.flatnonzero((u >= -over - 1e-6) & (v >= -over - 1e-6) & (w >= -over - 1e-6))
        mine = mine[inside]
        place = (low[mine, 1] + down[inside]) * columns + low[mine, 0] + along[inside]
        yield hit[mine], place, np.stack([w[inside], u[inside], v[inside]], 1)
        first = last


def _planes(corners: F32, low: I64) -> tuple[F32, F32]:
    """The shares of the second and the third corner of each triangle at the centre of the pixel `low`, and how they
    grow from pixel to pixel along and down: (F, 3) each; below nought where a triangle has no area."""
    a, b, c = (corners[:, k].astype(np.float64) - (low + 0.5) for k in range(3))
    across: NDArray[np.float64] = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1])
    double: NDArray[np.float64] = across - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    flat = np.abs(double) < 1e-12
    safe = np.where(flat, 1.0, double)
    found = []
    for p, q in ((c - a, 1.0), (b - a, -1.0)):
        along, down = q * p[:, 1] / safe, -q * p[:, 0] / safe
        plane = np.stack([-(along * a[:, 0] + down * a[:, 1]), along, down], 1)
        plane[flat] = (-1.0, 0.0, 0.0)
        found.append(plane.astype(np.float32))
    return found[0], found[1]


def _weights(corners: F32, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of each corner (N, 3, 2) there is at (x, y): (N, 3), negative outside."""
    a, b, c = (corners[:, k].astype(np.float64) for k in range(3))
    double: NDArray[np.float64] = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    flat = np.abs(double) < 1e-12
    safe = np.where(flat, 1.0, double)
    u = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])) / safe
    v = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])) / safe
    found = np.stack([1.0 - u - v, u, v], 1)
    found[flat] = -1.0
    return found
