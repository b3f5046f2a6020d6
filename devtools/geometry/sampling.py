"""Reading values between sparse voxels, on numpy arrays and on torch tensors."""

from __future__ import annotations

from typing import Any

import array_api_compat

from trellis_addon.core.errors import InputError
from trellis_addon.geometry.voxels.index import Array, VoxelIndex

_CHUNK = 1 << 19


class SparseGrid:
    """Values `features` (L, C) of the voxels `coords` (L, 3) int, or (L, 4) with the batch first, to be asked often.

    `grid_shape` is the number of cells along all axes or along each. Queries are (M, 3) in voxels, where
    voxel c has its sample at c + 0.5, or (M, 4) with the batch number first.
    """

    def __init__(self, features: Array, coords: Array, grid_shape: Any) -> None:
        if features.ndim != 2 or features.shape[0] != coords.shape[0]:
            raise InputError("There must be one row of values for each voxel.")
        cells = (grid_shape,) * 3 if isinstance(grid_shape, int) else tuple(int(side) for side in grid_shape)
        if len(cells) == 1:
            cells *= 3
        self.features = features
        self.index = VoxelIndex(coords, cells)
        self._xp = array_api_compat.array_namespace(features, coords)

    def rows(self, coords: Array) -> Array:
        """Rows (M,) int64 of the voxels at `coords`, -1 where there is none."""
        return self.index.rows(*(coords[:, axis] for axis in range(coords.shape[1])))

    def trilinear(self, queries: Array, *, return_weight: bool = False) -> Any:
        """Trilinear values (M, C), weighed over those of the 8 neighbours that exist; 0 where none does.

        With `return_weight` also the sum of these neighbours' weights (M,), in 0..1.
        """
        xp = self._xp
        values, weights = [], []
        for start in range(0, queries.shape[0], _CHUNK):
            value, weight = self._trilinear(queries[start : start + _CHUNK])
            values.append(value)
            weights.append(weight)
        device = array_api_compat.device(self.features)
        value = xp.concat(values, axis=0) if values else self.features[:0]
        if not return_weight:
            return value
        return value, xp.concat(weights) if weights else xp.zeros(0, dtype=xp.float32, device=device)

    def nearest(self, queries: Array) -> Array:
        """Values (M, C) of the voxels that the queries lie in; 0 where there is none."""
        xp = self._xp
        # A query that is not a number lies in no voxel.
        sound = xp.all(xp.isfinite(queries), axis=1)
        whole = xp.astype(xp.trunc(xp.where(sound[:, None], queries, 0 * queries - 1)), xp.int64)
        rows = self.rows(whole)
        return self._take(rows, (rows >= 0) & sound)

    def _trilinear(self, queries: Array) -> tuple[Array, Array]:
        xp = self._xp
        batch = (queries[:, 0],) if self.index.batched else ()
        if len(batch) + 3 != queries.shape[1]:
            raise InputError("Queries must have a batch number just where the voxels have one.")
        batch = tuple(xp.astype(number, xp.int64) for number in batch)
        place = xp.astype(queries[:, -3:], xp.float32)
        lowest = -2.0
        sound = xp.all(xp.isfinite(place), axis=1)
        place = xp.where(sound[:, None], place, 0 * xp.astype(sound, xp.float32)[:, None] + lowest)
        place = xp.clip(place, lowest, float(max(self.index.shape) + 2))
        base = xp.floor(place - 0.5)
        total, weight_sum = None, None
        for corner in range(8):
            offset = xp.asarray(
                [corner >> 2 & 1, corner >> 1 & 1, corner & 1], dtype=xp.float32, device=array_api_compat.device(place)
            )
            near = base + offset
            weight = xp.prod(1 - xp.abs(place - near - 0.5), axis=1)
            near = xp.astype(near, xp.int64)
            rows = self.index.rows(*batch, near[:, 0], near[:, 1], near[:, 2])
            present = rows >= 0
            weight = xp.where(present, weight, 0 * weight)
            part = xp.astype(self._take(rows, present), xp.float32) * weight[:, None]
            total = part if total is None else total + part
            weight_sum = weight if weight_sum is None else weight_sum + weight
        assert total is not None and weight_sum is not None
        value = total / xp.clip(weight_sum, 1e-12, None)[:, None]
        return xp.astype(value, self.features.dtype), weight_sum

    def _take(self, rows: Array, present: Array) -> Array:
        xp = self._xp
        if not self.features.shape[0]:
            shape = (rows.shape[0], self.features.shape[1])
            return xp.zeros(shape, dtype=self.features.dtype, device=array_api_compat.device(self.features))
        values = self.features[xp.where(present, rows, 0 * rows)]
        return xp.where(present[:, None], values, 0 * values)


def sample_trilinear(features: Array, coords: Array, grid_shape: Any, queries: Array) -> Array:
    """`SparseGrid.trilinear` for one question: values (M, C) of `features` (L, C) at `queries` (M, 3) in voxels."""
    return SparseGrid(features, coords, grid_shape).trilinear(queries)


def sample_nearest(features: Array, coords: Array, grid_shape: Any, queries: Array) -> Array:
    """`SparseGrid.nearest` for one question."""
    return SparseGrid(features, coords, grid_shape).nearest(queries)
