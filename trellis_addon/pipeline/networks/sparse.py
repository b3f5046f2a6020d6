"""Sparse voxels: which cells of a grid exist, who their neighbours are, and how a grid refines into the next.

A `VoxelGrid` is a set of coordinates with everything that is derived from them; layers share it, so that neighbours
are looked for once. A finer grid finds its neighbours through its parents' (no search at all).

Letters in the shape comments: N voxels, K = 27 places of a 3x3x3 kernel, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...core.errors import EngineError

WORKSPACE = 256 << 20  # bytes that a layer may gather at once when nobody says otherwise
MAX_VOXELS = (1 << 31) - 1  # rows are numbered with 32 bits


@dataclass(frozen=True)
class Subdivision:
    """One grid refined into another: fine voxel i sits in coarse row `parent[i]` at corner `slot[i]`.

    Corner j of a voxel lies at 2 * (x, y, z) + (j & 1, j >> 1 & 1, j >> 2 & 1). `parent` and `slot` are int64 (N,).
    """

    coarse_size: int
    fine: VoxelGrid
    parent: Tensor
    slot: Tensor

    @cached_property
    def corner(self) -> Tensor:
        """Row of every fine voxel in a table (8 coarse_size, C) of all corners."""
        return self.parent * 8 + self.slot

    def groups(self, rows: int) -> Iterator[tuple[slice, Tensor | slice]]:
        """Slices of at most `rows` coarse rows, each with the fine rows below it."""
        starts = [*range(0, self.coarse_size, rows), self.coarse_size]
        if len(starts) == 2:
            yield slice(0, self.coarse_size), slice(None)
            return
        in_order = bool((self.parent[1:] >= self.parent[:-1]).all())
        parents, order = (self.parent, None) if in_order else self.parent.sort(stable=True)
        ends = torch.searchsorted(parents, torch.tensor(starts, device=parents.device)).tolist()
        for i in range(len(starts) - 1):
            below = slice(ends[i], ends[i + 1])
            yield slice(starts[i], starts[i + 1]), below if order is None else order[below]


class VoxelGrid:
    """The coordinates (N, 4) = (b, x, y, z), int32 and not negative, in the order of the feature rows.

    `finer` is the refinement that this grid was given or came from; a decoder that has no guide follows it. `limit` is
    the most voxels that it, and what it is refined into, may have: more raise `EngineError`.
    """

    def __init__(self, coords: Tensor, workspace: int = WORKSPACE, limit: int = MAX_VOXELS // 8) -> None:
        _check_count(coords.shape[0], limit)
        self.coords = coords.int()
        self.workspace = workspace
        self.limit = limit
        self.finer: Subdivision | None = None
        self._derive: Callable[[], Tensor] | None = None

    def __len__(self) -> int:
        return self.coords.shape[0]

    def rows(self, width: int, itemsize: int) -> int:
        """How many rows a layer may treat at once when each needs `width` values."""
        return max(256, self.workspace // (width * itemsize))

    def slices(self, width: int, itemsize: int) -> Iterator[slice]:
        step = self.rows(width, itemsize)
        for start in range(0, len(self), step):
            yield slice(start, min(start + step, len(self)))

    @cached_property
    def neighbours(self) -> Tensor:
        """(N, 27) int32: the row at (x + kx - 1, y + ky - 1, z + kz - 1) for k = 9 kx + 3 ky + kz, or N for none."""
        derive, self._derive = self._derive, None
        return derive() if derive else _search(self.coords)

    def subdivide(self, mask: Tensor) -> Subdivision:
        """Refine: corner j of voxel n exists where mask[n, j]. Children follow their parents' order, then j."""
        parent, slot = mask.nonzero(as_tuple=True)
        _check_count(len(parent), self.limit)
        base = self.coords[parent]
        corner = torch.stack([slot & 1, slot >> 1 & 1, slot >> 2 & 1], dim=1).int()
        fine = VoxelGrid(torch.cat([base[:, :1], 2 * base[:, 1:] + corner], dim=1), self.workspace, self.limit)
        if "neighbours" in self.__dict__:
            fine._derive = _through_parents(self.neighbours, parent, slot)
        self.finer = Subdivision(len(self), fine, parent, slot)
        return self.finer

    def coarsen(self) -> tuple[VoxelGrid, Subdivision]:
        """The grid at half the resolution, in lexicographic order; it remembers this one as its refinement."""
        corner = self.coords[:, 1:] & 1
        slot = corner[:, 0] + 2 * corner[:, 1] + 4 * corner[:, 2]
        halved = torch.cat([self.coords[:, :1], self.coords[:, 1:] >> 1], dim=1)
        coords, parent = unique_rows(halved)
        coarse = VoxelGrid(coords, self.workspace, self.limit)
        coarse.finer = Subdivision(len(coarse), self, parent, slot.long())
        return coarse, coarse.finer


