"""From the user's picture to what the model sees: the subject alone, on black, in the middle of a square."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from ..core.errors import ImageError
from ..images.frame import subject_height, subject_square

MAX_SIDE = 1024


def preprocess_image(image: Image.Image, *, reduce_first: bool = False) -> Image.Image:
    """RGBA with the subject cut out -> RGB on black, a square around the subject without a margin, of at most 1024.

    The reference reduces the whole picture to 1024 first, which `reduce_first` does as well: of a subject that fills a
    quarter of a larger picture's side the model then sees 256 pixels. Cropped first it sees all that there are.
    Raises `ImageError` for a picture without alpha, and for one whose alpha shows no subject.
    """
    if not has_useful_alpha(image):
        raise ImageError("The picture has no transparency that shows the subject; cut it out, or let the mask find it.")
    if reduce_first:
        image = _reduced(image)
    return _on_black(_reduced(image.crop(subject_square(np.asarray(image)[:, :, 3]))))


def _on_black(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image, np.float32) / 255
    return Image.fromarray((pixels[:, :, :3] * pixels[:, :, 3:] * 255).astype(np.uint8))


def preprocess_views(images: Mapping[str, Image.Image]) -> dict[str, Image.Image]:
    """`preprocess_image` of pictures of one object: the subject is equally tall in all of them, and whole in each.

    A turn about the vertical does not change its height; in squares of their own a long thing would be smaller from the
    side than from the front.
    """
    if any(not has_useful_alpha(image) for image in images.values()):
        return {name: preprocess_image(image) for name, image in images.items()}  # which says what is wrong
    squares = {name: subject_square(np.asarray(image)[:, :, 3]) for name, image in images.items()}
    heights = {name: subject_height(np.asarray(image)[:, :, 3]) for name, image in images.items()}
    shares = {name: (right - left) / heights[name] for name, (left, _, right, _) in squares.items()}
    widest = max(shares.values())
    found = {}
    for name, image in images.items():
        left, top, right, bottom = squares[name]
        more = 0.0 if shares[name] == widest else (widest * heights[name] - (right - left)) / 2
        found[name] = _on_black(_reduced(image.crop((left - more, top - more, right + more, bottom + more))))
    return found


def _reduced(image: Image.Image) -> Image.Image:
    """The picture with at most `MAX_SIDE` pixels a side."""
    scale = MAX_SIDE / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def has_useful_alpha(image: Image.Image) -> bool:
    """Whether there is an alpha channel that cuts something out."""
    return image.mode == "RGBA" and bool((np.asarray(image)[:, :, 3] < 255).any())
