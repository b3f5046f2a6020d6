"""Closing holes in what a dual grid says, before its inside is told from its outside.

Round each face of the grid a closed surface passes an even number of edges. Faces with an odd number line the
borders of the surface, and they string together to loops. A short loop is a hole, from a voxel that is missing
or a flag that is wrong, and it is closed by passing the fewest further edges that make its faces even.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from ...core.machine.parallel import on_all_cores
from ..mesh.topology import I64, Bool, groups
from .lattice import Lattice

# What passing an edge costs, and one that the surface passes already: of two ways the one without such is better.
_FREE, _TAKEN = 100, 101
_SLIT_PASSES = 12
# By which of the four faces round an edge are odd: whether two on opposite sides are, or three.
_SLIT = np.array([seen & 3 == 3 or seen & 12 == 12 for seen in range(16)])


def seal_holes(lattice: Lattice, longest: float) -> tuple[I64, I64]:
    """Pass edges that close the holes with at most `longest` odd faces round them.

    The lattice is changed; also the edges' lower corners (E, 3) and axes (E,).
    """
    if longest <= 0:
        return np.zeros((0, 3), np.int64), np.zeros(0, np.int64)
    found = _close_slits(lattice)
    corners, normals = _odd_faces(lattice)
    for loop in _loops(corners, normals, longest):
        added = _span(lattice, corners[loop], normals[loop])
        inside = _stored(lattice, *added)
        added = added[0][inside], added[1][inside]
        lattice.pass_edges(lattice.place(*added[0].T), added[1])
        found.append(added)
    return np.concatenate([part[0] for part in found]), np.concatenate([part[1] for part in found])


def _close_slits(lattice: Lattice) -> list[tuple[I64, I64]]:
    """Pass the edges that lie between two odd faces on opposite sides, or among three, until there are no more.

    A surface that runs along a plane of the grid may pass it now above and now below, and where it changes
    it is torn open by one edge, along a line that can be as long as the surface.
    """
    found = [(np.zeros((0, 3), np.int64), np.zeros(0, np.int64))]
    for _ in range(_SLIT_PASSES):
        corners, normals = _odd_faces(lattice)
        edges, axes, sides = [], [], []
        for turn in (1, 2):
            axis, other = (normals + turn) % 3, (normals + 3 - turn) % 3
            for far in (0, 1):
                # The edge along `axis` with this face on its near or far side along `other`.
                edges.append(corners + far * np.eye(3, dtype=np.int64)[other])
                axes.append(axis)
                sides.append(1 << (2 * (turn - 1) + far))
        place = lattice.place(*np.concatenate(edges).T)
        axis = np.concatenate(axes)
        side = np.repeat(sides, len(corners))
        key, first, which = np.unique(place * 3 + axis, return_index=True, return_inverse=True)
        seen = np.bincount(which.reshape(-1), side, len(key)).astype(np.int64)
        slit = _SLIT[seen] & (lattice.crossed[key // 3] >> (key % 3).astype(np.uint8) & 1 == 0)
        chosen = first[slit]
        corner, axis, place = np.concatenate(edges)[chosen], axis[chosen], place[chosen]
        inside = _stored(lattice, corner, axis)
        corner, axis, place = corner[inside], axis[inside], place[inside]
        if not len(corner):
            break
        lattice.pass_edges(place, axis)
        found.append((corner, axis))
    return found


def _stored(lattice: Lattice, corners: I64, axes: I64) -> Bool:
    """Which edges have both their ends in blocks that are stored."""
    beyond = corners + np.eye(3, dtype=np.int64)[axes]
    return lattice.stored(lattice.place(*corners.T)) & lattice.stored(lattice.place(*beyond.T))


def _odd_faces(lattice: Lattice) -> tuple[I64, I64]:
    """The grid's faces round which the surface passes an odd number of edges: lower corners (n, 3), normals (n,)."""
    bits = lattice.cells(lattice.crossed)
    ahead = on_all_cores(range(3), lambda axis: lattice.ahead(bits, axis))
    here = bits[..., : len(lattice.blocks)]

    def with_normal(normal: int) -> I64:
        one, two = (normal + 1) % 3, (normal + 2) % 3
        odd = (here >> one ^ ahead[one] >> two ^ ahead[two] >> one ^ here >> two) & 1
        return lattice.corners_of(*np.nonzero(odd))

    corners = on_all_cores(range(3), with_normal)
    return np.concatenate(corners), np.repeat(np.arange(3), [len(found) for found in corners])


