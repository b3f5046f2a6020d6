"""A picture ready for a task: its subject cut out, everything that would waste a job refused with a sentence."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from ..core.errors import ImageError
from ..core.messages import message
from .limits import MAX_PIXELS, MAX_SIDE
from .names import clean_name
from .reading.decoding import decode, decode_sized
from .reading.sources import read_image_bytes
from .subject import cut_off, drop_specks, edges_reached, extremes, subject_box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from .correction import Correction
    from .key import ColourKey
    from .marks import Marks

    Picture: TypeAlias = str | bytes | os.PathLike[str] | BinaryIO | Image | NDArray[Any]
    Subject: TypeAlias = Marks | Sequence[float] | NDArray[np.int8] | str

SMALL_SUBJECT = 256
_SMALLEST_SIDE = 8  # pixels, of a picture that shows anything
_NEXT_TO_NOTHING = 8  # of 255: the difference between the lightest and the darkest of a picture that shows nothing
STUDIO_NOTICE = message("The image has no transparency; its plain background was removed.")
WHOLE = "whole"  # as a mask: the picture as it is, background and all
LATER = "later"  # as a cutout: the service's mask model does it
LATER_NOTICE = message(
    "The image has no transparency and no plain background; the service's mask model cuts its subject out."
)

_NOT_CUT_OUT = message(
    "What was corrected of the frame and the outline is not used: the subject is cut out only where the asset is made."
)


@dataclass(frozen=True)
class PreparedImage:
    """A picture ready for a task.

    `rgba` is upright, 8 bits, at most 2048 pixels a side, with the subject cut out by its alpha.
    `cutout` says by whom: "alpha" (the picture's own), "studio" (a plain background was removed
    here), "key" (a colour was), "mask" (one that was given), "marked" (by marks of the subject) or "whole" (nothing is
    cut out, as asked for); or `LATER`: nobody has yet, `rgba` is opaque, and `problem` says why it cannot be
    done here. `sha256` is that of the file as it was given. `warnings` are sentences for the user. With `is_framed` the
    model is to look at all of the picture, and not at its subject's own square; `correction` is what was corrected, and
    `uncorrected` the picture before that.
    """

    name: str
    rgba: Image
    sha256: str
    cutout: str
    warnings: tuple[str, ...] = ()
    problem: str = ""
    is_framed: bool = False
    correction: Correction | None = None
    uncorrected: PreparedImage | None = None

    @property
    def for_model(self) -> Image:
        """`rgba`, which says itself what of it is to be looked at; see `frame`."""
        from .frame import marked

        return marked(self.rgba) if self.is_framed else self.rgba

    @property
    def was_chosen(self) -> bool:
        """Whether somebody has said how it is cut out, or corrected that."""
        return self.is_framed or self.correction is not None or self.cutout not in ("alpha", "studio", LATER)

    @property
    def comparable(self) -> Image:
        """`rgba` to be compared with other views: of one whose frame was chosen the subject alone, whose size says
        nothing then."""
        return self.rgba.crop(subject_box(self.rgba)) if self.is_framed else self.rgba

    def facts(self) -> dict[str, Any]:
        """How it was cut out, and what was corrected, for the provenance."""
        if self.correction is not None:
            return {"cutout": self.cutout, **self.correction.facts()}
        return {"cutout": self.cutout, **({"framed": True} if self.is_framed else {})}

    def png(self) -> bytes:
        buffer = io.BytesIO()
        self.for_model.save(buffer, "PNG", compress_level=3)
        return buffer.getvalue()

    def data_uri(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png()).decode("ascii")


def load_image(
    source: Picture,
    *,
    name: str = "",
    mask: Picture | None = None,
    subject: Subject | None = None,
    key: ColourKey | Sequence[float] | None = None,
    correction: Correction | None = None,
    allow_network: bool = True,
    allow_path: bool = True,
    may_leave: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> PreparedImage:
    """Read, check and prepare a picture.

    `source`: a path, bytes, text that is a URL, a data URI or Base64, an open file, an image of Pillow, or an array
    (see `held.held_bytes`); for an image of Blender see `scene.load_image`. `mask`: a second picture that says what the
    subject is, by its transparency where it has any and else by its brightness; or `WHOLE`, which cuts nothing out.
    `subject`: instead of a mask, what was marked of the subject, in pixels of the picture as it is seen, upright: a box
    (left, top, right, bottom) around all of it, or `Marks`, or strokes alone; it is cut out of a background of any
    kind, in a second or two. "whole" is the same as `WHOLE`. `key`: instead, a colour that is background wherever it
    is: red, green and blue from 0 to 1, or a `ColourKey`. `correction`: what is corrected of the outline, and of the
    square that the model looks at. `may_leave`: see `prepare`; `max_pixels`: see `decode`. Raises `ImageError` with a
    sentence when one of them cannot be used, `OfflineError` for a URL while the network is not allowed.
    """
    if isinstance(source, PreparedImage):
        raise ImageError("The image was prepared already; use it as it is, or give the picture that it is of.")
    data, found_name = read_image_bytes(source, allow_network=allow_network, allow_path=allow_path)
    if mask is not None and subject is not None:
        raise ImageError("A mask and a subject were both given; give one of them.")
    if key is not None and not (mask is None and subject is None):
        raise ImageError("A colour key was given together with a mask or a subject; give one of them.")
    is_whole = any(isinstance(given, str) and given.strip().lower() == WHOLE for given in (mask, subject))
    given: Image | str | None = WHOLE if is_whole else None
    if mask is not None and given is None:
        given = decode(
            read_image_bytes(mask, allow_network=allow_network, allow_path=allow_path, what="mask")[0], max_pixels
        )
    image, size = decode_sized(data, max_pixels)
    marks: Marks | None = None
    if subject is not None and not is_whole:
        from .marks import marks_of

        marks = marks_of(subject).scaled(image.width / size[0], image.height / size[1])
    sha256 = hashlib.sha256(data).hexdigest()
    name = str(name or found_name)
    if key is not None:
        from .key import key_of

        key = key_of(key)
    found = prepare(image, name=name, sha256=sha256, mask=given, marks=marks, key=key, may_leave=may_leave)
    if correction is None:
        return found
    return corrected(found, correction)


def prepare(
    image: Image,
    *,
    name: str = "image",
    sha256: str = "",
    mask: Image | str | None = None,
    marks: Marks | None = None,
    key: ColourKey | None = None,
    may_leave: bool = False,
) -> PreparedImage:
    """Cut the subject out, check that there is one, and reduce what is larger than the model can use.

    `mask`: RGBA, of the picture's proportions, in place of its own alpha; or `WHOLE`. `marks`: what was marked of
    the subject, in the picture's pixels; `key`: the background's colour. `may_leave`: an opaque picture without a plain
    background is left to the service (`LATER`), not refused.
    """
    from .frame import unmarked

    image, is_framed = unmarked(image)
    is_framed = is_framed and mask is None and marks is None and key is None
    try:
        image, cutout, warnings = _cut_out(image, mask, marks, key)
    except ImageError as error:
        is_for_us = any(given is not None for given in (mask, marks, key)) or extremes(image.getchannel("A"))[0] < 255
        if not may_leave or is_for_us or _is_empty(image):
            raise
        return PreparedImage(clean_name(name), _reduce(image), sha256, LATER, (LATER_NOTICE,), error.message)
    box = (0, 0, *image.size)
    if cutout != "whole":
        image, box, specks = drop_specks(image)
        if specks:
            warnings.append(_left_out(specks))
    if cutout != "whole" and (sides := edges_reached(image)):
        warnings.append(cut_off(sides))
    if max(image.size) > MAX_SIDE:
        # Cut to the subject first, so that a small subject in a large picture keeps its pixels.
        image = _reduce(image if is_framed else image.crop(box))
        box = subject_box(image)
    width, height = box[2] - box[0], box[3] - box[1]
    if max(width, height) < SMALL_SUBJECT:
        warnings.append(
            message(
                "The subject is only {width} x {height} pixels; a larger picture gives a better asset.",
                width=width,
                height=height,
            )
        )
    if cutout == "whole":
        _mark_as_cut_out(image)
    return PreparedImage(clean_name(name), image, sha256, cutout, tuple(warnings), is_framed=is_framed)


def corrected(picture: PreparedImage, correction: Correction) -> PreparedImage:
    """The picture as it was corrected; one that is not cut out yet stays, with a warning.

    Raises `ImageError` where nothing of the subject is left.
    """
    from .correcting import framed, grown
    from .correction import Correction
    from .frame import SUBJECT

    if not isinstance(correction, Correction):
        raise ImageError("correction: give a trellis_addon.images.Correction, such as Correction(margin=0.1).")
    if not correction:
        return picture
    if picture.cutout == LATER:
        return replace(picture, warnings=(*picture.warnings, _NOT_CUT_OUT))
    rgba = picture.rgba
    if correction.grow and picture.cutout != WHOLE:
        rgba = grown(rgba, correction.grow, is_original=picture.cutout == "mask")
    is_framed = picture.is_framed
    if correction.has_frame:
        rgba, is_framed = framed(rgba, correction), True
    if not extremes(rgba.getchannel("A"))[1] > SUBJECT:
        raise ImageError("Of the subject nothing is left after the correction; reset it, or correct less.")
    return replace(picture, rgba=rgba, is_framed=is_framed, correction=correction, uncorrected=picture)


def _cut_out(
    image: Image, mask: Image | str | None, marks: Marks | None, key: ColourKey | None
) -> tuple[Image, str, list[str]]:
    """The picture with its alpha as it will be used, whose alpha that is, and what to tell the user."""
    from .cutout import apply_mask, remove_studio_background
    from .marks import cut_out_marked

    if isinstance(mask, str):
        image = _reduce(image.copy())
        image.putalpha(255)
        return image, "whole", []
    if marks is not None:
        return cut_out_marked(image, marks), "marked", []
    if key is not None:
        from .keying import remove_colour

        return remove_colour(_reduce(image), key), "key", []
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


def _is_empty(image: Image) -> bool:
    """Whether there is nothing to be seen in an opaque picture, which no model could cut anything out of."""
    if min(image.size) < _SMALLEST_SIDE:
        return True
    small = image.convert("RGB")
    small.thumbnail((64, 64))
    return all(high - low < _NEXT_TO_NOTHING for low, high in _ranges(small))


def _ranges(image: Image) -> list[tuple[float, float]]:
    return [extremes(channel) for channel in image.split()]


def _left_out(specks: int) -> str:
    if specks == 1:
        return message("Far from the subject there was a stray speck of a few pixels; it is left out.")
    return message(
        "Far from the subject there were {specks} stray specks of a few pixels; they are left out.", specks=specks
    )


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
