"""Cutting a surface into charts that are flat enough to be projected onto a plane.

Faces are merged bottom-up, as in hierarchical face clustering (M. Garland, A. Willmott, P. Heckbert, "Hierarchical face
clustering on polygonal surfaces", 2001), many independent pairs at a time: a pair is merged where each is the other's
best. A merge costs how far the normals spread, plus how ragged the merged chart's border is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.progress import Progress
from .crumbs import FEWEST

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

# The widest angle between a face and its chart's axis, in degrees: beyond it a projection squeezes too much.
_WIDEST = 78.0
# The least mean cosine between a chart's faces and its axis: half a sphere's cap of 60 degrees has 0.75.
_LEAST_MEAN = 0.75
# Weight of the border against the spread of the normals in a merge's cost.
_RAGGED = 0.001
# How often the cones' bounds are replaced by the angles that the faces really have, and merging goes on.
_ROUNDS = 4
_SMOOTHINGS = 12
# Charts with a smaller share of the surface go to a neighbour.
_CRUMB = 2e-6


@dataclass(frozen=True)
class ChartedSurface:
    """What clustering needs of a triangle mesh: `area` (F,), unit `normal` (F, 3), and the edges between exactly two
    faces as `pairs` (E, 2) of faces with their `length` (E,); `perimeter` (F,) of each face."""

    area: F64
    normal: F64
    pairs: I64
    length: F64
    perimeter: F64

    @classmethod
    def of(cls, vertices: NDArray[np.float32], faces: NDArray[np.integer]) -> ChartedSurface:
        corners = vertices[faces].astype(np.float64)
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        double = np.linalg.norm(cross, axis=1)
        sides = np.linalg.norm(corners - np.roll(corners, -1, 1), axis=2)
        halves = twin_edges(faces)
        # Below a millionth of the mean side's square an area is rounding, and the normal with it.
        double[double < 1e-12 * max(float(np.square(sides).mean()), 1e-300)] = 0.0
        return cls(
            double / 2.0,
            np.where(double > 0.0, 1.0, 0.0)[:, None] * cross / np.maximum(double, 1e-300)[:, None],
            halves // 3,
            sides.reshape(-1)[halves[:, 0]],
            sides.sum(1),
        )


def cut_into_charts(vertices: NDArray[np.float32], faces: NDArray[np.integer], progress: Progress | None = None) -> I64:
    """The chart of each face, (F,) numbered from 0 without gaps; a chart is connected through edges of two faces.

    Within a chart every face's normal is less than 90 degrees from the axis that `chart_axes` gives, up to the few
    that no chart could take otherwise, so a projection along it turns no face over.
    """
    progress = progress or Progress()
    surface = ChartedSurface.of(vertices, faces)
    charts = _merge(surface, progress)
    charts = _smooth(surface, charts)
    charts = connected(surface, charts)
    charts = _without_crumbs(surface, charts)
    return _upright(surface, charts)


def chart_axes(surface: ChartedSurface, charts: I64) -> tuple[F64, F64]:
    """Unit area-weighted mean normals (C, 3) and areas (C,) of the charts."""
    count = int(charts.max()) + 1
    total = np.stack([np.bincount(charts, surface.area * surface.normal[:, k], count) for k in range(3)], 1)
    size = np.linalg.norm(total, axis=1)
    axes = total / np.maximum(size, 1e-300)[:, None]
    # A chart of faces that cancel out, or have no area: any face's normal is as good.
    for chart in np.flatnonzero(size < 1e-300):
        axes[chart] = _any_normal(surface.normal[charts == chart])
    return axes, np.asarray(np.bincount(charts, surface.area, count), np.float64)


def connected(surface: ChartedSurface, charts: I64) -> I64:
    """The charts again, each split into its connected parts and numbered by the first face."""
    return _parts(surface.pairs[charts[surface.pairs[:, 0]] == charts[surface.pairs[:, 1]]], len(charts))


def connected_faces(faces: NDArray[np.integer]) -> I64:
    """For each face (F,) the part of the mesh, numbered from 0, that it hangs together with through shared edges."""
    return _parts(twin_edges(faces) // 3, len(faces))


def twin_edges(faces: NDArray[np.integer]) -> I64:
    """(E, 2): the two half edges (3 * face + slot) of every edge with exactly two faces."""
    start = faces.astype(np.int64).reshape(-1)
    end = np.roll(faces, -1, 1).astype(np.int64).reshape(-1)
    key = np.minimum(start, end) * (int(faces.max()) + 1) + np.maximum(start, end)
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    double = first[np.diff(np.append(first, len(key))) == 2]
    return np.stack([order[double], order[double + 1]], 1)


def _parts(pairs: I64, count: int) -> I64:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _any_normal(normals: F64) -> F64:
    lengths = np.linalg.norm(normals, axis=1)
    best = int(np.argmax(lengths))
    return normals[best] if lengths[best] > 0.5 else np.array([0.0, 0.0, 1.0])


def _merge(surface: ChartedSurface, progress: Progress) -> I64:
    count = len(surface.area)
    grain = 1e-12 * max(float(surface.area.sum()), 1e-30)  # so that faces without area have a say of their own
    area = surface.area + grain
    total = surface.normal * surface.area[:, None]
    perimeter = surface.perimeter.copy()
    spread = np.zeros(count)  # half angle of a cone about the axis that holds all normals
    charts = np.arange(count)
    pairs, shared = surface.pairs, surface.length
    number = np.empty(count, np.int64)
    for _ in range(_ROUNDS):
        before = len(pairs)
        while len(pairs):
            progress.check()
            one, two = pairs.T
            sum_total, sum_area = total[one] + total[two], area[one] + area[two]
            size = np.linalg.norm(sum_total, axis=1)
            axis = sum_total / np.maximum(size, 1e-300)[:, None]
            cone = np.maximum(
                spread[one] + _angle(_unit(total[one]), axis), spread[two] + _angle(_unit(total[two]), axis)
            )
            border = perimeter[one] + perimeter[two] - 2.0 * shared
            mean = np.where(size > 0.0, size / sum_area, 1.0)
            cost = np.minimum((1.0 - mean) + _RAGGED * border * border / sum_area, 1e30).astype(np.float32)
            allowed = np.flatnonzero((mean >= _LEAST_MEAN) & (cone <= np.radians(_WIDEST)))
            if not len(allowed):
                break
            won = allowed[_mutual_best(cost[allowed], one[allowed], two[allowed], count)]
            keep, gone = one[won], two[won]
            total[keep], area[keep], perimeter[keep], spread[keep] = (
                sum_total[won],
                sum_area[won],
                border[won],
                cone[won],
            )
            number[:] = np.arange(count)
            number[gone] = keep
            charts = number[charts]
            pairs, shared = _joined(number[pairs], shared, count)
        angles = _angle(surface.normal, _unit(total)[charts])
        spread[:] = 0.0
        np.maximum.at(spread, charts, angles)
        if len(pairs) == before:
            break
    return np.asarray(np.unique(charts, return_inverse=True)[1], np.int64).reshape(-1)


def _unit(vectors: F64) -> F64:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1), 1e-300)[:, None])


def _angle(one: F64, two: F64) -> F64:
    """(N,) in radians; 0 where `one` is zero: a face without area fits anywhere."""
    angle = np.arccos(np.clip(np.einsum("ij,ij->i", one, two), -1.0, 1.0))
    return np.asarray(np.where((one != 0.0).any(1), angle, 0.0))


def _mutual_best(cost: NDArray[np.float32], one: I64, two: I64, count: int) -> NDArray[np.bool_]:
    """Which pairs are the cheapest at both of their ends; the earlier one where costs are equal."""
    # A float that is not negative sorts as its bits do, so cost and number fit one integer.
    rank = (np.maximum(cost, np.float32(0.0)).view(np.uint32).astype(np.uint64) << np.uint64(32)) | np.arange(
        len(cost), dtype=np.uint64
    )
    best = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(best, one, rank)
    np.minimum.at(best, two, rank)
    return (best[one] == rank) & (best[two] == rank)


def _joined(pairs: I64, shared: F64, count: int) -> tuple[I64, F64]:
    """Pairs of charts once each, with the length that they share."""
    apart = pairs[:, 0] != pairs[:, 1]
    pairs = np.sort(pairs[apart], axis=1)
    key, inverse = np.unique(pairs[:, 0] * count + pairs[:, 1], return_inverse=True)
    lengths = np.bincount(inverse.reshape(-1), shared[apart], len(key))
    return np.stack([key // count, key % count], 1), np.asarray(lengths, np.float64)


def _neighbours(surface: ChartedSurface) -> tuple[I64, F64]:
    """For each face up to three neighbours (itself where there is none) and the lengths of the shared edges."""
    count = len(surface.area)
    face = surface.pairs.T.reshape(-1)
    other = surface.pairs[:, ::-1].T.reshape(-1)
    length = np.tile(surface.length, 2)
    order = np.argsort(face, kind="stable")
    face, other, length = face[order], other[order], length[order]
    slot = np.arange(len(face)) - np.searchsorted(face, face)
    neighbours = np.repeat(np.arange(count)[:, None], 3, 1)
    lengths = np.zeros((count, 3))
    neighbours[face, slot], lengths[face, slot] = other, length
    return neighbours, lengths


def _smooth(surface: ChartedSurface, charts: I64) -> I64:
    """Shorter borders: a face goes over to the neighbours' chart where that shortens the border."""
    neighbours, lengths = _neighbours(surface)
    axes, _ = chart_axes(surface, charts)
    charts = charts.copy()
    least = np.cos(np.radians(_WIDEST))
    gain = np.zeros(len(charts))
    for _ in range(_SMOOTHINGS):
        border = np.flatnonzero((charts[neighbours] != charts[:, None]).any(1))
        near = charts[neighbours[border]]
        own = (lengths[border] * (near == charts[border, None])).sum(1)
        held = np.stack([(lengths[border] * (near == near[:, k : k + 1])).sum(1) for k in range(3)], 1)
        fits = np.einsum("ijk,ik->ij", axes[near], surface.normal[border]) > least
        fits |= (surface.area[border] == 0.0)[:, None]
        held[(near == charts[border, None]) | ~fits] = 0.0
        slot = held.argmax(1)
        rows = np.arange(len(border))
        gain[:] = 0.0
        gain[border] = np.maximum(held[rows, slot] - own, 0.0)
        # Only the best of a neighbourhood moves, so that two faces do not change places for ever.
        around = gain[neighbours[border]]
        best = (gain[border] > around.max(1)) | (
            (gain[border] == around.max(1))
            & (border < np.where(around >= gain[border, None], neighbours[border], len(charts)).min(1))
        )
        moving = (gain[border] > 1e-12) & best
        if not moving.any():
            break
        charts[border[moving]] = near[rows, slot][moving]
    return charts


