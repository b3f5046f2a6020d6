"""A file's bytes to its pixels: upright, RGBA, in sRGB."""

from __future__ import annotations

import io
import warnings as python_warnings
from typing import TYPE_CHECKING

from ...core.errors import ImageError
from ..limits import MAX_BYTES, MAX_PIXELS, MAX_SIDE
from .colour import to_rgba
from .formats import what_is
from .png import read_png

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

_FORMATS = ("PNG", "JPEG", "WEBP")
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
_JPEG_END = b"\xff\xd9"
_FILLING = bytes(range(1, 255)) * 17  # of every kind but markers
# where Pillow looks for how to turn a picture
_ORIENTATION = 0x0112  # in EXIF
_ORIENTED_BY = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image:
    """Unpack a picture, turned upright, as RGBA in sRGB; of an animation the first picture.

    Raises as `decode_sized` does.
    """
    return decode_sized(data, max_pixels)[0]


def decode_sized(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Image, tuple[int, int]]:
    """The picture as `decode` gives it, and its size upright in the file: large JPEGs are reduced while unpacking.

    Raises `ImageError`: not a PNG, JPEG or WebP, cut off, damaged, of more than `max_pixels`, without pixels to see.
    """
    from PIL import Image as PILImage

    if not data:
        raise ImageError("The image is empty: the file holds no bytes.")
    if len(data) > MAX_BYTES:
        raise ImageError(
            "The image file has {size:.0f} MB; use one of at most {limit} MB ({side} pixels a side are all the "
            "model can use).",
            size=len(data) / 2**20,
            limit=MAX_BYTES // 2**20,
            side=MAX_SIDE,
        )
    data = _from_signature(data)
    try:
        with python_warnings.catch_warnings():
            # the size is checked below, with our own limit and sentence
            python_warnings.simplefilter("ignore")
            _check_pixels(_webp_size(data), max_pixels)  # Pillow makes room for a WebP's pixels as it opens it
            return _unpacked(data, max_pixels)
    except PILImage.DecompressionBombError:
        raise ImageError(
            "The image claims more pixels than can be unpacked safely; use one of at most {limit} megapixels.",
            limit=max_pixels // 10**6,
        ) from None
    except PILImage.UnidentifiedImageError:
        raise ImageError("The image is {kind}; use a PNG, JPEG or WebP file.", kind=what_is(data)) from None
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise ImageError(
            "The image is damaged or cut off and cannot be read to its end; save or download it again."
        ) from error


def orientation_of(data: bytes) -> int:
    """How a picture file wants to be turned to be upright, 1..8 as in EXIF; `decode` has done so."""
    from PIL import Image as PILImage

    try:
        with PILImage.open(io.BytesIO(data)) as file:
            found = file.getexif().get(_ORIENTATION, 1)
    except Exception:  # what is wrong with it, `decode` says
        return 1
    return found if found in range(1, 9) else 1


def _unpacked(data: bytes, max_pixels: int) -> tuple[Image, tuple[int, int]]:
    from PIL import ImageOps

    file, (width, height) = _loaded(data, max_pixels)
    image = to_rgba(file, read_png(data), lambda: _low_bytes(data))
    image.info.update({key: file.info[key] for key in _ORIENTED_BY if key in file.info})
    ImageOps.exif_transpose(image, in_place=True)  # else it is copied even where it is upright
    image.info.clear()
    # a JPEG that is reduced keeps its proportions to the pixel
    is_turned = (image.width > image.height) != (file.width > file.height)
    return image, (height, width) if is_turned else (width, height)


def _loaded(data: bytes, max_pixels: int) -> tuple[ImageFile, tuple[int, int]]:
    """The file with its pixels unpacked, as they lie in it, and how many there are without reducing it."""
    file, size = _opened(data, max_pixels)
    try:
        file.load()
        return file, size
    except OSError:
        if file.format != "JPEG":
            raise
    # A JPEG without its end marker may still have every row. Then what follows makes no difference; where rows are
    # missing, other bytes after the last one give other pixels.
    data = data.rstrip(b"\xff")
    (whole, size), (other, _) = (_opened(data + more + _JPEG_END, max_pixels) for more in (b"", _FILLING))
    whole.load()
    other.load()
    if whole.tobytes() != other.tobytes():
        raise OSError("rows are missing")
    return whole, size


def _opened(data: bytes, max_pixels: int) -> tuple[ImageFile, tuple[int, int]]:
    from PIL import Image as PILImage

    file = PILImage.open(io.BytesIO(data), formats=_FORMATS)
    size = file.size
    _check_pixels(size, max_pixels)
    file.draft("RGB", (MAX_SIDE, MAX_SIDE))  # large JPEGs are reduced while unpacking
    return file, size


def _low_bytes(data: bytes) -> Image:
    """The lower bytes of a PNG's colours of 16 bits, of which Pillow gives the upper ones."""
    from PIL import Image as PILImage

    file = PILImage.open(io.BytesIO(data), formats=("PNG",))
    # read as if the lower byte came last, so that it is the one that counts
    file.tile = [tile._replace(args="RGB;16L") for tile in file.tile]
    file.load()
    return file


def _from_signature(data: bytes) -> bytes:
    """Without blank lines before the file itself, which careless servers and scripts leave there."""
    stripped = data[:64].lstrip(b"\r\n\t \0")
    return data[len(data[:64]) - len(stripped) :] if stripped.startswith(_SIGNATURES) else data


def _check_pixels(size: tuple[int, int], most: int) -> None:
    if size[0] * size[1] > most:
        raise ImageError(
            "The image is {width} x {height} pixels; use one of at most {limit} megapixels ({side} pixels a side "
            "are all the model can use).",
            width=size[0],
            height=size[1],
            limit=most // 10**6,
            side=MAX_SIDE,
        )


def _webp_size(data: bytes) -> tuple[int, int]:
    """What a WebP's header says of its size (RFC 9649, 2.5 to 2.7); (0, 0) for any other file."""
    kind, header = data[12:16], data[20:30]
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(header) < 10:
        return 0, 0
    if kind == b"VP8X":
        return 1 + int.from_bytes(header[4:7], "little"), 1 + int.from_bytes(header[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(header[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(header[6:8], "little") & 0x3FFF, int.from_bytes(header[8:10], "little") & 0x3FFF
