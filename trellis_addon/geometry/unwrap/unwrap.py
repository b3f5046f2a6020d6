"""Unwrapping: a surface becomes charts in the unit square, few, little stretched, never on top of each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError
from ...core.progress import Progress
from .apart import pushed_apart
from .charts import ChartedSurface, chart_axes, connected, cut_into_charts
from .crumbs import FEWEST, folded_out, with_neighbours
from .fill import filled_in
from .flatten import flattened
from .grow import grown
from .pack import pack, triangle_areas
from .raster import REACH, Raster, rasterise
from .unfold import unfolded

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

# Texels to a cell of the packing grid, and so between two charts at the least. The widest that costs no more of the
# atlas than a share is taken: at the fourth mip level a texel is 16 wide, and shows both.
_GAPS = (8, 4, 2)
_GAP_SHARE = 0.15
# A chart may be this long, in sides of the square that all charts together fill to that density.
_LONGEST, _DENSITY = 0.8, 0.65
_LEAST_CELLS, _MOST_CELLS = 64, 1024
# How often charts that lie on themselves are cut, before and after packing.
_CUTS = 8
_REPACKS = 8
_RETURNS = 2  # in so many of them crumbs go back
# Texels between faces that are pushed apart, tried in this order: small ones have no room for more.
_PUSHES = (0.75, 0.5, 0.25, 0.1)
_FOLDS = 6
# Charts of so few texels need not have all of their area in the atlas: how far they are squeezed.
_TINY = ((200.0, 0.5), (25.0, 0.2))
_APART = 2.5  # texels between what is unfolded and what it is not hinged on
_TOO_FEW = 5e-5  # crowded faces, as a share of all: what is left to cutting after packing


@dataclass(frozen=True)
class Unwrapped:
    """A mesh whose vertices are split where charts meet.

    `source` (V',) names the vertex each one was, `faces` (F, 3) keep their order, `uvs` (V', 2) are in [0, 1] with v
    down the image, `charts` (F,) are numbered from 0. `raster` is the atlas drawn at the texture's size.
    """

    source: I64
    faces: I32
    uvs: F32
    charts: I64
    raster: Raster


def unwrap(
    vertices: F32,
    faces: I32,
    texture_size: int,
    progress: Progress | None = None,
    device: str = "cpu",
    *,
    pairs: bool = False,
) -> Unwrapped:
    """Charts for a texture of `texture_size` texels a side.

    `vertices` (V, 3), `faces` (F, 3), wound so that normals point outwards; faces without area are allowed.
    `pairs`: faces 2k and 2k + 1 are one quad, which no chart's border is to go through where that can be had. In the
    image charts are seen from outside, none mirrored. A chart found lying on itself is cut where its two layers part.
    Raises `InputError` where there is no face.
    """
    progress = progress or Progress()
    if not len(faces):
        raise InputError("The mesh has no faces, so there is nothing to unwrap; give a mesh with faces.")
    progress.update("unwrap", 0.0)
    surface = ChartedSurface.of(vertices, faces)
    if not surface.area.any():
        raise InputError("No face of the mesh has an area, so there is nothing to unwrap; give a sound mesh.")
    charts = cut_into_charts(vertices, faces, progress)
    if pairs:
        charts = connected(surface, np.repeat(charts[0::2], 2))
    flat = project(vertices, faces, surface, charts)
    for _ in range(_CUTS):
        progress.update("unwrap", 0.3)
        crowded = _crowded(flat, charts, texture_size, device)
        if len(crowded) <= _TOO_FEW * len(faces):
            break
        charts = _cut_layers(vertices, faces, surface, charts, crowded)
        flat = project(vertices, faces, surface, charts)
    charts = _cut_long(flat, surface, charts)
    projected, origin = project(vertices, faces, surface, charts), charts
    flat = _flattened(vertices, projected, charts, texture_size, device)
    flat, charts = _folded_out(vertices, faces, surface, flat, charts, texture_size, device)
    cells = _cells(flat, texture_size)
    packing, before = progress.part(0.4, 0.9), None
    reverted = np.zeros(len(faces), bool)
    for attempt in range(_REPACKS + 1):
        packed = pack(flat.points, flat.faces, charts, cells, packing, former=before)
        uvs = packed.points.astype(np.float32)
        uvs = _pushed_apart(uvs, flat.faces, texture_size, device)
        raster = rasterise(uvs, flat.faces, texture_size, device, reach_texels=max(REACH, texture_size / cells))
        if not raster.overlapping or attempt == _REPACKS:
            break
        # What had to be pushed too far: crumbs that were folded out go back, and of others one is cut off.
        former, charts, corners = charts, charts.copy(), flat.points[flat.faces]
        folded = _guests(charts, origin) & ~reverted if attempt < _RETURNS else np.zeros(len(faces), bool)
        crumbs = folded[raster.crowded].any(1)
        back = np.isin(origin, origin[raster.crowded[crumbs][folded[raster.crowded[crumbs]]]]) & folded
        reverted |= back
        corners[back] = projected.points[projected.faces[back]]
        charts[back] = int(charts.max()) + 1 + origin[back]
        charts = _cut_off(surface, charts, raster.crowded[~crumbs])
        charts = connected(surface, charts)
        before = packed, former[np.unique(charts, return_index=True)[1]]
        flat = _laid(faces, charts, corners)
        packing = progress.part(0.9, 0.9)
    return Unwrapped(flat.source, flat.faces, uvs, charts, raster)


def _pushed_apart(uvs: F32, faces: I32, texture_size: int, device: str) -> F32:
    """The atlas with as few texels as may be in two faces."""
    found = rasterise(uvs, faces, texture_size, device, borders=False)
    for margin in _PUSHES:
        if not found.overlapping:
            break
        pushed = pushed_apart(uvs.astype(np.float64) * texture_size, faces, found.crowded, margin) / texture_size
        again = rasterise(pushed.astype(np.float32), faces, texture_size, device, borders=False)
        if again.overlapping < found.overlapping:
            uvs, found = pushed.astype(np.float32), again
    return uvs


def _cut_off(surface: ChartedSurface, charts: I64, crowded: I32) -> I64:
    """The second face of each pair in a chart of its own, with those around it where that leaves the rest whole."""
    charts = charts.copy()
    for face in np.unique(crowded[:, 1]):
        partners = crowded[crowded[:, 1] == face, 0]
        own = surface.pairs[(charts[surface.pairs] == charts[face]).all(1)]
        patch = with_neighbours(own, np.array([face]), FEWEST, avoided=partners)
        tried, alone = charts.copy(), charts.copy()
        tried[patch], alone[face] = charts.max() + 1, charts.max() + 1
        crumbs = [int((np.bincount(connected(surface, each)) < FEWEST).sum()) for each in (tried, alone)]
        charts = tried if crumbs[0] < crumbs[1] else alone
    return charts


def _guests(charts: I64, origin: I64) -> NDArray[np.bool_]:
    """(F,) faces that lie in another chart than that which they came from, `origin` (F,): not in its largest part."""
    count = int(origin.max()) + 1
    pair, which, size = np.unique(charts * count + origin, return_inverse=True, return_counts=True)
    chart = pair // count
    largest = np.zeros(len(pair), bool)
    order = np.lexsort((-size, chart))
    largest[order[np.unique(chart[order], return_index=True)[1]]] = True
    return ~largest[which.reshape(-1)]


@dataclass(frozen=True)
class Flat:
    """Charts before packing: `points` (V', 2) float64 in the mesh's units, v down; the rest as in `Unwrapped`."""

    source: I64
    faces: I32
    points: F64


def project(vertices: F32, faces: I32, surface: ChartedSurface, charts: I64) -> Flat:
    """Each chart seen along its axis, in the mesh's units, at a scale that gives it its area on the surface."""
    axes, areas = chart_axes(surface, charts)
    across = np.where(np.abs(axes[:, :1]) < 0.6, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    right = np.cross(across, axes)
    right /= np.linalg.norm(right, axis=1)[:, None]
    up = np.cross(axes, right)
    key, inverse = np.unique(charts[:, None] * len(vertices) + faces, return_inverse=True)
    split = inverse.reshape(faces.shape).astype(np.int32)
    chart, source = key // len(vertices), key % len(vertices)
    points = vertices[source].astype(np.float64)
    uvs = np.stack([np.einsum("ij,ij->i", points, right[chart]), -np.einsum("ij,ij->i", points, up[chart])], 1)
    shadow = np.bincount(charts, np.abs(triangle_areas(uvs, split)), len(axes))
    # A chart without any shadow is a line; its scale does not matter.
    uvs *= np.sqrt(np.where(shadow > 0, areas / np.maximum(shadow, 1e-300), 1.0))[chart, None].clip(0.0, 3.0)
    return Flat(source, split, uvs)


def _flattened(vertices: F32, projected: Flat, charts: I64, texture_size: int, device: str) -> Flat:
    """The charts with little stretch; those that would then lie on themselves stay as they are projected."""
    points = flattened(vertices, projected.source, projected.faces, projected.points, charts)
    flat = Flat(projected.source, projected.faces, points)
    crowded = charts[_crowded(flat, charts, texture_size, device)[:, 0]]
    if len(crowded):
        back = np.isin(charts, crowded)
        points[flat.faces[back]] = projected.points[flat.faces[back]]
    return flat


def _folded_out(
    vertices: F32, faces: I32, surface: ChartedSurface, flat: Flat, charts: I64, texture_size: int, device: str
) -> tuple[Flat, I64]:
    """Charts of few faces lie beside a neighbour, where they do not come to lie on it; squeezed, if tiny; at last
    they take from it until they are none."""
    texel = float(surface.area.sum()) / (_DENSITY * texture_size**2)
    for way in ("fold", "unfold", "fill", *_TINY, "grow"):
        refused = np.zeros(len(faces), np.int64)
        for _ in range(_FOLDS):
            corners = flat.points[flat.faces]
            if way == "grow":
                corners, charts = grown(vertices, faces, surface.pairs, corners, surface.area, charts, texel)
                flat = _laid(faces, charts, corners)
                break
            if way == "unfold":
                side = _APART * float(np.sqrt(texel))
                corners, merged, moved = unfolded(faces, surface.pairs, corners, surface.area, charts, refused, side)
            elif way == "fill":
                corners, merged, moved = filled_in(
                    vertices, faces, surface.pairs, corners, surface.area, charts, refused, texel
                )
            else:
                texels, height = (0.0, 1.0) if isinstance(way, str) else way
                corners, merged, moved = folded_out(
                    faces, surface.pairs, corners, surface.area, charts, refused, texels * texel, height
                )
            if not moved.any():
                break
            touched = np.flatnonzero(np.isin(merged, merged[moved]))
            laid, numbers = corners[touched], np.unique(merged[touched], return_inverse=True)[1].reshape(-1)
            share = float(surface.area[touched].sum() / surface.area.sum())
            found = _crowded(_laid(faces[touched], numbers, laid), numbers, texture_size, device, share)
            crowded = np.unique(merged[touched[found]])
            # Of a chart on which something has come to lie nothing new stays.
            lost = moved & np.isin(merged, crowded)
            refused[lost] += 1
            back = np.isin(merged, crowded) if way == "fill" else lost
            corners[back] = flat.points[flat.faces[back]]
            merged[lost] = int(merged.max()) + 1 + charts[lost]
            charts = np.unique(merged, return_inverse=True)[1].reshape(-1)
            flat = _laid(faces, charts, corners)
    return flat, charts


def _laid(faces: I32, charts: I64, corners: F64) -> Flat:
    """Charts whose triangles lie at given `corners` (F, 3, 2): a vertex may lie at several places of one."""
    count = int(faces.max()) + 1
    places = corners.reshape(-1, 2)
    _, first, split = np.unique(charts[:, None] * count + faces, return_index=True, return_inverse=True)
    split = split.reshape(-1)
    apart = (places != places[first][split]).any(1)
    if apart.any():
        rows = np.flatnonzero(np.isin(split, split[apart]))
        each = np.concatenate([split[rows, None], places[rows]], 1)
        split[rows] = len(first) + np.unique(each, axis=0, return_inverse=True)[1].reshape(-1)
        _, first, split = np.unique(split, return_index=True, return_inverse=True)
    source = faces.reshape(-1)[first].astype(np.int64)
    return Flat(source, split.reshape(faces.shape).astype(np.int32), places[first])


def _cells(flat: Flat, texture_size: int) -> int:
    """How many cells of the packing grid go to the atlas's side: the gaps are as wide as the charts' borders allow."""
    ends = flat.faces.astype(np.int64)
    ends = np.stack([ends, np.roll(ends, -1, 1)], 2).reshape(-1, 2)
    _, first, times = np.unique(ends.min(1) * len(flat.points) + ends.max(1), return_index=True, return_counts=True)
    border = ends[first[times == 1]]
    length = float(np.linalg.norm(flat.points[border[:, 0]] - flat.points[border[:, 1]], axis=1).sum())
    area = max(float(np.abs(triangle_areas(flat.points, flat.faces)).sum()), 1e-300)
    # Half a gap on either side of every border, in texels, of the square that the charts fill.
    share = length * np.sqrt(_DENSITY / area) / texture_size / (2.0 * _DENSITY)
    gap = next((gap for gap in _GAPS if gap * share <= _GAP_SHARE), _GAPS[-1])
    return int(np.clip(texture_size / gap, _LEAST_CELLS, _MOST_CELLS))


def _cut_long(flat: Flat, surface: ChartedSurface, charts: I64) -> I64:
    """Charts that are too long for the square that all together could fill are cut across, into equal lengths.

    Otherwise one long rod would set the scale for everything, and leave most of the atlas empty.
    """
    count = int(charts.max()) + 1
    side = float(np.sqrt(np.abs(triangle_areas(flat.points, flat.faces)).sum() / _DENSITY))
    middle = flat.points[flat.faces].mean(1)
    members = np.maximum(np.bincount(charts, minlength=count), 1)
    offset = middle - np.stack([np.bincount(charts, middle[:, k], count) / members for k in range(2)], 1)[charts]
    xx, yy, xy = (np.bincount(charts, offset[:, j] * offset[:, k], count) for j, k in ((0, 0), (1, 1), (0, 1)))
    angle = 0.5 * np.arctan2(2.0 * xy, xx - yy)  # of the direction in which the chart extends most
    along = offset[:, 0] * np.cos(angle)[charts] + offset[:, 1] * np.sin(angle)[charts]
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, charts, along)
    np.maximum.at(high, charts, along)
    pieces = np.ceil((high - low) / (_LONGEST * side)).clip(1.0, 1000.0)
    if pieces.max() == 1:
        return charts
    share = (along - low[charts]) / np.maximum(high - low, 1e-300)[charts]
    piece = np.minimum((share * pieces[charts]).astype(np.int64), pieces[charts].astype(np.int64) - 1)
    return connected(surface, charts * 1000 + piece)


def _crowded(flat: Flat, charts: I64, texture_size: int, device: str, share: float = 1.0) -> I32:
    """(K, 2): faces that lie on each other, by drawing the charts, a `share` of all, apart, each alone in its box."""
    count = int(charts.max()) + 1
    chart_of = np.zeros(len(flat.points), np.int64)
    chart_of[flat.faces.reshape(-1)] = np.repeat(charts, 3)
    members = np.argsort(chart_of, kind="stable")
    first = np.searchsorted(chart_of[members], np.arange(count))
    low = np.minimum.reduceat(flat.points[members], first)
    box = np.maximum.reduceat(flat.points[members], first) - low
    # Shelves: charts by height, side by side until a row is full.
    width = max(1.1 * float(np.sqrt(box.prod(1).sum())), float(box[:, 0].max()))
    order = np.argsort(-box[:, 1], kind="stable")
    right = np.cumsum(box[order, 0])
    shelf = np.floor(right / width).astype(np.int64)
    start = np.concatenate([[True], shelf[1:] != shelf[:-1]])
    corner = np.empty_like(low)
    left = right - box[order, 0]
    corner[order, 0] = left - left[start][np.cumsum(start) - 1]
    corner[order, 1] = np.concatenate([[0.0], np.cumsum(box[order, 1][start])])[np.cumsum(start) - 1]
    side = float((corner + box).max())
    uvs = ((flat.points - low[chart_of] + corner[chart_of]) / side).astype(np.float32)
    area = float(np.abs(triangle_areas(uvs.astype(np.float64), flat.faces)).sum())
    # As fine as the atlas will be, where charts fill about two thirds of it.
    size = int(min(texture_size * np.sqrt(0.66 * share / max(area, 1e-9)), 2 * texture_size, 8192)) + 1
    crowded = rasterise(uvs, flat.faces, size, device, borders=False).crowded
    return crowded[charts[crowded[:, 0]] == charts[crowded[:, 1]]]


def _cut_layers(vertices: F32, faces: I32, surface: ChartedSurface, charts: I64, crowded: I32) -> I64:
    """Charts of which two faces lie on the same texel are cut between these, at half their depth along the axis.

    Where the two are neighbours the surface is only crumpled there, and the steeper one becomes a chart of its own.
    """
    pairs = crowded[charts[crowded[:, 0]] == charts[crowded[:, 1]]]
    axes, _ = chart_axes(surface, charts)
    middle = vertices[faces].astype(np.float64).mean(1)
    apart = np.linalg.norm(middle[pairs[:, 0]] - middle[pairs[:, 1]], axis=1)
    touching = (faces[pairs[:, 0], :, None] == faces[pairs[:, 1], None, :]).any((1, 2))
    near = touching | (apart < 0.4 * surface.perimeter[pairs].min(1))
    facing = np.einsum("nkc,nkc->nk", surface.normal[pairs], axes[charts[pairs]])
    alone = np.unique(pairs[near, facing[near].argmin(1)])
    depth = np.einsum("ij,ij->i", middle, axes[charts])
    far = pairs[~near]
    between, chart = depth[far].mean(1), charts[far[:, 0]]
    order = np.lexsort((between, chart))
    named, first, count = np.unique(chart[order], return_index=True, return_counts=True)
    level = np.full(len(axes), np.inf)
    level[named] = between[order][first + count // 2]
    cut = np.where(depth > level[charts], charts + len(axes), charts)
    cut[alone] = 2 * len(axes) + charts[alone]  # neighbours stay together
    return connected(surface, cut)
