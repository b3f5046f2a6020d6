"""What the panels share: where they stand, and text that is longer than a line."""

from __future__ import annotations

import textwrap

import bpy


class Panel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "TRELLIS.2"


class SubPanel(Panel):
    bl_parent_id = "TRELLIS2_PT_main"
    bl_options = {"DEFAULT_CLOSED"}


def wrapped(
    layout: bpy.types.UILayout,
    text: str,
    context: bpy.types.Context,
    share: float = 1.0,
    icon: str = "",
    alert: bool = False,
) -> None:
    """Text over as many lines as the region's width asks for, with an icon before the first.

    `share` is how much of the width the layout has; `alert` shows the text in red.
    """
    width = int(share * context.region.width / (7 * context.preferences.system.ui_scale)) - 6 - (4 if icon else 0)
    column = layout.column(align=True)
    column.scale_y = 0.75
    column.alert = alert
    for number, line in enumerate(textwrap.wrap(text, max(width, 12))):
        column.label(text=line, translate=False, icon=(icon if number == 0 else "BLANK1") if icon else "NONE")
