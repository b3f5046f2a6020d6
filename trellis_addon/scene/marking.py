"""What was marked of a picture's subject: kept with its image datablock, and what is being marked in an Image Editor.

A box (left, top, right, bottom) and strokes, all in the datablock's pixels from its upper left. Strokes are kept as
JSON: [1 for the subject or -1 for the background, radius, x, y, x, y, ...] each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import bpy

from ..core.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..images.marks import Marks

Point = tuple[float, float]
Box = tuple[float, float, float, float]

_SIDE = 1024  # of the array that strokes are drawn into: more than the subject is looked for in
_LEAST_BOX = 8  # pixels


@dataclass(frozen=True)
class Stroke:
    """`side` is 1 on the subject, -1 on the background; `points` and `radius` in pixels."""

    side: int
    radius: float
    points: tuple[Point, ...]


@dataclass
class Drag:
    """What the hand is drawing: a box between two corners (`side` 0), or a stroke."""

    side: int
    radius: float
    points: list[Point]


@dataclass
class Session:
    """Marking in an Image Editor: of which picture, what is being drawn, and what undoes each step."""

    image: str
    drag: Drag | None = None
    before: list[tuple[str, tuple[float, ...], str]] = field(default_factory=list)


class _State:
    session: Session | None = None


_state = _State()


def session() -> Session | None:
    """The marking that goes on, if one does."""
    return _state.session


def begin(image: bpy.types.Image) -> Session:
    _state.session = Session(image.name)
    return _state.session


def end() -> None:
    _state.session = None


def box_of(image: bpy.types.Image) -> Box | None:
    """The box that was marked, if one was."""
    left, top, right, bottom = image.trellis2.subject
    return (left, top, right, bottom) if right > left and bottom > top else None


def strokes_of(image: bpy.types.Image) -> list[Stroke]:
    """The strokes that were drawn; what is no stroke in a damaged text is passed over."""
    try:
        kept = json.loads(image.trellis2.strokes or "[]")
        return [
            Stroke(1 if side > 0 else -1, float(radius), tuple(zip(places[::2], places[1::2], strict=True)))
            for side, radius, *places in kept
        ]
    except (ValueError, TypeError):
        return []


def set_box(image: bpy.types.Image, box: Sequence[float]) -> None:
    """Mark the subject by a box around it, in pixels; strokes are of the box before. Raises `ImageError`."""
    width, height = image.size
    left, right = sorted((min(max(box[0], 0), width), min(max(box[2], 0), width)))
    top, bottom = sorted((min(max(box[1], 0), height), min(max(box[3], 0), height)))
    if right - left < _LEAST_BOX or bottom - top < _LEAST_BOX:
        raise ImageError(
            "subject: the box {box} holds next to nothing of the image, which is {width} x {height} pixels; "
            "give its left, top, right and bottom in pixels.",
            box=", ".join(f"{value:g}" for value in box),
            width=width,
            height=height,
        )
    _keep(image, (left, top, right, bottom), "")


def add_stroke(image: bpy.types.Image, stroke: Stroke) -> None:
    """Say of some pixels whether they are the subject's."""
    places = [round(value, 1) for point in stroke.points for value in point]
    kept = [*(_as_list(each) for each in strokes_of(image)), [stroke.side, round(stroke.radius, 1), *places]]
    _keep(image, image.trellis2.subject, json.dumps(kept, separators=(",", ":")))


def take_down(image: bpy.types.Image) -> tuple[str, tuple[float, ...], str]:
    """What is chosen and marked now, for `put_back`."""
    choice = image.trellis2
    return choice.cutout, tuple(choice.subject), choice.strokes


def put_back(image: bpy.types.Image, kept: tuple[str, tuple[float, ...], str]) -> None:
    cutout, box, strokes = kept
    _keep(image, box, strokes, cutout)


def marks_of(image: bpy.types.Image) -> Marks:
    """What was marked, for the loader. Raises `ImageError` where nothing was."""
    from ..images.marks import Marks

    box, strokes = box_of(image), strokes_of(image)
    if box is None and not strokes:
        raise ImageError("Nothing is marked in the image yet: mark its subject, or choose another cutout.")
    return Marks(box, _drawn(strokes, image.size) if strokes else None)


def _as_list(stroke: Stroke) -> list[float]:
    return [stroke.side, stroke.radius, *(value for point in stroke.points for value in point)]


def _keep(image: bpy.types.Image, box: Sequence[float], strokes: str, cutout: str = "MARKED") -> None:
    """All of it; the picture is looked at when all of it is there."""
    choice = image.trellis2
    choice.strokes = strokes
    if choice.cutout != cutout:
        choice.cutout = cutout
    choice.subject = box  # which has it looked at


def _drawn(strokes: Sequence[Stroke], size: Sequence[int]) -> NDArray[Any]:
    """The strokes as an array (height, width) of the picture's proportions: 1, -1, or 0 where nothing was drawn."""
    import numpy as np
    from PIL import Image, ImageDraw

    scale = min(1.0, _SIDE / max(size))
    canvas = Image.new("L", (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))), 1)
    draw = ImageDraw.Draw(canvas)
    for stroke in strokes:
        radius = max(stroke.radius * scale, 1.0)
        points = [(x * scale, y * scale) for x, y in stroke.points]
        if len(points) > 1:
            draw.line(points, fill=stroke.side + 1, width=math.ceil(2 * radius), joint="curve")
        for x, y in (points[0], points[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=stroke.side + 1)
    return (np.asarray(canvas).astype(np.int8) - 1).astype(np.int8)
