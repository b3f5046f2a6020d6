"""Blender's image datablocks as pictures for a task."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np

from ..errors import ImageError
from ..images import EXTENSIONS, PreparedImage, load_image, prepare


def datablock_loader(image: bpy.types.Image) -> Callable[[], PreparedImage]:
    """What makes a picture of the datablock, edits included.

    To be called on the main thread, where the pixels are taken; the function that it returns does
    the slow part and may run in any thread. Raises `ImageError` when there are no pixels.
    """
    name = Path(image.name).stem
    if image.source == "FILE" and not image.is_dirty:
        # As it is, packed or on disk: no loss, no colour management.
        if image.packed_file is not None:
            data = bytes(image.packed_file.data)
            return lambda: load_image(data, name=name)
        path = Path(bpy.path.abspath(image.filepath, library=image.library))
        if path.suffix.lower() in EXTENSIONS:
            return lambda: load_image(path, name=name)
    width, height = image.size
    if not width or not height or not image.channels:
        raise ImageError(f'The image "{image.name}" has no pixels; reload it or choose another.')
    pixels = np.empty(width * height * image.channels, dtype=np.float32)
    image.pixels.foreach_get(pixels)
    shape = (height, width, image.channels)
    is_linear = image.is_float
    return lambda: _from_pixels(pixels.reshape(shape), is_linear, name)


def _from_pixels(pixels: np.ndarray, is_linear: bool, name: str) -> PreparedImage:
    """`pixels`: (height, width, channels) float, the first row at the bottom."""
    from PIL import Image

    pixels = np.clip(pixels[::-1], 0.0, 1.0)
    if is_linear:
        colour = pixels[..., :3]
        encoded = np.where(colour <= 0.0031308, colour * 12.92, 1.055 * colour ** (1 / 2.4) - 0.055)
        pixels = np.concatenate([encoded, pixels[..., 3:]], axis=-1)
    data = (pixels * 255 + 0.5).astype(np.uint8)
    if data.shape[-1] == 1:
        picture = Image.fromarray(data[..., 0], "L")
    else:
        picture = Image.fromarray(data, {2: "LA", 3: "RGB"}.get(data.shape[-1], "RGBA"))
    return prepare(picture.convert("RGBA"), name=name, sha256=hashlib.sha256(data.tobytes()).hexdigest())
