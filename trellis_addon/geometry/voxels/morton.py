"""Morton codes of voxels, and the sparse octree that lists them: one byte of children for each inner node."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DamagedFileError, InputError

Int = NDArray[np.int64]

MAX_BITS = 10  # along an axis


def encode(coords: NDArray[Any]) -> Int:
    """Codes (L,) of coordinates (L, 3) of 10 bits; of every three bits the highest is x's, the lowest z's."""
    if coords.size and (int(coords.min()) < 0 or int(coords.max()) >> MAX_BITS):
        raise InputError("A Morton code takes coordinates from 0 to 1023.")
    x, y, z = (_spread(coords[:, axis].astype(np.int64)) for axis in range(3))
    return x << 2 | y << 1 | z


def decode(codes: NDArray[Any]) -> NDArray[np.int32]:
    """Coordinates (L, 3) of codes (L,)."""
    codes = codes.astype(np.int64)
    return np.stack([_gather(codes >> shift) for shift in (2, 1, 0)], axis=1).astype(np.int32)


def _spread(value: Int) -> Int:
    """Two zeros before every bit."""
    value = (value | value << 16) & 0x030000FF
    value = (value | value << 8) & 0x0300F00F
    value = (value | value << 4) & 0x030C30C3
    return (value | value << 2) & 0x09249249


def _gather(value: Int) -> Int:
    value = value & 0x09249249
    value = (value | value >> 2) & 0x030C30C3
    value = (value | value >> 4) & 0x0300F00F
    value = (value | value >> 8) & 0x030000FF
    return (value | value >> 16) & 0x3FF


def octree(codes: NDArray[Any], depth: int) -> NDArray[np.uint8]:
    """The octree over sorted, unique codes (L,) of `depth` levels: masks of children, depth first, parents first.

    Bit i of a mask is the child whose three bits of the code are i. The leaves have no bytes of their own.
    """
    codes = codes.astype(np.int64)
    if len(codes) and (bool((np.diff(codes) <= 0).any()) or int(codes[0]) < 0 or int(codes[-1]) >> 3 * depth):
        raise InputError("An octree takes codes that are sorted, different, and no longer than its depth.")
    masks, order = [], []
    for level in range(depth if len(codes) else 0):
        # Nodes of the level below, each with the place of its first leaf; then their parents.
        below = codes >> 3 * (depth - level - 1)
        first = np.flatnonzero(np.diff(below, prepend=-1))
        child = below[first]
        start = np.flatnonzero(np.diff(child >> 3, prepend=-1))
        masks.append(np.bitwise_or.reduceat(np.left_shift(1, child & 7), start))
        order.append(first[start] * depth + level)
    if not masks:
        return np.zeros(0, np.uint8)
    return np.concatenate(masks)[np.argsort(np.concatenate(order))].astype(np.uint8)


def octree_codes(masks: NDArray[np.uint8], depth: int) -> Int:
    """The sorted codes (L,) that an octree lists; `DamagedFileError` for bytes that are none."""
    count = len(masks)
    if not count:
        return np.zeros(0, np.int64)
    if not 1 <= depth <= MAX_BITS or bool((masks == 0).any()):
        raise _damaged()
    ends = _ends(masks, depth)
    if int(ends[0][0]) != count:
        raise _damaged()
    places, codes = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for level in range(depth):
        parents, child = np.nonzero(masks[places, None] >> np.arange(8, dtype=np.uint8) & 1)
        codes = codes[parents] << 3 | child
        if level == depth - 1:
            return codes
        # Where a child begins: behind its parent, or where the child before it ends.
        number = np.arange(len(parents)) - np.flatnonzero(np.diff(parents, prepend=-1))[parents]
        starts = np.empty(len(parents), np.int64)
        for turn in range(int(number.max()) + 1):
            now = np.flatnonzero(number == turn)
            starts[now] = places[parents[now]] + 1 if turn == 0 else ends[level + 1][starts[now - 1]]
        places = starts
    raise AssertionError("an octree has at least one level")


def _ends(masks: NDArray[np.uint8], depth: int) -> list[Int]:
    """For every level and every byte: where the subtree would end that begins there, if it were of that level.

    Places beyond the bytes stand for subtrees that are cut off.
    """
    count = len(masks)
    children = np.array([bin(number).count("1") for number in range(256)])[masks]
    cut = count + 1
    out = [np.minimum(np.arange(1, count + 3), cut)]  # of the lowest level: one byte each
    out[0][count:] = cut
    for _ in range(depth - 1):
        end = np.arange(1, count + 1)
        for turn in range(8):
            going = children > turn
            end = np.where(going, out[-1][np.minimum(end, cut)], end)
        out.append(np.concatenate([end, [cut, cut]]))
    return out[::-1]


def _damaged() -> DamagedFileError:
    return DamagedFileError("The voxel file is damaged: its octree does not hold together. Fetch or write it again.")
