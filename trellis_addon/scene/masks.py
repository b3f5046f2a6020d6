"""A mask to paint on: the picture's cutout as an image datablock, white where the subject is."""

from __future__ import annotations

import bpy
import numpy as np

from ..core.errors import ImageError
from .images import datablock_loader
from .marking import marks_of


def new_mask(image: bpy.types.Image) -> bpy.types.Image:
    """A mask of the picture's size with its marked subject, or its automatic cutout, or all white without either."""
    width, height = image.size
    if not width or not height:
        raise ImageError('The image "{name}" has no pixels; reload it or choose another.', name=image.name)
    shares = np.ones((height, width), np.float32)
    try:
        marks = marks_of(image) if image.trellis2.cutout == "MARKED" else None
        alpha = datablock_loader(image, marks=marks, upright=False)().rgba.getchannel("A")
    except ImageError:
        alpha = None  # what cannot be told apart is for the artist to paint
    # of a large picture the loader gives the subject alone, which is no mask for the whole of it
    if alpha is not None and abs(alpha.width / alpha.height - width / height) < 0.01:
        shares = np.asarray(alpha.resize((width, height)), np.float32)[::-1] / 255.0
    mask = bpy.data.images.new(f"{image.name} Mask", width, height, alpha=False)
    grey = np.repeat(shares[..., None], 4, axis=-1)
    grey[..., 3] = 1.0
    mask.pixels.foreach_set(grey.ravel())
    mask.pack()
    return mask
