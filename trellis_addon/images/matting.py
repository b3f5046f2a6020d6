"""The soft outline of a subject that was told from its background coarsely: its alpha, and its own colours there.

What is smooth is worked out in a reduced picture; the picture itself, in all its pixels, then draws the outline.
"""

from __future__ import annotations

import numpy as np

from .pixels import Floats, Mask, box_mean, grown, shrunk

_SIDE = 640  # pixels of the reduced picture


def matte(rgb: Floats, share: Floats) -> tuple[Floats, Floats]:
    """The subject's alpha (height, width) and its own colours (height, width, 3), all in 0..1.

    `rgb`: the picture (height, width, 3) in 0..1; `share`: a coarse share of the subject, of the same proportions and
    fewer pixels, which is exact to two of them.
    """
    height, width = rgb.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    radius = max(2, round(2.0 * size[1] / share.shape[1]))
    small, coarse = _resized(rgb, size), np.clip(_resized(share, size), 0.0, 1.0)
    slopes, offsets = _guided(small, coarse, radius, 1e-4)
    alpha = (_resized(slopes, (height, width)) * rgb).sum(axis=-1) + _resized(offsets, (height, width))
    # what it leaves of haze on either side, and everything that is not near the outline
    alpha = np.clip((alpha - 0.15) / 0.7, 0.0, 1.0)
    subject = coarse > 0.5
    inner, outer = shrunk(subject, radius), ~grown(subject, radius)
    within, beyond = (_resized(area.astype(np.float32), (height, width)) > 0.5 for area in (inner, outer))
    soft = ~(within | beyond)
    found, colours = within.astype(np.float32), rgb.copy()
    found[soft], colours[soft] = _unmixed(rgb, alpha, soft, small, inner, outer, 3 * radius)
    return found, colours


def _unmixed(
    rgb: Floats, alpha: Floats, soft: Mask, small: Floats, inner: Mask, outer: Mask, radius: int
) -> tuple[Floats, Floats]:
    """Alpha (N,) and colours (N, 3) of the soft pixels, by the colours that are surely of either side nearby.

    Where these differ clearly and do not vary much, they tell how much of each is in a pixel better than the filter.
    """
    blurred = _resized(alpha, small.shape[:2])
    sides = []
    for area, share in ((inner, blurred), (outer, 1.0 - blurred)):
        # of thin parts nothing is surely the subject
        weight = area + 0.02 * np.clip(share, 0.0, 1.0) ** 4
        total = np.maximum(box_mean(weight, radius), 1e-6)
        mean = np.stack([box_mean(small[..., c] * weight, radius) / total for c in range(3)], axis=-1)
        square = box_mean((small**2).sum(axis=-1) * weight, radius) / total
        spread = np.maximum(square - (mean**2).sum(axis=-1), 0.0)
        sides.append((_resized(mean, alpha.shape)[soft], _resized(spread, alpha.shape)[soft]))
    (subject, spread), (ground, other_spread) = sides
    pixels, between = rgb[soft], subject - ground
    distance = np.maximum((between**2).sum(axis=-1), 1e-6)
    projected = np.clip(((pixels - ground) * between).sum(axis=-1) / distance, 0.0, 1.0)
    trust = distance / (distance + 8.0 * (spread + other_spread) + 0.01)
    share = (trust * projected + (1.0 - trust) * alpha[soft])[:, None]
    error = pixels - share * subject - (1.0 - share) * ground
    # a pixel that is hardly the subject's has no colour of its own to tell
    return share[:, 0].astype(np.float32), np.clip(subject + share * error, 0.0, 1.0)


def _guided(guide: Floats, values: Floats, radius: int, smoothness: float) -> tuple[Floats, Floats]:
    """A guided filter with colours (He, Sun and Tang, 2010): slopes (height, width, 3) and offsets (height, width).

    The values are nearest to slopes times the guide plus offsets, in every square of 2 * radius + 1 pixels.
    """
    means = np.stack([box_mean(guide[..., c], radius) for c in range(3)], axis=-1)
    mean = box_mean(values, radius)
    products = np.stack([box_mean(guide[..., c] * values, radius) for c in range(3)], axis=-1)
    spread = np.empty((*values.shape, 3, 3), np.float32)
    for i in range(3):
        for j in range(i, 3):
            together = box_mean(guide[..., i] * guide[..., j], radius) - means[..., i] * means[..., j]
            spread[..., i, j] = spread[..., j, i] = together + (smoothness if i == j else 0.0)
    slopes = np.zeros_like(guide)
    mixed = (mean > 0.0) & (mean < 1.0)  # elsewhere the values do not change
    right = products[mixed] - means[mixed] * mean[mixed][:, None]
    slopes[mixed] = np.linalg.solve(spread[mixed], right[..., None])[..., 0]
    offsets = mean - (slopes * means).sum(axis=-1)
    return np.stack([box_mean(slopes[..., c], radius) for c in range(3)], axis=-1), box_mean(offsets, radius)


def _resized(values: Floats, shape: tuple[int, ...]) -> Floats:
    """An array (height, width[, channels]) of another height and width."""
    from PIL import Image

    height, width = shape
    if values.shape[:2] == (height, width):
        return values
    if values.ndim == 3:
        return np.stack([_resized(values[..., c], shape) for c in range(values.shape[-1])], axis=-1)
    smaller = height < values.shape[0]
    method = Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.ascontiguousarray(values, np.float32)).resize((width, height), method))
