"""Faces of the atlas that lie on each other by a texel or two, pushed apart.

They meet at a vertex on their chart's border around which a little more than a full turn lies: a nudge opens it, where
a cut would make one more chart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .pack import triangle_areas

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

_ROUNDS = 12
_FARTHEST = 4.0  # texels that a vertex may go
_LEAST, _LEAST_SMALL, _SMALL = 0.2, 0.02, 2.0  # of its area that each face keeps; one of so few texels keeps less


def pushed_apart(points: F64, faces: I32, crowded: I32, margin: float) -> F64:
    """Points (V, 2), in texels, with each pair of `crowded` (K, 2) faces a `margin` apart, as far as no face of `faces`
    (F, 3) loses much of its area for it."""
    out = points.copy()
    if not len(crowded):
        return out
    near = np.flatnonzero(np.isin(faces, faces[crowded]).any(1))
    around, before = faces[near], -triangle_areas(points, faces[near])
    least = np.where(before < _SMALL, _LEAST_SMALL, _LEAST) * before
    one, two = (faces[crowded[:, k]] for k in range(2))
    for _ in range(_ROUNDS):
        move, times = np.zeros_like(out), np.zeros(len(out))
        for ours, theirs in ((one, two), (two, one)):
            _push(out, ours, theirs, margin, move, times, _depth(out, ours, theirs) < _depth(out, theirs, ours))
        if not times.any():
            break
        step = out + 0.5 * move / np.maximum(times, 1.0)[:, None]
        way = step - points
        far = np.linalg.norm(way, axis=1)[:, None]
        step = points + way * np.minimum(1.0, _FARTHEST / np.maximum(far, 1e-12))
        kept = -triangle_areas(step, around) >= least
        held = np.unique(around[~kept])
        step[held] = out[held]
        if (-triangle_areas(step, around) < np.minimum(least, -triangle_areas(out, around))).any():
            break
        out = step
    return out


def _beyond(points: F64, ours: I32, theirs: I32) -> tuple[F64, F64]:
    """(K, 3, 3) how far each corner of theirs is beyond each side of ours, and the sides' normals (K, 3, 2)."""
    corners = points[ours]
    side = np.roll(corners, -1, 1) - corners
    out = np.stack([-side[..., 1], side[..., 0]], -1)
    out /= np.maximum(np.linalg.norm(out, axis=2, keepdims=True), 1e-12)
    return np.einsum("kic,kijc->kij", out, points[theirs][:, None] - corners[:, :, None]), out


def _depth(points: F64, ours: I32, theirs: I32) -> F64:
    """(K,) how far theirs are on ours, by the side of ours that they are farthest beyond."""
    return np.asarray(-_beyond(points, ours, theirs)[0].min(2).max(1))


def _push(points: F64, ours: I32, theirs: I32, margin: float, move: F64, times: F64, chosen: NDArray[np.bool_]) -> None:
    """Add to `move` what takes theirs beyond the nearest side of ours, and that side back."""
    beyond, out = _beyond(points, ours, theirs)
    rows = np.arange(len(ours))
    side = beyond.min(2).argmax(1)
    lack, normal = np.maximum(margin - beyond[rows, side], 0.0), out[rows, side]
    lack[(theirs[:, :, None] == ours[:, None, :]).any(2)] = 0.0  # a corner that both have stays
    lack[~chosen | (beyond.min(2).max(1) >= 0.0)] = 0.0
    for slot in range(3):
        pushed = lack[:, slot] > 0
        np.add.at(move, theirs[pushed, slot], lack[pushed, slot, None] * normal[pushed])
        np.add.at(times, theirs[pushed, slot], 1.0)
    most = lack.max(1)
    for end in (side, (side + 1) % 3):
        vertex = ours[rows, end]
        pushed = (most > 0) & ~(theirs == vertex[:, None]).any(1)
        np.add.at(move, vertex[pushed], -most[pushed, None] * normal[pushed])
        np.add.at(times, vertex[pushed], 1.0)
