"""What the panels share: where they stand, and text that is longer than a line."""

from __future__ import annotations

import re
import unicodedata

import bpy

from ..trellis_addon.scene.words import translate

# Where a line may end: between words, and after each letter of a script without spaces, with the stop that follows it.
_WIDE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_PIECES = re.compile(rf"\s+|[{_WIDE}][\u3001-\u3011\uff01-\uff1f\u201d]*|[^\s{_WIDE}]+")


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

    A sentence of the library's is said in the artist's language, so that what shows one need not think of it.
    `share` is how much of the width the layout has; `alert` shows the text in red.
    """
    width = int(share * context.region.width / (7 * context.preferences.system.ui_scale)) - 6 - (4 if icon else 0)
    column = layout.column(align=True)
    column.scale_y = 0.75
    column.alert = alert
    for number, line in enumerate(lines_of(translate(text), max(width, 12))):
        column.label(text=line, translate=False, icon=(icon if number == 0 else "BLANK1") if icon else "NONE")


def lines_of(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns, of which a letter of an East Asian script takes two."""
    lines, line = [], ""
    for piece in _PIECES.findall(text):
        if line and _columns(line + piece.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += piece if line else piece.lstrip()
        while len(line.rstrip()) > width >= _columns(line[:width]):  # a path, or an address
            lines.append(line[:width])
            line = line[width:]
    return [*lines, line.rstrip()] if line.strip() else lines


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
