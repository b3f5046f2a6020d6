"""What is known of a picture before it is used: how it is cut out, what the model gets of it, what to warn of.

Looking takes up to a second, so it is done once per picture and choice, in a thread, and the panel
shows what is known by then. Only generating itself decides; a stale look does no harm.
"""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np

from ..core.errors import TrellisError
from ..core.messages import message
from ..images import LATER, STUDIO_NOTICE

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from ..images import PreparedImage

SIDE = 384  # of the preview, in pixels
_SEEN = 1024  # pixels a side, of which the model gets no more
_REMEMBERED = 64
_CUT_OUT = 2  # pictures whose cutout is kept for the corrections of it that follow
_SOON = 0.1  # seconds after which a value that is being dragged is looked at
_SQUARES = ((70, 70, 70, 255), (96, 96, 96, 255))  # of the chequered ground that transparency is shown by
_FRAME = ("margin", "right", "up")  # what is corrected of the square, and not of the outline

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Look:
    """`cutout` as in `PreparedImage`, `subject` its size in pixels, `warnings` and `error` sentences.

    `is_for_model`: the error is that the subject cannot be told here, which Remote and a mask model can.
    `preview`: the square that the model looks at, as SIDE x SIDE pixels of RGBA, 8 bits, the first row at the bottom,
    on chequered ground; empty with an error. `picture`: the same of the picture as it is, where nothing could be cut
    out. `small`: what will be used, in the picture's own frame, to be compared with other views. `square`: what lies in
    the square the model looks at, `share` its side in heights of the subject, and `gets` how many pixels a side it
    gets.
    """

    cutout: str = ""
    subject: tuple[int, int] = (0, 0)
    warnings: tuple[str, ...] = ()
    error: str = ""
    preview: bytes = b""
    is_for_model: bool = False
    picture: bytes = b""
    small: Picture | None = None
    square: Picture | None = None
    share: float = 1.0
    gets: int = 0

    def pixels_among(self, widest: float) -> int:
        """How many pixels a side the model gets among views of which one needs a square of `widest` heights."""
        return min(round(self.gets * max(widest / self.share, 1.0)), _SEEN)


@dataclass
class _Looks:
    known: dict[Key, Look] = field(default_factory=dict)
    latest: dict[int, Look] = field(default_factory=dict)  # by the image's session_uid
    under_way: dict[Key, object] = field(default_factory=dict)  # each with what tells the newest look
    cut_out: dict[Key, PreparedImage] = field(default_factory=dict)  # before it was corrected, by `_cutout_key`
    lock: threading.Lock = field(default_factory=threading.Lock)  # of those
    soon: set[int] = field(default_factory=set)  # those whose values are being dragged


_looks = _Looks()


def key_of(image: bpy.types.Image) -> Key:
    """What tells one state of a picture and its choices from another, without loading a pixel."""
    choice = image.trellis2
    return (*_cutout_key(image), choice.grow, choice.margin, choice.right, choice.up)


def _cutout_key(image: bpy.types.Image) -> Key:
    """The same of how it is cut out, before that is corrected."""
    choice = image.trellis2
    stamp: Key = ()
    if choice.cutout == "MASK" and choice.mask is not None:
        stamp = (choice.mask.session_uid, choice.mask.is_dirty)
    elif choice.cutout == "MARKED":
        stamp = (*choice.subject, choice.strokes)
    elif choice.cutout == "KEY":
        stamp = (choice.key_auto, *choice.key_colour, choice.key_tolerance)
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
    _begin(image, _loader(image))


def look_soon(image: bpy.types.Image) -> None:
    """The same a moment later, once, of a value that is being dragged; the cutout itself is not made again."""
    uid = image.session_uid
    if uid in _looks.soon:
        return
    _looks.soon.add(uid)
    bpy.app.timers.register(lambda: _look_now(uid), first_interval=_SOON)


