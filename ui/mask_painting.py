"""The panel's preview follows what is painted on a mask: Blender tells nobody of a stroke, but it draws it."""

from __future__ import annotations

import bpy

from ..addon.picture_state import chosen_image
from .layout import DrawHandler

_PAUSE = 0.8  # seconds from what was drawn to the look at it
_MOST = 2048 * 2048  # pixels: a larger mask takes too long to read while somebody paints


def register() -> None:
    _handler.add()


def unregister() -> None:
    _handler.remove()
    if bpy.app.timers.is_registered(_look):
        bpy.app.timers.unregister(_look)


def _draw() -> None:
    context = bpy.context
    space, image = context.space_data, chosen_image(context.scene.trellis2)
    if space.mode != "PAINT" or image is None or image.trellis2.cutout != "MASK":
        return
    mask = image.trellis2.mask
    if mask is None or space.image != mask or not mask.is_dirty or mask.size[0] * mask.size[1] > _MOST:
        return
    if not bpy.app.timers.is_registered(_look):
        bpy.app.timers.register(_look, first_interval=_PAUSE)


def _look() -> float | None:
    from ..trellis_addon.scene import cutout_preview

    image = chosen_image(bpy.context.scene.trellis2)
    if image is None:
        return None
    if cutout_preview.is_under_way(image):
        return _PAUSE
    cutout_preview.look_later(image)
    return None


_handler = DrawHandler(bpy.types.SpaceImageEditor, _draw)
