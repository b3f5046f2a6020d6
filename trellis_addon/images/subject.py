"""Where in a picture its subject is, by its alpha."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.messages import Message, enumeration, message

if TYPE_CHECKING:
    from PIL.Image import Image

Box = tuple[int, int, int, int]  # left, top, right, bottom


# A stray speck is no larger than this share of the picture's longer side (and never larger than so many pixels), nor
# than this share of the subject; all of them together are less than this share of it.
_SPECK_SIDE, _SPECK_PIXELS, _SPECK_AREA, _ALL_SPECKS = 1 / 100, (3, 12), 0.004, 0.02


def subject_box(image: Image) -> tuple[int, int, int, int]:
    """The bounding box (left, top, right, bottom) of what is clearly visible, but for stray specks outside of it.

    The model's own crop takes alpha above 80 %; a picture that is faint throughout is measured
    against its own strongest alpha.
    """
    whole = _visible(image).getbbox() or (0, 0, *image.size)
    return _without_specks(image, whole)[0]


def drop_specks(image: Image) -> tuple[Image, Box, int]:
    """The picture without the stray specks far from its subject, the subject's box, and how many specks there were.

    They would be taken for the subject's outermost parts, and the subject itself be looked at in fewer pixels. What
    lies within the subject's box does no harm, and stays.
    """
    whole = _visible(image).getbbox()
    if whole is None:
        return image, (0, 0, *image.size), 0
    box, specks = _without_specks(image, whole)
    if not specks:
        return image, box, 0
    image = image.copy()
    soft = 3  # pixels around a speck that belong to it
    for left, top, right, bottom in specks:
        place = (max(left - soft, 0), max(top - soft, 0), right + soft, bottom + soft)
        place = (place[0], place[1], min(place[2], image.width), min(place[3], image.height))
        subject = _overlap(place, box)
        kept = image.crop(subject) if subject else None
        image.paste((0, 0, 0, 0), place)
        if kept is not None and subject is not None:
            image.paste(kept, subject[:2])
    return image, box, len(specks)


def _visible(image: Image) -> Image:
    """255 where the picture is clearly visible, else 0."""
    alpha = image.getchannel("A")
    threshold = 0.8 * extremes(alpha)[1]
    return alpha.point(lambda a: 255 if a > threshold else 0)


def _without_specks(image: Image, whole: Box) -> tuple[Box, list[Box]]:
    """The subject's box, and the boxes of the specks outside of it; `whole` is that of all that is visible."""
    import numpy as np

    from .pixels import parts

    side = min(max(max(image.size) * _SPECK_SIDE, _SPECK_PIXELS[0]), _SPECK_PIXELS[1])
    visible = np.asarray(_visible(image).crop(whole)) > 0
    # Most pictures have none: then what is left without its thinnest rows and columns is nearly the whole of it.
    thin = 4 * side
    rows, columns = (np.nonzero(visible.sum(axis=axis) > thin)[0] for axis in (1, 0))
    if not len(rows) or not len(columns):
        return whole, []
    trimmed = max(rows[0], columns[0], len(visible) - 1 - rows[-1], visible.shape[1] - 1 - columns[-1])
    if trimmed <= side:
        return whole, []
    found, _ = parts(visible)
    largest = max(part.area for part in found)
    limit = max(_SPECK_AREA * largest, 1)
    small = [part for part in found if part.area <= limit and _longest(part.box) <= side]
    large = [part.box for part in found if not (part.area <= limit and _longest(part.box) <= side)]
    if not small or not large or sum(part.area for part in small) > _ALL_SPECKS * largest:
        return whole, []
    lefts, tops, rights, bottoms = zip(*large, strict=True)
    box = (min(lefts), min(tops), max(rights), max(bottoms))
    near = round(side)  # what nearly touches the subject is part of its outline
    room = (box[0] - near, box[1] - near, box[2] + near, box[3] + near)
    specks = [part.box for part in small if _overlap(part.box, room) is None]
    return _moved(box, whole) if specks else whole, [_moved(speck, whole) for speck in specks]


def _longest(box: Box) -> int:
    return max(box[2] - box[0], box[3] - box[1])


def _moved(box: Box, by: Box) -> Box:
    return (box[0] + by[0], box[1] + by[1], box[2] + by[0], box[3] + by[1])


def _overlap(one: Box, other: Box) -> Box | None:
    left, top, right, bottom = (*map(max, one[:2], other[:2]), *map(min, one[2:], other[2:]))
    return (left, top, right, bottom) if left < right and top < bottom else None


def edges_reached(image: Image) -> tuple[Message, ...]:
    """The edges of the picture that the subject reaches: "left", "right", "top", "bottom".

    A point that touches is no cut: an edge counts where a twentieth of it shows the subject.
    """
    width, height = image.size
    alpha = image.getchannel("A")
    threshold = 0.8 * extremes(alpha)[1]
    sides = {
        message("left"): (0, 0, 1, height),
        message("right"): (width - 1, 0, width, height),
        message("top"): (0, 0, width, 1),
        message("bottom"): (0, height - 1, width, height),
    }
    found = []
    for name, line in sides.items():
        counts = alpha.crop(line).histogram()
        if sum(counts[int(threshold) + 1 :]) > max(2, sum(counts) / 20):
            found.append(name)
    return tuple(found)


def cut_off(sides: tuple[Message, ...]) -> str:
    if len(sides) == 1:
        return message(
            "The subject reaches the picture's {side} edge; if it is cut off there, so will be the asset.",
            side=sides[0],
        )
    return message(
        "The subject reaches the picture's {sides} edges; if it is cut off there, so will be the asset.",
        sides=enumeration(sides),
    )


def extremes(channel: Image) -> tuple[float, float]:
    """The lowest and highest value of a picture with one channel."""
    low, high = channel.getextrema()
    assert not isinstance(low, tuple) and not isinstance(high, tuple)
    return low, high
