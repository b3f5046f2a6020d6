"""Early pictures: what is being made, as far as it is known, small enough to travel in a status."""

from __future__ import annotations

import base64
import binascii
import io
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE = 192  # pixels of those that are made here
BYTES_LIMIT = 48 * 2**10  # of a PNG; those made here have about 10 KiB
SIDE_LIMIT = 512
_PREFIX = "data:image/png;base64,"
_HEADER = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_COLOURS = (128, 32)  # as many as a small file has room for; fewer where even that is too large


def to_png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG with a palette, of `pixels` (H, W, 4); empty where it would be larger than what is taken."""
    from PIL import Image

    picture = Image.fromarray(pixels, "RGBA")
    for colours in _COLOURS:
        buffer = io.BytesIO()
        picture.quantize(colours, method=Image.Quantize.FASTOCTREE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= BYTES_LIMIT:
            return buffer.getvalue()
    return b""


def to_wire(png: bytes) -> str:
    """The picture as it stands in a status."""
    return _PREFIX + base64.b64encode(png).decode("ascii")


def from_wire(told: Any) -> bytes:
    """The PNG that a status tells of; empty for anything else, and for what is larger than such a picture is."""
    if not isinstance(told, str) or not told.startswith(_PREFIX) or len(told) > 2 * BYTES_LIMIT:
        return b""
    try:
        png = base64.b64decode(told[len(_PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        return b""
    return png if is_small(png) else b""


def is_small(png: bytes) -> bool:
    """Whether it is a PNG, by its header, and no larger than an early picture is."""
    if len(png) > BYTES_LIMIT or len(png) < len(_HEADER) + 8 or not png.startswith(_HEADER):
        return False
    return all(0 < side <= SIDE_LIMIT for side in struct.unpack_from(">II", png, len(_HEADER)))
