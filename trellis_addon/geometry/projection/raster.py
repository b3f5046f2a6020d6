"""Triangles on a grid of pixels, in NumPy alone: which one is seen at each pixel, and where on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..texturing.scan import Corners, hits

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


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
    whole = np.flatnonzero(np.isfinite(corners).all((1, 2)))  # what lies behind a camera has no place
    for mine, place, weights in hits(corners[whole], shape, over=over + 1e-6):
        faces = whole[mine]
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
    weights = np.clip(Corners(corners).weights(of_pixel, column + 0.5, row + 0.5), 0.0, 1.0)
    weights /= weights.sum(1, keepdims=True)
    return Seen(pixels, of_pixel, weights.astype(np.float32), shape)
