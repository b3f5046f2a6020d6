"""Where a voxel is in a list of voxels: a two-level table in place of a hash map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat

from ...core.errors import InputError

Array = Any  # a numpy array, or a torch tensor on any device

_FINE_GRID = 2**24  # blocks of 4 voxels up to this many of them, of 8, 16, ... beyond
_ROOM, _ROOM_PER_VOXEL = 2**24, 128  # entries of the blocks' tables; voxels strewn more widely are sorted


class VoxelIndex:
    """Rows of `coords` (L, 3) int, or (L, 4) with the batch first, found by their coordinates.

    Of voxels that are listed twice one row is found. Raises `InputError` for coordinates outside of the grid.
    """

    def __init__(self, coords: Array, grid_shape: Sequence[int]) -> None:
        xp = array_api_compat.array_namespace(coords)
        if coords.ndim != 2 or coords.shape[1] not in (3, 4):
            raise InputError("Voxel coordinates must be rows of x, y, z, with or without a batch number before them.")
        self.shape = (int(grid_shape[0]), int(grid_shape[1]), int(grid_shape[2]))
        self.batched = coords.shape[1] == 4
        self.batches = 1
        columns = [xp.astype(coords[:, axis], xp.int64) for axis in range(coords.shape[1])]
        if coords.shape[0]:
            for column, side in zip(columns[-3:], self.shape, strict=True):
                if int(xp.min(column)) < 0 or int(xp.max(column)) >= side:
                    raise InputError(
                        "A voxel lies outside of its grid of {shape}.", shape=" x ".join(map(str, self.shape))
                    )
            if self.batched:
                if int(xp.min(columns[0])) < 0:
                    raise InputError("A voxel has a negative batch number.")
                self.batches = int(xp.max(columns[0])) + 1
        self._xp = xp
        self._table: _Blocks | _Sorted = _Blocks(xp, columns, self.shape, self.batches)
        if not self._table.built:
            self._table = _Sorted(xp, columns, self.shape)

    def inside(self, *columns: Array) -> Array:
        """Rows (int64), -1 where there is no voxel, for columns (batch,) x, y, z that lie inside of the grid."""
        return self._table.rows(columns)

    def rows(self, *columns: Array) -> Array:
        """The same for columns that may lie anywhere; -1 outside of the grid."""
        xp = self._xp
        columns = tuple(xp.astype(column, xp.int64) for column in columns)
        sides = (self.batches, *self.shape)[-len(columns) :]
        good = xp.ones(columns[0].shape, dtype=xp.bool, device=array_api_compat.device(columns[0]))
        for column, side in zip(columns, sides, strict=True):
            good = good & (column >= 0) & (column < side)
        found = self.inside(*(xp.where(good, column, 0 * column) for column in columns))
        return xp.where(good, found, 0 * found - 1)


class _Blocks:
    """A table over all blocks of the grid names those that hold voxels; each of these has a table of rows."""

    def __init__(self, xp: Any, columns: Sequence[Array], shape: tuple[int, int, int], batches: int) -> None:
        self._xp = xp
        self._shift = 2
        while _blocks(shape, self._shift) > _FINE_GRID:
            self._shift += 1
        size = 1 << self._shift
        self._across = tuple((side + size - 1) // size for side in shape)
        self._count = _blocks(shape, self._shift)
        self._cells = 1 << (3 * self._shift)
        device = array_api_compat.device(columns[0])
        voxels = columns[0].shape[0]
        self.built = self._count * batches <= 16 * _FINE_GRID
        if not self.built:
            return
        block, cell = self._place(columns)
        marked = xp.zeros(self._count * batches, dtype=xp.bool, device=device)
        marked[block] = True
        used = xp.nonzero(marked)[0]
        self.built = used.shape[0] * self._cells <= _ROOM + _ROOM_PER_VOXEL * voxels
        if not self.built:
            return
        # Block 0 is the one of all places without voxels.
        self._first = xp.zeros(self._count * batches, dtype=xp.int32, device=device)
        self._first[used] = xp.arange(1, used.shape[0] + 1, dtype=xp.int32, device=device)
        self._rows = xp.full((used.shape[0] + 1) * self._cells, -1, dtype=xp.int32, device=device)
        place = xp.astype(self._first[block], xp.int64) * self._cells + cell
        self._rows[place] = xp.arange(voxels, dtype=xp.int32, device=device)

    def rows(self, columns: Sequence[Array]) -> Array:
        block, cell = self._place(columns)
        place = self._xp.astype(self._first[block], self._xp.int64) * self._cells + cell
        return self._xp.astype(self._rows[place], self._xp.int64)

    def _place(self, columns: Sequence[Array]) -> tuple[Array, Array]:
        """The block and the cell in it, as flat int64 numbers."""
        shift, low = self._shift, (1 << self._shift) - 1
        x, y, z = columns[-3:]
        block = ((x >> shift) * self._across[1] + (y >> shift)) * self._across[2] + (z >> shift)
        if len(columns) == 4:
            block = block + columns[0] * self._count
        cell = ((((x & low) << shift) | (y & low)) << shift) | (z & low)
        return block, cell


class _Sorted:
    """The flat numbers of all voxels in order, to be searched: slower, and small whatever the grid."""

    built = True

    def __init__(self, xp: Any, columns: Sequence[Array], shape: tuple[int, int, int]) -> None:
        self._xp, self._shape = xp, shape
        keys = self._keys(columns)
        self._order = xp.argsort(keys, stable=True)
        self._sorted = keys[self._order]

    def rows(self, columns: Sequence[Array]) -> Array:
        xp = self._xp
        keys = self._keys(columns)
        last = self._sorted.shape[0] - 1
        if last < 0:
            return 0 * keys - 1
        place = xp.searchsorted(self._sorted, keys)
        place = xp.where(place > last, 0 * place + last, place)
        found = xp.astype(self._order[place], xp.int64)
        return xp.where(self._sorted[place] == keys, found, 0 * found - 1)

    def _keys(self, columns: Sequence[Array]) -> Array:
        key = self._xp.astype(columns[0], self._xp.int64)
        for column, side in zip(columns[1:], self._shape[-(len(columns) - 1) :], strict=True):
            key = key * side + column
        return key


def _blocks(shape: Sequence[int], shift: int) -> int:
    size = 1 << shift
    count = 1
    for side in shape:
        count *= (side + size - 1) // size
    return count
