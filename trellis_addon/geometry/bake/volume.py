"""Voxels with attributes, to be read at millions of places: a table of blocks of 8 x 8 x 8, no search.

The rule is sparse trilinear sampling: the eight voxel centres around a place, those that exist weighted by nearness
and the weights made to sum to 1, so nothing darkens at the edge of the shell.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from ...core.errors import InputError
from ..arrays import on_device
from ..mesh.closest_warp import start_warp
from .kernels import CHANNELS, ROW, sample_volume

_CHUNK = 1 << 21


class Volume:
    """`coords` (N, 3) voxel numbers below `resolution`, `attributes` (N, 6) floats in 0..1 or bytes.

    The cube [-0.5, 0.5]^3 has `resolution` voxels a side; values outside 0..1 are clamped. Raises `InputError` for
    arrays that do not fit together and coordinates outside the grid.
    """

    def __init__(self, coords: ArrayLike, attributes: ArrayLike, resolution: int, device: str = "cpu") -> None:
        start_warp()
        places = np.ascontiguousarray(coords, np.int32)
        values = np.asarray(attributes)
        if places.ndim != 2 or places.shape[1] != 3 or values.shape != (len(places), CHANNELS) or not len(places):
            raise InputError("The voxels need (N, 3) coordinates and (N, 6) attributes, N at least 1.")
        if places.min() < 0 or places.max() >= resolution:
            raise InputError("The voxels' coordinates must be between 0 and {last}.", last=resolution - 1)
        self.coords = places
        self.values: NDArray[np.float32] = _in_range(values)
        self.resolution = resolution
        self._device = device
        self._making = threading.Lock()  # it is read by several threads
        self._centres: Any = None
        blocks = -(-resolution // 8)
        block = places // 8
        key = (block[:, 0] * blocks + block[:, 1]) * blocks + block[:, 2]
        table = np.full(blocks**3, -1, np.int32)
        used = np.zeros(blocks**3, bool)
        used[key] = True
        slots = np.flatnonzero(used)
        table[slots] = np.arange(len(slots), dtype=np.int32)
        inner = places & 7
        rows = np.full(len(slots) * 512, -1, np.int32)
        rows[table[key].astype(np.int64) * 512 + (inner[:, 0] * 64 + inner[:, 1] * 8 + inner[:, 2])] = np.arange(
            len(places), dtype=np.int32
        )
        self._table = on_device(table.reshape(blocks, blocks, blocks), wp.int32, device)
        self._rows = on_device(rows.reshape(-1, 512), wp.int32, device)
        self._values = on_device(self.values, ROW, device)

    def sample(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """(Q, 6) in 0..1 at `points` (Q, 3) in the cube; the nearest voxel's where none of the eight exists."""
        out = np.empty((len(points), CHANNELS), np.float32)
        lost: list[NDArray[np.int64]] = []
        for start in range(0, len(points), _CHUNK):
            part = on_device(np.ascontiguousarray(points[start : start + _CHUNK]), wp.vec3, self._device)
            values = wp.empty(len(part), dtype=ROW, device=self._device)
            weights = wp.empty(len(part), dtype=wp.float32, device=self._device)
            wp.launch(
                sample_volume,
                len(part),
                inputs=[self._table, self._rows, self._values, self.resolution, part],
                outputs=[values, weights],
                device=self._device,
            )
            out[start : start + _CHUNK] = values.numpy()
            lost.append(start + np.flatnonzero(weights.numpy() < 1e-6))
        alone = np.concatenate(lost) if lost else np.zeros(0, np.int64)
        if len(alone):
            out[alone] = self.values[self._tree().query(points[alone])[1]]
        return out

    def _tree(self) -> Any:
        """The voxels' centres, to find the nearest; made when it is first needed."""
        from scipy.spatial import cKDTree

        with self._making:
            if self._centres is None:
                self._centres = cKDTree((self.coords + 0.5) / self.resolution - 0.5)
        return self._centres


def _in_range(values: NDArray) -> NDArray[np.float32]:
    """As float32 from 0 to 1; what is no number is 0."""
    if values.dtype == np.uint8:
        return values / np.float32(255.0)
    out = np.clip(values.astype(np.float32, copy=False), np.float32(0.0), np.float32(1.0))
    np.copyto(out, 0.0, where=np.isnan(out))
    return out
