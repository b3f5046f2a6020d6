"""Which faces belong together at each edge, also where there are more than two."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import kernels
from .kernels import run
from .topology import I32, I64, Bool, Edges, TriMesh

_Places = tuple[tuple[I64, I64], tuple[I64, I64]]
"""Rows and columns of the faces that are joined, and of those they are joined to."""


def likely_pairs(mesh: TriMesh, edges: Edges) -> I32:
    """Pairs (P, 2) of half-edges that probably are one surface, at edges where three or four faces meet.

    Of three faces the two that are flattest to each other; of four, neighbours round the edge, as where two
    solids touch.
    """
    pairs = [np.zeros((0, 2), np.int32)]
    threes, fours = edges.with_count(3), edges.with_count(4)
    if len(threes):
        angles = _angles(mesh, threes)
        # The bend between faces 1 and 2, 2 and 0, 0 and 1: what is left out is opposite.
        bend = np.stack([np.abs(_turn(angles[:, (k + 2) % 3] - angles[:, (k + 1) % 3])) for k in range(3)], axis=1)
        left = bend.argmin(1)
        rows = np.arange(len(threes))
        pairs.append(np.stack([threes[rows, (left + 1) % 3], threes[rows, (left + 2) % 3]], axis=1))
    if len(fours):
        angles = _angles(mesh, fours)
        order = np.argsort(angles, axis=1)
        around = np.take_along_axis(fours, order, axis=1)
        angles = np.take_along_axis(angles, order, axis=1)
        gaps = np.diff(angles, axis=1, append=angles[:, :1] + 2 * np.pi)
        shift = gaps[:, 1] + gaps[:, 3] < gaps[:, 0] + gaps[:, 2]
        around = np.where(shift[:, None], np.roll(around, -1, axis=1), around)
        pairs += [around[:, :2], around[:, 2:]]
    return np.concatenate(pairs)


def opposite_pairs(mesh: TriMesh, edges: Edges) -> I32:
    """(3 M,) the half-edge across each, -1 at borders, where only half-edges that run against each other are joined.

    Of three faces at an edge the two that are flattest to each other are joined. Of more, each half-edge that runs one
    way is joined to the next one round the edge if that runs the other way: of two windings that face outward, these
    are the sides of one gap between solids.
    """
    flat = mesh.faces.reshape(-1)
    twin = np.full(len(flat), -1, np.int32)
    run(kernels.join_opposite, len(edges.first), flat, edges.order, edges.first, edges.counts, twin)
    for count in np.unique(edges.counts[edges.counts > 2]):
        members = edges.with_count(int(count))
        forward = flat[members] == flat[members].max(1, keepdims=True)
        # Seen along the half-edges that run forward, whichever comes first.
        angles = np.where(forward[:, :1], 1, -1) * _angles(mesh, members) % (2 * np.pi)
        for one, other in _flattest(angles, forward) if count == 3 else _gaps(angles, forward):
            twin[members[one]], twin[members[other]] = members[other], members[one]
    return twin


def _flattest(angles: np.ndarray, forward: Bool) -> Iterator[_Places]:
    """Of three faces (n, 3) the one that runs alone and, of the others, the one that is flatter to it."""
    rows = np.flatnonzero(forward.any(1) & ~forward.all(1))
    angles, forward = angles[rows], forward[rows]
    here = np.arange(len(rows))
    alone = np.where(forward.sum(1) == 1, forward.argmax(1), forward.argmin(1))
    flatness = np.abs(_turn(angles - angles[here, alone][:, None]))
    flatness[here, alone] = -1
    yield (rows, alone), (rows, flatness.argmax(1))


def _gaps(angles: np.ndarray, forward: Bool) -> Iterator[_Places]:
    """Like brackets round the edge: what lies between two (n, k) that are joined has been joined before."""
    rows = np.arange(len(angles))
    order = np.argsort(angles, axis=1, kind="stable")
    forward = np.take_along_axis(forward, order, axis=1)
    left = np.ones(forward.shape, np.bool_)
    joined = True
    while joined:
        joined = False
        for start in range(forward.shape[1]):
            after = _next_left(left, start)
            fits = left[:, start] & (after != start) & forward[:, start] & ~forward[rows, after]
            fitting, end = rows[fits], after[fits]
            yield (fitting, order[fitting, start]), (fitting, order[fitting, end])
            left[fitting, start] = left[fitting, end] = False
            joined |= len(fitting) > 0


def junctions(edges: Edges, twin: I32) -> Bool:
    """(3 M,) half-edges that have no twin, though there are other faces at their edge."""
    loose = twin < 0
    loose[edges.order[edges.first[edges.counts == 1]]] = False
    return loose


def crowded_vertices(mesh: TriMesh, edges: Edges, junctions: Bool) -> Bool:
    """(N,) the ends of edges with more than two faces, or with two that are not each other's twins."""
    flat = mesh.faces.reshape(-1)
    half = np.concatenate([np.flatnonzero(junctions), edges.order[edges.first[edges.counts > 2]]])
    crowded = np.zeros(len(mesh.vertices), np.bool_)
    crowded[flat[half]] = True
    crowded[flat[half - half % 3 + (half + 1) % 3]] = True
    return crowded


def _next_left(left: Bool, start: int) -> I64:
    """(n,) the column of the next one that is left after `start`, going round."""
    turned = np.roll(left, -start - 1, axis=1)
    return (turned.argmax(1) + start + 1) % left.shape[1]


def _angles(mesh: TriMesh, half_edges: I32) -> np.ndarray:
    """(n, k) the direction in which each edge's faces lie round it, in radians."""
    face, slot = np.divmod(half_edges, 3)
    corners = mesh.vertices[mesh.faces[face]].astype(np.float64)
    rows, columns = np.indices(half_edges.shape)
    tip = corners[rows, columns, (slot + 2) % 3]
    start, end = corners[rows[:, 0], 0, slot[:, 0]], corners[rows[:, 0], 0, (slot[:, 0] + 1) % 3]
    axis = end - start
    axis /= np.maximum(np.linalg.norm(axis, axis=1), 1e-30)[:, None]
    arm = tip - start[:, None]
    arm -= np.einsum("nkc,nc->nk", arm, axis)[..., None] * axis[:, None]
    x = arm[:, 0] / np.maximum(np.linalg.norm(arm[:, 0], axis=1), 1e-30)[:, None]
    y = np.cross(axis, x)
    return np.arctan2(np.einsum("nkc,nc->nk", arm, y), np.einsum("nkc,nc->nk", arm, x)) % (2 * np.pi)


def _turn(angle: np.ndarray) -> np.ndarray:
    """The same angle in -pi..pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
