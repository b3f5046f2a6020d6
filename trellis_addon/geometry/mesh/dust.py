"""Which components of a mesh are dust."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .topology import I32, I64, Bool, groups

# Components are near each other where they come into cells of so many voxels that touch.
_NEAR = 2.0


def large_components(places: Callable[[I64], NDArray[np.float32]], component: I32, size: NDArray, least: float) -> Bool:
    """(C,) components that are no dust: of a `size` (C,) of `least` or more, or in a row of such a size.

    `places` gives for the numbers of faces (n,) where they lie (n, 3), in voxels and not negative; `component` (M,)
    is what all of them belong to. A rod thinner than a voxel comes in small pieces near each other. The largest
    component never is dust.
    """
    large = size >= least
    large[size.argmax()] = True
    if large.all():
        return large
    small = np.flatnonzero(~large[component])
    cells = (places(small) / _NEAR).astype(np.int64).clip(0)
    cells = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    steps = np.array([(x << 42) + (y << 21) + z for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)])
    owner, cells = np.unique(np.stack([component[small], cells], axis=1), axis=0).T
    reach, place = np.unique(cells[:, None] + steps, return_inverse=True)
    count = len(size)
    links = np.stack([np.repeat(owner, len(steps)), count + place.reshape(-1)], axis=1)
    _, row = groups(count + len(reach), links)
    row = row[:count]
    return large | (np.bincount(row, size)[row] >= least)
