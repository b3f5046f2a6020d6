"""Colours of every model, depth and profile, as RGBA of 8 bits in sRGB."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def to_rgba(image: Image) -> Image:
    """RGBA in sRGB, whatever the file's colour model and depth."""
    icc = image.info.get("icc_profile")
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        # Pillow would clip 16-bit grey at 255 instead of scaling it
        import numpy as np
        from PIL import Image as PILImage

        grey = np.asarray(image)
        scale = 255.0 / (65535.0 if grey.max() > 255 else 255.0)
        bytes_of_it = np.empty(grey.shape, np.uint8)
        for rows in range(0, len(grey), 256):  # in strips: eight bytes a pixel of all at once would be a lot
            bytes_of_it[rows : rows + 256] = grey[rows : rows + 256].astype(np.float64) * scale + 0.5
        return PILImage.fromarray(bytes_of_it, "L").convert("RGBA")
    if icc and image.mode in ("RGB", "RGBA", "CMYK", "L"):
        image = _to_srgb(image, icc)
    return image.convert("RGBA")


def _to_srgb(image: Image, icc: bytes) -> Image:
    from PIL import ImageCms

    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    colours = image.convert("RGB") if image.mode == "RGBA" else image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        converted = ImageCms.profileToProfile(colours, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # an unreadable profile: the numbers are sRGB far more often than not
    if converted is None:
        return image
    if alpha is not None:
        converted.putalpha(alpha)
    return converted
