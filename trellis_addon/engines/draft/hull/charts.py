"""The mesh in flat pieces, side by side in a square.

Every face goes to the direction that it faces most, a picture's own where there is one, so that what a picture shows
is one large piece. A piece is seen straight on: it is as it was in the picture, and lettering can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....geometry.texturing.scan import hits
from ..fields import F32, Check, never
from .outlines import Outline
from .surface import I32, HullSurface, neighbours, parts_of

_UP = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
_DOWN = ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0))
_OWN = 0.12  # by which a direction with a picture of its own comes first
_ROUNDS = 6  # of evening out which direction faces belong to
_CRUMB = 24  # faces; smaller pieces go to a neighbour where they face it at all
_LAYERS = 4  # that a piece may lie over itself in
GUTTER = 4  # texels round a piece
_CUTS = 6  # how often pieces that lie over themselves are cut
_COARSE = 256  # texels a side, on which it shows what lies on each other by and large
_INNER = 1e-3  # by which a texel's centre must be inside a face to be its own

_NONE = np.zeros(0, np.int32)


@dataclass(frozen=True)
class Charts:
    """The mesh cut along the pieces' borders, and where each of them lies in a square of `size` texels.

    `source` (V,) is the surface's point that each of the `V` points was, `texels` (V, 2) its place, x and y down, and
    `faces` (F, 3) are the surface's faces in their order. `share` is how much of the square the pieces fill.
    """

    source: I32
    texels: F32
    faces: I32
    size: int
    share: float


def lay_out(
    surface: HullSurface, outlines: Sequence[Outline], size: int, check: Check = never, *, apart: bool = False
) -> Charts:
    """The pieces of a surface. `apart`: those that lie over themselves all the same are cut until none does, whatever
    mesh it is."""
    frames, bonus = _frames(outlines)
    facing = _face_normals(surface) @ np.cross(frames[:, 0], frames[:, 1]).T
    pairs = neighbours(surface.faces)
    label = _evened(np.argmax(facing + bonus, 1).astype(np.int32), facing, pairs, check)
    label, chart = _without_crumbs(label, facing, pairs, check)
    chart = _flat(surface, frames, label, chart, pairs, check)
    charts = _packed(surface, frames, label, chart, size, check)
    for attempt in range(_CUTS if apart else 0):
        # Layers upon layers cost by the texel: they are told apart on fewer first.
        crowded = _crowded(charts, min(size, _COARSE), check) if attempt < _CUTS // 2 else _NONE
        crowded = crowded if len(crowded) else _crowded(charts, size, check)
        if not len(crowded):
            break
        # first what is joined stays so, in the end every face is alone
        aside = np.zeros(len(chart), np.int32)
        aside[crowded] = 1 if attempt < _CUTS // 2 else 1 + np.arange(len(crowded))
        chart = _pieces(np.unique(chart.astype(np.int64) * (len(chart) + 1) + aside, return_inverse=True)[1], pairs)
        charts = _packed(surface, frames, label, chart, size, check)
    return charts


def _crowded(charts: Charts, grid: int, check: Check) -> I32:
    """Of faces that lie on each other all but the first one on each texel, of `grid` a side."""
    corners = charts.texels[charts.faces] * np.float32(grid / charts.size)
    count = grid * grid
    first = np.full(count, len(charts.faces), np.int64)
    found: list[I32] = []
    for _ in range(2):  # at first who comes first, then who comes after
        found = []
        for face, place, weights in hits(corners, (grid, grid), check=check):
            inside = (weights > _INNER).all(1)
            face, place = face[inside], place[inside]
            np.minimum.at(first, place, face)
            found.append(np.unique(face[face > first[place]]).astype(np.int32))
    return np.unique(np.concatenate(found))


def _frames(outlines: Sequence[Outline]) -> tuple[F32, F32]:
    """What is right and what is up (D, 2, 3) in the picture of every direction, and by how much it comes first (D,)."""
    up = np.array([0.0, 0.0, 1.0], np.float32)
    given = [outline for outline in outlines if outline.share == 1.0]
    found = [np.stack([outline.right, up]) for outline in given]
    for yaw in (0.0, 90.0, 180.0, 270.0):
        if all(abs((outline.yaw - yaw + 180.0) % 360.0 - 180.0) > 40.0 for outline in given):
            turn = np.radians(yaw)
            found.append(np.stack([np.array([np.cos(turn), np.sin(turn), 0.0]), up]))
    found += [np.array(_UP), np.array(_DOWN)]
    bonus = np.zeros(len(found), np.float32)
    bonus[: len(given)] = _OWN
    return np.stack(found).astype(np.float32), bonus


def _face_normals(surface: HullSurface) -> F32:
    """Of the faces as the smooth surface has them."""
    mean = surface.normals[surface.faces].sum(1)
    return np.asarray(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12), np.float32)


def _evened(label: I32, facing: F32, pairs: I32, check: Check) -> I32:
    """Labels as most of a face's neighbours have them, where it faces that direction at all."""
    count = facing.shape[1]
    for _ in range(_ROUNDS):
        check()
        votes = np.zeros((len(label), count), np.float32)
        votes += np.eye(count, dtype=np.float32)[label] * 0.9
        for a, b in ((0, 1), (1, 0)):
            key = pairs[:, a].astype(np.int64) * count + label[pairs[:, b]]
            votes += np.bincount(key, minlength=votes.size).reshape(votes.shape)
        votes[facing < 0.3] = -1.0
        votes[np.arange(len(label)), label] += 1.1  # nobody is left without a direction
        label = np.argmax(votes, 1).astype(np.int32)
    return label


