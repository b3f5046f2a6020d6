"""Whether pictures of several sides can be of one object: their heights, outlines and colours beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.messages import enumeration, message
from ..task.views import FRONT, yaw_of

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE = 128  # pixels that an outline is compared in
_HEIGHT = 0.12  # by which heights may differ where all pictures have one frame
_WIDTH = 0.15  # by which widths of opposite views may differ, of equally tall ones
_OUTLINE = 0.8  # of overlap that opposite views have, one of them mirrored
_COLOUR = 0.22  # of 1, by which mean colours may lie apart: light and dark sides of one object do by half of that


def differences(pictures: Mapping[str, Image]) -> tuple[str, ...]:
    """Sentences about what speaks against one object; `pictures` are RGBA, cut out, by view, the front among them.

    Each is measured against the front, or the view opposite of it. Pictures without a visible pixel are passed over.
    """
    looks = {name: look for name, picture in pictures.items() if (look := _look(picture)) is not None}
    return (*_heights(looks), *_outlines(looks), *_colours(looks))


@dataclass(frozen=True)
class _Look:
    """What is compared of a picture: its size, the subject's, its outline (equally tall in all), its mean colour."""

    size: tuple[int, int]
    width: int
    height: int
    mask: NDArray[np.bool_]
    colour: NDArray[np.float32]


def _look(picture: Image) -> _Look | None:
    alpha = picture.getchannel("A").point(lambda value: 255 if value >= 128 else 0)
    box = alpha.getbbox()
    if box is None:
        return None
    subject = picture.crop(box)
    scale = _SIDE / subject.height
    small = subject.resize((max(1, min(4 * _SIDE, round(subject.width * scale))), _SIDE))
    texels = np.asarray(small, np.float32) / 255.0
    mask = texels[..., 3] >= 0.5
    colour = texels[mask][:, :3].mean(0) if mask.any() else texels[..., :3].mean((0, 1))
    return _Look(picture.size, box[2] - box[0], box[3] - box[1], mask, colour)


def _heights(looks: Mapping[str, _Look]) -> list[str]:
    """Only what has one frame can be compared: a picture that was cut to its subject says nothing of its height."""
    front = looks.get(FRONT)
    if front is None:
        return []
    return [
        message(
            "The subject is {share:.0f} % taller in the {taller} view than in the {lower} view; take all of them from "
            "the same distance. They are made equally tall.",
            share=100.0 * (max(look.height, front.height) / min(look.height, front.height) - 1.0),
            taller=name if look.height > front.height else FRONT,
            lower=FRONT if look.height > front.height else name,
        )
        for name, look in looks.items()
        if look.size == front.size and abs(np.log(look.height / front.height)) > np.log(1.0 + _HEIGHT)
    ]


def _outlines(looks: Mapping[str, _Look]) -> list[str]:
    found: list[str] = []
    for name, look in looks.items():
        for other, behind in looks.items():
            if yaw_of(other) - yaw_of(name) != 180.0:
                continue
            wide, narrow = sorted((look.mask.shape[1], behind.mask.shape[1]), reverse=True)
            if wide / narrow > 1.0 + _WIDTH:
                wider = name if look.mask.shape[1] == wide else other
                found.append(
                    message(
                        "The {wider} view is {share:.0f} % wider than the {narrower} view; opposite views of one "
                        "object have the same outline.",
                        wider=wider,
                        share=100.0 * (wide / narrow - 1.0),
                        narrower=other if wider == name else name,
                    )
                )
            elif _overlap(look.mask, behind.mask[:, ::-1]) < _OUTLINE:
                found.append(
                    message(
                        "The outlines of the {one} and {other} views are not each other's mirror image; check that "
                        "both are straight, and in their own places.",
                        one=name,
                        other=other,
                    )
                )
    return found


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union, one over the middle of the other."""
    width = max(one.shape[1], other.shape[1])
    placed = []
    for mask in (one, other):
        left = (width - mask.shape[1]) // 2
        placed.append(np.pad(mask, ((0, 0), (left, width - mask.shape[1] - left))))
    return float((placed[0] & placed[1]).sum() / max(1, (placed[0] | placed[1]).sum()))


def _colours(looks: Mapping[str, _Look]) -> list[str]:
    front = looks.get(FRONT)
    if front is None:
        return []
    others = [
        name
        for name, look in looks.items()
        if float(np.linalg.norm(look.colour - front.colour)) / np.sqrt(3.0) > _COLOUR
    ]
    if len(others) > 1:
        return [
            message(
                "The {views} views have other colours than the front; pictures of one object fit together better.",
                views=enumeration(others),
            )
        ]
    return [
        message(
            "The {view} view has other colours than the front; pictures of one object fit together better.", view=name
        )
        for name in others
    ]
