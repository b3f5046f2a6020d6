"""Sharpening what voxels hold, so that reading between them gives back what lies on the surface.

A voxel's value is first read at one point, and trilinear reading then blurs it with its neighbours'. One step of
the simultaneous iterative reconstruction technique (Gilbert, 1972) against points all over the surface
takes much of that back: 0.6 to 3 dB on the project's models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.progress import Progress
from ..voxels.index import VoxelIndex
from .scan import Float, Int, chunks, expand

DENSITY = 2.0  # points for each square voxel of the surface
_POINTS = 1 << 19
_LEAST = 0.25  # of a voxel's weights: few points far away must not move it much

Reader = Callable[[Int, Float], NDArray[np.float32]]  # triangles (M,), barycentrics (M, 3) -> values (M, C)


def fitted(
    values: NDArray[np.float32],
    coords: NDArray[Any],
    resolution: int,
    corners: Float,
    read: Reader,
    *,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """The voxels' `values` (L, C) in 0..1, moved toward what `read` finds on triangles (F, 3, 3) in voxels."""
    progress = progress or Progress()
    index = VoxelIndex(coords, (resolution,) * 3)
    random = np.random.default_rng(0)
    count, channels = values.shape
    change = np.zeros((channels, count), np.float32)
    total = np.zeros(count, np.float32)
    for triangle, weights in surface_points(corners, DENSITY, random):
        progress.check()
        place = np.einsum("mk,mkc->mc", weights, corners[triangle])
        rows, share = _neighbours(index, place)
        safe = np.maximum(rows, 0)
        found = np.einsum("mk,mkc->mc", share, values[safe])
        residual = read(triangle, weights) - found
        flat, part = safe.reshape(-1), share.reshape(-1)
        total += np.bincount(flat, part, count)
        for channel in range(channels):
            if residual[:, channel].any():
                change[channel] += np.bincount(flat, (share * residual[:, channel, None]).reshape(-1), count)
    return np.clip(values + (change / np.maximum(total, _LEAST)).T, 0, 1).astype(np.float32)


def surface_points(corners: Float, density: float, random: np.random.Generator) -> Any:
    """(triangle (M,), barycentrics (M, 3)) of random points, about `density` for each unit of area, in chunks."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    wanted = density * np.linalg.norm(normals, axis=1) / 2
    counts = np.floor(wanted + random.random(len(wanted))).astype(np.int64)
    for part in chunks(counts, _POINTS):
        for start in range(0, int(counts[part].sum()), _POINTS):
            owner, _ = expand(counts[part])
            triangle = owner[start : start + _POINTS] + part.start
            root, along = np.sqrt(random.random(len(triangle))), random.random(len(triangle))
            yield triangle, np.stack([1 - root, root * (1 - along), root * along], axis=1)


def _neighbours(index: VoxelIndex, place: Float) -> tuple[Int, NDArray[np.float32]]:
    """Rows (M, 8) and weights (M, 8) of the voxels round places (M, 3); the weights of those that exist sum to 1."""
    base = np.floor(place - 0.5)
    part = place - 0.5 - base
    base = base.astype(np.int64)
    rows, weights = [], []
    for corner in range(8):
        offset = np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        row = index.rows(*(base + offset).T)
        weight = np.prod(np.where(offset, part, 1 - part), axis=1)
        rows.append(row)
        weights.append(np.where(row >= 0, weight, 0))
    share = np.stack(weights, axis=1)
    share /= np.maximum(share.sum(1, keepdims=True), 1e-9)
    return np.stack(rows, axis=1), share.astype(np.float32)
