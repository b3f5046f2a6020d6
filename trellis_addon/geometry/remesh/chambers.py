"""Insides with openings: spaces that the outside reaches, but only through ways much narrower than they are wide.

A flood from outside comes in through any opening, and then a shell counts as a sheet. A ball does not: of the places
where a ball of some radius has room, those within a shell are cut off from the others as soon as it is larger than the
shell's openings. Such a space is an inside, if its walls are mostly sheets (a bottle's hollow has closed walls), if
it is much wider than its openings, and if little surface must be made up to close them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..mesh.kernels import run
from ..mesh.topology import I64, Bool
from .lattice import MARGIN, SIDE, Lattice

# Space is looked at in cells of as many corners as give about this many along the longest side, at most a block's.
_CELLS = 160
# Radii of the ball, in cells.
_RADII = (0.9, 1.3, 1.8, 2.5, 3.2, 4.2, 5.5, 7.0, 9.0, 11.0, 14.0, 18.0, 23.0, 30.0)
# How much wider an inside is than its widest opening, where that is judged and where it is said to be one; the least
# radius of one, in cells.
_WIDER = (2.5, 1.2)
_LEAST = 3.0
# Half a cell and more is taken from every way by its walls.
_WALL = 0.75
# The share of its walls that are sheets, and how much may be made up to close it, as a share of all its walls.
_SHEETS = 0.35
_MADE_UP = (0.15, 0.6)
_OUTSIDE = 1
_MOST = 255
# Within so many cells of the surface corners are told apart one by one.
_NEAR = 1.5

U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Chambers:
    """`labels` (x, y, z) of cells of `size` corners: 1 outside, 2 within a chamber, 0 where neither reaches.

    `depth` (x, y, z) is each cell's distance from the surface, in cells.
    """

    labels: U8
    depth: NDArray[np.float32]
    size: int

    def of_corners(self, corners: I64) -> tuple[U8, NDArray[np.float32]]:
        """Labels (n,) and depths (n,) of corners (n, 3)."""
        cells = tuple(((corners + MARGIN) // self.size).T)
        return self.labels[cells], self.depth[cells]

    def of_blocks(self) -> U8:
        """(blocks a side, cubed) the label at the first cell of each block."""
        step = SIDE // self.size
        return self.labels[::step, ::step, ::step]

    def lid_blocks(self) -> I64:
        """(n, 3) blocks in which a chamber meets the outside, and those next to them."""
        met = np.zeros(self.labels.shape, np.bool_)
        for axis in range(3):
            one, two = [slice(None)] * 3, [slice(None)] * 3
            one[axis], two[axis] = slice(None, -1), slice(1, None)
            differ = self.labels[tuple(one)] != self.labels[tuple(two)]
            met[tuple(one)] |= differ
            met[tuple(two)] |= differ
        step = SIDE // self.size
        across = len(met) // step
        blocks = met.reshape(across, step, across, step, across, step).any((1, 3, 5))
        blocks = ndimage.binary_dilation(blocks, np.ones((3, 3, 3), np.bool_))
        for axis in range(3):
            np.moveaxis(blocks, axis, 0)[[0, -1]] = False
        return np.argwhere(blocks)


def find_chambers(lattice: Lattice, corners: I64, axes: I64, sheet: Bool, solid: bool = False) -> Chambers | None:
    """The chambers of a lattice whose outside is known; None where there are none.

    Edges that the surface passes are given by their lower `corners` (E, 3) and `axes` (E,); `sheet` (E,) are those with
    outside at both ends. `solid` is whether all of it is said to be solid.
    """
    size = 1
    while size < SIDE and lattice.across * SIDE / (2 * size) >= _CELLS:
        size *= 2
    shape = (lattice.across * SIDE // size,) * 3
    beyond = corners.copy()
    beyond[np.arange(len(axes)), axes] += 1
    ends = [np.ravel_multi_index(tuple(((end + MARGIN) // size).T), shape) for end in (corners, beyond)]
    free = np.ones(shape, np.bool_)
    free.reshape(-1)[np.concatenate(ends)] = False
    depth = ndimage.distance_transform_edt(free).astype(np.float32)
    cores, number = _cores(lattice, depth, size, _WIDER[solid])
    if number == _OUTSIDE:
        return None
    labels = _watershed(cores, depth)
    labels = _worth(labels, number, size, ends, sheet, depth, _MADE_UP[solid])
    return Chambers(labels, depth, size) if (labels > _OUTSIDE).any() else None


def _cores(lattice: Lattice, depth: NDArray[np.float32], size: int, wider: float) -> tuple[U8, int]:
    """The middle of each chamber (numbers 2..) and of the outside (1), and the highest number."""
    cores = np.zeros(depth.shape, np.uint8)
    places = _deepest(depth)
    # What the flood did not reach is an inside already.
    places = places[lattice.is_outside(places * size + size // 2 - MARGIN)]
    number, widest = _OUTSIDE, 0.0
    reach = depth[tuple(places.T)]
    for radius in _RADII:
        if not (reach + _WALL >= wider * (radius + _WALL)).any():
            break
        label, _ = ndimage.label(depth > radius)
        group = label[tuple(places.T)]
        # What has a core lies within a chamber that was found before.
        room = (reach > radius) & ~_reaching_out(label)[group] & (cores[tuple(places.T)] == 0)
        for found in np.unique(group[room]):
            if reach[group == found].max() + _WALL >= wider * (radius + _WALL) and number < _MOST:
                number += 1
                cores[label == found] = number
                widest = radius
    if number > _OUTSIDE:
        label, _ = ndimage.label(depth > widest)
        cores[_reaching_out(label)[label] & (cores == 0)] = _OUTSIDE
        for face in _faces(cores):
            face[...] = _OUTSIDE
    return cores, number


def _faces(values: NDArray) -> list[NDArray]:
    """The six sides of an array (x, y, z), as views."""
    return [np.moveaxis(values, axis, 0)[end] for axis in range(3) for end in (0, -1)]


def _reaching_out(label: NDArray[np.int32]) -> Bool:
    """By label, whether it reaches the grid's own sides; 0 never does."""
    found = np.zeros(int(label.max()) + 1, np.bool_)
    for face in _faces(label):
        found[np.unique(face)] = True
    found[0] = False
    return found


