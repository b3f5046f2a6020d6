"""Crumbs that fill a hole of their neighbour: the surface around is smoothed until none of both is turned over.

The first places are harmonic (W. T. Tutte, "How to draw a graph", 1963), within rings of faces of which the outline
stays; from there on lengths are kept as nearly as may be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .crumbs import FEWEST
from .flatten import relaxed, stretches
from .pack import triangle_areas

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

_RINGS = (1, 2, 4)  # of faces around a crumb that may be moved for it, tried in this order
# Than on the surface: what a face that is moved may become, and one of less than a texel.
_LONGER, _SHORTER = np.array([2.5, 10.0]), np.array([0.25, 0.05])


def filled_in(
    vertices: F32, faces: I32, pairs: I64, corners: F64, area: F64, charts: I64, refused: I64, texel: float
) -> tuple[F64, I64, NDArray[np.bool_]]:
    """As `folded_out`, of crumbs around which there is one chart: it takes them in. `texel` is an area."""
    corners, merged, moved = corners.copy(), charts.copy(), np.zeros(len(faces), bool)
    sizes = np.bincount(charts)
    across = np.concatenate([pairs, pairs[:, ::-1]])
    across = across[(sizes[charts[across[:, 0]]] < FEWEST) & (charts[across[:, 0]] != charts[across[:, 1]])]
    for crumb in np.unique(charts[across[:, 0]]):
        own = np.flatnonzero(charts == crumb)
        around = np.unique(merged[across[charts[across[:, 0]] == crumb, 1]])
        if len(around) != 1 or refused[own].any():
            continue
        there = np.flatnonzero(merged == around[0])
        for rings in _RINGS:
            near = there[np.isin(faces[there], faces[own]).any(1)]
            for _ in range(rings - 1):
                near = there[np.isin(faces[there], faces[near]).any(1)]
            patch = np.concatenate([own, near])
            laid = _smoothed(vertices, faces[patch], corners[patch], len(own), np.setdiff1d(there, near), faces)
            if laid is None:
                continue
            large, small = stretches(vertices, faces[patch], laid)
            kind = (area[patch] < texel).astype(np.intp)
            if not ((large > _LONGER[kind]) | ((small < _SHORTER[kind]) & (large > 0.0))).any():
                corners[patch], merged[own], moved[own] = laid, around[0], True
                break
    return corners, np.unique(merged, return_inverse=True)[1].reshape(-1).astype(np.int64), moved


def _smoothed(vertices: F32, patch: I32, corners: F64, own: int, outside: I64, faces: I32) -> F64 | None:
    """Corners (f, 3, 2) of a patch whose first `own` faces are a crumb, as they lie best; None where they do not."""
    names, split = np.unique(patch, return_inverse=True)
    split = split.reshape(patch.shape).astype(np.int32)
    points = np.full((len(names), 2), np.nan)
    points[split[own:]] = corners[own:]
    if (points[split[own:]] != corners[own:]).any():
        return None  # a vertex that lies at two places
    missing = np.isnan(points[:, 0])
    edges = np.concatenate([split[:, [0, 1]], split[:, [1, 2]], split[:, [2, 0]]]).astype(np.int64)
    key = np.sort(edges, 1) @ [len(names), 1]
    once = np.isin(
        key, [number for number, times in zip(*np.unique(key, return_counts=True), strict=True) if times == 1]
    )
    rim = np.zeros(len(names), bool)
    rim[edges[once]] = True
    outline = np.isin(names, faces[outside])
    free = ~(rim | outline)
    if not free.any() or free.all() or (missing & ~free).any():
        return None  # where all is free it is a closed part, which hangs on nothing
    links = np.zeros((len(names), len(names)))
    links[edges[:, 0], edges[:, 1]] = links[edges[:, 1], edges[:, 0]] = 1.0
    system = np.diag(links.sum(1)) - links
    held = ~free
    points[free] = np.linalg.solve(system[np.ix_(free, free)], -system[np.ix_(free, held)] @ points[held])
    if (triangle_areas(points, split) >= 0.0).any():
        return None
    points = relaxed(vertices, names.astype(np.int64), split, points, np.zeros(len(split), np.int64), outline)
    return points[split]
