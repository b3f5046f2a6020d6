"""A field's surface as a closed mesh: surface nets (Gibson, "Constrained elastic surface nets", 1998)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..fields import F32, Bool, Check, never
from .carve import Volume

I32 = NDArray[np.int32]
_LITTLE = 0.05  # what a place gets that is filled so that no edge has four faces
_SMALLEST_PART = 0.01  # of the largest one's faces; what is smaller was left over between outlines


@dataclass(frozen=True)
class HullSurface:
    """Closed, seen from outside counter-clockwise: `points` (V, 3), `faces` (F, 3), `normals` (V, 3) of length 1."""

    points: F32
    faces: I32
    normals: F32


def surface_of(volume: Volume, check: Check = never) -> HullSurface:
    """The surface where the field is 0; every edge has two faces. Of a field without any place inside it is empty."""
    field = _without_corners(volume.field, check)
    inside = field > 0.0
    check()
    points, index = _points(field, inside)
    check()
    quads = _quads(inside, index)
    for _ in range(2):
        check()
        points = _relaxed(points, quads)
    faces = _triangles(points, quads)
    places = points * np.float32(volume.cell) + np.array(volume.origin, np.float32)
    return _whole(places, faces)


def parts_of(count: int, pairs: I32) -> I32:
    """A number for each of `count` things, the same for those that `pairs` (N, 2) join directly or over others."""
    label = np.arange(count, dtype=np.int32)
    while len(pairs):
        a, b = label[pairs[:, 0]], label[pairs[:, 1]]
        differ = a != b
        if not differ.any():
            break
        low, high = np.minimum(a, b)[differ], np.maximum(a, b)[differ]
        np.minimum.at(label, high, low)
        while True:
            jumped = label[label]
            if (jumped == label).all():
                break
            label = jumped
    return label


def neighbours(faces: I32) -> I32:
    """Pairs (N, 2) of faces that share an edge."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1).astype(np.int64)
    key = edges[:, 0] * (int(faces.max()) + 1) + edges[:, 1]
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    owner = np.tile(np.arange(len(faces), dtype=np.int32), 3)[order]
    return np.stack([owner[same], owner[same + 1]], 1)


def _without_corners(field: F32, check: Check) -> F32:
    """The field with places filled in where two meet in an edge or a corner only: there the mesh would branch."""
    field = field.copy()
    field[[0, -1]] = field[:, [0, -1]] = field[:, :, [0, -1]] = np.minimum(field[[0, -1]].min(), -1.0)
    for _ in range(12):
        check()
        inside = field > 0.0
        to_fill = np.zeros_like(inside)
        for first, second in itertools.combinations(range(3), 2):
            _fill_diagonals(inside, to_fill, first, second)
        _fill_corners(inside, to_fill)
        if not to_fill.any():
            break
        field[to_fill] = _LITTLE
    return field


def _shifted(axes: dict[int, int]) -> tuple[slice, ...]:
    return tuple(
        slice(axes[axis], -1 if not axes[axis] else None) if axis in axes else slice(None) for axis in range(3)
    )


def _fill_diagonals(inside: Bool, to_fill: Bool, first: int, second: int) -> None:
    at = {(i, j): _shifted({first: i, second: j}) for i in (0, 1) for j in (0, 1)}
    a, b, c, d = (inside[at[corner]] for corner in ((0, 0), (0, 1), (1, 0), (1, 1)))
    to_fill[at[0, 1]] |= a & d & ~b & ~c
    to_fill[at[0, 0]] |= b & c & ~a & ~d


def _fill_corners(inside: Bool, to_fill: Bool) -> None:
    """Of a cell whose only two places inside, or outside, lie across from each other."""
    corners = list(itertools.product((0, 1), repeat=3))
    at = {corner: _shifted(dict(enumerate(corner))) for corner in corners}
    count = np.add.reduce([inside[at[corner]].astype(np.int8) for corner in corners])
    for corner in corners[:4]:
        other = tuple(1 - side for side in corner)
        near = (corner[0], corner[1], 1 - corner[2]), (corner[0], 1 - corner[1], 1 - corner[2])
        pair = (count == 2) & inside[at[corner]] & inside[at[other]]
        for filled in near:
            to_fill[at[filled]] |= pair
        to_fill[at[corner]] |= (count == 6) & ~inside[at[corner]] & ~inside[at[other]]


