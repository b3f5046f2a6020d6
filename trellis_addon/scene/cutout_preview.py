"""What is known of a picture before it is used: how it is cut out, what to warn of, and a small preview of it.

Looking takes up to a second, so it is done once per picture and choice, in a thread, and the panel
shows what is known by then. Only generating itself decides; a stale look does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import bpy

from ..core.errors import TrellisError
from ..core.messages import message
from ..images import LATER, STUDIO_NOTICE, WHOLE

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from ..images import PreparedImage

SIDE = 384  # of the preview, in pixels
_MARGIN = 0.04  # around the subject, of its longer side
_REMEMBERED = 64
_SQUARES = ((70, 70, 70, 255), (96, 96, 96, 255))  # of the chequered ground that transparency is shown by

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Look:
    """`cutout` as in `PreparedImage`, `subject` its size in pixels, `warnings` and `error` sentences.

    `is_for_model`: the error is that the subject cannot be told here, which Remote and a mask model can.
    `preview`: what will be used, fitted to the subject, as SIDE x SIDE pixels of RGBA, 8 bits, the first row at the
    bottom; empty with an error. `picture`: the same of the picture as it is, where nothing could be cut out. `small`:
    what will be used, in the picture's own frame, to be compared with other views.
    """

    cutout: str = ""
    subject: tuple[int, int] = (0, 0)
    warnings: tuple[str, ...] = ()
    error: str = ""
    preview: bytes = b""
    is_for_model: bool = False
    picture: bytes = b""
    small: Picture | None = None


@dataclass
class _Looks:
    known: dict[Key, Look] = field(default_factory=dict)
    latest: dict[int, Look] = field(default_factory=dict)  # by the image's session_uid
    under_way: dict[Key, object] = field(default_factory=dict)  # each with what tells the newest look


_looks = _Looks()


def key_of(image: bpy.types.Image) -> Key:
    """What tells one state of a picture and its choices from another, without loading a pixel."""
    choice = image.trellis2
    stamp: Key = ()
    if choice.cutout == "MASK" and choice.mask is not None:
        stamp = (choice.mask.session_uid, choice.mask.is_dirty)
    elif choice.cutout == "MARKED":
        stamp = (*choice.subject, choice.strokes)
    return (image.session_uid, image.is_dirty, image.filepath, image.alpha_mode, choice.cutout, stamp)


def known(image: bpy.types.Image) -> Look | None:
    """What was found the last time; None where nobody has looked."""
    return _looks.known.get(key_of(image))


def latest(image: bpy.types.Image) -> Look | None:
    """What was found the last time whatever was chosen: to be shown until there is something newer."""
    return _looks.latest.get(image.session_uid)


def is_under_way(image: bpy.types.Image) -> bool:
    return key_of(image) in _looks.under_way


def look(image: bpy.types.Image) -> Look:
    """Look at it now: for scripts, which can wait."""
    return _remember(key_of(image), _with_picture(_look(_loader(image)), _opaque_loader(image)))


def look_later(image: bpy.types.Image) -> None:
    """Look at it in a thread; the panel shows what was found. Main thread only."""
    from . import queue

    key, load, as_it_is, newest = key_of(image), _loader(image), _opaque_loader(image), object()
    _looks.under_way[key] = newest

    def work() -> Callable[[], None]:
        found = Look(error=message("The picture cannot be looked at; the console has the details."))
        try:
            found = _with_picture(_look(load), as_it_is)
        finally:
            # whatever went wrong, the panel must not wait for ever
            queue.later(lambda: _done(key, newest, found))
        return lambda: None

    queue.in_thread(work)


def forget() -> None:
    """For unregistering."""
    _looks.known.clear()
    _looks.latest.clear()
    _looks.under_way.clear()


def _done(key: Key, newest: object, found: Look) -> None:
    """The picture may have been painted on since: of two looks under way the later one counts."""
    if _looks.under_way.get(key) is newest:
        del _looks.under_way[key]
        _remember(key, found)


def _remember(key: Key, found: Look) -> Look:
    _put(_looks.known, key, found)
    _put(_looks.latest, key[0], found)
    return found


def _put(looks: dict[Any, Look], key: object, found: Look) -> None:
    looks.pop(key, None)
    while len(looks) >= _REMEMBERED:
        looks.pop(next(iter(looks)))
    looks[key] = found


def loader_of(image: bpy.types.Image, *, may_leave: bool = False) -> Callable[[], PreparedImage]:
    """The datablock's loader with the cutout that is chosen for it; see `datablock_loader`."""
    from ..core.errors import ImageError
    from .images import datablock_loader
    from .marking import marks_of

    choice = image.trellis2
    if choice.cutout == "MASK" and choice.mask is None:
        raise ImageError("There is no mask: choose an image as the mask, or another cutout.")
    mask = choice.mask if choice.cutout == "MASK" else None
    marks = marks_of(image) if choice.cutout == "MARKED" else None
    return datablock_loader(image, mask=mask, marks=marks, whole=choice.cutout == "WHOLE", may_leave=may_leave)


