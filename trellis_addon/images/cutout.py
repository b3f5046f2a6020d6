"""Removing a studio background: one that is close to uniform, or a soft gradient, around the subject.

This is no segmentation network. It works where the picture's border shows the background, and says
so clearly where it does not, before a job is spent on the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import BackgroundError, ImageError
from ..core.messages import message
from .pixels import Floats, Mask, box_mean, connected, grown, shrunk, strongest, to_lab

if TYPE_CHECKING:
    from PIL.Image import Image

ADVICE = message(
    "mark the subject in it, take it whole, or cut it out and save it as a PNG or WebP with transparency; "
    "Remote, and Local GPU with a mask model, cut it out by themselves"
)

# Distances are in CIE L*a*b*, where 2.3 is the smallest difference that people see.
_CLOSE = 6.0  # what still counts as the same background along the border
_FAR = 14.0  # surely subject, even before a noisy background
_OUTLINE = 6  # pixels on either side of the outline in which it is looked for
_BORDER_SHARE = 0.72  # of the border that must show the background: the subject may be cut off at one side
_SUBJECT_SHARE = (0.005, 0.96)  # of the picture that the subject may fill


def remove_studio_background(image: Image) -> Image:
    """The RGBA picture with its background made transparent.

    `image` is RGBA with alpha 255 throughout. Raises `ImageError` where the background is not close
    to uniform, or where nothing would remain.
    """
    from PIL import Image as PILImage

    rgb = np.asarray(image.convert("RGB"), dtype=np.float32) / 255.0
    height, width = rgb.shape[:2]
    if min(height, width) < 8:
        raise ImageError(
            "The image has no transparency and is too small to find its background; {advice}.", advice=ADVICE
        )
    background, share = _fit_background(rgb)
    if share < _BORDER_SHARE:
        raise BackgroundError(
            "The image has no transparency, and its background is not uniform enough to be removed here; {advice}.",
            advice=ADVICE,
        )
    lab = to_lab(rgb)
    border = rim(height, width)
    # What is joined to the border tells the background better than the border alone: fit once more.
    joined = connected(border, np.linalg.norm(lab - to_lab(background), axis=-1) < _CLOSE)
    background = _evaluate(_solve(_terms(height, width)[joined], rgb[joined]), height, width)
    difference = lab - to_lab(background)
    distance = np.linalg.norm(difference, axis=-1)
    noise = float(np.median(distance[border]))
    # A clean background lets through subjects of nearly its colour; a noisy one needs more room.
    far = min(max(4.0 * noise, 5.0), _FAR)
    outside = _background_area(difference, distance < far, noise)
    # At the outline a pixel belongs to what it resembles more, the background or the subject beside it:
    # soft edges, and the ringing that JPEG leaves around strong ones, would else stay as a fringe.
    near = np.maximum(far, 0.5 * strongest(distance, _OUTLINE))
    outside |= grown(outside, _OUTLINE) & (distance < near)
    # Between the thresholds a pixel is part subject, part background: but only at the outline.
    ramp = np.clip((distance - 0.45 * near) / (0.55 * near), 0.0, 1.0)
    alpha = np.where(outside, np.where(shrunk(outside, 1), 0.0, ramp), 1.0).astype(np.float32)
    alpha = _drop_specks(alpha)
    subject = float((alpha > 0.5).mean())
    if not _SUBJECT_SHARE[0] <= subject <= _SUBJECT_SHARE[1]:
        raise BackgroundError(
            "The image has no transparency, and no subject can be told from its background; {advice}.", advice=ADVICE
        )
    soft = np.maximum(alpha, 0.05)[..., None]
    # un-mix the background out of the soft outline, so that it leaves no coloured fringe
    colours = np.where(alpha[..., None] < 1.0, (rgb - (1.0 - soft) * background) / soft, rgb)
    rgba = np.concatenate([np.clip(colours, 0.0, 1.0), alpha[..., None]], axis=-1)
    return PILImage.fromarray((rgba * 255.0 + 0.5).astype(np.uint8), "RGBA")


def apply_mask(image: Image, mask: Image) -> Image:
    """The RGBA picture with the mask for its alpha.

    `mask` is RGBA: its own alpha counts where it has any, else its brightness (ITU-R BT.601 luma). It
    may be larger or smaller than the picture, but not of other proportions. Raises `ImageError` for
    such a mask, and for one that shows nothing.
    """
    from PIL import Image as PILImage

    shares = mask.getchannel("A")
    if not np.any(np.asarray(shares) < 255):
        shares = mask.convert("L")
    if not np.any(np.asarray(shares) > 127):
        raise ImageError("The mask shows nothing of the image; paint what belongs to the subject white.")
    if shares.size != image.size:
        # a pixel more or less is what halving and rounding leave
        if abs(image.width / image.height * shares.height - shares.width) > 1 + 0.01 * shares.width:
            raise ImageError(
                "The mask is {mask_width} x {mask_height} pixels and the image {width} x {height}; give a mask of "
                "the same proportions.",
                mask_width=shares.width,
                mask_height=shares.height,
                width=image.width,
                height=image.height,
            )
        shares = shares.resize(image.size, PILImage.Resampling.BILINEAR)
    image = image.copy()
    image.putalpha(shares)
    return image


def _fit_background(rgb: Floats) -> tuple[Floats, float]:
    """A quadratic colour gradient fitted to the border, and the share of the border that it explains.

    Fitted in rounds: after each, the border pixels that differ (the subject where it is cut off) are left out.
    """
    height, width = rgb.shape[:2]
    border = rim(height, width)
    colours, basis = rgb[border], _terms(height, width)[border]
    lab = to_lab(colours)
    # start from the commonest colour, not the mean: half of the border may be subject
    keep = np.linalg.norm(lab - commonest(lab), axis=-1) < 2 * _FAR
    coefficients = _solve(basis[keep], colours[keep])
    for _ in range(3):
        keep = np.linalg.norm(lab - to_lab(basis @ coefficients), axis=-1) < _FAR
        if not keep.any():
            break
        coefficients = _solve(basis[keep], colours[keep])
    share = float((np.linalg.norm(lab - to_lab(basis @ coefficients), axis=-1) < _CLOSE).mean())
    return _evaluate(coefficients, height, width), share


def _terms(height: int, width: int) -> Floats:
    """The terms of a quadratic in x and y, each in -1..1: (height, width, 6)."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1).astype(np.float32)


