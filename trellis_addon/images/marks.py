"""A subject that was marked in a picture, by a box or by strokes, cut out of a background of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.errors import ImageError
from .limits import MAX_SIDE
from .pixels import Floats, Mask, grown, parts, to_lab

if TYPE_CHECKING:
    from PIL.Image import Image

Box = tuple[float, float, float, float]

_SIDE = 320  # pixels of the picture in which the subject is looked for; its outline is found in all of them
_AROUND = 0.3  # of the box, on each side: what is looked at of the background
_LOOSE = 0.2  # of the box: boxes are drawn with room, so that near their edges is rather the background
_LEANING = 2.0  # by so much, as a logarithm
_SMALLEST = 0.002  # of what is marked: less is no subject
_LEAST_PART = 0.03  # of the largest part: what else belongs to the subject
_LEAST_BOX = 8  # pixels


@dataclass(frozen=True)
class Marks:
    """What was marked, in pixels of the picture as it is seen: upright, the first row at the top.

    `box` is (left, top, right, bottom), around the whole subject. `strokes` is an array (height, width) of the
    picture's proportions, of any size: above 0 on the subject, below 0 on the background, 0 where nothing was painted.
    With both, strokes correct what the box alone gives.
    """

    box: Box | None = None
    strokes: NDArray[np.int8] | None = None

    def scaled(self, x: float, y: float) -> Marks:
        """The same for a picture of another size."""
        if self.box is None:
            return self
        left, top, right, bottom = self.box
        return Marks((left * x, top * y, right * x, bottom * y), self.strokes)


def marks_of(subject: Marks | Sequence[float] | NDArray[np.int8] | str) -> Marks:
    """What a caller gave: `Marks`, four numbers of a box, or an array of strokes. Raises `ImageError`."""
    if isinstance(subject, Marks):
        return subject
    if isinstance(subject, np.ndarray) and subject.ndim == 2:
        return Marks(strokes=subject.astype(np.int8))
    try:
        left, top, right, bottom = (float(value) for value in subject)
        if not np.isfinite((left, top, right, bottom)).all():
            raise ValueError
    except (TypeError, ValueError):
        shown = " ".join(str(subject).split())[:60]
        raise ImageError(
            'subject: "{box}" is no box; give left, top, right and bottom in pixels, or "whole".', box=shown
        ) from None
    return Marks((left, top, right, bottom))


def cut_out_marked(image: Image, marks: Marks) -> Image:
    """The RGBA picture with all but the marked subject made transparent, at most 2048 pixels a side.

    A larger one is cut to the surroundings of the box first. Takes a second or two. Raises `ImageError` for marks
    outside of the picture, and where no subject can be told from its background.
    """
    from PIL import Image as PILImage

    from .matting import matte

    box, view = _places(image.size, marks.box)
    if max(image.size) > MAX_SIDE:
        marks, image = _cropped(marks, image, view)
        scale = min(1.0, MAX_SIDE / max(image.size))
        box = _shifted(box, view, scale)
        image = image.resize(_times(image.size, scale), PILImage.Resampling.LANCZOS, reducing_gap=3.0)
        view = (0, 0, *image.size)
    part = image.crop(view)
    rgb = np.asarray(part.convert("RGB"), np.float32) / 255
    own = np.asarray(part.getchannel("A"), np.float32) / 255
    scale = min(1.0, _SIDE / max(part.size))
    share = _found(part, own, _shifted(box, view, scale), _strokes_in(marks.strokes, image.size, view), scale)
    alpha, colours = matte(rgb, share)
    pixels = np.concatenate([colours, np.minimum(alpha, own)[..., None]], axis=-1)
    whole = PILImage.new("RGBA", image.size)
    whole.paste(PILImage.fromarray((pixels * 255 + 0.5).astype(np.uint8), "RGBA"), view[:2])
    return whole


def _places(size: tuple[int, int], box: Box | None) -> tuple[Box, tuple[int, int, int, int]]:
    """The box within the picture, and what of the picture is looked at: the box with its surroundings."""
    width, height = size
    if box is None:
        return (0, 0, width, height), (0, 0, width, height)
    left, right = sorted((min(max(box[0], 0), width), min(max(box[2], 0), width)))
    top, bottom = sorted((min(max(box[1], 0), height), min(max(box[3], 0), height)))
    if right - left < _LEAST_BOX or bottom - top < _LEAST_BOX:
        shown = ", ".join(f"{value:g}" for value in box)
        raise ImageError(
            "subject: the box {box} holds next to nothing of the image, which is {width} x {height} pixels; "
            "give its left, top, right and bottom in pixels.",
            box=shown,
            width=width,
            height=height,
        )
    across, down = _AROUND * (right - left), _AROUND * (bottom - top)
    view = (
        max(int(left - across), 0),
        max(int(top - down), 0),
        min(int(right + across) + 1, width),
        min(int(bottom + down) + 1, height),
    )
    return (left, top, right, bottom), view


def _shifted(box: Box, view: tuple[int, int, int, int], scale: float) -> Box:
    """The box in the pixels of that view, reduced by that scale."""
    left, top, right, bottom = box
    return ((left - view[0]) * scale, (top - view[1]) * scale, (right - view[0]) * scale, (bottom - view[1]) * scale)


def _times(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _cropped(marks: Marks, image: Image, view: tuple[int, int, int, int]) -> tuple[Marks, Image]:
    strokes = _strokes_in(marks.strokes, image.size, view)
    return Marks(marks.box, strokes), image.crop(view)


def _strokes_in(
    strokes: NDArray[np.int8] | None, size: tuple[int, int], view: tuple[int, int, int, int]
) -> NDArray[np.int8] | None:
    """The strokes over that view of a picture of that size."""
    if strokes is None or not np.any(strokes):
        return None
    height, width = strokes.shape
    if abs(size[0] / size[1] * height - width) > 1 + 0.01 * width:
        raise ImageError(
            "The strokes are {width} x {height} pixels and the image {image_width} x {image_height}; give strokes "
            "of the same proportions.",
            width=width,
            height=height,
            image_width=size[0],
            image_height=size[1],
        )
    across, down = width / size[0], height / size[1]
    left, right = int(view[0] * across), max(int(np.ceil(view[2] * across)), int(view[0] * across) + 1)
    top, bottom = int(view[1] * down), max(int(np.ceil(view[3] * down)), int(view[1] * down) + 1)
    return strokes[top:bottom, left:right]


def _found(part: Image, own: Floats, box: Box, strokes: NDArray[np.int8] | None, scale: float) -> Floats:
    """The subject's share in each pixel of the reduced part. Raises `ImageError` where there is none."""
    from PIL import Image as PILImage

    from .segmentation import segment

    size = (max(_LEAST_BOX, round(part.width * scale)), max(_LEAST_BOX, round(part.height * scale)))
    small = np.asarray(part.convert("RGB").resize(size, PILImage.Resampling.BOX), np.float32) / 255
    clear = np.asarray(PILImage.fromarray(own).resize(size, PILImage.Resampling.BOX)) < 0.1
    near = _nearness(size, box)
    inside, outside, painted = np.zeros_like(clear), clear | (near < 0), None
    if strokes is not None:
        # of a thin stroke something must be left
        inside, painted = (
            np.asarray(PILImage.fromarray(side.astype(np.float32)).resize(size, PILImage.Resampling.BOX)) > 0.1
            for side in (strokes > 0, strokes < 0)
        )
        outside = (outside | painted) & ~inside
    if outside.mean() < 0.02:  # the whole picture: then its edge is what is known of the background
        rim = max(1, min(size) // 50)
        edge = np.ones_like(outside)
        edge[rim:-rim, rim:-rim] = False
        outside |= edge & ~grown(inside, rim)
    if not outside.any():
        raise _nothing()
    leaning = (_LEANING * np.clip(1.0 - near / _LOOSE, 0.0, 1.0)).astype(np.float32)
    share = _whole_parts(segment(to_lab(small), inside, outside, leaning, painted), inside)
    if (share > 0.5).sum() < max(_SMALLEST * (~outside).sum(), 4):
        raise _nothing()
    return share


def _nothing() -> ImageError:
    return ImageError(
        "No subject can be told from the background in what was marked; mark all of it and a little more, "
        "paint a mask, or take the image whole."
    )


def _nearness(size: tuple[int, int], box: Box) -> Floats:
    """How deep in the box each pixel lies, as a share of its size: 0.5 in the middle, below 0 outside."""
    x, y = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    left, top, right, bottom = box
    across = np.minimum(x - left, right - x) / (right - left)
    down = np.minimum(y - top, bottom - y) / (bottom - top)
    return np.minimum(across[None], down[:, None]).astype(np.float32)


def _whole_parts(share: Floats, inside: Mask) -> Floats:
    """Without the small islands that only resemble the subject."""
    found, labels = parts(share > 0.5)
    if not found:
        return share
    largest = max(part.area for part in found)
    kept = np.array([part.area >= _LEAST_PART * largest for part in found] + [False])
    kept[labels[inside & (labels >= 0)]] = True
    return np.where(grown(kept[labels], 2), share, 0.0).astype(np.float32)
