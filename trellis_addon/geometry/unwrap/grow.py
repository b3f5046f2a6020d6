"""Crumbs that no neighbour can take: they take faces of it, until they are charts of a size, and are laid out anew.

Such a patch is a disk. Its border goes onto a circle, which turns none of its faces over (W. T. Tutte, "How to draw a
graph", 1963); from there on lengths are kept as nearly as may be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .crumbs import FEWEST, with_neighbours
from .flatten import relaxed, stretches
from .pack import triangle_areas
from .unfold import lie_on_each_other

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

_LEASTS = (FEWEST, 2 * FEWEST, 4 * FEWEST)  # faces that a patch grows to, tried in this order
_MOST = 100  # and with what would be cut off by that
# Than on the surface: what a face of a patch may be, and one of so few texels.
_LONGER, _SHORTER, _FEW = np.array([2.5, 10.0]), np.array([0.1, 0.008]), 3.0


def grown(vertices: F32, faces: I32, pairs: I64, corners: F64, area: F64, charts: I64, texel: float) -> tuple[F64, I64]:
    """The corners (F, 3, 2) and charts (F,) with the crumbs that could be grown. `texel` is an area."""
    corners, charts = corners.copy(), charts.copy()
    sizes = np.bincount(charts)
    for crumb in np.flatnonzero((sizes > 0) & (sizes < FEWEST)):
        own = np.flatnonzero(charts == crumb)
        ends = charts[pairs]
        around = ends[(ends == crumb).any(1) & (ends[:, 0] != ends[:, 1])]
        others, times = np.unique(around[around != crumb], return_counts=True)
        for other in others[np.argsort(-times, kind="stable")]:
            there = pairs[np.isin(ends, [crumb, other]).all(1)]
            patch, laid = _patch(vertices, faces, there, own, np.flatnonzero(charts == other), area, texel)
            if laid is not None:
                corners[patch], charts[patch] = laid, crumb
                break
    return corners, np.unique(charts, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _patch(
    vertices: F32, faces: I32, pairs: I64, own: I64, host: I64, area: F64, texel: float
) -> tuple[I64, F64 | None]:
    """Faces `own` with some of those of the chart beside it, `host`, and where their corners lie, if that can be."""
    patch, tried = own, 0
    for least in _LEASTS:
        patch = with_neighbours(pairs, own, least, own[:0])
        patch = np.concatenate([patch, _left_over(np.setdiff1d(host, patch), pairs)])
        if not FEWEST <= len(patch) <= _MOST or len(patch) == tried:
            continue
        tried = len(patch)
        laid = _as_a_disk(vertices, faces[patch])
        if laid is None:
            continue
        large, small = stretches(vertices, faces[patch], laid)
        kind = (area[patch] < _FEW * texel).astype(np.intp)
        wrong = (large > _LONGER[kind]) | ((small < _SHORTER[kind]) & (large > 0.0))
        if not wrong.any() and not lie_on_each_other(laid, faces[patch]):
            return patch, laid
    return patch, None


def _left_over(rest: I64, pairs: I64) -> I64:
    """The faces of what is left of a chart that are not its largest part, or all where that is a crumb itself."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(rest):
        return rest
    within = np.searchsorted(rest, pairs[np.isin(pairs, rest).all(1)])
    graph = coo_array((np.ones(len(within), np.int8), (within[:, 0], within[:, 1])), shape=(len(rest), len(rest)))
    part = connected_components(graph, directed=False)[1]
    sizes = np.bincount(part)
    return rest if sizes.max() < FEWEST else rest[part != sizes.argmax()]


def _as_a_disk(vertices: F32, faces: I32) -> F64 | None:
    """Corners (f, 3, 2) of faces that make a disk, kept as long as may be; None where they make none."""
    names, split = np.unique(faces, return_inverse=True)
    split = split.reshape(faces.shape).astype(np.int32)
    edges = np.stack([split, np.roll(split, -1, 1)], 2).reshape(-1, 2).astype(np.int64)
    key = np.sort(edges, 1) @ [len(names), 1]
    _, which, times = np.unique(key, return_inverse=True, return_counts=True)
    if times.max() > 2 or len(names) - len(times) + len(faces) != 1:
        return None
    border = dict(edges[times[which.reshape(-1)] == 1].tolist())
    start = next(iter(border))
    loop = [start]
    while border[loop[-1]] != start and len(loop) <= len(border):
        loop.append(border.get(loop[-1], start))
        if loop[-1] not in border:
            return None
    if len(loop) != len(border):
        return None
    places = vertices[names[loop]].astype(np.float64)
    lengths = np.linalg.norm(np.roll(places, -1, 0) - places, axis=1)
    around = float(lengths.sum())
    if around <= 0.0:
        return None
    lengths = np.maximum(lengths, 1e-3 * around / len(loop))
    angles = -2.0 * np.pi * (np.cumsum(lengths) - lengths) / lengths.sum()  # v runs down
    points = np.zeros((len(names), 2))
    points[loop] = around / (2.0 * np.pi) * np.stack([np.cos(angles), np.sin(angles)], 1)
    free = ~np.isin(np.arange(len(names)), loop)
    if free.any():
        links = np.zeros((len(names), len(names)))
        links[edges[:, 0], edges[:, 1]] = links[edges[:, 1], edges[:, 0]] = 1.0
        system = np.diag(links.sum(1)) - links
        points[free] = np.linalg.solve(system[np.ix_(free, free)], -system[np.ix_(free, ~free)] @ points[~free])
    if (triangle_areas(points, split) >= 0.0).any():
        return None
    points = relaxed(vertices, names.astype(np.int64), split, points, np.zeros(len(split), np.int64))
    return np.asarray(points[split])
