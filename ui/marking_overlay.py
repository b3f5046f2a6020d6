"""What is drawn over the picture in an Image Editor while its subject is marked: the box, the strokes, what to do."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
from bpy.app.translations import pgettext_iface

from ..addon.loaded import loaded
from .layout import DrawHandler

Point = tuple[float, float]

_BOX = (1.0, 1.0, 1.0, 1.0)
_DARK = (0.0, 0.0, 0.0, 0.55)
_SIDES = {1: (0.25, 0.85, 0.35, 0.75), -1: (0.95, 0.25, 0.2, 0.75)}
_TEXT_SIZE = 13


def register() -> None:
    _handler.add()


def unregister() -> None:
    _handler.remove()
    if marking := loaded("scene.marking"):
        marking.end()


def _draw() -> None:
    marking = loaded("scene.marking")
    session = marking.session() if marking else None
    context = bpy.context
    image = context.space_data.image
    if session is None or image is None or image.name != session.image:
        return
    view, (width, height) = context.region.view2d, image.size
    scale = context.preferences.system.ui_scale

    def place(point: Sequence[float]) -> Point:
        return view.view_to_region(point[0] / width, 1.0 - point[1] / height, clip=False)

    drag = session.drag
    box = marking.box_of(image)
    strokes = marking.strokes_of(image)
    if drag is not None and drag.side == 0:
        (left, top), (right, bottom) = drag.points[0], drag.points[-1]
        box, strokes = (left, top, right, bottom), []
    elif drag is not None:
        strokes = [*strokes, marking.Stroke(drag.side, drag.radius, tuple(drag.points))]
    thickness = abs(place((1000, 0))[0] - place((0, 0))[0]) / 1000
    for stroke in strokes:
        _line([place(point) for point in stroke.points], _SIDES[stroke.side], 2 * stroke.radius * thickness)
    if box is not None:
        left, top, right, bottom = box
        corners = [
            place(corner) for corner in ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
        ]
        _line(corners, _DARK, 4 * scale)
        _line(corners, _BOX, 2 * scale)
    _write(_hints(box is not None), context.region, scale)


def _hints(has_box: bool) -> list[str]:
    if not has_box:
        return [pgettext_iface("Drag a box around the whole subject")]
    return [
        pgettext_iface("Drag: also the subject    Ctrl: not the subject    Shift: another box"),
        pgettext_iface("Enter: done    Ctrl Z: one step back    Esc: as before"),
    ]


def _line(points: list[Point], colour: tuple[float, ...], width: float) -> None:
    import gpu
    from gpu_extras.batch import batch_for_shader

    if len(points) == 1:  # a dot
        points = [points[0], (points[0][0] + 1.0, points[0][1])]
    shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
    gpu.state.blend_set("ALPHA")
    shader.uniform_float("viewportSize", gpu.state.viewport_get()[2:])
    shader.uniform_float("lineWidth", max(width, 1.0))
    shader.uniform_float("color", colour)
    batch_for_shader(shader, "LINE_STRIP", {"pos": [(x, y, 0.0) for x, y in points]}).draw(shader)
    gpu.state.blend_set("NONE")


def _write(lines: list[str], region: bpy.types.Region, scale: float) -> None:
    import blf

    font = 0
    blf.size(font, _TEXT_SIZE * scale)
    blf.enable(font, blf.SHADOW)
    blf.shadow(font, 5, 0.0, 0.0, 0.0, 1.0)
    blf.color(font, 1.0, 1.0, 1.0, 1.0)
    for row, line in enumerate(reversed(lines)):
        blf.position(font, round((region.width - blf.dimensions(font, line)[0]) / 2), (14 + 20 * row) * scale, 0)
        blf.draw(font, line)
    blf.disable(font, blf.SHADOW)


_handler = DrawHandler(bpy.types.SpaceImageEditor, _draw)
