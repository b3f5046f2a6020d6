"""What of a picture the model looks at: a square around the subject, or one that was chosen, marked in the file.

TRELLIS.2, wherever it runs, crops a picture to the square around what is clearly opaque, and puts that on black. A
square of another place or size is told by its corners: a few pixels there are opaque and black, which on black cannot
be seen, so that the square around all that is opaque is the one that was chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

SUBJECT = 0.8 * 255  # an alpha above this is surely the subject
_MARK = (0, 0, 0, 254)  # nobody's own black, which would be of 255
_LOOKED_AT = 1024  # pixels a side, to which the reference may reduce a picture before it looks for the square

Square = tuple[float, float, float, float]


def subject_square(alpha: NDArray[np.uint8]) -> Square:
    """The square (left, top, right, bottom) around what is clearly opaque; it may reach beyond the picture.

    `alpha` is (height, width). Raises `ImageError` where nothing is.
    """
    rows, columns = (np.flatnonzero((alpha > SUBJECT).any(axis)) for axis in (1, 0))
    if not len(rows):
        raise ImageError("The picture is transparent everywhere; give one that shows the subject.")
    x0, x1, y0, y1 = int(columns[0]), int(columns[-1]), int(rows[0]), int(rows[-1])
    cx, cy, half = (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0) // 2
    half = max(half, 1)
    return cx - half, cy - half, cx + half, cy + half


def subject_height(alpha: NDArray[np.uint8]) -> int:
    """In pixels, of what is clearly opaque."""
    rows = np.flatnonzero((alpha > SUBJECT).any(1))
    return max(1, int(rows[-1] - rows[0]))


def marked(picture: Image) -> Image:
    """The square RGBA picture with its corners marked, but where they are opaque anyway."""
    picture = picture.copy()
    size = _mark_size(picture.width)
    for left, top in _corners(picture.width, size):
        block = picture.crop((left, top, left + size, top + size))
        alpha = np.asarray(block)[..., 3]
        if (alpha > SUBJECT).all():
            continue
        if not alpha.any():
            picture.paste(_MARK, (left, top, left + size, top + size))
            continue
        colours = np.asarray(block, np.float32)  # some of the subject: on black it looks the same
        on_black = np.concatenate([colours[..., :3] * colours[..., 3:] / 255.0, np.full((size, size, 1), 254)], -1)
        picture.paste(_from_pixels(on_black), (left, top))
    return picture


def unmarked(picture: Image) -> tuple[Image, bool]:
    """The picture without its marks, and whether it had any: then all of it is what is to be looked at.

    One of another kind than RGBA has none.
    """
    width, height = picture.size
    size = _mark_size(width)
    if picture.mode != "RGBA" or width != height or width < 4 * size:
        return picture, False
    found = []
    for left, top in _corners(width, size):
        block = np.asarray(picture.crop((left, top, left + size, top + size)))
        if (block == _MARK).all():
            found.append((left, top))
        elif not (block[..., 3] > SUBJECT).all():
            return picture, False
    if not found:
        return picture, False
    picture = picture.copy()
    for left, top in found:
        picture.paste((0, 0, 0, 0), (left, top, left + size, top + size))
    return picture, True


def _mark_size(side: int) -> int:
    """So many pixels that some are left where the picture is reduced."""
    return 2 * -(-side // _LOOKED_AT)


def _corners(side: int, size: int) -> list[tuple[int, int]]:
    return [(left, top) for top in (0, side - size) for left in (0, side - size)]


def _from_pixels(pixels: NDArray[np.float32]) -> Image:
    from PIL import Image as PILImage

    return PILImage.fromarray((pixels + 0.5).astype(np.uint8), "RGBA")