def _points(field: F32, inside: Bool) -> tuple[F32, I32]:
    """One point in each cell that the surface passes, in the grid's places, and its number in each cell (-1: none)."""
    corners = list(itertools.product((0, 1), repeat=3))
    some = np.add.reduce([inside[_shifted(dict(enumerate(c)))].astype(np.int8) for c in corners])
    cells = np.flatnonzero(((some > 0) & (some < 8)).ravel())
    where = np.stack(np.unravel_index(cells, some.shape), 1)
    value = {c: field[tuple((where + c).T)] for c in corners}
    total, count = np.zeros((len(cells), 3), np.float32), np.zeros(len(cells), np.float32)
    for axis in range(3):
        for start in (c for c in corners if not c[axis]):
            end = tuple(1 if k == axis else side for k, side in enumerate(start))
            a, b = value[start], value[end]
            cut = (a > 0.0) != (b > 0.0)
            share = np.where(cut, a / np.where(cut, a - b, 1.0), 0.0)
            place = np.tile(np.array(start, np.float32), (len(cells), 1))
            place[:, axis] += share
            total += place * cut[:, None]
            count += cut
    index = np.full(some.size, -1, np.int32)
    index[cells] = np.arange(len(cells), dtype=np.int32)
    return where.astype(np.float32) + total / count[:, None], index.reshape(some.shape)


def _quads(inside: Bool, index: I32) -> I32:
    """Four points round each of the grid's edges that the surface cuts, counter-clockwise from outside."""
    found = []
    for axis in range(3):
        b, c = (axis + 1) % 3, (axis + 2) % 3
        cut = inside[_shifted({axis: 0})] != inside[_shifted({axis: 1})]
        at = np.stack(np.nonzero(cut), 1)
        at = at[(at[:, b] > 0) & (at[:, c] > 0)]
        is_out = inside[tuple(at.T)]  # from inside to outside along the axis
        ring = []
        for step_b, step_c in ((0, 0), (1, 0), (1, 1), (0, 1)):
            cell = at.copy()
            cell[:, b] -= 1 - step_b
            cell[:, c] -= 1 - step_c
            ring.append(index[tuple(cell.T)])
        quad = np.stack(ring, 1)
        found.append(np.where(is_out[:, None], quad, quad[:, ::-1]))
    return np.concatenate(found)


def _relaxed(points: F32, quads: I32) -> F32:
    """Each point drawn a little to its neighbours, by no more than a quarter of a cell."""
    total, count = np.zeros_like(points), np.zeros(len(points), np.float32)
    for k in range(4):
        a, b = quads[:, k], quads[:, (k + 1) % 4]
        count += np.bincount(a, minlength=len(points)) + np.bincount(b, minlength=len(points))
        for axis in range(3):
            total[:, axis] += np.bincount(a, points[b, axis], len(points)) + np.bincount(
                b, points[a, axis], len(points)
            )
    move = 0.4 * (total / np.maximum(count, 1.0)[:, None] - points)
    return np.asarray(points + np.clip(move, -0.25, 0.25), np.float32)


def _triangles(points: F32, quads: I32) -> I32:
    a, b, c, d = (points[quads[:, k]] for k in range(4))
    short = np.linalg.norm(a - c, axis=1) <= np.linalg.norm(b - d, axis=1)
    split = (
        quads[short][:, [0, 1, 2]],
        quads[short][:, [0, 2, 3]],
        quads[~short][:, [0, 1, 3]],
        quads[~short][:, [1, 2, 3]],
    )
    return np.concatenate(split)


def _whole(points: F32, faces: I32) -> HullSurface:
    """Without tiny parts, and with normals."""
    if not len(faces):
        return HullSurface(points[:0], faces, points[:0])
    part = parts_of(len(points), np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]]))[faces[:, 0]]
    sizes = np.bincount(part)
    faces = faces[sizes[part] >= _SMALLEST_PART * sizes.max()]
    used, numbers = np.unique(faces, return_inverse=True)
    points, faces = points[used], numbers.reshape(-1, 3).astype(np.int32)
    across = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    normals = np.stack([np.bincount(faces.ravel(), np.repeat(across[:, axis], 3), len(points)) for axis in range(3)], 1)
    length = np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return HullSurface(points, faces, (normals / length).astype(np.float32))
