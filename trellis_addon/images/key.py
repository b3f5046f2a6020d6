"""A background of one colour removed wherever it is in the picture: a green screen, a blue one, a painted sky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import ImageError
from .cutout import ADVICE, commonest, rim
from .pixels import to_lab

if TYPE_CHECKING:
    from PIL.Image import Image

TOLERANCE = 18.0
_SOFT = 0.6  # of the tolerance, from where on a pixel may be a part of the subject


@dataclass(frozen=True)
class ColourKey:
    """`colour` is sRGB in 0..1, or None for the commonest along the picture's border; `tolerance` a distance in CIE
    L*a*b*, where 2.3 is the smallest difference that people see and 100 that of black and white."""

    colour: tuple[float, float, float] | None = None
    tolerance: float = TOLERANCE


def key_of(given: ColourKey | Sequence[float]) -> ColourKey:
    """What a caller gave: a key, or a colour. Raises `ImageError`."""
    if isinstance(given, ColourKey):
        return given
    try:
        red, green, blue = (float(value) for value in given)
        if not all(0.0 <= value <= 1.0 for value in (red, green, blue)):
            raise ValueError
    except (TypeError, ValueError):
        shown = " ".join(str(given).split())[:60]
        raise ImageError('key: "{colour}" is no colour; give red, green and blue from 0 to 1.', colour=shown) from None
    return ColourKey((red, green, blue))


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
