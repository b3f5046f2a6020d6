"""A picture ready for a task: its subject cut out, everything that would waste a job refused with a sentence."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.errors import ImageError
from .decode import MAX_PIXELS, MAX_SIDE, decode
from .names import clean_name
from .sources import read_image_bytes
from .subject import cut_off, drop_specks, edges_reached, extremes, subject_box

if TYPE_CHECKING:
    from PIL.Image import Image

SMALL_SUBJECT = 256
STUDIO_NOTICE = "The image has no transparency; its plain background was removed."
WHOLE = "whole"  # as a mask: the picture as it is, background and all
LATER = "later"  # as a cutout: the service's mask model does it
LATER_NOTICE = "The image has no transparency and no plain background; the service's mask model cuts its subject out."


@dataclass(frozen=True)
class PreparedImage:
    """A picture ready for a task.

    `rgba` is upright, 8 bits, at most 2048 pixels a side, with the subject cut out by its alpha.
    `cutout` says by whom: "alpha" (the picture's own), "studio" (a plain background was removed
    here), "mask" (one that was given) or "whole" (nothing is cut out, as asked for); or `LATER`: nobody
    has yet, `rgba` is opaque, and `problem` says why it cannot be done here. `sha256` is that of the file
    as it was given. `warnings` are sentences for the user.
    """

    name: str
    rgba: Image
    sha256: str
    cutout: str
    warnings: tuple[str, ...] = ()
    problem: str = ""

    def png(self) -> bytes:
        buffer = io.BytesIO()
        self.rgba.save(buffer, "PNG", compress_level=3)
        return buffer.getvalue()

    def data_uri(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png()).decode("ascii")


def load_image(
    source: str | bytes | os.PathLike[str],
    *,
    name: str = "",
    mask: str | bytes | os.PathLike[str] | None = None,
    allow_network: bool = True,
    allow_path: bool = True,
    may_leave: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> PreparedImage:
    """Read, check and prepare a picture.

    `source`: a path, bytes, or text that is a URL, a data URI or Base64. `mask`: a second picture
    that says what the subject is, by its transparency where it has any and else by its brightness;
    or `WHOLE`, which cuts nothing out. `may_leave`: see `prepare`; `max_pixels`: see `decode`. Raises `ImageError`
    with a sentence when one of them cannot be used, `OfflineError` for a URL while the network is not allowed.
    """
    data, found_name = read_image_bytes(source, allow_network=allow_network, allow_path=allow_path)
    given: Image | str | None = WHOLE if mask == WHOLE else None
    if mask is not None and given is None:
        given = decode(read_image_bytes(mask, allow_network=allow_network, allow_path=allow_path)[0], max_pixels)
    sha256 = hashlib.sha256(data).hexdigest()
    return prepare(decode(data, max_pixels), name=name or found_name, sha256=sha256, mask=given, may_leave=may_leave)


def prepare(
    image: Image,
    *,
    name: str = "image",
    sha256: str = "",
    mask: Image | str | None = None,
    may_leave: bool = False,
) -> PreparedImage:
    """Cut the subject out, check that there is one, and reduce what is larger than the model can use.

    `mask`: RGBA, of the picture's proportions, in place of its own alpha; or `WHOLE`. `may_leave`: an
    opaque picture without a plain background is left to the service (`LATER`), not refused.
    """
    try:
        image, cutout, warnings = _cut_out(image, mask)
    except ImageError as error:
        is_opaque = mask is None and extremes(image.getchannel("A"))[0] == 255
        if not (may_leave and is_opaque):
            raise
        return PreparedImage(clean_name(name), _reduce(image), sha256, LATER, (LATER_NOTICE,), str(error))
    if cutout != "whole":
        image, specks = drop_specks(image)
        if specks:
            warnings.append(_left_out(specks))
    box = subject_box(image)
    if cutout != "whole" and (sides := edges_reached(image)):
        warnings.append(cut_off(sides))
    if max(image.size) > MAX_SIDE:
        # Cut to the subject first, so that a small subject in a large picture keeps its pixels.
        image = _reduce(image.crop(box))
        box = subject_box(image)
    width, height = box[2] - box[0], box[3] - box[1]
    if max(width, height) < SMALL_SUBJECT:
        warnings.append(f"The subject is only {width} x {height} pixels; a larger picture gives a better asset.")
    if cutout == "whole":
        _mark_as_cut_out(image)
    return PreparedImage(name=clean_name(name), rgba=image, sha256=sha256, cutout=cutout, warnings=tuple(warnings))


def _cut_out(image: Image, mask: Image | str | None) -> tuple[Image, str, list[str]]:
    """The picture with its alpha as it will be used, whose alpha that is, and what to tell the user."""
    from .cutout import apply_mask, remove_studio_background

    if isinstance(mask, str):
        image = _reduce(image.copy())
        image.putalpha(255)
        return image, "whole", []
    if mask is not None:
        image = apply_mask(image, mask)
        # a mask that lets everything through cuts nothing out
        return image, "whole" if extremes(image.getchannel("A"))[0] == 255 else "mask", []
    low, high = extremes(image.getchannel("A"))
    if high == 0:
        raise ImageError("The image is fully transparent: there is nothing to make an asset of.")
    if low < 255:
        return image, "alpha", []
    image = remove_studio_background(_reduce(image))
    return image, "studio", [STUDIO_NOTICE]


def _left_out(specks: int) -> str:
    if specks == 1:
        return "Far from the subject there was a stray speck of a few pixels; it is left out."
    return f"Far from the subject there were {specks} stray specks of a few pixels; they are left out."


def _mark_as_cut_out(image: Image) -> None:
    """Make one corner all but opaque: alpha of 255 throughout is read as "cut it out", here and elsewhere."""
    image.putpixel((0, 0), (*image.getpixel((0, 0))[:3], 254))  # type: ignore[index]


def _reduce(image: Image) -> Image:
    scale = MAX_SIDE / max(image.size)
    if scale >= 1:
        return image
    from PIL import Image as PILImage

    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # Pillow weighs colours by alpha while resampling RGBA, so that no dark fringe appears
    return image.resize(size, PILImage.Resampling.LANCZOS, reducing_gap=3.0)