def _loops(corners: I64, normals: I64, longest: float) -> list[I64]:
    """Rows of the odd faces that hang together through voxels, for groups small enough."""
    if not len(corners):
        return []
    before = corners - np.eye(3, dtype=np.int64)[normals]
    low = before.min(0)
    span = corners.max(0) - low + 1
    keys = [((c - low)[:, 0] * span[1] + (c - low)[:, 1]) * span[2] + (c - low)[:, 2] for c in (corners, before)]
    distinct, voxel = np.unique(np.concatenate(keys), return_inverse=True)
    count = len(corners)
    links = np.stack([np.concatenate([np.arange(count)] * 2), count + voxel.reshape(-1)], axis=1)
    _, label = groups(count + len(distinct), links)
    label = label[:count]
    size = np.bincount(label)
    order = np.argsort(label, kind="stable")
    starts = np.cumsum(size) - size
    return [order[starts[g] : starts[g] + size[g]] for g in np.flatnonzero((size > 0) & (size <= longest))]


def _span(lattice: Lattice, corners: I64, normals: I64) -> tuple[I64, I64]:
    """The edges (lower corners, axes) to pass for the smallest found surface whose border these faces are.

    Along a direction, an edge is passed when an odd number of the loop's faces lie before it. What is left of this
    beyond the loop's end is turned back at one level, by passing edges along the direction there. The
    best of all directions and levels is then made smaller corner by corner. Edges of it that are passed already are
    left as they are: they are leaves, whose border is a loop too, and taking them away would make it even.
    """
    low = corners.min(0) - 1
    shape = tuple(int(n) for n in corners.max(0) - low + 3)
    odd = np.zeros((3, *shape), np.bool_)
    local = corners - low
    odd[normals, local[:, 0], local[:, 1], local[:, 2]] = True
    every = np.indices(shape).reshape(3, -1) + low[:, None]
    bits = lattice.crossed[lattice.place(*every)].reshape(shape)
    cost = np.stack([np.where(bits >> axis & 1, _TAKEN, _FREE) for axis in range(3)])
    found = [passed for along in range(3) for passed in _sweeps(odd, along)]
    best = _shrunk(min(found, key=lambda passed: int(cost[passed].sum())), cost)
    axis, *place = np.nonzero(best & (cost == _FREE))
    return np.stack(place, axis=1) + low, axis


def _shrunk(passed: Bool, cost: NDArray[np.int64]) -> Bool:
    """The surface after moving it across one corner at a time for as long as that makes it cheaper."""
    passed = passed.copy()
    for _ in range(passed.size):
        gain = np.where(passed, cost, -cost)
        total = np.zeros(passed.shape[1:], np.int64)
        for axis in range(3):
            total += gain[axis]
            upper, lower = [slice(None)] * 3, [slice(None)] * 3
            upper[axis], lower[axis] = slice(1, None), slice(None, -1)
            total[tuple(upper)] += gain[axis][tuple(lower)]
        # The window's rim has edges that it does not see.
        inner = total[1:-1, 1:-1, 1:-1]
        if inner.max() <= 0:
            break
        x, y, z = (int(n) + 1 for n in np.unravel_index(int(inner.argmax()), inner.shape))
        for axis, before in enumerate(((x - 1, y, z), (x, y - 1, z), (x, y, z - 1))):
            passed[axis, x, y, z] ^= True
            passed[(axis, *before)] ^= True
    return passed


def _sweeps(odd: Bool, along: int) -> itertools.chain[Bool]:
    """The surfaces (3, x, y, z) of passed edges that sweeping along one direction gives, one for each turning level."""
    one, two = (along + 1) % 3, (along + 2) % 3
    passed = np.zeros_like(odd)
    # The face with normal `two` spans `along` and `one`: it makes the edges along `one` beyond it differ.
    for axis, normal in ((one, two), (two, one)):
        total = np.cumsum(odd[normal], axis=along) % 2 == 1
        later, sooner = [slice(None)] * 3, [slice(None)] * 3
        later[along], sooner[along] = slice(1, None), slice(None, -1)
        passed[axis][tuple(later)] = total[tuple(sooner)]
    last = [np.take(passed[axis], -1, axis=along) for axis in (one, two)]
    if not any(side.any() for side in last):
        return itertools.chain([passed])
    # In the plane across the direction, with `one` and `two` as its axes in the order in which they are left.
    plane_axis = 0 if one < two else 1
    turned = np.roll(np.cumsum(last[0], axis=plane_axis) % 2 == 1, 1, axis=plane_axis)
    return itertools.chain(_turned(passed, along, level, turned, last) for level in range(odd.shape[1 + along] - 1))


def _turned(passed: Bool, along: int, level: int, turned: Bool, last: list[Bool]) -> Bool:
    one, two = (along + 1) % 3, (along + 2) % 3
    result = passed.copy()
    np.moveaxis(result[along], along, 0)[level] ^= turned
    for axis, side in ((one, last[0]), (two, last[1])):
        np.moveaxis(result[axis], along, 0)[level + 1 :] ^= side
    return result