def _look_now(uid: int) -> float | None:
    image = next((each for each in bpy.data.images if each.session_uid == uid), None)
    if image is not None and any(key[0] == uid for key in _looks.under_way):
        return _SOON
    _looks.soon.discard(uid)
    if image is not None and known(image) is None:
        _begin(image, _loader(image, may_be_kept=True))
    return None


def _begin(image: bpy.types.Image, load: Callable[[], PreparedImage]) -> None:
    from . import pump

    key, as_it_is, newest = key_of(image), _opaque_loader(image), object()
    _looks.under_way[key] = newest

    def work() -> Callable[[], None]:
        found = Look(error=message("The picture cannot be looked at; the console has the details."))
        try:
            found = _with_picture(_look(load), as_it_is)
        finally:
            # whatever went wrong, the panel must not wait for ever
            pump.later(lambda: _done(key, newest, found))
        if not bpy.app.background:
            # what Generate needs of the library, a quarter of a second of loading that nobody waits for here
            importlib.import_module(f"{__package__.rpartition('.')[0]}.api")
        return lambda: None

    pump.in_thread(work)


def forget() -> None:
    """For unregistering."""
    _looks.known.clear()
    _looks.latest.clear()
    _looks.under_way.clear()
    _looks.cut_out.clear()
    _looks.soon.clear()


def _done(key: Key, newest: object, found: Look) -> None:
    """The picture may have been painted on since: of two looks under way the later one counts."""
    if _looks.under_way.get(key) is newest:
        del _looks.under_way[key]
        _remember(key, found)


def _remember(key: Key, found: Look) -> Look:
    _put(_looks.known, key, found)
    _put(_looks.latest, key[0], found)
    return found


def _put(looks: dict[Any, Any], key: object, found: object, most: int = _REMEMBERED) -> None:
    looks.pop(key, None)
    while len(looks) >= most:
        looks.pop(next(iter(looks)))
    looks[key] = found


