"""The pictures' colours on the surface: each where it faces and sees it, and what nobody sees filled from near by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..fields import F32, Bool, Check, never, sample, smoothstep
from .outlines import Outline
from .texels import Texels

_DEPTHS = 320  # pixels of a look at what is in front, over the longest extent
_BEHIND = 0.02  # of the longest extent, that something must lie behind what is seen, not to be seen
_CELLS = 48  # over the longest extent, of the space that what nobody sees is filled from
_SURE = 0.05  # weight from which on what pictures say is taken alone


def painted(
    texels: Texels,
    outlines: Sequence[Outline],
    check: Check = never,
    visible: Callable[[F32, Outline], Bool] | None = None,
) -> F32:
    """The layers of the outlines at each texel: (T, C). `visible` says of the texels' points which ones an outline
    sees; else those do that no other texel lies before."""
    visible = visible or seen_first
    total = np.zeros((len(texels.points), outlines[0].layers.shape[2]), np.float32)
    weight = np.zeros(len(texels.points), np.float32)
    for outline in outlines:
        check()
        facing = texels.normals @ outline.towards
        near = np.flatnonzero(facing > 0.1)
        mine = weigh(facing[near]) * np.float32(outline.share)
        mine = mine * visible(texels.points, outline)[near]
        seen = near[mine > 0.0]
        mine = mine[mine > 0.0]
        total[seen] += mine[:, None] * sample(outline.layers, *outline.pixels(texels.points[seen]))
        weight[seen] += mine
    check()
    found = total / np.maximum(weight, 1e-9)[:, None]
    most = float(weight.max(initial=0.0))
    if most <= 0.0:  # no picture sees anything of it: what they show on the whole
        shown = [outline.layers[outline.cover >= 0.5] for outline in outlines]
        found[:] = np.concatenate(shown).mean(0)
        return found
    sure = min(_SURE, most / 2.0)  # of what is seen at a slant only, the best is taken
    unsure = 1.0 - smoothstep(0.0, sure, weight)
    if not (unsure > 0.0).any():
        return found
    around = _filled(texels.points, found, smoothstep(0.0, 4.0 * sure, weight), unsure > 0.0)
    doubted = np.flatnonzero(unsure > 0.0)
    found[doubted] += unsure[doubted, None] * (around - found[doubted])
    return found


def weigh(facing: F32) -> F32:
    """How much a picture counts where the surface faces it by `facing` (the cosine): little at a slant."""
    return smoothstep(0.1, 0.8, facing) ** 2 * facing


def seen_first(points: F32, outline: Outline) -> Bool:
    """Whether nothing of the surface lies before each point, as seen from the picture's camera."""
    along, depth = points @ outline.right, points @ outline.towards
    low = np.array([along.min(), points[:, 2].min()], np.float32)
    longest = float(np.ptp(points, axis=0).max())
    places = np.rint((np.stack([along, points[:, 2]], 1) - low) * (_DEPTHS / longest)).astype(np.int64)
    width = int(places[:, 0].max()) + 1
    key = places[:, 1] * width + places[:, 0]
    front = np.full(int(key.max()) + 1, -np.inf, np.float32)
    np.maximum.at(front, key, depth)
    return np.asarray(depth >= front[key] - _BEHIND * longest, bool)


def _filled(points: F32, colours: F32, weight: F32, wanted: Bool) -> F32:
    """At the wanted points what the known ones near by say: push-pull as in `fields.fill`, in space."""
    low = points.min(0)
    places = (points - low) * np.float32(_CELLS / float(np.ptp(points, axis=0).max()))
    cells = np.floor(places).astype(np.int32)
    shape = tuple(int(n) + 1 for n in cells.max(0))
    shape = tuple(n + n % 2 for n in shape)
    key = np.ravel_multi_index(tuple(cells.T), shape)
    amount = np.bincount(key, weight, int(np.prod(shape)))
    sums = np.stack([np.bincount(key, weight * column, len(amount)) for column in colours.T], -1)
    known = np.minimum(amount, 1.0).reshape(shape).astype(np.float32)
    means = (sums / np.maximum(amount, 1e-9)[:, None]).reshape(*shape, -1).astype(np.float32)
    return _between(_pushed(means, known), places[wanted])


def _between(cells: F32, places: F32) -> F32:
    """What the cells (x, y, z, C) say at places (N, 3), linear between their middles."""
    place = np.clip(places - 0.5, 0.0, np.array(cells.shape[:3], np.float32) - 1.0)
    first = np.minimum(place.astype(np.int32), np.maximum(np.array(cells.shape[:3]) - 2, 0))
    share = place - first
    found = np.zeros((len(places), cells.shape[3]), np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(corner, share, 1.0 - share).prod(1)
        at = np.minimum(first + corner, np.array(cells.shape[:3]) - 1)
        found += weight[:, None].astype(np.float32) * cells[tuple(at.T)]
    return found


def _pushed(means: F32, known: F32) -> F32:
    shape = known.shape
    if max(shape) <= 1 or known.min() >= 1.0:
        return means
    pad = [(0, n % 2) for n in shape]
    weight = np.pad(known, pad)
    held = weight.reshape(*(k for n in weight.shape for k in (n // 2, 2)))
    mass = held.sum((1, 3, 5))
    both = np.pad(means * known[..., None], [*pad, (0, 0)]).reshape(*held.shape, -1).sum((1, 3, 5))
    coarse = _pushed(both / np.maximum(mass, 1e-9)[..., None], np.minimum(mass, 1.0))
    for axis, count in enumerate(shape):
        before = np.concatenate([coarse.take([0], axis), coarse.take(range(coarse.shape[axis] - 1), axis)], axis)
        after = np.concatenate([coarse.take(range(1, coarse.shape[axis]), axis), coarse.take([-1], axis)], axis)
        pair = np.stack([0.75 * coarse + 0.25 * before, 0.75 * coarse + 0.25 * after], axis + 1)
        bigger = list(coarse.shape)
        bigger[axis] *= 2
        coarse = pair.reshape(bigger).take(range(count), axis)
    keep = known[..., None]
    return np.asarray(means * keep + coarse * (1.0 - keep), np.float32)
