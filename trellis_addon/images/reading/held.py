"""Pictures that a program holds, in place of a file: of Pillow, of NumPy, of an open file."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import ImageError
from ...core.messages import message, reason_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

_CHANNELS = (1, 2, 3, 4)


def held_bytes(source: Any, what: str = "image") -> tuple[bytes, str] | None:
    """A picture that a program holds as the bytes of a file, and a name for it; None for anything else.

    Pillow's pictures are taken as they are seen: upright, in sRGB. Arrays have the first row at the top, the shape
    (height, width) or (height, width, 1 to 4 channels: grey, alpha; red, green, blue, alpha), and colours in sRGB:
    `uint8`, `uint16` over their whole range, `bool`, or floats from 0 to 1. Open files are read from where they are.
    Raises `ImageError`, which names `what` was given.
    """
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(source, pillow.Image):
        return _of_pillow(source, what), Path(str(getattr(source, "filename", "") or "image")).stem
    if _is_of_blender(source):
        raise ImageError(
            '{what}: "{name}" is an image of Blender; give trellis_addon.scene.load_image(image) in its place.',
            what=what,
            name=source.name,
        )
    if hasattr(source, "read"):
        return _of_open_file(source, what)
    if hasattr(source, "__array__"):
        return _png(_of_array(source, what)), "image"
    return None


def _is_of_blender(source: Any) -> bool:
    bpy = sys.modules.get("bpy")
    return bpy is not None and isinstance(source, bpy.types.Image)


def _of_pillow(picture: Image, what: str) -> bytes:
    from PIL import ImageOps

    from .colour import to_rgba

    try:
        return _png(to_rgba(ImageOps.exif_transpose(picture)))
    except Exception as error:  # a file that was closed or is damaged, of which Pillow reads the pixels only now
        raise ImageError("{what}: the picture cannot be read: {reason}.", what=what, reason=reason_of(error)) from error


def _of_open_file(file: Any, what: str) -> tuple[bytes, str]:
    try:
        data = file.read()
    except Exception as error:
        raise ImageError("{what}: the file cannot be read: {reason}.", what=what, reason=reason_of(error)) from error
    if not isinstance(data, (bytes, bytearray)):
        raise ImageError('{what}: the file gives text; open it with "rb".', what=what)
    name = getattr(file, "name", "")
    return bytes(data), Path(name).stem if isinstance(name, str) and name else "image"


def _of_array(source: Any, what: str) -> Image:
    import numpy as np
    from PIL import Image as PILImage

    pixels = np.asarray(source)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.ndim not in (2, 3) or channels not in _CHANNELS or not pixels.size:
        raise ImageError(
            "{what}: an array of the shape {shape} is no picture; give (height, width), or (height, width, channels) "
            "with 1 to 4 channels.",
            what=what,
            shape=str(pixels.shape),
        )
    return PILImage.fromarray(np.ascontiguousarray(_bytes_of(pixels.reshape(*pixels.shape[:2], channels), what)))


def _bytes_of(pixels: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """(height, width, channels), or (height, width) of one channel, as Pillow takes them."""
    import numpy as np

    kind = pixels.dtype
    if kind == np.uint16:
        pixels = np.round(pixels / 257.0)
    elif kind == np.bool_:
        pixels = pixels * 255
    elif kind.kind == "f":
        if not np.isfinite(pixels).all() or pixels.min() < 0.0 or pixels.max() > 1.001:
            raise _unusable(what, message("floats that are not from 0 to 1"))
        pixels = np.round(np.minimum(pixels.astype(np.float32), 1.0) * 255)
    elif kind != np.uint8:
        raise _unusable(what, str(kind))
    found = pixels.astype(np.uint8)
    return found[..., 0] if found.shape[2] == 1 else found


def _unusable(what: str, kind: str) -> ImageError:
    return ImageError(
        "{what}: an array of {kind} is no picture; give uint8, uint16, bool, or floats from 0 to 1.",
        what=what,
        kind=kind,
    )


def _png(picture: Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
