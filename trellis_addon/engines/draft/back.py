"""The colours of the back, which the picture does not show.

The back of most things looks more like their sides than like their faces. So every row of the back is made of what
the picture has at the row's two ends, drawn out towards its middle, where the two meet: cloth stays cloth, bands go
round at their height, and what is only in the middle of the front, such as eyes, is not there.
"""

from __future__ import annotations

import numpy as np

from .fields import F32, Bool, Check, blur_within, grow, halve, never, sample, smoothstep
from .mask import Subject
from .texture import own_colours
from .variation import Variation

# Shares of half a row's length: what of an end stays as it is, and how much of the rest is drawn out over the middle.
_KEPT = 0.12
_DRAWN = 0.25
# From where to where the two ends go over into each other, of half a row's length to either side of its middle.
_FADE = 0.5
# The part of a row's ends whose mean is mixed into its middle, so that nothing drawn out far is glaring there.
_ENDS = (0.04, 0.3)
# How far the rows' lengths, and their means, are evened out, as shares of the subject's smaller extent.
_EVEN, _EVEN_MEANS = 0.02, 0.012


def back_colours(front: F32, cover: F32, depth: F32, extent: float, variation: Variation, check: Check = never) -> F32:
    """The back's colours (H, W, 3), as seen through the front.

    `front` are the colours of `own_colours`, `cover` (H, W) the mask, `depth` (H, W) is 0 on the silhouette and on
    thin parts, which look like the front, and 1 deep inside; `extent` is the subject's smaller one in pixels.
    """
    half, solid = halve(front), halve(cover) >= 0.5
    if not solid.any():
        return front
    check()
    ends = _ends(solid)
    mass = solid.astype(np.float32)
    left, right = np.moveaxis(blur_within(ends, mass, 0.5 * _EVEN * extent), 2, 0)
    check()
    length = np.maximum(0.5 * (right - left), 1.0)
    column = np.arange(solid.shape[1], dtype=np.float32)
    from_left, from_right = np.maximum(column - left, 0.0) / length, np.maximum(right - column, 0.0) / length
    # 0 at a row's left end, 1 at its right one.
    over = smoothstep(-_FADE, _FADE, np.asarray((column - 0.5 * (left + right)) / length, np.float32))[..., None]
    one = _taken(half, left + _drawn(from_left) * length)
    check()
    other = _taken(half, right - _drawn(from_right) * length)
    check()
    sides = one + over * (other - one)
    means = blur_within(_means(half, ends, over), mass, 0.5 * _EVEN_MEANS * extent)
    check()
    deep = smoothstep(0.15, 0.7, np.minimum(from_left, from_right))[..., None]
    middle = np.float32(variation.tone) * (sides + np.float32(variation.plain) * deep * (means - sides))
    check()
    full = grow(middle, (cover.shape[0], cover.shape[1]))
    check()
    return np.asarray(front + depth[..., None] * (full - front), np.float32)


def seen_through(front: Subject, back: Subject, check: Check = never) -> F32:
    """The colours of a picture of the back as seen through the front: (H, W, 3), fitted to the front's outline."""
    (left, top, right, bottom), far = _box(front.cover), _box(back.cover[:, ::-1])
    height, width = front.cover.shape
    x = far[0] + (np.arange(width, dtype=np.float32) + 0.5 - left) * (far[2] - far[0]) / (right - left)
    y = far[1] + (np.arange(height, dtype=np.float32) + 0.5 - top) * (far[3] - far[1]) / (bottom - top)
    places = np.meshgrid(x, y)
    colours = own_colours(back, check)[:, ::-1]
    return sample(colours, places[0].ravel(), places[1].ravel()).reshape(height, width, 3)


def _box(cover: F32) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is inside."""
    rows, columns = np.flatnonzero((cover >= 0.5).any(1)), np.flatnonzero((cover >= 0.5).any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _drawn(distance: F32) -> F32:
    """Which distance from a row's end is seen at a distance from it, both in half a row's length."""
    return np.where(distance < _KEPT, distance, _KEPT + _DRAWN * (distance - _KEPT)).astype(np.float32)


def _ends(solid: Bool) -> F32:
    """(rows, columns, 2): where in its row the solid part that a place lies in begins and ends; 0 outside."""
    columns = solid.shape[1]
    column = np.arange(columns, dtype=np.float32)
    begins = np.maximum.accumulate(np.where(solid, -1.0, column), 1) + 1.0
    backwards = np.maximum.accumulate(np.where(solid[:, ::-1], -1.0, column), 1)[:, ::-1] + 1.0
    return np.where(solid[..., None], np.stack([begins, columns - backwards], 2), 0.0).astype(np.float32)


def _taken(colours: F32, column: F32) -> F32:
    """The colours, in each row, at the columns; linear between two."""
    rows, columns = column.shape
    place = np.clip(column, 0.0, columns - 1.0)
    before = place.astype(np.int32)
    flat = colours.reshape(rows * columns, -1)
    first = before + (np.arange(rows, dtype=np.int32) * columns)[:, None]
    near, far = flat[first], flat[first + (before < columns - 1)]
    return near + (place - before)[..., None].astype(np.float32) * (far - near)


def _means(colours: F32, ends: F32, over: F32) -> F32:
    """At every place the means of its row's two ends, the one going over into the other as `over` (0..1) says."""
    rows, columns = colours.shape[:2]
    sums = np.pad(np.cumsum(colours, 1, dtype=np.float64), ((0, 0), (1, 0), (0, 0))).reshape(rows * (columns + 1), -1)
    row = (np.arange(rows) * (columns + 1))[:, None]

    def mean(begin: F32, end: F32) -> F32:
        first = np.clip(begin, 0, columns - 1).astype(np.int32)
        last = np.clip(np.maximum(end.astype(np.int32), first + 1), 1, columns)
        return np.asarray((sums[row + last] - sums[row + first]) / (last - first)[..., None], np.float32)

    left, right = ends[..., 0], ends[..., 1]
    inner, outer = (share * 0.5 * (right - left) for share in _ENDS)
    one, other = mean(left + inner, left + outer), mean(right - outer, right - inner)
    return one + over * (other - one)