def _without_crumbs(surface: ChartedSurface, charts: I64) -> I64:
    """Tiny charts go to the neighbour they share most with, where that can take them."""
    axes, areas = chart_axes(surface, charts)
    count = len(areas)
    sizes = np.bincount(charts, minlength=count)
    crumb = (areas < _CRUMB * areas.sum()) | (sizes < FEWEST)
    pairs, shared = _joined(charts[surface.pairs], surface.length, count)
    if not crumb.any() or not len(pairs):
        return charts
    # The least cosine of a crumb's faces with each neighbour's axis.
    members = np.flatnonzero(crumb[charts])
    order = members[np.argsort(charts[members], kind="stable")]
    first = np.searchsorted(charts[order], np.arange(count))
    last = np.searchsorted(charts[order], np.arange(count), "right")
    both = np.concatenate([pairs, pairs[:, ::-1]])
    length = np.concatenate([shared, shared])
    keep = crumb[both[:, 0]] & ~crumb[both[:, 1]]
    both, length = both[keep], length[keep]
    target = np.arange(count)
    for place in np.argsort(length, kind="stable"):
        small, large = both[place]
        faces = order[first[small] : last[small]]
        if (surface.normal[faces] @ axes[large])[surface.area[faces] > 0.0].min(initial=1.0) > 0.1:
            target[small] = large
    return np.asarray(np.unique(target[charts], return_inverse=True)[1], np.int64).reshape(-1)


def _upright(surface: ChartedSurface, charts: I64) -> I64:
    """Faces that a projection along their chart's axis would turn over become charts of their own."""
    for _ in range(4):
        axes, _ = chart_axes(surface, charts)
        down = (np.einsum("ij,ij->i", surface.normal, axes[charts]) <= 0.02) & (surface.area > 0)
        if not down.any():
            break
        charts = connected(surface, np.where(down, charts + len(axes), charts))
    return charts