def _check_count(voxels: int, limit: int) -> None:
    if voxels > limit:
        raise EngineError(
            "The object has {voxels} voxels, more than can be handled; lower the resolution.", voxels=voxels
        )


@dataclass(frozen=True)
class SparseTensor:
    """Features (N, C) of the voxels of a grid."""

    feats: Tensor
    grid: VoxelGrid

    @property
    def coords(self) -> Tensor:
        return self.grid.coords

    def with_feats(self, feats: Tensor) -> SparseTensor:
        return SparseTensor(feats, self.grid)


def sparse(feats: Tensor, coords: Tensor, workspace: int = WORKSPACE) -> SparseTensor:
    """Features on a grid of their own."""
    return SparseTensor(feats, VoxelGrid(coords, workspace))


def unique_rows(coords: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (N, 4), not negative -> the different ones, sorted (b, x, y, z), and each row's place among them."""
    keys, bits = _keys(coords)
    unique, inverse = torch.unique(keys, return_inverse=True)
    low = (1 << bits) - 1
    columns = [unique >> 3 * bits, (unique >> 2 * bits & low) - 1, (unique >> bits & low) - 1, (unique & low) - 1]
    return torch.stack(columns, dim=1).int(), inverse


def _keys(coords: Tensor) -> tuple[Tensor, int]:
    """One number per voxel, in lexicographic order, and how many of its bits an axis takes.

    An empty margin lets a step beyond the grid find nothing. Taken apart by shifts: Metal has divided 64-bit numbers
    as floats, which are not exact.
    """
    c = coords.long()
    bits = (int(c[:, 1:].max()) + 2).bit_length() if len(c) else 2
    return c[:, 0] << 3 * bits | c[:, 1] + 1 << 2 * bits | c[:, 2] + 1 << bits | c[:, 3] + 1, bits


def _search(coords: Tensor) -> Tensor:
    """The neighbour table by binary search: one per column of three, whose members are neighbours in sorted order."""
    n = len(coords)
    keys, bits = _keys(coords)
    keys, order = keys.sort()
    order = torch.cat([order, order.new_tensor([n])]).int()
    end = torch.iinfo(torch.int64).max
    padded = torch.cat([keys, keys.new_full((2,), end)])
    table = torch.full((n, 27), n, dtype=torch.int32, device=coords.device)
    rows = order[:n].long()
    for kx in range(3):
        for ky in range(3):
            below = keys + ((kx - 1 << 2 * bits) + (ky - 1 << bits) - 1)  # the column's lowest member
            place = torch.searchsorted(keys, below)
            for kz in range(3):
                found = padded[place] == below + kz
                table[rows, 9 * kx + 3 * ky + kz] = torch.where(found, order[place], n)
                place = place + found
    return table


def _through_parents(neighbours: Tensor, parent: Tensor, slot: Tensor) -> Callable[[], Tensor]:
    """The children's neighbour table from the parents': a child's neighbour is a child of its parent's neighbour."""

    def derive() -> Tensor:
        n, device = len(parent), parent.device
        children = torch.full(((len(neighbours) + 1) * 8,), n, dtype=torch.int32, device=device)
        children[parent * 8 + slot] = torch.arange(n, dtype=torch.int32, device=device)
        places, corners = (table.to(device) for table in _steps())
        table = torch.empty((n, 27), dtype=torch.int32, device=device)
        parents = neighbours.reshape(-1)
        for start in range(0, n, _ROWS):
            rows = slice(start, start + _ROWS)
            of_parent = parents[parent[rows, None] * 27 + places[slot[rows]]].long()
            table[rows] = children[of_parent * 8 + corners[slot[rows]]]
        return table

    return derive


_ROWS = 1 << 16  # children whose neighbours are looked up at once


def _steps() -> tuple[Tensor, Tensor]:
    """For a child at each of 8 corners and each of 27 steps: which of its parent's 27, and which corner of that one."""
    corner, step = torch.arange(8)[:, None], torch.arange(27)[None, :]
    place, landing = torch.zeros(8, 27, dtype=torch.long), torch.zeros(8, 27, dtype=torch.long)
    for axis, weight in enumerate((9, 3, 1)):
        position = (corner >> axis & 1) + step // weight % 3 - 1  # -1..2 along this axis, 0 and 1 inside the parent
        place += ((position >> 1) + 1) * weight
        landing += (position & 1) << axis
    return place, landing
