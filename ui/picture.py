"""The picture in the panel: choosing it, and how it will be cut out, before anything is paid."""

from __future__ import annotations

from typing import Any

import bpy
import bpy.utils.previews
from bpy.app.handlers import persistent
from bpy.app.translations import pgettext_iface, pgettext_n

from ..addon.loaded import loaded
from ..addon.picture_state import VIEWS, chosen_image, cuts_out, look_of, views_of
from ..trellis_addon.scene.words import translate
from .layout import wrapped

_KEPT = 32  # previews, before they are made anew
UNTOLD = pgettext_n("The subject cannot be told from this background: mark it, or take the picture whole")
_PREVIEW = 9.0  # its height, in rows
_previews: bpy.utils.previews.ImagePreviewCollection | None = None


def draw_picture(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The picture's choice in one row, what the model gets of it, or of the view that is shown, and its cutout."""
    state = context.scene.trellis2
    image = state.image
    row = layout.row(align=True)
    row.template_ID(state, "image", open="trellis2.image_open")
    if image is None:
        layout.menu("TRELLIS2_MT_sources", icon="IMAGE_DATA")
        wrapped(layout, pgettext_iface("Choose a picture, or drop one here"), context, icon="INFO")
        return
    row.menu("TRELLIS2_MT_sources", text="", icon="IMAGE_DATA")
    if further := views_of(state):
        row = layout.row(align=True)
        for view in ("front", *(view for view in VIEWS if view in further)):
            row.prop_enum(state, "shown", view.upper())
    image = chosen_image(state)
    if image.type != "RENDER_RESULT":
        _draw_cutout(layout, context, image)


def draw_warnings(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What is wrong with the picture and what can be done, or what will make a poor asset of it."""
    state = context.scene.trellis2
    image = chosen_image(state)
    if image != state.image and (front := look_of(state.image)) is not None and front.error and not front.is_for_model:
        text = pgettext_iface("The front: {problem}").format(problem=translate(front.error))
        wrapped(layout, text, context, icon="ERROR", alert=True)
    found = look_of(image)
    if found is None:
        return
    if found.is_for_model:
        _draw_untold(layout, context, cuts_out(state))
    elif found.error:
        wrapped(layout, found.error, context, icon="ERROR", alert=True)
    for warning in found.warnings:
        wrapped(layout, warning, context, icon="ERROR")


def _draw_untold(layout: bpy.types.UILayout, context: bpy.types.Context, is_cut_there: bool | None) -> None:
    """A photograph: who can tell its subject, and what tells it here."""
    backend = context.scene.trellis2.backend
    if is_cut_there:
        wrapped(
            layout,
            pgettext_iface("The picture is sent as it is: Remote cuts its subject out")
            if backend == "remote"
            else pgettext_iface("The picture goes as it is: the mask model cuts its subject out"),
            context,
            icon="INFO",
        )
        return
    if is_cut_there is None:
        wrapped(
            layout, pgettext_iface("Only a service with a mask model takes this picture as it is"), context, icon="INFO"
        )
    else:
        wrapped(layout, pgettext_iface(UNTOLD), context, icon="ERROR", alert=True)
    buttons = layout.column(align=True)
    buttons.operator("trellis2.mark_subject", icon="SELECT_SET")
    buttons.operator("trellis2.take_whole", icon="IMAGE_PLANE")
    if is_cut_there is False:
        wrapped(layout, pgettext_iface("Remote cuts it out by itself"), context, icon="INFO")


def _draw_cutout(layout: bpy.types.UILayout, context: bpy.types.Context, image: bpy.types.Image) -> None:
    """What will be used of the picture, and other ways to cut it out."""
    found = look_of(image)
    state = context.scene.trellis2
    if icon := icon_of(image, found or _latest(image), widest_of(state), state.on_black):
        layout.template_icon(icon_value=icon, scale=_PREVIEW)
    column = layout.column()
    column.enabled = image.is_editable
    row = column.row(align=True)
    choice = row.row(align=True)
    choice.use_property_split = True
    choice.use_property_decorate = False
    choice.prop(image.trellis2, "cutout")
    row.prop(state, "on_black", text="", icon="IMAGE_RGB" if state.on_black else "IMAGE_RGB_ALPHA")
    row.operator("trellis2.image_check", text="", icon="FILE_REFRESH")
    if image.trellis2.cutout == "MASK":
        row = column.row(align=True)
        row.template_ID(image.trellis2, "mask", new="trellis2.mask_new", open="trellis2.mask_open")
    elif image.trellis2.cutout == "KEY":
        column.prop(image.trellis2, "key_auto")
        row = column.row(align=True)
        if not image.trellis2.key_auto:
            row.prop(image.trellis2, "key_colour", text="")
        row.prop(image.trellis2, "key_tolerance")
    elif image.trellis2.cutout == "MARKED":
        column.operator("trellis2.mark_subject", icon="SELECT_SET")
    if found is None or not found.error:
        wrapped(column, _status(image, found), context)
    if found is not None and found.gets:
        text = pgettext_iface("The model gets {pixels} x {pixels} pixels")
        column.label(text=text.format(pixels=found.pixels_among(widest_of(state))), translate=False)


def _status(image: bpy.types.Image, found: Any) -> str:
    """How the picture is cut out, in words."""
    if found is None:
        return pgettext_iface("Looking ...") if _is_under_way(image) else pgettext_iface("Not looked at yet")
    return {
        "alpha": pgettext_iface("Its own transparency is used"),
        "studio": pgettext_iface("No transparency: the plain background was removed")
        if image.trellis2.cutout == "AUTO"
        else pgettext_iface("The plain background was removed"),
        "key": pgettext_iface("The colour was removed"),
        "mask": pgettext_iface("The mask is used"),
        "marked": pgettext_iface("The marked subject is cut out"),
        "whole": pgettext_iface("Nothing is cut out"),
    }[found.cutout]


def widest_of(state: bpy.types.PropertyGroup) -> float:
    """The side, in heights of the subject, of the square that all views get: the largest that one of them needs."""
    given = [state.image, *views_of(state).values()]
    looks = [look for image in given if (look := look_of(image)) is not None and look.square is not None]
    return max((look.share for look in looks), default=0.0) if len(given) > 1 else 0.0


def icon_of(image: bpy.types.Image, found: Any, widest: float = 0.0, on_black: bool = False) -> int:
    """The icon value of what was found, made when it is first shown; 0 where there is nothing to show.

    `widest` as of `widest_of`; `on_black` as the model gets it.
    """
    global _previews
    module = _module()
    shown = (found.preview or found.picture) if found is not None else b""
    if not shown or module is None:
        return 0
    if _previews is None:
        _previews = bpy.utils.previews.new()
    key = f"{image.session_uid} {hash(shown)} {widest:.4f} {on_black}"
    if key not in _previews:
        import numpy as np

        if len(_previews) >= _KEPT:
            _previews.clear()
        preview = _previews.new(key)
        shown = module.pixels_of(found, widest=widest, on_black=on_black)
        side = round((len(shown) / 4) ** 0.5)
        preview.image_size = (side, side)
        preview.image_pixels.foreach_set(np.frombuffer(shown, np.int32))  # four bytes are a pixel
    return _previews[key].icon_id


def _latest(image: bpy.types.Image) -> Any:
    """What was found before the choice that is being looked at: the panel keeps its form meanwhile."""
    module = _module()
    return module.latest(image) if module else None


def _is_under_way(image: bpy.types.Image) -> bool:
    module = _module()
    return bool(module and module.is_under_way(image))


def _module() -> Any:
    return loaded("scene.cutout_preview")


@persistent
def _look_at_all(*_: object) -> None:
    """The pictures of a file that was opened."""
    images = {
        image for scene in bpy.data.scenes for image in (scene.trellis2.image, *views_of(scene.trellis2).values())
    }
    images -= {None}
    if not images:
        return
    from ..trellis_addon.scene import cutout_preview

    for image in images:
        cutout_preview.look_later(image)


@persistent
def _look_after_undo(*_: object) -> None:
    """What was corrected, or taken back, by a step of undo."""
    module = _module()
    if module is None:
        return
    state = bpy.context.scene.trellis2
    for image in {state.image, *views_of(state).values()} - {None}:
        if module.known(image) is None and not module.is_under_way(image):
            module.look_soon(image)


def register() -> None:
    if not bpy.app.background:
        bpy.app.handlers.load_post.append(_look_at_all)
        bpy.app.handlers.undo_post.append(_look_after_undo)
        bpy.app.handlers.redo_post.append(_look_after_undo)
        # while it is being enabled there may be no data to look at yet
        bpy.app.timers.register(_look_at_all, first_interval=1.0)


def unregister() -> None:
    global _previews
    if bpy.app.timers.is_registered(_look_at_all):
        bpy.app.timers.unregister(_look_at_all)
    if _look_at_all in bpy.app.handlers.load_post:
        bpy.app.handlers.load_post.remove(_look_at_all)
        bpy.app.handlers.undo_post.remove(_look_after_undo)
        bpy.app.handlers.redo_post.remove(_look_after_undo)
    if _previews is not None:
        bpy.utils.previews.remove(_previews)
        _previews = None
    if module := _module():
        module.forget()