def loader_of(
    image: bpy.types.Image, *, may_leave: bool = False, in_frame: bool = False, may_be_kept: bool = False
) -> Callable[[], PreparedImage]:
    """The datablock's loader with the cutout that is chosen for it, and what was corrected; see `datablock_loader`.

    `in_frame`: the whole frame of the datablock, as it is stored: only the outline is corrected. `may_be_kept`: what
    was cut out the last time will do.
    """
    from ..images.correction import Correction
    from ..images.preparing import corrected

    choice, key = image.trellis2, _cutout_key(image)
    shares = {name: getattr(choice, name) / 100.0 for name in ("grow", *(() if in_frame else _FRAME))}
    correction = Correction(**{name: round(value, 6) for name, value in shares.items()})
    kept = _looks.cut_out.get(key) if may_be_kept else None
    cut_out = (lambda: kept) if kept is not None else _cut_out_loader(image, may_leave, in_frame)

    def load() -> PreparedImage:
        found = cut_out()
        if not in_frame:
            with _looks.lock:
                _put(_looks.cut_out, key, found, _CUT_OUT)
        made = corrected(found, correction)
        if not in_frame or made.rgba.size == found.rgba.size:
            return made
        # an outline that grows beyond the frame is cut off by it
        left, top = ((more - less) // 2 for more, less in zip(made.rgba.size, found.rgba.size, strict=True))
        return replace(made, rgba=made.rgba.crop((left, top, left + found.rgba.width, top + found.rgba.height)))

    return load


def _cut_out_loader(image: bpy.types.Image, may_leave: bool, in_frame: bool) -> Callable[[], PreparedImage]:
    from ..core.errors import ImageError
    from ..images.key import ColourKey
    from .images import datablock_loader
    from .marking import marks_of

    choice = image.trellis2
    if choice.cutout == "MASK" and choice.mask is None:
        raise ImageError("There is no mask: choose an image as the mask, or another cutout.")
    options: dict[str, Any] = {"may_leave": may_leave, "upright": not in_frame}
    if choice.cutout == "MASK":
        options["mask"] = choice.mask
    elif choice.cutout == "MARKED":
        options["marks"] = marks_of(image)
    elif choice.cutout == "KEY":
        colour = None if choice.key_auto else tuple(choice.key_colour)
        options["key"] = ColourKey(colour, choice.key_tolerance)
    elif choice.cutout in ("ALPHA", "STUDIO"):
        options["only"] = choice.cutout.lower()
    return datablock_loader(image, whole=choice.cutout == "WHOLE", **options)


def _loader(image: bpy.types.Image, *, may_be_kept: bool = False) -> Callable[[], PreparedImage]:
    """As `loader_of`, with what is wrong told when it is called."""
    try:
        return loader_of(image, may_leave=True, may_be_kept=may_be_kept)
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
    from ..images.frame import subject_height, subject_square

    try:
        picture = load()
        if picture.cutout == LATER:
            shown = _on_squares(picture.rgba)
            return Look(error=picture.problem, is_for_model=True, picture=shown, warnings=picture.warnings[1:])
        alpha = np.asarray(picture.for_model.getchannel("A"))
        box = subject_square(alpha)
    except TrellisError as error:
        return Look(error=error.message)
    left, top, right, bottom = subject_box(picture.rgba)
    # the panel says so by itself, beside the preview
    warnings = tuple(warning for warning in picture.warnings if warning != STUDIO_NOTICE)
    side = box[2] - box[0]
    square = _reduced(picture.rgba.crop((round(box[0]), round(box[1]), round(box[2]), round(box[3]))))
    small = picture.comparable.copy()
    small.thumbnail((SIDE, SIDE))
    return Look(
        picture.cutout,
        (right - left, bottom - top),
        warnings,
        preview=_on_squares(square),
        small=small,
        square=square,
        share=side / subject_height(alpha),
        gets=min(round(side), _SEEN),
    )


def pixels_of(found: Look, *, widest: float = 0.0, on_black: bool = False) -> bytes:
    """The preview as it is to be shown: among views of which one needs a square of `widest` times its subject's height,
    all get such a one; `on_black`: exactly what the model gets."""
    if found.square is None:
        return found.preview or found.picture
    from PIL import Image

    square, more = found.square, max(widest / found.share, 1.0)
    if more > 1.0 + 1e-3:
        side = round(square.width * more)
        wide = Image.new("RGBA", (side, side))
        wide.paste(square, ((side - square.width) // 2, (side - square.height) // 2))
        square = wide
    elif not on_black:
        return found.preview
    return _on_squares(square, ((0, 0, 0, 255),) * 2 if on_black else _SQUARES)


def _reduced(square: Picture) -> Picture:
    from PIL import Image

    if max(square.size) <= SIDE:
        return square
    return square.resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _with_picture(found: Look, load: Callable[[], PreparedImage] | None) -> Look:
    """Something to see where the subject that was marked cannot be cut out."""
    if load is None or found.preview or found.picture:
        return found
    try:
        return replace(found, picture=_on_squares(load().rgba))
    except TrellisError:
        return found


def _on_squares(picture: Picture, colours: tuple[tuple[int, ...], ...] = _SQUARES) -> bytes:
    """The picture, fitted into a chequered square."""
    from PIL import Image

    scale = SIDE / max(picture.size)
    small = picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))),
        Image.Resampling.LANCZOS if scale < 1.0 else Image.Resampling.BICUBIC,
        reducing_gap=3.0,
    )
    ground = _ground(colours).copy()
    ground.alpha_composite(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    return ground.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes()


@functools.lru_cache(maxsize=2)
def _ground(colours: tuple[tuple[int, ...], ...]) -> Picture:
    """Squares of the two colours by turns."""
    from PIL import Image

    step = SIDE // 16
    y, x = np.indices((SIDE, SIDE)) // step
    return Image.fromarray(np.array(colours, np.uint8)[(x + y) % 2], "RGBA")
