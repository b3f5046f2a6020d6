"""Marking objects as assets with a preview, and laying many of them out."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from .placement import bounds, world_bounds
from .provenance import read_provenance
from .render import render_object

PREVIEW_SIZE = 256


def mark_asset(obj: bpy.types.Object, *, preview: Path | None = None) -> None:
    """Mark as an asset, with description and tags from its provenance and a preview picture.

    `preview`: a picture to use; without one the object is rendered (about a second).
    """
    obj.asset_mark()
    provenance = read_provenance(obj)
    engine = provenance.get("engine") or "unknown"
    obj.asset_data.author = "TRELLIS.2 for Blender"
    obj.asset_data.description = f"Made from {provenance.get('image', 'a picture')} by {engine}"
    for tag in ("TRELLIS.2", "draft" if str(engine).startswith("draft:") else "generated"):
        obj.asset_data.tags.new(tag, skip_if_exists=True)
    if preview is not None:
        _load_preview(obj, preview)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preview.png"
        render_object(obj, path, size=PREVIEW_SIZE, samples=8, transparent=True)
        _load_preview(obj, path)


def lay_out_grid(objects: Sequence[bpy.types.Object], *, gap: float = 0.25) -> None:
    """Stand the objects in rows on the ground, in the order given, behind whatever else is in the scene.

    `gap` is the free space between them, as a share of the widest.
    """
    if not objects:
        return
    extents = [bounds(obj.data) for obj in objects]
    cell = max(float((high - low)[:2].max()) for low, high in extents) * (1 + gap)
    columns = math.ceil(math.sqrt(len(objects)))
    start = _free_depth(objects) + cell / 2
    for number, obj in enumerate(objects):
        row, column = divmod(number, columns)
        obj.matrix_world = Matrix.Translation(((column - (columns - 1) / 2) * cell, start + row * cell, 0.0))


def _free_depth(new: Sequence[bpy.types.Object]) -> float:
    """The y behind which nothing stands; 0 in an empty scene."""
    known = set(new)
    depths = [
        world_bounds(obj)[1].y
        for obj in bpy.context.scene.objects
        if obj.type == "MESH" and obj not in known and len(obj.data.vertices)
    ]
    return max(depths, default=0.0)


def _load_preview(obj: bpy.types.Object, path: Path) -> None:
    """Put a picture's pixels into the datablock's preview; works with and without a window."""
    image = bpy.data.images.load(str(path), check_existing=False)
    try:
        image.scale(PREVIEW_SIZE, PREVIEW_SIZE)
        pixels = np.empty(PREVIEW_SIZE * PREVIEW_SIZE * 4, dtype=np.float32)
        image.pixels.foreach_get(pixels)
        preview = obj.preview_ensure()
        preview.image_size = (PREVIEW_SIZE, PREVIEW_SIZE)
        preview.image_pixels_float.foreach_set(pixels)
    finally:
        bpy.data.images.remove(image)
