"""Which components of a mesh are dust."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .topology import I32, Bool, groups

# Components are near each other where they come into cells of so many voxels that touch.
_NEAR = 2.0


def large_components(places: NDArray[np.float32], component: I32, size: NDArray[np.float64], least: float) -> Bool:
    """(C,) components that are no dust: of a `size` (C,) of `least` or more, together with those near them.

    `places` (n, 3) are where faces lie, in voxels and not negative, and `component` (n,) what they belong to. A rod
    thinner than a voxel comes in pieces, and a row of small pieces is no dust. The largest component never is.
    """
    large = size >= least
    large[size.argmax()] = True
    if large.all():
        return large
    small = np.flatnonzero(~large[component])
    cells = (places / _NEAR).astype(np.int64).clip(0)
    cells = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    steps = np.array([(x << 42) + (y << 21) + z for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)])
    # Small components are linked to whatever lies in the cells next to theirs.
    pairs = np.unique(np.stack([component[small], cells[small]], axis=1), axis=0)
    wanted = np.unique(pairs[:, 1][:, None] + steps)
    place = np.minimum(np.searchsorted(wanted, cells), len(wanted) - 1)
    near = wanted[place] == cells
    count = len(size)
    reach = np.searchsorted(wanted, pairs[:, 1][:, None] + steps)
    links = np.concatenate(
        [
            np.stack([np.repeat(pairs[:, 0], len(steps)), count + reach.reshape(-1)], axis=1),
            np.stack([component[near], count + place[near]], axis=1),
        ]
    )
    _, cluster = groups(count + len(wanted), links)
    cluster = cluster[:count]
    return large | (np.bincount(cluster, size)[cluster] >= least)