def _deepest(depth: NDArray[np.float32]) -> I64:
    """(n, 3) cells that are as deep as a chamber must be and no less deep than their neighbours."""
    inner = depth[1:-1, 1:-1, 1:-1]
    peak = inner >= _LEAST
    for axis in range(3):
        for part in (slice(None, -2), slice(2, None)):
            near = [slice(1, -1)] * 3
            near[axis] = part
            peak &= inner >= depth[tuple(near)]
    return np.argwhere(peak) + 1


def _watershed(cores: U8, depth: NDArray[np.float32]) -> U8:
    from . import flood_kernels as kernels

    labels = np.ascontiguousarray(cores).reshape(-1).copy()
    levels = np.minimum(depth * 6, 255).astype(np.uint8).reshape(-1)
    after = np.empty(len(labels), np.int32)
    first, last = np.full(256, -1, np.int32), np.full(256, -1, np.int32)
    run(kernels.fill_from_deep, 1, levels, depth.shape, labels, after, first, last)
    return labels.reshape(depth.shape)


def _worth(
    labels: U8,
    number: int,
    size: int,
    ends: list[I64],
    sheet: Bool,
    depth: NDArray[np.float32],
    made_up: float,
) -> U8:
    """The labels with all chambers that are worth closing as one, the others as outside."""
    flat = labels.reshape(-1)
    one, two = flat[ends[0]], flat[ends[1]]
    walls, sheets = np.zeros(number + 1), np.zeros(number + 1)
    for seen in (one, np.where(one == two, 0, two)):
        walls += np.bincount(seen, minlength=number + 1)
        sheets += np.bincount(seen, sheet, minlength=number + 1)
    lids = np.zeros(number + 1)
    for axis in range(3):
        a, b = (np.moveaxis(labels, axis, 0)[part].reshape(-1) for part in (slice(None, -1), slice(1, None)))
        wet = np.moveaxis(depth > 0, axis, 0)
        open_ = (wet[:-1] & wet[1:]).reshape(-1) & (np.minimum(a, b) == _OUTSIDE) & (np.maximum(a, b) > _OUTSIDE)
        lids += np.bincount(np.maximum(a, b)[open_], minlength=number + 1)
    kept = (sheets >= _SHEETS * walls) & (lids * size**2 <= made_up * walls)
    kept[:2] = False
    table = np.where(kept, 2, _OUTSIDE).astype(np.uint8)
    table[0] = 0
    return table[labels]


def close(lattice: Lattice, chambers: Chambers) -> None:
    """Take the chambers from the lattice's outside, corner by corner; it has the blocks of the lids stored."""
    from . import flood_kernels as kernels

    count = len(lattice.blocks)
    outside = lattice.cells(lattice.outside)[..., :count]
    labels = np.zeros(lattice.outside.shape, np.uint8)
    cells = lattice.cells(labels)
    every = np.stack(np.nonzero(np.ones_like(outside)), axis=0)
    coarse, depth = chambers.of_corners(lattice.corners_of(*every))
    known = np.where(depth >= _NEAR, coarse, 0).astype(np.uint8).reshape(outside.shape)
    # 3 for what the flood did not reach: that stays inside.
    cells[..., :count] = np.where(outside, known, 3)
    near = np.stack([lattice.neighbours(axis, step) for axis in range(3) for step in (-1, 1)], axis=1)
    queue = np.empty(len(labels), np.int32)
    run(
        kernels.fill_corners,
        1,
        lattice.crossed,
        np.ascontiguousarray(near, np.int32),
        count,
        len(labels) // SIDE**3,
        labels,
        queue,
    )
    outside[...] = cells[..., :count] == _OUTSIDE
    lattice.take_blocks(chambers.of_blocks() == 2)
    # Corners next to blocks that are not stored are what these are: the lid lies where edges can be noted.
    for axis in range(3):
        for step, face in ((-1, 0), (1, SIDE - 1)):
            row = lattice.neighbours(axis, step)
            far = np.flatnonzero(row >= count)
            np.moveaxis(outside, axis, 0)[face][..., far] = row[far] == count
