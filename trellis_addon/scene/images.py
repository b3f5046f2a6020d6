"""Blender's image datablocks as pictures for a task."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
import numpy as np

from ..core.errors import ImageError
from ..images import EXTENSIONS, WHOLE, PreparedImage, decode, prepare, read_image_bytes

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")  # of PNG, JPEG and WebP files


def datablock_loader(
    image: bpy.types.Image, *, mask: bpy.types.Image | None = None, whole: bool = False, may_leave: bool = False
) -> Callable[[], PreparedImage]:
    """What makes a picture of the datablock, edits included.

    `mask`: a datablock whose transparency, or else brightness, says what the subject is; `whole`
    cuts nothing out; `may_leave` as in `images.prepare`. To be called on the main thread, where the
    pixels are taken; the function that it returns does the slow part and may run in any thread. Raises
    `ImageError` when there are no pixels.
    """
    name = name_of(image)
    read = _reader(image)
    read_mask = _reader(mask) if mask is not None and not whole else None

    def load() -> PreparedImage:
        picture, sha256 = read()
        given = WHOLE if whole else read_mask()[0] if read_mask else None
        return prepare(picture, name=name, sha256=sha256, mask=given, may_leave=may_leave)

    return load


def name_of(image: bpy.types.Image) -> str:
    """The datablock's name without a file's ending, and without the number that Blender gives to namesakes."""
    return Path(re.sub(r"\.\d{3}$", "", image.name)).stem


def _reader(image: bpy.types.Image) -> Callable[[], tuple[Picture, str]]:
    """What unpacks a datablock, in any thread, to RGBA in sRGB and the SHA-256 of what it was."""
    if image.type == "RENDER_RESULT":
        from .sources import render_result_bytes

        data = render_result_bytes()
        return lambda: _unpacked(data)
    if image.source == "FILE" and not image.is_dirty:
        # As it is, packed or on disk: no loss, no colour management.
        if image.packed_file is not None:
            data = bytes(image.packed_file.data)
            if data.startswith(_SIGNATURES):
                return lambda: _unpacked(data)
        path = Path(bpy.path.abspath(image.filepath, library=image.library))
        if image.packed_file is None and path.suffix.lower() in EXTENSIONS:
            return lambda: _unpacked(read_image_bytes(path)[0])
    width, height = image.size
    if not width or not height or not image.channels:
        raise ImageError(f'The image "{image.name}" has no pixels; reload it or choose another.')
    pixels = np.empty(width * height * image.channels, dtype=np.float32)
    image.pixels.foreach_get(pixels)
    shape = (height, width, image.channels)
    is_linear = image.is_float
    return lambda: _from_pixels(pixels.reshape(shape), is_linear)


def _unpacked(data: bytes) -> tuple[Picture, str]:
    return decode(data), hashlib.sha256(data).hexdigest()


def _from_pixels(pixels: np.ndarray, is_linear: bool) -> tuple[Picture, str]:
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
    return picture.convert("RGBA"), hashlib.sha256(data.tobytes()).hexdigest()
