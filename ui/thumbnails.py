"""Small pictures of jobs as icons."""

from __future__ import annotations

from pathlib import Path

import bpy
import bpy.utils.previews

_previews: bpy.utils.previews.ImagePreviewCollection | None = None


def icon_of(key: str, path: Path) -> int:
    """The icon value for a picture file, loaded when it is first shown; 0 where there is none."""
    global _previews
    if _previews is None:
        _previews = bpy.utils.previews.new()
    if key not in _previews:
        if not path.is_file():
            return 0
        _previews.load(key, str(path), "IMAGE")
    return _previews[key].icon_id


def register() -> None:
    pass


def unregister() -> None:
    global _previews
    if _previews is not None:
        bpy.utils.previews.remove(_previews)
        _previews = None
