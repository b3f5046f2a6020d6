"""The visual hull as a field: what none of the outlines rules out, rounded where they alone would leave edges.

Laurentini, "The visual hull concept for silhouette-based image understanding" (1994). Two outlines at an angle make a
body of square sections, which few things have; so every section through one run of each of two outlines becomes a
superellipse that touches all four sides: both outlines stay what they are. A third outline, from between them, says how
round it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..fields import F32, Bool, Check, never
from .outlines import Outline

_SOFT = 0.6  # cells that an outline is blurred by, so that the surface lies between the grid's places
_FRAME = 2  # empty cells round the body
_COARSE = 48  # cells of a first look
# Shares of the width that a picture taken at an angle is shifted by at most, to fit what the others leave.
SQUARE = 64.0  # a roundness that leaves the hull as it is
_ROUNDNESSES = (2.0, 2.3, 2.6, 3.0, 4.0, 8.0, SQUARE)
_AS_GOOD = 0.03  # of overlap, by which a rounder body may fit worse: what stands out of a body is square without cause
_SHIFTS = np.linspace(-0.3, 0.3, 61)


@dataclass(frozen=True)
class Volume:
    """`field` (x, y, z) is positive inside, about in cells; its (i, j, k) lies at `origin` + `cell` (i, j, k)."""

    field: F32
    origin: tuple[float, float, float]
    cell: float


def carve(outlines: Sequence[Outline], cells: int, roundness: float, check: Check = never) -> Volume:
    """The hull of the outlines on a grid of about `cells` along its longest side.

    `roundness` is the exponent of the sections: 2 an ellipse, large a rectangle.
    """
    bounds = _bounds(outlines)
    cell = max(*(2.0 * bounds), 1.0) / cells
    counts = [math.ceil(extent / cell) + 2 * _FRAME for extent in (2.0 * bounds[0], 2.0 * bounds[1], 1.0)]
    origin = [-0.5 * (count - 1) * cell for count in counts]
    x, y, z = (start + cell * np.arange(count, dtype=np.float32) for start, count in zip(origin, counts, strict=True))
    field: F32 | None = None
    sections = []
    crossing = _crossing(outlines)
    for axis, group in _by_axis(outlines).items():
        check()
        turn = math.radians(axis)
        along = (math.cos(turn) * x[:, None] + math.sin(turn) * y[None, :]).astype(np.float32)
        reach = float(np.abs(along).max())
        ruler = np.arange(-math.ceil(reach / cell) - 1, math.ceil(reach / cell) + 2, dtype=np.float32) * cell
        seen = np.minimum.reduce([_seen(outline, axis, ruler, z, _SOFT * cell) for outline in group])
        place = ((along - ruler[0]) / cell).ravel()
        inside = _columns((seen.T - np.float32(0.5)) * np.float32(1.5), place).reshape(*along.shape, len(z))
        field = inside if field is None else np.minimum(field, inside)
        if axis in crossing:
            sections.append((seen, ruler, along))
    assert field is not None
    if len(sections) == 2 and roundness < SQUARE:
        check()
        field = np.minimum(field, _rounded(sections, roundness, cell, check))
    return Volume(np.ascontiguousarray(field, np.float32), (origin[0], origin[1], origin[2]), cell)


def aligned(outlines: Sequence[Outline], check: Check = never) -> list[Outline]:
    """The outlines with those at an angle shifted to where they fit the others best.

    The middle of what is seen is the object's middle from the front and the side; from between them it need not be.
    """
    straight = [outline for outline in outlines if outline.axis in (0.0, 90.0)]
    if len({outline.axis for outline in straight}) < 2:
        return list(outlines)
    hull = carve(straight, _COARSE, SQUARE, check)
    points = _places(hull)
    return [outline if outline.axis in (0.0, 90.0) else _fitted(outline, points, hull.cell) for outline in outlines]


def roundness_seen(outlines: Sequence[Outline], usual: float, check: Check = never) -> float:
    """The exponent of the sections that fits outlines from between the two that cross best, or `usual` without any."""
    between = [outline for outline in outlines if outline.axis not in _crossing(outlines)]
    if not between:
        return usual

    def fit(roundness: float) -> float:
        hull = carve(outlines, _COARSE, roundness, check)
        return sum(_overlap(outline, _places(hull), hull.cell) for outline in between)

    fits = [fit(roundness) / len(between) for roundness in _ROUNDNESSES]
    return next(r for r, found in zip(_ROUNDNESSES, fits, strict=True) if found >= max(fits) - _AS_GOOD)


def _crossing(outlines: Sequence[Outline]) -> tuple[float, ...]:
    """The two axes that are nearest to a right angle; the front's is the first of equals."""
    axes = list(_by_axis(outlines))
    pairs = [(a, b) for number, a in enumerate(axes) for b in axes[number + 1 :]]
    return min(pairs, key=lambda pair: abs(abs(pair[0] - pair[1]) - 90.0), default=tuple(axes))


def _places(hull: Volume) -> F32:
    """What is inside, (N, 3)."""
    inside = np.stack(np.nonzero(hull.field > 0.0), 1).astype(np.float32)
    return np.asarray(inside * np.float32(hull.cell) + np.array(hull.origin, np.float32), np.float32)


def _overlap(outline: Outline, points: F32, cell: float) -> float:
    """Intersection over union of the outline and that of the points."""
    left, ruler, heights = _shadow(outline, points, cell)
    seen = outline.covered(ruler, heights, 0.0) >= 0.5
    return float((seen & left).sum() / max(1, (seen | left).sum()))


