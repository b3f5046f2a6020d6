"""The edge of a mask, and which places of two edges belong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..draft.fields import F32, Bool, blur

_MOST = 1400  # places of an edge that are looked at: more tell no more
_ALIKE = 0.5  # cosine between the directions of edges that may belong together


@dataclass(frozen=True)
class Edge:
    """The pixels on the inside of a mask's edge: `places` (N, 2) x and y of their centres, `outward` (N, 2) of
    length 1, `index` (N,) the pixels, row by row."""

    places: F32
    outward: F32
    index: NDArray[np.int64]


def edge_of(mask: Bool) -> Edge:
    """The edge of a mask (H, W), at most some hundred places of it, evenly."""
    padded = np.pad(mask, 1)
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    index = np.flatnonzero(mask & ~surrounded)
    if len(index) > _MOST:
        index = index[np.linspace(0, len(index) - 1, _MOST).astype(np.int64)]
    soft = blur(np.pad(mask.astype(np.float32), 4), 2.0)
    row, column = np.divmod(index, mask.shape[1])
    down, along = np.gradient(soft)
    slope = -np.stack([along[row + 4, column + 4], down[row + 4, column + 4]], 1)
    length = np.linalg.norm(slope, axis=1, keepdims=True)
    places = np.stack([column + 0.5, row + 0.5], 1).astype(np.float32)
    return Edge(places, np.asarray(slope / np.maximum(length, 1e-6), np.float32), index)


def pairs(ours: Edge, theirs: Edge) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which places of two edges belong together: each with the nearest one of the other that looks the same way."""
    if not len(ours.places) or not len(theirs.places):
        empty = np.empty(0, np.int64)
        return empty, empty
    apart = ((ours.places[:, None] - theirs.places[None]) ** 2).sum(-1)
    apart[ours.outward @ theirs.outward.T < _ALIKE] = np.inf
    to, back = apart.argmin(1), apart.argmin(0)
    first = np.concatenate([np.arange(len(to)), back])
    second = np.concatenate([to, np.arange(len(back))])
    distance = np.sqrt(apart[first, second])
    known = np.isfinite(distance)
    if not known.any():
        return first[known], second[known]
    # What one of the two does not have at all has no say.
    near = known & (distance <= 3.0 * float(np.median(distance[known])) + 2.0)
    return first[near], second[near]


def agreement(ours: Bool, theirs: Bool) -> float:
    """The intersection over the union of two masks; 0 where both are empty."""
    union = int((ours | theirs).sum())
    return float((ours & theirs).sum() / union) if union else 0.0