def _loader(image: bpy.types.Image) -> Callable[[], PreparedImage]:
    """As `loader_of`, with what is wrong told when it is called."""
    try:
        return loader_of(image, may_leave=True)
    except TrellisError as error:
        problem = error

        def fail() -> PreparedImage:
            raise problem

        return fail


def _opaque_loader(image: bpy.types.Image) -> Callable[[], PreparedImage] | None:
    """What loads the picture as it is, where it is cut out by marks: to be shown where that fails."""
    from .images import datablock_loader

    try:
        return datablock_loader(image, whole=True) if image.trellis2.cutout == "MARKED" else None
    except TrellisError:
        return None


def _look(load: Callable[[], PreparedImage]) -> Look:
    from ..images import subject_box

    try:
        picture = load()
    except TrellisError as error:
        return Look(error=error.message)
    if picture.cutout == LATER:
        return Look(error=picture.problem, is_for_model=True, picture=_on_squares(picture.rgba))
    box = subject_box(picture.rgba)
    left, top, right, bottom = box
    # the panel says so by itself, beside the preview
    warnings = tuple(warning for warning in picture.warnings if warning != STUDIO_NOTICE)
    shown = picture.rgba if picture.cutout == WHOLE else picture.rgba.crop(_with_margin(box, picture.rgba.size))
    small = picture.rgba.copy()
    small.thumbnail((SIDE, SIDE))
    return Look(picture.cutout, (right - left, bottom - top), warnings, "", _on_squares(shown), small=small)


def _with_picture(found: Look, load: Callable[[], PreparedImage] | None) -> Look:
    """Something to see where the subject that was marked cannot be cut out."""
    if load is None or found.preview or found.picture:
        return found
    try:
        return replace(found, picture=_on_squares(load().rgba))
    except TrellisError:
        return found


def _with_margin(box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = box
    margin = round(_MARGIN * max(right - left, bottom - top))
    return max(left - margin, 0), max(top - margin, 0), min(right + margin, size[0]), min(bottom + margin, size[1])


def _on_squares(picture: Picture) -> bytes:
    """The picture, fitted into a chequered square."""
    from PIL import Image

    step = SIDE // 16
    scale = SIDE / max(picture.size)
    small = picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))),
        Image.Resampling.LANCZOS if scale < 1.0 else Image.Resampling.BICUBIC,
        reducing_gap=3.0,
    )
    ground = Image.new("RGBA", (SIDE, SIDE), _SQUARES[0])
    for y in range(0, SIDE, step):
        for x in range((y // step % 2) * step, SIDE, 2 * step):
            ground.paste(_SQUARES[1], (x, y, x + step, y + step))
    ground.alpha_composite(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    return ground.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes()
