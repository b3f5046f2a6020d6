"""An Image Editor beside what the artist looks at, to mark or paint in."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from ..core.errors import TrellisError
from .rules import overrides

_SETTLES = 0.1  # seconds that a new area needs to be laid out
_FILLED = 0.9  # of the editor by the picture, where its zoom is set by hand

Place = tuple[bpy.types.Window, bpy.types.Area]


def show_beside(
    context: bpy.types.Context,
    image: bpy.types.Image,
    mode: str = "",
    then: Callable[[Place], object] | None = None,
    *,
    may_open: bool = True,
) -> Place:
    """Show a picture, whole, in the window's Image Editor, or in one that the 3D viewport makes room for.

    Where that cannot be divided, a new window has it, if it `may_open` one. `mode` is the editor's ("PAINT"), empty
    leaves it; `then` is called a little later, when the editor is laid out. For an operator that a button calls:
    `context` is its own. Raises `TrellisError` where there is no place.
    """
    place = _existing(context.window) or _split(context) or (_in_new_window(context) if may_open else None)
    if place is None:
        raise TrellisError("There is no room for an Image Editor in this window; open one beside the viewport.")
    window, editor = place
    editor.ui_type = "IMAGE_EDITOR"
    editor.spaces.active.image = image
    if mode:
        editor.spaces.active.mode = mode
        _hide_uvs(editor.spaces.active.uv_editor)

    def settle() -> None:
        if _is_there(window, editor) and editor.type == "IMAGE_EDITOR":
            _show_whole(window, editor)
            if then is not None:
                then(place)

    bpy.app.timers.register(settle, first_interval=_SETTLES)
    return place


def _hide_uvs(editor: bpy.types.SpaceUVEditor) -> None:
    """Show the picture without the UV map of whatever object is selected."""
    for name in ("show_uv", "show_texpaint"):  # as it is called since Blender 5.0, and before
        if hasattr(editor, name):
            setattr(editor, name, False)


def set_brush(*, white: bool) -> None:
    """Have the brush that paints on pictures paint white, or black."""
    paint = bpy.context.tool_settings.image_paint
    # each mode has its own since Blender 5.0
    unified = getattr(paint, "unified_paint_settings", None) or bpy.context.tool_settings.unified_paint_settings
    colour = (1.0, 1.0, 1.0) if white else (0.0, 0.0, 0.0)
    unified.color = colour
    if paint.brush is not None and paint.brush.is_editable:
        paint.brush.color = colour


def _is_there(window: bpy.types.Window, area: bpy.types.Area) -> bool:
    return window in list(bpy.context.window_manager.windows) and area in list(window.screen.areas)


def _show_whole(window: bpy.types.Window, area: bpy.types.Area) -> None:
    region = next(region for region in area.regions if region.type == "WINDOW")
    if overrides.ARE_SAFE:
        with bpy.context.temp_override(window=window, area=area, region=region):
            bpy.ops.image.view_all(fit_view=True)
        return
    space = area.spaces.active  # what was moved aside in it stays so: nothing but the operator brings it back
    width, height = space.image.size if space.image is not None else (0, 0)
    if width and height:
        space.zoom_percentage = 100 * _FILLED * min(region.width / width, region.height / height)


def _existing(window: bpy.types.Window) -> Place | None:
    areas = [area for area in window.screen.areas if area.ui_type == "IMAGE_EDITOR"]
    return (window, max(areas, key=_surface)) if areas else None


def _split(context: bpy.types.Context) -> Place | None:
    """Half of the viewport whose button was pressed: the half without the sidebar. None where it cannot be divided."""
    window, area = context.window, context.area
    if area is None or area.type != "VIEW_3D":
        return None
    areas = list(window.screen.areas)
    is_left = any(region.type == "UI" and region.alignment == "LEFT" for region in area.regions)
    try:  # the new area is the smaller one, and of two equal ones the left
        bpy.ops.screen.area_split(direction="VERTICAL", factor=0.501 if is_left else 0.5)
    except RuntimeError:  # an area over the whole window
        return None
    new = [each for each in window.screen.areas if each not in areas]
    return (window, new[0]) if new else None


def _in_new_window(context: bpy.types.Context) -> Place | None:
    before = list(context.window_manager.windows)
    bpy.ops.wm.window_new()
    new = [each for each in context.window_manager.windows if each not in before]
    return (new[0], max(new[0].screen.areas, key=_surface)) if new else None


def _surface(area: bpy.types.Area) -> int:
    return area.width * area.height