def _pieces(label: I32, pairs: I32) -> I32:
    """The number of each face's piece: faces of one label that are joined."""
    same = label[pairs[:, 0]] == label[pairs[:, 1]]
    part = parts_of(len(label), pairs[same])
    return np.unique(part, return_inverse=True)[1].astype(np.int32)


def _without_crumbs(label: I32, facing: F32, pairs: I32, check: Check) -> tuple[I32, I32]:
    label = label.copy()
    for _ in range(4):
        check()
        piece = _pieces(label, pairs)
        small = np.bincount(piece)[piece] < _CRUMB
        a, b = np.concatenate([pairs, pairs[:, ::-1]]).T
        able = small[a] & ~small[b] & (facing[a, label[b]] > 0.1)
        if not able.any():
            break
        # Of several neighbours the one that is faced most: written last.
        order = np.argsort(facing[a[able], label[b[able]]], kind="stable")
        label[a[able][order]] = label[b[able][order]]
    return label, _pieces(label, pairs)


def _flat(surface: HullSurface, frames: F32, label: I32, chart: I32, pairs: I32, check: Check) -> I32:
    """Pieces that do not lie over themselves: what is behind something of its own piece becomes one of its own."""
    corners = surface.points[surface.faces]
    middle = corners.mean(1)
    towards = np.cross(frames[:, 0], frames[:, 1])
    cell = float(
        np.sqrt(
            np.median(np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1))
        )
    )
    depth = np.einsum("ij,ij->i", middle, towards[label])
    plane = np.einsum("ij,ikj->ik", middle, frames[label])
    place = np.floor((plane - plane.min(0)) / cell).astype(np.int64)
    layer = np.zeros(len(chart), np.int32)
    for number in range(1, _LAYERS):
        check()
        piece = _pieces(chart * _LAYERS + layer, pairs)
        key = (piece.astype(np.int64) * (place[:, 0].max() + 1) + place[:, 0]) * (place[:, 1].max() + 1) + place[:, 1]
        found, which = np.unique(key, return_inverse=True)
        front = np.full(len(found), -np.inf, np.float32)
        np.maximum.at(front, which, depth)
        behind = depth < front[which] - 3.0 * cell
        if not behind.any():
            break
        layer[behind] = number
    return _pieces(chart * _LAYERS + layer, pairs)


def _packed(surface: HullSurface, frames: F32, label: I32, chart: I32, size: int, check: Check) -> Charts:
    count = int(chart.max()) + 1
    frame_of = np.zeros(count, np.int32)
    frame_of[chart] = label
    corner = chart.repeat(3).astype(np.int64) * len(surface.points) + surface.faces.ravel()
    used, number = np.unique(corner, return_inverse=True)
    piece, source = np.divmod(used, len(surface.points))
    plane = np.einsum("ij,ikj->ik", surface.points[source], frames[frame_of[piece]])
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, piece, plane)
    np.maximum.at(high, piece, plane)
    check()
    density, places = _densest(high - low, size)
    inner = (plane - low[piece]) * density
    inner[:, 1] = (high - low)[piece, 1] * density - inner[:, 1]  # v runs down
    texels = (places[piece] + GUTTER + inner).astype(np.float32)
    corners = texels[number.reshape(-1, 3)]
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    share = float(np.abs(e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]).sum()) / (2.0 * size * size)
    return Charts(source.astype(np.int32), texels, number.reshape(-1, 3).astype(np.int32), size, share)


def _densest(extents: F32, size: int) -> tuple[float, F32]:
    """The most texels per unit at which all rectangles fit in the square, and where each of them begins (N, 2)."""
    low, high = 0.0, 4.0 * size / float(max(extents.max(), 1e-6))
    best = np.zeros_like(extents)
    for _ in range(14):
        middle = 0.5 * (low + high)
        places = _shelves(np.ceil(extents * middle) + 2 * GUTTER + 1, size)
        if places is None:
            high = middle
        else:
            low, best = middle, places
    return low, best


def _shelves(sizes: F32, size: int) -> F32 | None:
    """Rectangles in rows, the tallest first; None where they do not fit."""
    if sizes.max() > size:
        return None
    places = np.zeros_like(sizes)
    left = top = height = 0.0
    for number in np.argsort(-sizes[:, 1], kind="stable"):
        width, tall = sizes[number]
        if left + width > size:
            left, top, height = 0.0, top + height, 0.0
        height = max(height, tall)
        if top + tall > size:
            return None
        places[number] = left, top
        left += width
    return places
