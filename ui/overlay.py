"""What is drawn over the cards in the viewport: the name, the stage, and a bar that fills."""

from __future__ import annotations

import time
from typing import Any

import bpy

from ..addon.loaded import loaded
from .job_panels import progress_words
from .layout import DrawHandler

# Looking through a file's objects at every redraw would be felt in one with thousands.
_LOOK_EVERY = 0.5
_BAR = (140.0, 7.0)  # width, height, before the interface's scale
_COLOURS = {
    "running": (0.28, 0.56, 0.95, 1.0),
    "ready": (0.30, 0.70, 0.35, 1.0),
    "choose": (0.30, 0.70, 0.35, 1.0),
    "failed": (0.85, 0.25, 0.22, 1.0),
    "cancelled": (0.60, 0.60, 0.60, 1.0),
}
_TROUGH = (0.05, 0.05, 0.05, 0.75)
_TEXT_SIZE = 12


class _State:
    looked = 0.0
    names: tuple[str, ...] = ()


_state = _State()


def register() -> None:
    _handler.add()


def unregister() -> None:
    _handler.remove()


def _draw() -> None:
    queue = loaded("scene.queue")
    if queue is None or not queue.generations():
        return
    context = bpy.context
    if not context.space_data.overlay.show_overlays:
        return
    for card in _cards(context):
        generation = queue.of_card(card["trellis2_card"])
        if generation is not None and generation.state in _COLOURS:
            _draw_card(context, card, generation)


def _cards(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The cards that this viewport shows."""
    if time.monotonic() - _state.looked > _LOOK_EVERY:
        _state.names = tuple(obj.name for obj in bpy.data.objects if "trellis2_card" in obj)
        _state.looked = time.monotonic()
    found = (context.view_layer.objects.get(name) for name in _state.names)
    return [card for card in found if card is not None and "trellis2_card" in card and card.visible_get()]


def _draw_card(context: bpy.types.Context, card: bpy.types.Object, generation: Any) -> None:
    from bpy_extras.view3d_utils import location_3d_to_region_2d
    from mathutils import Vector

    foot = location_3d_to_region_2d(context.region, context.region_data, card.matrix_world @ Vector((0, 0, 0)))
    if foot is None:  # behind the eye
        return
    scale = context.preferences.system.ui_scale
    width, height = _BAR[0] * scale, _BAR[1] * scale
    x, y = round(foot.x - width / 2), round(foot.y - 14 * scale)
    share = generation.share if generation.state == "running" else 1.0
    _rectangle(x, y, width, height, _TROUGH)
    _rectangle(x, y, width * share, height, _COLOURS[generation.state])
    _write(card.name, x + width / 2, y - 16 * scale, scale)
    _write(progress_words(generation), x + width / 2, y - 31 * scale, scale, brightness=0.8)


def _rectangle(x: float, y: float, width: float, height: float, colour: tuple[float, ...]) -> None:
    import gpu
    from gpu_extras.batch import batch_for_shader

    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    gpu.state.blend_set("ALPHA")
    shader.uniform_float("color", colour)
    batch_for_shader(shader, "TRIS", {"pos": corners}, indices=[(0, 1, 2), (0, 2, 3)]).draw(shader)
    gpu.state.blend_set("NONE")


def _write(text: str, middle: float, y: float, scale: float, brightness: float = 1.0) -> None:
    import blf

    font = 0
    blf.size(font, _TEXT_SIZE * scale)
    blf.enable(font, blf.SHADOW)
    blf.shadow(font, 3, 0.0, 0.0, 0.0, 0.9)
    blf.color(font, brightness, brightness, brightness, 1.0)
    blf.position(font, round(middle - blf.dimensions(font, text)[0] / 2), round(y), 0)
    blf.draw(font, text)
    blf.disable(font, blf.SHADOW)


_handler = DrawHandler(bpy.types.SpaceView3D, _draw)
