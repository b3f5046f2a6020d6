"""The picture in the panel: choosing it, and how it will be cut out, before anything is paid."""

from __future__ import annotations

from typing import Any

import bpy
import bpy.utils.previews
from bpy.app.handlers import persistent
from bpy.app.translations import pgettext_iface

from ..addon.loaded import loaded
from .layout import wrapped

_KEPT = 64  # previews, before they are made anew
_previews: bpy.utils.previews.ImagePreviewCollection | None = None


def draw_picture(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The image with its preview, where else to take one from, and its cutout."""
    image = context.scene.trellis2.image
    column = layout.column(align=True)
    column.template_ID_preview(
        context.scene.trellis2, "image", open="trellis2.image_open", rows=3, cols=5, hide_buttons=False
    )
    column.menu("TRELLIS2_MT_sources", icon="IMAGE_DATA")
    if image is None:
        wrapped(layout, pgettext_iface("Choose a picture, or drop one here"), context, icon="INFO")
    elif image.type != "RENDER_RESULT":
        _draw_cutout(layout, context, image)


def draw_warnings(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What is wrong with the picture, or will make a poor asset of it."""
    image = context.scene.trellis2.image
    found = _known(image) if image is not None else None
    if found is None:
        return
    if found.error and found.is_for_model and context.scene.trellis2.backend == "remote":
        wrapped(
            layout, pgettext_iface("The picture is sent as it is: Remote cuts its subject out"), context, icon="INFO"
        )
    elif found.error:
        wrapped(layout, found.error, context, icon="ERROR", alert=True)
    for warning in found.warnings:
        wrapped(layout, warning, context, icon="ERROR")


def _draw_cutout(layout: bpy.types.UILayout, context: bpy.types.Context, image: bpy.types.Image) -> None:
    """What will be used of the picture, and other ways to cut it out."""
    found = _known(image)
    has_preview = found is not None and found.preview
    around = layout
    if has_preview:
        layout = layout.split(factor=0.36)
        layout.template_icon(icon_value=_icon_of(image, found), scale=4.4)
    column = layout.column()
    column.enabled = image.is_editable
    row = column.row(align=True)
    row.prop(image.trellis2, "cutout", text="")
    row.operator("trellis2.image_check", text="", icon="FILE_REFRESH")
    wrapped(column, _status(image, found), context, 0.75 if has_preview else 1.0)
    if image.trellis2.cutout == "MASK":
        around.template_ID(image.trellis2, "mask", new="trellis2.mask_new", open="trellis2.mask_open")


def _status(image: bpy.types.Image, found: Any) -> str:
    """How the picture is cut out, in words."""
    if found is None:
        return pgettext_iface("Looking ...") if _is_under_way(image) else pgettext_iface("Not looked at yet")
    if found.error:
        return pgettext_iface("No cutout")
    words = {
        "alpha": pgettext_iface("Its own transparency is used"),
        "studio": pgettext_iface("No transparency: the plain background was removed"),
        "mask": pgettext_iface("The mask is used"),
        "marked": pgettext_iface("The marked subject is cut out"),
        "whole": pgettext_iface("Nothing is cut out"),
    }[found.cutout]
    size = pgettext_iface("{width} x {height} pixels").format(width=found.subject[0], height=found.subject[1])
    return f"{words}, {size}"


def _icon_of(image: bpy.types.Image, found: Any) -> int:
    """The icon value of what was found, made when it is first shown."""
    global _previews
    if _previews is None:
        _previews = bpy.utils.previews.new()
    key = f"{image.session_uid} {hash(found.preview)}"
    if key not in _previews:
        import numpy as np

        if len(_previews) >= _KEPT:
            _previews.clear()
        preview = _previews.new(key)
        side = round((len(found.preview) / 4) ** 0.5)
        preview.image_size = (side, side)
        pixels = np.frombuffer(found.preview, np.uint8).astype(np.float32) / 255.0
        preview.image_pixels_float.foreach_set(pixels)
    return _previews[key].icon_id


def _known(image: bpy.types.Image) -> Any:
    """What was found, if anything was ever looked at: drawing alone loads nothing."""
    module = _module()
    return module.known(image) if module else None


def _is_under_way(image: bpy.types.Image) -> bool:
    module = _module()
    return bool(module and module.is_under_way(image))


def _module() -> Any:
    return loaded("scene.cutout_preview")


@persistent
def _look_at_all(*_: object) -> None:
    """The pictures of a file that was opened."""
    images = {scene.trellis2.image for scene in bpy.data.scenes} - {None}
    if not images:
        return
    from ..trellis_addon.scene import cutout_preview

    for image in images:
        cutout_preview.look_later(image)


def register() -> None:
    if not bpy.app.background:
        bpy.app.handlers.load_post.append(_look_at_all)
        # while it is being enabled there may be no data to look at yet
        bpy.app.timers.register(_look_at_all, first_interval=1.0)


def unregister() -> None:
    global _previews
    if bpy.app.timers.is_registered(_look_at_all):
        bpy.app.timers.unregister(_look_at_all)
    if _look_at_all in bpy.app.handlers.load_post:
        bpy.app.handlers.load_post.remove(_look_at_all)
    if _previews is not None:
        bpy.utils.previews.remove(_previews)
        _previews = None
    if module := _module():
        module.forget()
