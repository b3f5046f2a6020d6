"""Blender's image datablocks as pictures for a task."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
import numpy as np

from ..core.errors import ImageError
from ..images import EXTENSIONS, MAX_SIDE, WHOLE, PreparedImage, decode, prepare, read_image_bytes, readable
from ..images.reading.decoding import orientation_of
from ..images.reading.profiles import ACES_AP1, REC2020, to_srgb_matrix
from .rules.guards import require_there

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from ..images.correction import Correction
    from ..images.key import ColourKey
    from ..images.marks import Marks
    from ..images.preparing import Subject


# What EXIF's orientations take to be upright, and back, in Pillow's terms.
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_AS_STORED = _UPRIGHT | {6: "ROTATE_90", 8: "ROTATE_270"}
_EXR = b"\x76\x2f\x31\x01"  # how an OpenEXR file begins
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")  # of PNG, JPEG and WebP files


def load_image(
    image: bpy.types.Image,
    *,
    mask: bpy.types.Image | None = None,
    subject: Subject | None = None,
    key: ColourKey | Sequence[float] | None = None,
    correction: Correction | None = None,
    may_leave: bool = True,
) -> PreparedImage:
    """A picture of an image of Blender, as `trellis_addon.load_image` gives one of a file; it goes to `generate`.

    What was painted and not saved is in it; packed, generated, float and tiled images, the last render, and the frame
    of a movie or sequence that Blender has at hand are read as Blender shows them. `mask` is another image of Blender;
    `subject`, `key` and `correction` are those of `trellis_addon.load_image`, the pixels counted from the upper left of
    the image as Blender shows it. Without `may_leave` a picture that nothing here can cut out is refused at once. Main
    thread only; what it returns may go to any thread. Raises `ImageError`.
    """
    from ..images.key import key_of
    from ..images.marks import marks_of
    from ..images.preparing import corrected

    for what, given in (("image", image), *([("mask", mask)] if mask is not None else [])):
        if not isinstance(given, bpy.types.Image):
            raise ImageError("{what}: give an image of Blender, such as bpy.data.images[0].", what=what)
        require_there(given)
    if (mask is not None) + (subject is not None) + (key is not None) > 1:
        raise ImageError("Of a mask, a subject and a colour key more than one was given; give one of them.")
    is_whole = isinstance(subject, str) and subject.strip().lower() == WHOLE
    load = datablock_loader(
        image,
        mask=mask,
        marks=None if subject is None or is_whole else marks_of(subject),
        key=None if key is None else key_of(key),
        whole=is_whole,
        may_leave=may_leave,
    )
    found = load()
    return found if correction is None else corrected(found, correction)


def datablock_loader(
    image: bpy.types.Image,
    *,
    mask: bpy.types.Image | None = None,
    marks: Marks | None = None,
    key: ColourKey | None = None,
    whole: bool = False,
    only: str = "",
    may_leave: bool = False,
    upright: bool = True,
) -> Callable[[], PreparedImage]:
    """What makes a picture of the datablock, edits included.

    `mask`: a datablock whose transparency, or else brightness, says what the subject is; `whole` cuts nothing out;
    `marks`: what was marked of the subject, in the datablock's pixels with the first row at the top, which is cut out
    of a background of any kind; `key`: a colour that is background; `only` "alpha" or "studio": what shows the subject,
    whatever else could; `may_leave` as in `images.prepare`. Both are those of the picture as Blender shows it, which
    turns no photograph upright: that is done afterwards, but not without `upright`, which also leaves all of a large
    picture in its frame. To be called on the main thread, where the pixels are taken; the function that it returns does
    the slow part and may run in any thread. Raises `ImageError` when there are no pixels.
    """
    name = name_of(image)
    read = _reader(image)
    read_mask = datablock_reader(mask) if mask is not None and not whole else None

    placed_here = not whole and (marks is not None or mask is not None)
    # Blender unpacks the picture where its size is asked for, and only marks need that: they were made on its pixels
    image_width, image_height = image.size if marks is not None else (0, 0)
    side = max(image_width, image_height)

    def load() -> PreparedImage:
        picture, sha256, orientation = read()
        is_turned = orientation in _UPRIGHT and (placed_here or not upright)
        if is_turned:
            picture = _transposed(picture, _AS_STORED[orientation])
        # a large JPEG is reduced while it is unpacked
        scale = max(picture.size) / side if side else 1.0
        placed = marks.scaled(scale, scale) if marks is not None and not whole else None
        given = WHOLE if whole else read_mask()[0] if read_mask else None
        if only:
            _demand(picture, only)
        if not upright:
            picture.thumbnail((MAX_SIDE, MAX_SIDE))
            placed = (
                marks.scaled(picture.width / image_width, picture.height / image_height) if marks and placed else None
            )
        found = prepare(picture, name=name, sha256=sha256, mask=given, marks=placed, key=key, may_leave=may_leave)
        return replace(found, rgba=_transposed(found.rgba, _UPRIGHT[orientation])) if is_turned and upright else found

    return load


def _demand(picture: Picture, only: str) -> None:
    """Have the subject told by its transparency alone, or by a plain background alone."""
    if only == "studio":
        picture.putalpha(255)
    elif picture.getchannel("A").getextrema()[0] == 255:
        raise ImageError("The image has no transparency; choose another cutout.")


def _transposed(picture: Picture, how: str) -> Picture:
    from PIL import Image

    return picture.transpose(Image.Transpose[how])


class _LayersError(ImageError):
    """A file of several layers, sound as it may be."""


def png_of_file(path: Path) -> bytes:
    """A picture file of any format that Blender reads, as a PNG; nothing of it stays in the .blend. Main thread only.

    Raises `ImageError`, which names the format, where Blender cannot read it.
    """
    image = None
    try:
        image = bpy.data.images.load(str(path), check_existing=False)
        picture, _ = datablock_reader(image)()
    except _LayersError:
        raise
    except (RuntimeError, ImageError):
        decode(read_image_bytes(path)[0])  # says what is wrong with it
        raise ImageError(
            "{name} cannot be read; save it as a PNG, JPEG or WebP file.", name=readable(path.name)
        ) from None
    finally:
        if image is not None:
            bpy.data.images.remove(image)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def name_of(image: bpy.types.Image) -> str:
    """The datablock's name without a file's ending, and without the number that Blender gives to namesakes."""
    return Path(re.sub(r"\.\d{3}$", "", image.name)).stem


def datablock_reader(image: bpy.types.Image) -> Callable[[], tuple[Picture, str]]:
    """What unpacks a datablock, in any thread, to upright RGBA in sRGB and the SHA-256 of what it was.

    Raises `ImageError`, now or then, for one without pixels.
    """
    read = _reader(image)
    return lambda: read()[:2]


def _is_exr(image: bpy.types.Image) -> bool:
    """Whether its file begins as an OpenEXR does."""
    try:
        if image.packed_file is not None:
            return bytes(image.packed_file.data[:4]) == _EXR
        with open(bpy.path.abspath(image.filepath, library=image.library), "rb") as file:
            return file.read(4) == _EXR
    except OSError:
        return False


def _reader(image: bpy.types.Image) -> Callable[[], tuple[Picture, str, int]]:
    """As `datablock_reader`, and how the file wanted to be turned, as in EXIF: Blender shows it without."""
    if image.type == "RENDER_RESULT":
        from .sources import render_result_bytes

        data = render_result_bytes()
        return lambda: _unpacked(data)
    mark = image.alpha_mode
    if image.source == "FILE" and not image.is_dirty:
        # As it is, packed or on disk: no loss, no colour management.
        if image.packed_file is not None:
            data = bytes(image.packed_file.data)
            if data.startswith(_SIGNATURES):
                return lambda: _unpacked(data, mark)
        path = Path(bpy.path.abspath(image.filepath, library=image.library))
        if image.packed_file is None and path.suffix.lower() in EXTENSIONS:
            return lambda: _unpacked(read_image_bytes(path)[0], mark)
    width, height = image.size
    if not width or not height or not image.channels:
        if _is_exr(image):  # of a plain one Blender gives the pixels
            raise _LayersError(
                'The image "{name}" is an EXR of several layers, whose pixels Blender gives to nobody; save the '
                "picture alone, as an EXR or PNG.",
                name=image.name,
            )
        raise ImageError('The image "{name}" has no pixels; reload it or choose another.', name=image.name)
    pixels = np.empty(width * height * image.channels, dtype=np.float32)
    image.pixels.foreach_get(pixels)
    shape = (height, width, image.channels)
    if not image.is_float:
        # Blender's bytes are straight and in sRGB, whatever the file's are and however they are marked
        return lambda: _from_pixels(pixels.reshape(shape))
    # Its floats are light, multiplied by alpha; but data are left as they are, and so is a channel of something else.
    is_data = image.colorspace_settings.is_data
    is_associated = mark == "PREMUL" or (mark == "STRAIGHT" and not is_data)
    matrix = None if is_data else _working_space()
    return lambda: _from_pixels(_encoded(pixels.reshape(shape), is_associated, matrix))


def _unpacked(data: bytes, mark: str = "STRAIGHT") -> tuple[Picture, str, int]:
    """The file's picture, with its alpha as the datablock is marked: Blender's `alpha_mode`."""
    from PIL import Image

    picture = decode(data)
    if mark == "PREMUL":  # Pillow has a mode for colours that are multiplied by alpha
        picture = Image.frombytes("RGBa", picture.size, picture.tobytes()).convert("RGBA")
    elif mark == "NONE":
        picture.putalpha(255)
    sha256 = hashlib.sha256(data + mark.encode() * (mark != "STRAIGHT")).hexdigest()
    return picture, sha256, orientation_of(data)


def _working_space() -> np.ndarray | None:
    """The matrix from the linear colours of this .blend to sRGB's; None where they have the same primaries.

    A .blend says which they are since Blender 5.0.
    """
    space = getattr(getattr(bpy.data, "colorspace", None), "working_space_interop_id", "")
    primaries = {"lin_rec2020_scene": REC2020, "lin_ap1_scene": ACES_AP1}.get(space)
    return to_srgb_matrix(primaries).astype(np.float32) if primaries else None


def _encoded(pixels: np.ndarray, is_associated: bool, matrix: np.ndarray | None) -> np.ndarray:
    """Linear pixels (height, width, channels) as straight ones in sRGB; the last of two or four channels is alpha."""
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=1e4, neginf=0.0)
    has_alpha = pixels.shape[-1] in (2, 4)
    colour, alpha = (pixels[..., :-1], pixels[..., -1:]) if has_alpha else (pixels, pixels[..., :0])
    if has_alpha and is_associated:
        colour = np.where(alpha > 0, colour / np.maximum(alpha, 1e-6), 0.0)
    if matrix is not None and colour.shape[-1] == 3:
        colour = colour @ matrix.T
    colour = np.clip(colour, 0.0, 1.0)
    encoded = np.where(colour <= 0.0031308, colour * 12.92, 1.055 * colour ** (1 / 2.4) - 0.055)
    return np.concatenate([encoded, alpha], axis=-1)


def _from_pixels(pixels: np.ndarray) -> tuple[Picture, str, int]:
    """`pixels`: (height, width, channels) float, straight, in sRGB, the first row at the bottom."""
    from PIL import Image

    data = (np.clip(pixels[::-1], 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
    if data.shape[-1] == 1:
        picture = Image.fromarray(data[..., 0], "L")
    else:
        picture = Image.fromarray(data, {2: "LA", 3: "RGB"}.get(data.shape[-1], "RGBA"))
    return picture.convert("RGBA"), hashlib.sha256(data.tobytes()).hexdigest(), 1