def _shadow(outline: Outline, points: F32, cell: float) -> tuple[Bool, F32, F32]:
    """Where points are seen in a picture (heights, ruler), and both in units."""
    along = points @ outline.right
    reach = math.ceil(max(float(np.abs(along).max(initial=0.0)), outline.width) / cell) + 1
    ruler = np.arange(-reach, reach + 1, dtype=np.float32) * np.float32(cell)
    heights, rows = np.unique(points[:, 2], return_inverse=True)
    left = np.zeros((len(heights), len(ruler)), bool)
    left[rows, np.rint(along / cell).astype(np.int32) + reach] = True
    return left, ruler, heights


def _fitted(outline: Outline, points: F32, cell: float) -> Outline:
    def moved(shift: float) -> Outline:
        return replace(outline, middle=(outline.middle[0] - shift * outline.width * outline.scale, outline.middle[1]))

    def fit(shift: float) -> tuple[float, float]:
        return _overlap(moved(shift), points, cell), -abs(shift)

    return moved(max((float(shift) for shift in _SHIFTS), key=fit))


def _bounds(outlines: Sequence[Outline]) -> F32:
    """Half the extents along x and y of what all widths leave."""
    widest = 1.5 * max(outline.width for outline in outlines)
    steps = np.linspace(-widest, widest, 257, dtype=np.float32)
    x, y = np.meshgrid(steps, steps, indexing="ij")
    left = np.ones(x.shape, bool)
    for outline in outlines:
        off = (outline.width * outline.scale / 2.0 + abs(_off_middle(outline))) / outline.scale
        left &= np.abs(x * outline.right[0] + y * outline.right[1]) <= off
    step = float(steps[1] - steps[0])
    return np.array([np.abs(x[left]).max() + step, np.abs(y[left]).max() + step], np.float32)


def _off_middle(outline: Outline) -> float:
    """Pixels between the middle of what is seen and the origin."""
    columns = np.flatnonzero((outline.cover >= 0.5).any(0))
    return 0.5 * float(columns[0] + columns[-1] + 1) - outline.middle[0]


def _by_axis(outlines: Sequence[Outline]) -> dict[float, list[Outline]]:
    found: dict[float, list[Outline]] = {}
    for outline in outlines:
        found.setdefault(outline.axis, []).append(outline)
    return found


def _seen(outline: Outline, axis: float, ruler: F32, heights: F32, softness: float) -> F32:
    """The outline (heights, ruler) in the plane of the axis: a view from the other side is mirrored."""
    return outline.covered(ruler if outline.yaw == axis else -ruler, heights, softness)


def _columns(values: F32, place: F32) -> F32:
    """Rows of `values` (U, Z) at fractional places: (N, Z), linear between them."""
    low = np.clip(place.astype(np.int32), 0, len(values) - 2)
    part = (place - low).astype(np.float32)[:, None]
    return np.asarray(values[low] + part * (values[low + 1] - values[low]), np.float32)


def _rounded(sections: Sequence[tuple[F32, F32, F32]], roundness: float, cell: float, check: Check) -> F32:
    total: F32 | None = None
    narrow: F32 | None = None
    for seen, ruler, along in sections:
        check()
        middle, half = runs(seen, ruler, cell)
        nearest = np.clip(np.rint((along - ruler[0]) / cell).astype(np.int32), 0, len(ruler) - 1)
        at_middle, at_half = middle.T[nearest], half.T[nearest]  # (x, y, z)
        off = np.abs(along[..., None] - at_middle) / at_half
        power = np.minimum(off, 4.0) ** np.float32(roundness)
        total = power if total is None else total + power
        narrow = at_half if narrow is None else np.minimum(narrow, at_half)
    assert total is not None and narrow is not None
    field = (1.0 - total ** np.float32(1.0 / roundness)) * narrow / np.float32(cell)
    # From one height to the next a run may begin or end: no step of the surface should be sharp there.
    for _ in range(2):
        padded = np.pad(field, ((0, 0), (0, 0), (1, 1)), "edge")
        field = 0.25 * padded[..., :-2] + 0.5 * padded[..., 1:-1] + 0.25 * padded[..., 2:]
    return np.asarray(field, np.float32)


def runs(seen: F32, ruler: F32, cell: float) -> tuple[F32, F32]:
    """Middle and half width, (heights, ruler) each, of the run of the outline that a place lies in or next to."""
    middle = np.zeros_like(seen)
    half = np.full_like(seen, 0.25 * cell)
    for row, values in enumerate(seen):
        solid: Bool = values >= 0.5
        if not solid.any():
            continue
        edge = np.flatnonzero(np.diff(np.concatenate([[False], solid, [False]]).astype(np.int8)))
        begins, ends = edge[0::2], edge[1::2] - 1
        left = ruler[begins] - cell * _beyond(values, begins, begins - 1)
        right = ruler[ends] + cell * _beyond(values, ends, ends + 1)
        which = np.zeros(len(ruler), np.int64)
        if len(begins) > 1:
            which = np.searchsorted(0.5 * (right[:-1] + left[1:]), ruler)
        middle[row] = (0.5 * (left + right))[which]
        half[row] = np.maximum(0.5 * (right - left), 0.25 * cell)[which]
    return middle, half


def _beyond(values: F32, inner: NDArray[np.int64], outer: NDArray[np.int64]) -> F32:
    """How far, in places, the outline goes on beyond the last one inside."""
    a = values[inner]
    b = np.where((outer >= 0) & (outer < len(values)), values[np.clip(outer, 0, len(values) - 1)], 0.0)
    return np.asarray((a - 0.5) / np.maximum(a - b, 1e-6), np.float32)
