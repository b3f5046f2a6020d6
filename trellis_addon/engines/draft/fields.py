"""Arithmetic on 2D fields that the other modules share: blurs, resampling, filling of what is unknown.

A field is a float32 array (rows, columns) or (rows, columns, channels).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

F32 = NDArray[np.float32]
Bool = NDArray[np.bool_]
Check = Callable[[], None]
"""Called now and then inside long work; raises when the work should stop."""


def never() -> None:
    """The check of work that nobody stops."""


def smoothstep(low: float, high: float, x: F32) -> F32:
    """0 up to `low`, 1 from `high`, a cubic with flat ends between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def blur(field: F32, sigma: float) -> F32:
    """A Gaussian blur by three box blurs per axis; outside the field it is 0.

    Three boxes of the same variance come within 3 % of the Gaussian
    (W. Wells, "Efficient synthesis of Gaussian filters by cascaded uniform filters", 1986).
    """
    if sigma < 0.3:
        return field
    if sigma > 12.0 and min(field.shape[:2]) > 16:
        # A wide blur has nothing to say about single cells: done on a half as large field.
        small = halve(field)
        return grow(blur(small, sigma / 2.0), (field.shape[0], field.shape[1]))
    # Half-width r and edge weight e of a box of variance sigma^2 / 3, e making it exact between whole widths.
    variance = sigma * sigma / 3.0
    radius = int((math.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    width = 2 * radius + 1
    edge = width * (variance - radius * (radius + 1) / 3.0) / (2.0 * ((radius + 1) ** 2 - variance))
    out = field
    for axis in (0, 1):
        for _ in range(3):
            out = _box(out, radius, edge, axis)
    return out


def _box(field: F32, radius: int, edge: float, axis: int) -> F32:
    """The mean over 2 radius + 1 neighbours at weight 1 and the two beyond them at weight `edge`."""
    count = field.shape[axis]
    pad = [(0, 0)] * field.ndim
    pad[axis] = (radius + 1, radius + 1)
    padded = np.pad(field, pad)

    def shifted(offset: int) -> F32:
        index = [slice(None)] * field.ndim
        index[axis] = slice(radius + 1 + offset, radius + 1 + offset + count)
        return padded[tuple(index)]

    if radius <= 3:
        total = shifted(0).copy()
        for k in range(1, radius + 1):
            total += shifted(k)
            total += shifted(-k)
    else:
        # Running sums in double: the differences of float32 sums would leave a visible grain.
        sums = np.cumsum(padded, axis=axis, dtype=np.float64)
        high, low = [slice(None)] * field.ndim, [slice(None)] * field.ndim
        high[axis] = slice(2 * radius + 1, 2 * radius + 1 + count)
        low[axis] = slice(0, count)
        total = (sums[tuple(high)] - sums[tuple(low)]).astype(np.float32)
    total += edge * (shifted(radius + 1) + shifted(-radius - 1))
    total /= 2 * radius + 1 + 2.0 * edge
    return np.asarray(total, np.float32)


def blur_within(field: F32, weight: F32, sigma: float) -> F32:
    """A blur that sees only where `weight` is: what lies outside has no say in the mean."""
    low = np.maximum(blur(weight, sigma), 1e-6)
    if field.ndim == 3:
        return np.asarray(blur(field * weight[..., None], sigma) / low[..., None], np.float32)
    return np.asarray(blur(field * weight, sigma) / low, np.float32)


def halve(field: F32) -> F32:
    """Means of 2 x 2 blocks; an odd last row or column is repeated."""
    rows, columns = field.shape[:2]
    if rows % 2 or columns % 2:
        field = np.pad(field, [(0, rows % 2), (0, columns % 2)] + [(0, 0)] * (field.ndim - 2), mode="edge")
    return np.asarray(0.25 * (field[0::2, 0::2] + field[1::2, 0::2] + field[0::2, 1::2] + field[1::2, 1::2]))


def grow(field: F32, shape: tuple[int, int]) -> F32:
    """The inverse of `halve`, linear between the blocks' centres, cut to `shape`."""
    for axis in (0, 1):
        before = np.concatenate([field.take([0], axis), field.take(range(field.shape[axis] - 1), axis)], axis)
        after = np.concatenate([field.take(range(1, field.shape[axis]), axis), field.take([-1], axis)], axis)
        pair = np.stack([0.75 * field + 0.25 * before, 0.75 * field + 0.25 * after], axis + 1)
        new_shape = list(field.shape)
        new_shape[axis] *= 2
        field = pair.reshape(new_shape)
    return np.ascontiguousarray(field[: shape[0], : shape[1]], dtype=np.float32)


def resample(field: F32, shape: tuple[int, int], box: tuple[float, float, float, float] | None = None) -> F32:
    """The field on another grid, by a triangle filter as wide as the larger of the two cells.

    `box` is (left, top, right, bottom) in the field's cells, inside the field.
    """
    if field.ndim == 3:
        return np.dstack([resample(field[..., k], shape, box) for k in range(field.shape[2])])
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    image = image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR, box=box)
    return np.asarray(image, np.float32)


def sample(field: F32, x: F32, y: F32, beyond: float | None = None) -> F32:
    """The field (H, W, C) at places in cells, (0.5, 0.5) the first one's centre: (N, C), linear between the centres.

    Outside it is what the edge has, or `beyond`.
    """
    rows, columns = field.shape[:2]
    u, v = np.asarray(x - 0.5, np.float32), np.asarray(y - 0.5, np.float32)
    held_u, held_v = np.clip(u, 0.0, columns - 1.001), np.clip(v, 0.0, rows - 1.001)
    column, row = held_u.astype(np.int32), held_v.astype(np.int32)
    part_u, part_v = (held_u - column)[:, None], (held_v - row)[:, None]
    flat = field.reshape(rows * columns, -1)
    start = row * columns + column
    step = 1 if columns > 1 else 0
    down = columns if rows > 1 else 0
    upper = flat[start] + part_u * (flat[start + step] - flat[start])
    lower = flat[start + down] + part_u * (flat[start + down + step] - flat[start + down])
    found = np.asarray(upper + part_v * (lower - upper), np.float32)
    if beyond is not None:
        outside = (u < -0.5) | (v < -0.5) | (u > columns - 0.5) | (v > rows - 0.5)
        found[outside] = beyond
    return found


def fill(colours: F32, weight: F32, check: Check = never) -> F32:
    """Colours everywhere: kept where `weight` is 1, taken from near by where it is 0, mixed between.

    Push-pull: weighted means go up a pyramid, and on the way down each level fills in what the
    finer one does not know (S. Gortler et al., "The Lumigraph", 1996, section 3.4).
    `colours` is (H, W, C), `weight` (H, W) in [0, 1] and not 0 everywhere.
    """
    rows, columns = weight.shape
    if max(rows, columns) <= 1:
        return colours
    check()
    held = halve(weight)
    mean = halve(colours * weight[..., None]) / np.maximum(held, 1e-12)[..., None]
    check()
    # Saturating, so that one known pixel in four counts as known on the next level.
    coarse = fill(mean, np.minimum(held * 4.0, 1.0), check)
    check()
    keep = weight[..., None]
    return np.asarray(colours * keep + grow(coarse, (rows, columns)) * (1.0 - keep), np.float32)
