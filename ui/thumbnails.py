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


def large_icon_of(path: Path) -> int:
    """The icon value for a picture file in its own size, where `icon_of` has 256 pixels at most; 0 where there is none.

    Read here and now: for the one picture that is looked at.
    """
    global _previews
    if _previews is None:
        _previews = bpy.utils.previews.new()
    key = f"large {path}"
    if key not in _previews:
        if not path.is_file():
            return 0
        import numpy as np
        from PIL import Image

        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGBA").transpose(Image.Transpose.FLIP_TOP_BOTTOM), np.float32) / 255
        preview = _previews.new(key)
        preview.image_size = pixels.shape[1::-1]
        preview.image_pixels_float.foreach_set(pixels.reshape(-1))
    return _previews[key].icon_id


def register() -> None:
    pass


def unregister() -> None:
    global _previews
    if _previews is not None:
        bpy.utils.previews.remove(_previews)
        _previews = None
