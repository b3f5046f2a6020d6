"""A mask to paint on: the picture's cutout as an image datablock, white where the subject is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import bpy
import numpy as np

from ..core.errors import ImageError
from .cutout_preview import loader_of
from .images import datablock_loader

if TYPE_CHECKING:
    from ..images import PreparedImage


def new_mask(image: bpy.types.Image) -> bpy.types.Image:
    """A mask of the picture's size with its cutout as it is, corrected outline and all; all white without any.

    What was corrected of the outline is then in the mask.
    """
    width, height = image.size
    if not width or not height:
        raise ImageError('The image "{name}" has no pixels; reload it or choose another.', name=image.name)
    shares = np.ones((height, width), np.float32)
    try:
        alpha = _cutout(image)().rgba.getchannel("A")
    except ImageError:
        alpha = None  # what cannot be told apart is for the artist to paint
    if alpha is not None and abs(alpha.width / alpha.height - width / height) < 0.01:
        shares = np.asarray(alpha.resize((width, height)), np.float32)[::-1] / 255.0
    mask = bpy.data.images.new(f"{image.name} Mask", width, height, alpha=False)
    grey = np.repeat(shares[..., None], 4, axis=-1)
    grey[..., 3] = 1.0
    mask.pixels.foreach_set(grey.ravel())
    mask.pack()
    image.trellis2.grow = 0.0
    return mask


def _cutout(image: bpy.types.Image) -> Callable[[], PreparedImage]:
    """The loader of what there is to begin with: the cutout that is chosen, or without one the automatic."""
    choice = image.trellis2
    is_none = choice.cutout == "WHOLE" or (choice.cutout == "MASK" and choice.mask is None)
    return datablock_loader(image, upright=False) if is_none else loader_of(image, in_frame=True)
