"""Colours of every model, depth and profile, as RGBA of 8 bits in sRGB."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from .png import GREY, PngFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")  # the last is what Pillow once made of them


def to_rgba(image: Image, png: PngFacts | None = None, low_bytes: Callable[[], Image] | None = None) -> Image:
    """RGBA in sRGB, without anything beside the pixels. `png`: what `read_png` found, for a PNG.

    `low_bytes` gives the lower bytes of colours of 16 bits, of which `image` has the upper ones.
    """
    alpha = _keyed_alpha(image, png, low_bytes)
    icc = _profile(image, png)
    if alpha is None and icc is None and image.mode not in _SIXTEEN_BITS:
        found = image.convert("RGBA")
    else:
        if alpha is None and (image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info):
            alpha = image.convert("RGBA").getchannel("A")
        found = _colours(image, icc).convert("RGBA")
        if alpha is not None:
            found.putalpha(alpha)
    found.info.clear()  # a profile that was used up, or a transparent colour, must not be applied again
    return found


def _profile(image: Image, png: PngFacts | None) -> bytes | None:
    """The profile of the picture's colours, in the order of precedence of the PNG specification; None for sRGB."""
    from . import profiles

    if png is not None and png.cicp is not None:
        return profiles.profile_of_code(*png.cicp)
    if icc := image.info.get("icc_profile"):
        return bytes(icc)
    if png is not None and not png.is_srgb and (png.gamma is not None or png.chromaticities is not None):
        return profiles.profile_of_gamma(png.gamma, png.chromaticities)
    return None


def _colours(image: Image, icc: bytes | None) -> Image:
    """The colours without alpha, in sRGB."""
    if image.mode in _SIXTEEN_BITS:
        return _from_sixteen_bits(image, icc)
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")
    if icc and image.mode == "L":
        from PIL import Image as PILImage

        return PILImage.merge("RGB", [image.point(curve.tolist()) for curve in _grey_curves(icc).T])
    return _to_srgb(image, icc) if icc else image


def _grey_curves(icc: bytes) -> NDArray[np.uint8]:
    """What each of the 256 greys is in sRGB: (256, 3)."""
    import numpy as np
    from PIL import Image as PILImage

    ramp = PILImage.fromarray(np.arange(256, dtype=np.uint8)[None], "L")
    return np.asarray(_to_srgb(ramp, icc, exactly=True).convert("RGB"))[0]


def _from_sixteen_bits(image: Image, icc: bytes | None) -> Image:
    """Grey of 16 bits, which Pillow would clip at 255 instead of scaling it."""
    import numpy as np
    from PIL import Image as PILImage

    grey = np.asarray(image)
    rows_at_once = 256  # eight bytes a pixel of all at once would be a lot
    if icc is None:
        found = np.empty(grey.shape, np.uint8)
        for row in range(0, len(grey), rows_at_once):
            found[row : row + rows_at_once] = grey[row : row + rows_at_once].astype(np.float64) / 257.0 + 0.5
        return PILImage.fromarray(found, "L")
    # Profiles are applied to 8 bits: what lies between two of these values is interpolated.
    steps, curves = np.arange(256), _grey_curves(icc)
    colours = np.empty((*grey.shape, 3), np.uint8)
    for row in range(0, len(grey), rows_at_once):
        levels = grey[row : row + rows_at_once].astype(np.float64) / 257.0
        for channel in range(3):
            colours[row : row + rows_at_once, :, channel] = np.interp(levels, steps, curves[:, channel]) + 0.5
    return PILImage.fromarray(colours, "RGB")


def _keyed_alpha(image: Image, png: PngFacts | None, low_bytes: Callable[[], Image] | None) -> Image | None:
    """The alpha of a PNG of which one colour is transparent: that very one, in all the bits that the file has."""
    if png is None or not png.transparent:
        return None
    import numpy as np
    from PIL import Image as PILImage

    if png.colour_type == GREY and image.mode in _SIXTEEN_BITS:
        is_clear = np.asarray(image) == png.transparent[0]
    elif png.colour_type == GREY:
        # greys of 1, 2 and 4 bits are spread over 0..255 by Pillow
        value = png.transparent[0] * 255 // (2 ** min(png.depth, 8) - 1)
        is_clear = np.asarray(image.convert("L")) == value
    else:
        samples = np.array(png.transparent)
        upper = samples >> 8 if png.depth == 16 else samples
        is_clear = (np.asarray(image) == upper).all(axis=-1)
        if png.depth == 16 and low_bytes is not None and is_clear.any():
            is_clear &= (np.asarray(low_bytes()) == samples & 255).all(axis=-1)
    return PILImage.fromarray(np.where(is_clear, 0, 255).astype(np.uint8), "L")


def _to_srgb(image: Image, icc: bytes, *, exactly: bool = False) -> Image:
    """An L, RGB or CMYK picture in sRGB; as it is where the profile cannot be read or is of no use.

    `exactly`: without the tables that make it fast, and the darkest greys of linear profiles wrong.
    """
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        # grey pictures come with profiles of colours, and palettes of greys with profiles of greys
        mode = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}.get(profile.profile.xcolor_space.strip(), "")
        if mode and mode != image.mode and "CMYK" not in (mode, image.mode):
            image = image.convert(mode)
        flags = ImageCms.Flags.NOOPTIMIZE if exactly else ImageCms.Flags.NONE
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB", flags=flags)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # an unreadable profile: the numbers are sRGB far more often than not
    return image if converted is None else converted
