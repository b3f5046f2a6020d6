"""The soft outline of a subject that was told from its background coarsely: its alpha, and its own colours there."""

from __future__ import annotations

import numpy as np

from .pixels import Floats, box_mean, grown, shrunk


def soften(rgb: Floats, share: Floats, radius: int) -> Floats:
    """The coarse share (height, width), drawn to the edges of the picture (height, width, 3, both 0..1).

    By a guided filter with colours (He, Sun and Tang, 2010), which counts only within `radius` pixels of the outline.
    """
    alpha = _guided(rgb, share, radius, 1e-4)
    # what it leaves of haze on either side
    alpha = np.clip((alpha - 0.15) / 0.7, 0.0, 1.0)
    subject = share > 0.5
    return np.where(shrunk(subject, radius), 1.0, np.where(grown(subject, radius), alpha, 0.0)).astype(np.float32)


def own_colours(rgb: Floats, alpha: Floats, radius: int) -> Floats:
    """The subject's colours without what shows through of the background (Forte, 2021, one pass)."""
    weight = np.maximum(box_mean(alpha, radius), 1e-4)
    rest = np.maximum(box_mean(1.0 - alpha, radius), 1e-4)
    found = rgb.copy()
    for channel in range(3):
        colour = rgb[..., channel]
        subject = box_mean(colour * alpha, radius) / weight
        ground = box_mean(colour * (1.0 - alpha), radius) / rest
        mended = subject + alpha * (colour - alpha * subject - (1.0 - alpha) * ground)
        found[..., channel] = np.where(alpha < 1.0, np.clip(mended, 0.0, 1.0), colour)
    return found


def _guided(guide: Floats, values: Floats, radius: int, smoothness: float) -> Floats:
    """The values as the nearest linear function of the guide's colours in every square of 2 * radius + 1 pixels."""
    means = np.stack([box_mean(guide[..., c], radius) for c in range(3)], axis=-1)
    mean = box_mean(values, radius)
    together = np.stack([box_mean(guide[..., c] * values, radius) for c in range(3)], axis=-1) - means * mean[..., None]
    spread = np.empty((*values.shape, 3, 3), np.float32)
    for i in range(3):
        for j in range(i, 3):
            products = box_mean(guide[..., i] * guide[..., j], radius) - means[..., i] * means[..., j]
            spread[..., i, j] = spread[..., j, i] = products + (smoothness if i == j else 0.0)
    slopes = np.linalg.solve(spread, together[..., None])[..., 0]
    offsets = mean - (slopes * means).sum(axis=-1)
    slopes = np.stack([box_mean(slopes[..., c], radius) for c in range(3)], axis=-1)
    return ((slopes * guide).sum(axis=-1) + box_mean(offsets, radius)).astype(np.float32)
