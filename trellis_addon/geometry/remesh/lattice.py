"""The corners of a sparse grid of voxels, and which of them lie outside of everything.

Corners are kept in blocks of 4 x 4 x 4; only blocks that touch an active voxel are stored. What a grid
edge's flag says is whether the surface passes between the edge's two corners.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...core.machine.parallel import on_all_cores, slices
from ..arrays import by_rows, each_part
from ..mesh.topology import I32, I64, Bool, groups

SIDE = 4
_CELLS = SIDE**3
# A margin of one block on every side, so that all corners have neighbours and the margin is outside.
MARGIN = SIDE
_BLOCKS_AT_ONCE = 1 << 13  # so few that what is told of them stays in a core's cache

U8 = NDArray[np.uint8]


class Lattice:
    """The corners of voxels `coords` (L, 3) in a grid of `resolution` voxels a side.

    `also` (n, 3) are blocks to be stored whether there are voxels in them or not.

    `crossed` holds three bits a corner: bit k says that the surface passes between the corner and the next one along
    axis k. `outside` says which corners are outside once `find_outside` has run. Both are flat; `place` gives a
    corner's position in them, also for corners of blocks that are not stored, where nothing is crossed.
    """

    def __init__(self, coords: I64, resolution: int, also: I64 | None = None) -> None:
        self.across = (resolution + 1 + SIDE - 1) // SIDE + 2
        marked = np.zeros((self.across,) * 3, np.bool_)
        each_part(len(coords), lambda part: _mark_blocks(marked, coords[part]))
        if also is not None:
            marked[tuple(also.T)] = True
        self._stored = marked
        self.blocks = np.argwhere(marked)
        count = len(self.blocks)
        # Two more blocks stand for all that are not stored: the one outside, the other inside.
        self._row = np.full(marked.shape, count, np.int32)
        self._row[marked] = np.arange(count, dtype=np.int32)
        self._row_flat = self._row.reshape(-1)
        self._stride = count + 2
        self.crossed: U8 = np.zeros(_CELLS * self._stride, np.uint8)
        self.outside: Bool = np.zeros(_CELLS * self._stride, np.bool_)

    def place(self, x: I64, y: I64, z: I64) -> I64:
        """Where corners (each in -4 .. resolution + 4) are in `crossed` and `outside`."""

        def placed(part: slice) -> I64:
            a, b, c = x[part] + MARGIN, y[part] + MARGIN, z[part] + MARGIN
            block = self._row_flat[((a >> 2) * self.across + (b >> 2)) * self.across + (c >> 2)]
            cell = (((a & 3) << 2 | (b & 3)) << 2) | (c & 3)
            return cell * self._stride + block

        return by_rows(len(x), placed)

    def pass_edges(self, places: I64, axes: I64) -> None:
        """Note that the surface passes the edges at `places` along `axes`."""
        for axis in range(3):
            self.crossed[places[axes == axis]] |= np.uint8(1 << axis)

    def pass_between(self) -> tuple[I64, I64]:
        """Pass all edges between an inside and the outside that are not passed yet; their lower corners and axes."""
        count = len(self.blocks)
        outside, bits = self.cells(self.outside), self.cells(self.crossed)
        corners, axes = [], []
        for axis in range(3):
            between = (outside[..., :count] != self.ahead(outside, axis)) & (bits[..., :count] >> axis & 1 == 0)
            cells = np.nonzero(between)
            bits[..., :count][cells] |= np.uint8(1 << axis)
            corners.append(self.corners_of(*cells))
            axes.append(np.full(len(cells[0]), axis))
        return np.concatenate(corners), np.concatenate(axes)

    def passed(self) -> int:
        """How many edges the surface passes."""
        return sum(int(np.count_nonzero(self.crossed & np.uint8(1 << axis))) for axis in range(3))

    def stored(self, place: I64) -> Bool:
        """Whether places are in blocks that are stored."""
        return place % self._stride < len(self.blocks)

    def corners_of(self, x: I64, y: I64, z: I64, block: I64) -> I64:
        """(n, 3) the corners at places in stored blocks."""
        return self.blocks[block] * SIDE + np.stack([x, y, z], axis=1) - MARGIN

    def ahead(self, cells: NDArray, axis: int) -> NDArray:
        """(4, 4, 4, blocks): for each corner of the stored blocks the value of the next corner along an axis."""
        lines = np.moveaxis(cells, axis, 0)
        after = lines[0][..., self.neighbours(axis, 1)]
        shifted = np.concatenate([lines[1:, ..., : len(self.blocks)], after[None]])
        return np.moveaxis(shifted, 0, axis)

    def find_outside(self) -> Spaces:
        """Mark the corners that can be reached from the margin without passing the surface."""
        return Spaces(self)

    def cells(self, values: NDArray) -> NDArray:
        """A flat array as (4, 4, 4, blocks + 2)."""
        return values.reshape(SIDE, SIDE, SIDE, self._stride)

    def neighbours(self, axis: int, step: int, part: slice = slice(None)) -> I32:
        """(blocks,) rows of the blocks next to `part` of the stored ones; the number of blocks where not stored."""
        near = self.blocks[part].copy()
        near[:, axis] += step
        return self._row[tuple(near.T)]

    def spread(self, outside_of_free: Bool, free: NDArray[np.int32]) -> None:
        """Say for the blocks that are not stored whether they are outside, by the space (1..) each belongs to."""
        count = len(self.blocks)
        row_of = np.where(outside_of_free, np.int32(count), np.int32(count + 1))
        each_part(len(free), lambda part: np.copyto(self._row[part], row_of[free[part]], where=~self._stored[part]), 16)
        cells = self.cells(self.outside)
        cells[..., count] = True
        cells[..., count + 1] = False

    def is_outside(self, corners: I64) -> Bool:
        """(n,) whether corners (n, 3) are outside."""
        return by_rows(len(corners), lambda part: self.outside[self.place(*corners[part].T)])

    def fill(self, corners: I64) -> None:
        """Say that these corners (n, 3), in blocks that are stored, are not outside."""
        self.outside[self.place(*corners.T)] = False

    def missing_blocks(self, voxels: I64) -> I64:
        """(n, 3) blocks that are not stored and have a corner of these voxels, or one next to such a corner."""
        found = []
        for corner in range(8):
            step = np.array([2 if corner >> axis & 1 else -1 for axis in range(3)])
            found.append(np.unique((voxels + (step + MARGIN)) >> 2, axis=0))
        blocks = np.unique(np.concatenate(found), axis=0)
        blocks = blocks[((blocks >= 0) & (blocks < self.across)).all(1)]
        return blocks[~self._stored[tuple(blocks.T)]]

    def take_blocks(self, blocks: Bool) -> None:
        """Say that of the blocks that are not stored these (blocks a side, cubed) are not outside."""
        self._row[blocks & ~self._stored] = len(self.blocks) + 1

    @property
    def free_blocks(self) -> Bool:
        return ~self._stored


class Spaces:
    """The connected spaces that the surface divides the corners into.

    `node` (4, 4, 4, blocks) is the part of a block that each corner is in, `free` (blocks a side, cubed) the space
    1.. of each block that is not stored; nodes from `parts` on are those spaces. `space` joins nodes.
    """

    def __init__(self, lattice: Lattice) -> None:
        self._lattice = lattice
        count = len(lattice.blocks)
        crossed = lattice.cells(lattice.crossed)[..., :count]
        self.node, self.parts = _parts_of_blocks(crossed)
        self.free, self.frees = ndimage.label(lattice.free_blocks)
        across = lattice.across - 1
        total = self.parts + self.frees

        def met(where: tuple[int, slice]) -> I64:
            links = self._links(*where, crossed)
            return np.unique(np.concatenate([a.astype(np.int64) * total + b for a, b in links]))

        parts = [(axis, part) for axis in range(3) for part in slices(count, _BLOCKS_AT_ONCE)]
        # Nearly all say the same a few times, so what is left to be told apart at last is little.
        pairs = np.unique(np.concatenate([np.zeros(0, np.int64), *on_all_cores(parts, met)]))
        self.links = np.stack([pairs // total, pairs % total], axis=1)
        self.count, self.space = groups(total, self.links)
        # Some corner of the grid has no voxel near it.
        self.margin = self.parts + int(self.free[::across, ::across, ::across].max()) - 1

    def mark(self, outside_nodes: Bool) -> None:
        """Write which nodes are outside into the lattice."""
        lattice = self._lattice
        count = len(lattice.blocks)
        outside = lattice.cells(lattice.outside)[..., :count]

        def write(part: slice) -> None:
            outside[..., part] = outside_nodes[self.node[..., part]]

        each_part(count, write, _BLOCKS_AT_ONCE)
        known = np.concatenate([[False], outside_nodes[self.parts :]])
        lattice.spread(known, self.free)

    def _links(self, axis: int, part: slice, crossed: U8) -> list[tuple[NDArray, NDArray]]:
        """Nodes that meet across the faces of some of the blocks along an axis."""
        lattice = self._lattice
        count = len(lattice.blocks)
        last, first = (np.moveaxis(self.node, axis, 0)[end] for end in (SIDE - 1, 0))
        open_ = (np.moveaxis(crossed, axis, 0)[SIDE - 1, ..., part] >> axis & 1) == 0
        links = []
        after = lattice.neighbours(axis, 1, part)
        rows = np.flatnonzero(after < count)
        passing = open_[..., rows]
        links.append((last[..., part][..., rows][passing], first[..., after[rows]][passing]))
        for step, face in ((1, last), (-1, first)):
            rows = np.flatnonzero(lattice.neighbours(axis, step, part) >= count)
            near = lattice.blocks[part][rows]
            near[:, axis] += step
            space = self.free[tuple(near.T)] + (self.parts - 1)
            nodes = face[..., part][..., rows]
            links.append((nodes.reshape(-1), np.broadcast_to(space, nodes.shape).reshape(-1)))
        return links


def _mark_blocks(marked: Bool, coords: I64) -> None:
    """Mark the blocks that these voxels (n, 3) touch."""
    # One corner more than a voxel's own on every side: holes are closed there.
    first = coords + (MARGIN - 1)
    low = first >> 2
    further = (first & (SIDE - 1)) > 0
    marked[tuple(low.T)] = True
    for corner in range(1, 8):
        step = np.array([corner >> axis & 1 for axis in range(3)])
        rows = low[further[:, step > 0].all(1)] + step
        marked[tuple(rows.T)] = True


def _parts_of_blocks(crossed: U8) -> tuple[I32, int]:
    """The connected parts of each block's corners (4, 4, 4, blocks), numbered through, and how many."""
    count = crossed.shape[-1]
    parts = slices(count, _BLOCKS_AT_ONCE)
    label = np.empty((_CELLS, count), np.uint8)

    def find(part: slice) -> None:
        label[:, part] = _lowest_of_parts(crossed[..., part]).reshape(_CELLS, -1)

    on_all_cores(parts, find)
    root = label == np.arange(_CELLS, dtype=np.uint8)[:, None]
    number = np.cumsum(root.reshape(-1), dtype=np.int32).reshape(_CELLS, count) - np.int32(1)
    node = np.empty((_CELLS, count), np.int32)

    def look_up(part: slice) -> None:
        node[:, part] = np.take_along_axis(number[:, part], label[:, part].astype(np.intp), axis=0)

    on_all_cores(parts, look_up)
    return node.reshape(SIDE, SIDE, SIDE, count), int(root.sum())


def _lowest_of_parts(crossed: U8) -> U8:
    """(4, 4, 4, blocks) the first corner of the part of its block that each corner is in."""
    count = crossed.shape[-1]
    label = np.broadcast_to(
        np.arange(_CELLS, dtype=np.uint8).reshape(SIDE, SIDE, SIDE, 1), (SIDE, SIDE, SIDE, count)
    ).copy()
    # 255 where the surface passes, 0 where not: or-ing it makes a neighbour's label too large to take.
    walls = [np.where(crossed >> axis & 1, 255, 0).astype(np.uint8) for axis in range(3)]
    active = np.arange(count)
    while len(active):
        part = label[..., active]
        before = part.copy()
        for axis in range(3):
            lines, wall = np.moveaxis(part, axis, 0), np.moveaxis(walls[axis], axis, 0)[..., active]
            for i in range(1, SIDE):
                np.minimum(lines[i], lines[i - 1] | wall[i - 1], out=lines[i])
            for i in range(SIDE - 2, -1, -1):
                np.minimum(lines[i], lines[i + 1] | wall[i], out=lines[i])
        label[..., active] = part
        active = active[(part != before).any((0, 1, 2))]
    return label
