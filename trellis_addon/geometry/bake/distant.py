"""Seams in the distance: what lies between charts is coloured so that small mip levels agree on both sides of a seam.

A texel of the fourth level is the mean of 16 by 16: at a chart's border half of them are between charts, or another
chart's. What is between is free but for the first texels, and brings the mean on either side to that of the surface
there: a bounded least squares (A. Beck, M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear
inverse problems", 2009).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import each_part

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

_BLOCK = 8  # texels a side that are changed by one amount
_LEVELS = (3, 4)  # mip levels that are to agree
_KEPT = 3  # texels beside a chart that stay as they are: finer levels and compression read these
_ALONG = (0.25, 0.75)  # places of an edge
_STEPS = 40
_PULL = 2e-3  # towards the colours that were there
_ROWS = 4  # of blocks at a time: few enough to stay in a core's cache


def matched_gutters(colours: U8, inside: NDArray[np.bool_], vertices: F32, faces: I32, uvs: F32) -> U8:
    """The texture (S, S, C) with other colours where it is not `inside` (S, S) a chart or next to one.

    `vertices` (V, 3) at one place are one corner of the surface, with `uvs` (V, 2) of their own in each chart.
    """
    from scipy.ndimage import binary_dilation
    from scipy.sparse import diags_array, vstack

    size, channels = len(colours), colours.shape[2]
    here, there, length = _seams(vertices, faces, uvs)
    if size % (1 << max(_LEVELS)) or not len(here):
        return colours
    free = ~binary_dilation(inside, np.ones((3, 3), bool), _KEPT)
    across = size // _BLOCK
    share, share_inside = np.empty((across * across, 1), np.float32), np.empty((across * across, 1), np.float32)
    shown, of_surface, of_free = (np.empty((across * across, channels), np.float32) for _ in range(3))

    def look(rows: slice) -> None:
        """The means of some rows of blocks: sums of so few bytes are exact, in whatever order."""
        own, some = slice(rows.start * _BLOCK, rows.stop * _BLOCK), slice(rows.start * across, rows.stop * across)
        texels, within, without = colours[own].astype(np.float32), inside[own][..., None], free[own][..., None]
        share[some], share_inside[some] = _means(without), _means(within)
        shown[some], of_surface[some], of_free[some] = _means(texels), _means(texels * within), _means(texels * without)

    each_part(across, look, _ROWS)
    changed = np.flatnonzero(share[:, 0] > 0)
    share = share[changed, 0]
    weight = diags_array(np.sqrt(length / length.mean()).astype(np.float32))
    parts: list[Any] = []
    lack = []
    for level in _LEVELS:
        sides = [_reads(side, size, level) for side in (here, there)]
        surface = sum(side @ of_surface for side in sides) / np.maximum(
            sum(side @ share_inside for side in sides), 1e-6
        )
        for side in sides:
            parts.append(weight @ side)
            lack.append(weight @ (surface - side @ shown))
    # How much each block's change, of its free texels, changes what is read.
    system = (vstack(parts).tocsc()[:, changed] @ diags_array(share)).tocsr()
    back, wanted = system.T.tocsr(), np.concatenate(lack)
    mean = of_free[changed] / share[:, None]
    pull = _PULL * float(system.multiply(system).sum(0).mean())
    steep = _largest(system, back) + pull
    change = np.zeros((len(changed), channels), np.float32)
    ahead, pace = change, 1.0
    for _ in range(_STEPS):
        slope = back @ (system @ ahead - wanted) + pull * ahead
        step = np.clip(ahead - slope / steep, -mean, 255.0 - mean)
        next_pace = (1.0 + np.sqrt(1.0 + 4.0 * pace * pace)) / 2.0
        ahead = step + (pace - 1.0) / next_pace * (step - change)
        change, pace = step, next_pace
    blocks = np.zeros((across * across, channels), np.float32)
    blocks[changed] = change
    found = np.empty_like(colours)

    def paint(rows: slice) -> None:
        own = slice(rows.start * _BLOCK, rows.stop * _BLOCK)
        spread = blocks.reshape(across, across, channels)[rows].repeat(_BLOCK, 0).repeat(_BLOCK, 1)
        spread += colours[own]
        np.rint(np.clip(spread, 0.0, 255.0, out=spread), out=spread)
        found[own] = np.where(free[own][..., None], spread.astype(np.uint8), colours[own])

    each_part(across, paint, _ROWS)
    return found


def _seams(vertices: F32, faces: I32, uvs: F32) -> tuple[F32, F32, F32]:
    """Places (N, 2) on one side of each seam, the same on the other, and the edges' lengths (N,)."""
    place = np.unique(vertices, axis=0, return_inverse=True)[1].reshape(-1)
    start, end = faces.reshape(-1).astype(np.int64), np.roll(faces, -1, 1).reshape(-1).astype(np.int64)
    turned = place[start] > place[end]
    start, end = np.where(turned, end, start), np.where(turned, start, end)
    key = place[start].astype(np.int64) * len(vertices) + place[end]
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    one, two = order[same], order[same + 1]
    apart = (uvs[start[one]] != uvs[start[two]]).any(1) | (uvs[end[one]] != uvs[end[two]]).any(1)
    one, two = one[apart], two[apart]
    length = np.linalg.norm(vertices[start[one]] - vertices[end[one]], axis=1)

    def along(edges: I64) -> F32:
        return np.concatenate([(1.0 - t) * uvs[start[edges]] + t * uvs[end[edges]] for t in _ALONG]).astype(np.float32)

    return along(one), along(two), np.tile(np.maximum(length, 1e-12), len(_ALONG)).astype(np.float32)


def _means(values: NDArray[Any]) -> F32:
    """(B, C): means of (R, S, C) over square blocks."""
    rows, columns = (length // _BLOCK for length in values.shape[:2])
    blocks = values.reshape(rows, _BLOCK, columns, _BLOCK, -1)
    return np.asarray(blocks.mean((1, 3), dtype=np.float32).reshape(rows * columns, -1))


def _reads(places: F32, size: int, level: int) -> Any:
    """(N, B) sparse: how much of each block a bilinear look-up at `places` reads at a mip level."""
    from scipy.sparse import csr_array

    side, fine = size >> level, size // _BLOCK
    spread = (1 << level) // _BLOCK  # blocks to a texel of this level, each way
    at = np.clip(places * side - 0.5, 0.0, side - 1.0)
    low = np.minimum(at.astype(np.int64), side - 2)
    part = at - low
    rows, columns, values = [], [], []
    for dx in (0, 1):
        for dy in (0, 1):
            share = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1]) / spread**2
            for kx in range(spread):
                for ky in range(spread):
                    rows.append(np.arange(len(places)))
                    columns.append(((low[:, 1] + dy) * spread + ky) * fine + (low[:, 0] + dx) * spread + kx)
                    values.append(share)
    found = (np.concatenate(values).astype(np.float32), (np.concatenate(rows), np.concatenate(columns)))
    return csr_array(found, shape=(len(places), fine * fine))


def _largest(system: Any, back: Any) -> float:
    """A bound for the largest eigenvalue of `back` times `system`: no row sum is larger, as nothing is negative."""
    return float((back @ (system @ np.ones(system.shape[1], np.float32))).max())
