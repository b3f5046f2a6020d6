"""The two predictions that make a .vxz file smaller: each value is kept as its difference from an earlier one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import morton
from .index import VoxelIndex

Int = NDArray[np.int64]
Bytes = NDArray[np.uint8]

FILTERS = ("none", "parent", "neighbor")

# Which lower neighbour predicts a voxel: the last of these that exists.
_STEPS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))


@dataclass(frozen=True)
class Prediction:
    """`source` (L,): the row that each row is predicted from, itself where it is not; `order`: how rows are stored."""

    source: Int
    order: Int | None = None


def prediction(kind: str, codes: Int, coords: NDArray[np.int32], size: int) -> Prediction | None:
    """What a filter does to a chunk whose voxels have the sorted Morton codes `codes` and lie at `coords` (L, 3)."""
    if kind == "neighbor":
        return Prediction(_lower_neighbours(coords, size))
    if kind == "parent":
        return _earlier_siblings(codes)
    return None


def forward(values: Bytes, how: Prediction | None) -> Bytes:
    """Differences (L, C), modulo 256, of values (L, C), as they are stored."""
    if how is None:
        return values
    free = how.source == np.arange(len(how.source))
    differences = np.where(free[:, None], values, values - values[how.source])
    return differences if how.order is None else differences[how.order]


def backward(stored: Bytes, how: Prediction | None) -> Bytes:
    """The values again: the sums along each row's way of predictors, in steps that double."""
    if how is None:
        return stored
    values = stored.copy()
    if how.order is not None:
        values[how.order] = stored
    source, own = how.source.copy(), np.arange(len(how.source))
    while bool((going := source != own).any()):
        rows = np.flatnonzero(going)
        ahead = source[rows]
        values[rows] += values[ahead]
        # Whoever stands at the end of a way holds its whole value and adds no more.
        source[rows] = np.where(source[ahead] == ahead, rows, source[ahead])
    return values


def _lower_neighbours(coords: NDArray[np.int32], size: int) -> Int:
    source = np.arange(len(coords))
    if not len(coords):
        return source
    index = VoxelIndex(coords, (size, size, size))
    for step in _STEPS:
        row = index.rows(*(coords - np.array(step)).T)
        source = np.where(row >= 0, row, source)
    return source


def _earlier_siblings(codes: Int) -> Prediction:
    """A node has its first leaf's value; a later child's is predicted by the child's before, and kept with the node."""
    count = len(codes)
    source, node = np.arange(count), np.zeros(count, np.int64)
    level = np.zeros(count, np.int64)  # of the child in which a leaf and the one before it part ways
    differing = codes[1:] ^ codes[:-1]
    while bool((rest := differing >> 3 * (level[1:] + 1)).any()):
        level[1:] += rest > 0
    level[:1] = morton.MAX_BITS  # the root's own value comes first
    for depth in range(int(level[1:].max(initial=-1)) + 1):
        here = np.flatnonzero(level[1:] == depth) + 1
        source[here] = _first_of(codes >> 3 * depth)[here - 1]
        node[here] = _first_of(codes >> 3 * (depth + 1))[here]
    return Prediction(source, np.lexsort((np.arange(count), -level, node)))


def _first_of(group: Int) -> Int:
    """The row (L,) at which the group of each row begins, for groups in runs."""
    return np.maximum.accumulate(np.where(np.diff(group, prepend=-1) != 0, np.arange(len(group)), 0))