def _solve(basis: Floats, colours: Floats) -> Floats:
    """Least squares; a weak ridge keeps the curve tame where most of the border was left out."""
    ridge = np.diag([0, 1, 1, 4, 4, 4]) * 1e-4 * max(len(basis), 1) + 1e-6 * np.eye(6)
    normal = (basis.T @ basis).astype(np.float64)
    return np.linalg.solve(normal + ridge, (basis.T @ colours).astype(np.float64)).astype(np.float32)


def _evaluate(coefficients: Floats, height: int, width: int) -> Floats:
    return np.clip(_terms(height, width) @ coefficients, 0.0, 1.0).astype(np.float32)


def commonest(lab: Floats) -> Floats:
    """The mean of the fullest 10-unit bin."""
    bins = np.floor(lab / 10.0).astype(np.int64)
    keys = (bins[:, 0] + 64) * 10_000 + (bins[:, 1] + 64) * 100 + bins[:, 2] + 64
    values, counts = np.unique(keys, return_counts=True)
    return lab[keys == values[counts.argmax()]].mean(axis=0)


def rim(height: int, width: int) -> Mask:
    """The outermost 2 % of the picture."""
    wide = max(1, min(height, width) // 50)
    border = np.ones((height, width), dtype=bool)
    border[wide : height - wide, wide : width - wide] = False
    return border


def _background_area(difference: Floats, candidate: Mask, noise: float) -> Mask:
    """The background: what is joined to the border, and gaps in the subject through which it shows.

    `difference` (H, W, 3) is each pixel's from the fitted background, in L*a*b*. A gap counts only
    where it is a good-sized area that cannot be told from the background even on average, so that a
    highlight on the subject is not taken for one.
    """
    height, width = candidate.shape
    # Closed specks and narrow channels first: background must not seep into the subject through noise.
    open_area = grown(shrunk(candidate, 2), 2) & candidate
    seeds = open_area & rim(height, width)
    bias = np.linalg.norm(np.stack([box_mean(difference[..., c], 3) for c in range(3)]), axis=0)
    indistinguishable = (bias < 0.8 + 0.3 * noise) & candidate
    seeds |= shrunk(indistinguishable, max(2, min(height, width) // 240))
    area = connected(seeds, open_area)
    return grown(area, 2) & candidate


def _drop_specks(alpha: Floats) -> Floats:
    """Without the lonely dots that noise and JPEG leave in the background: only what hangs on something solid."""
    solid = alpha > 0.5
    for radius in range(1 + min(alpha.shape) // 150, 0, -1):  # a subject of wire alone has nothing thick
        seeds = shrunk(solid, radius)
        if seeds.any():
            break
    kept = grown(connected(seeds, solid), 2)  # the soft outline with it
    return np.where(kept, alpha, 0.0).astype(np.float32)
