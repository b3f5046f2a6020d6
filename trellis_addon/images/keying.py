"""Removing all of one colour from a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import ImageError
from .cutout import ADVICE, commonest, rim
from .key import ColourKey
from .pixels import to_lab

if TYPE_CHECKING:
    from PIL.Image import Image

_SOFT = 0.6  # of the tolerance, from where on a pixel may be a part of the subject


def remove_colour(image: Image, key: ColourKey) -> Image:
    """The RGBA picture with all that has the key's colour made transparent, and that colour taken out of what is soft.

    Raises `ImageError` where nothing has it, or nothing remains.
    """
    from PIL import Image as PILImage

    pixels = np.asarray(image, np.float32) / 255.0
    rgb, own = pixels[..., :3], pixels[..., 3]
    lab = to_lab(rgb)
    if key.colour is None:
        edge = rim(*own.shape)
        target = commonest(lab[edge])
        near = np.linalg.norm(lab[edge] - target, axis=-1) < 6.0
        colour = rgb[edge][near].mean(0) if near.any() else rgb[edge].mean(0)
    else:
        colour = np.asarray(key.colour, np.float32)
        target = to_lab(colour[None, None])[0, 0]
    tolerance = max(key.tolerance, 0.5)
    distance = np.linalg.norm(lab - target, axis=-1)
    alpha = np.clip((distance - _SOFT * tolerance) / ((1.0 - _SOFT) * tolerance), 0.0, 1.0).astype(np.float32)
    if not (alpha < 0.5).any():
        raise ImageError("No part of the image has the key's colour; choose another, or a larger tolerance.")
    if (alpha > 0.5).mean() < 0.002:
        raise ImageError(
            "Nothing but the key's colour is in the image; choose another, or a smaller tolerance; {advice}.",
            advice=ADVICE,
        )
    soft = np.maximum(alpha, 0.05)[..., None]
    colours = np.where(alpha[..., None] < 1.0, (rgb - (1.0 - soft) * colour) / soft, rgb)
    found = np.concatenate([np.clip(colours, 0.0, 1.0), np.minimum(alpha, own)[..., None]], axis=-1)
    return PILImage.fromarray((found * 255.0 + 0.5).astype(np.uint8), "RGBA")
