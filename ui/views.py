"""The other views of the object, each in its place, as they will be used."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.app.translations import pgettext_iface, pgettext_n

from ..addon.picture_state import differences_seen, look_of, slot_of, views_of, why_no_views
from .layout import SubPanel, wrapped
from .picture import icon_of, widest_of

_PREVIEW = 4.5  # the height of one, in rows
# Two rows, as one walks round the object.
_PLACES = (("front", "right"), ("left", "back"))
_LABELS = {
    "front": pgettext_n("Front"),
    "right": pgettext_n("Right"),
    "back": pgettext_n("Back"),
    "left": pgettext_n("Left"),
}


class TRELLIS2_PT_views(SubPanel, bpy.types.Panel):
    bl_label = "More Views"
    bl_order = 1  # beside the picture

    def draw(self, context: bpy.types.Context) -> None:
        layout, state = self.layout, context.scene.trellis2
        for row_of in _PLACES:
            row = layout.row()
            for view in row_of:
                _draw_slot(row.column(), state, view)
        given = views_of(state)
        if not given:
            text = pgettext_iface(
                "Pictures of the same object from other sides; Right is what Blender's Right view shows"
            )
            wrapped(layout, text, context, icon="INFO")
            return
        row = layout.row(align=True)
        row.operator("trellis2.views_swap", icon="ARROW_LEFTRIGHT")
        row.operator("trellis2.views_clear", text="", icon="X")
        text = pgettext_iface("True pictures of one object help, invented ones harm; all are made equally tall")
        wrapped(layout, text, context, icon="INFO")


def _draw_slot(column: bpy.types.UILayout, state: bpy.types.PropertyGroup, view: str) -> None:
    image = state.image if view == "front" else getattr(state, slot_of(view))
    column.label(text=_LABELS[view])
    icon = icon_of(image, look_of(image), widest_of(state), state.on_black) if image is not None else 0
    if icon:
        column.template_icon(icon_value=icon, scale=_PREVIEW)
    if view == "front":
        column.label(text=image.name if image is not None else "", translate=False)
        return
    row = column.row(align=True)
    if image is not None:
        row.prop(state, slot_of(view), text="")
    row.operator("trellis2.view_open", text="" if image is not None else "Open...", icon="FILEBROWSER").view = view


def draw_view_warnings(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What is wrong with the views, or between them: where it is seen while their own panel is closed."""
    state = context.scene.trellis2
    given: dict[str, Any] = views_of(state)
    if not given:
        return
    if problem := why_no_views(state):
        wrapped(layout, problem, context, icon="ERROR", alert=True)
    for difference in differences_seen(state):
        wrapped(layout, difference, context, icon="ERROR")


register, unregister = bpy.utils.register_classes_factory((TRELLIS2_PT_views,))
