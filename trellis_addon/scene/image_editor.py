"""An Image Editor beside what the artist looks at, to mark or paint in."""

from __future__ import annotations

from collections.abc import Callable

import bpy

_SETTLES = 0.1  # seconds that a new area needs to be laid out

Then = Callable[[], object]


def show_beside(context: bpy.types.Context, image: bpy.types.Image, mode: str = "", then: Then | None = None) -> None:
    """Show a picture, whole, in the window's Image Editor, or in one that the 3D viewport makes room for.

    A little later, when the button that was pressed is done: its own area may be the one that is split. `mode` is the
    editor's ("PAINT"), empty leaves it; `then` is called with the editor as its context. Main thread only.
    """
    window, area, name = context.window, context.area, image.name

    def show() -> None:
        shown = bpy.data.images.get(name)
        if shown is None or window not in list(bpy.context.window_manager.windows):
            return
        place = _existing(window) or _split(window, area) or _in_new_window(window)
        if place is None:
            return
        owner, editor = place
        editor.ui_type = "IMAGE_EDITOR"
        editor.spaces.active.image = shown
        if mode:
            editor.spaces.active.mode = mode
            _hide_uvs(editor.spaces.active.uv_editor)
        bpy.app.timers.register(lambda: _settled(owner, editor, then), first_interval=_SETTLES)

    bpy.app.timers.register(show, first_interval=0.0)


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


def _settled(window: bpy.types.Window, area: bpy.types.Area, then: Then | None) -> None:
    if window not in list(bpy.context.window_manager.windows) or area not in list(window.screen.areas):
        return
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.image.view_all(fit_view=True)
        if then is not None:
            then()


def _existing(window: bpy.types.Window) -> tuple[bpy.types.Window, bpy.types.Area] | None:
    areas = [area for area in window.screen.areas if area.ui_type == "IMAGE_EDITOR"]
    return (window, max(areas, key=_surface)) if areas else None


def _split(window: bpy.types.Window, area: bpy.types.Area | None) -> tuple[bpy.types.Window, bpy.types.Area] | None:
    """Half of the viewport: the half without the sidebar. None where the screen cannot be divided."""
    areas = list(window.screen.areas)
    viewports = [each for each in areas if each.type == "VIEW_3D"]
    if area is None or area not in viewports:
        area = max(viewports or areas, key=_surface)
    is_left = any(region.type == "UI" and region.alignment == "LEFT" for region in area.regions)
    try:
        with bpy.context.temp_override(window=window, area=area):
            bpy.ops.screen.area_split(direction="VERTICAL", factor=0.5)
    except RuntimeError:  # an area over the whole window
        return None
    new = [each for each in window.screen.areas if each not in areas]
    if not new:
        return None
    return window, (max if is_left else min)((area, new[0]), key=lambda each: each.x)


def _in_new_window(window: bpy.types.Window) -> tuple[bpy.types.Window, bpy.types.Area] | None:
    before = list(bpy.context.window_manager.windows)
    with bpy.context.temp_override(window=window):
        bpy.ops.wm.window_new()
    new = [each for each in bpy.context.window_manager.windows if each not in before]
    return (new[0], max(new[0].screen.areas, key=_surface)) if new else None


def _surface(area: bpy.types.Area) -> int:
    return area.width * area.height
