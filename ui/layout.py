"""What panels and overlays share: where they stand, text longer than a line, and being called at each drawing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

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


class DrawHandler:
    """Has a function called whenever an editor of a kind is drawn; without a window there is none."""

    def __init__(self, space: type[bpy.types.Space], draw: Callable[[], None]) -> None:
        self._space: Any = space
        self._draw = draw
        self._handle: Any = None

    def add(self) -> None:
        if not bpy.app.background:
            self._handle = self._space.draw_handler_add(self._draw, (), "WINDOW", "POST_PIXEL")

    def remove(self) -> None:
        if self._handle is not None:
            self._space.draw_handler_remove(self._handle, "WINDOW")
            self._handle = None


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
    width = _columns_of(context, share) - (4 if icon else 0)
    column = layout.column(align=True)
    column.scale_y = 0.75
    column.alert = alert
    for number, line in enumerate(lines_of(translate(text), max(width, 12))):
        column.label(text=line, translate=False, icon=(icon if number == 0 else "BLANK1") if icon else "NONE")


def setting(layout: bpy.types.UILayout, group: bpy.types.bpy_struct, name: str, **options: str) -> None:
    """A property with its name in full: a number's stands in its field, a text's and a choice's have half of the row.

    Blender's own way gives names two fifths, which cuts them off at the sidebar's usual width.
    """
    found = group.bl_rna.properties[name]
    if found.type not in ("ENUM", "STRING"):
        layout.prop(group, name)
        return
    row = layout.row(align=True).split(factor=0.5, align=True)
    row.label(text=found.name)
    row.prop(group, name, text="", **options)


def fact(layout: bpy.types.UILayout, label: str, value: object, context: bpy.types.Context) -> None:
    """What is known, with its name before it, or above it where one line does not hold both."""
    if value in (None, ""):
        return
    text, width = str(value), _columns_of(context, 1.0)
    needed = _columns(label) + 2
    if needed + _columns(text) > width:
        wrapped(layout, label, context)
        wrapped(layout, f"{text}", context, icon="BLANK1")
        return
    row = layout.split(factor=min(max(needed / width, 0.4), 0.9))
    row.label(text=label, translate=False)
    row.label(text=text, translate=False)


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


def _columns_of(context: bpy.types.Context, share: float) -> int:
    """How many columns of text a part of the region's width holds."""
    return int(share * context.region.width / (7 * context.preferences.system.ui_scale)) - 6


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
