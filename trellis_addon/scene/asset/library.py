"""Marking objects as assets with a preview, saving them to libraries, and laying many of them out."""

from __future__ import annotations

import itertools
import logging
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from ...core.errors import InputError, TrellisError
from ...core.files import BRIEF, discard, move
from ...core.given import path_of
from ...core.messages import reason_of
from ...images import clean_name
from ..importing.placement import bounds, world_bounds
from ..importing.provenance import read_provenance
from ..render import render_object
from ..rules import guards
from .catalog import CATALOG, catalog_id, ensure_catalog, folder_of_this_file

log = logging.getLogger(__name__)

PREVIEW_SIZE = 256
AUTHOR = "TRELLIS.2 for Blender"
# A note for whoever finds the asset later, not advice: weights and picture are two things.
LICENCE = "Made with TRELLIS.2 (weights: MIT licence); the rights in the picture stay with their holder"
DRAFT_LICENCE = "Made without a model; the rights in the picture stay with their holder"


def mark_asset(
    obj: bpy.types.Object,
    *,
    preview: str | os.PathLike[str] | None = None,
    catalog: str | None = CATALOG,
    author: str = AUTHOR,
    licence: str | None = None,
    tags: Sequence[str] = (),
) -> None:
    """Mark as an asset: a preview, and from its provenance a description, tags and a note on the licence.

    `preview`: a picture to use; without one the object is rendered (about a second), as far as Cycles is there.
    `catalog`: path of the catalog to be in, written into the library that the open file belongs to (an unsaved file
    belongs to none: then only its UUID is set); None leaves it alone. `licence`: a note of your own. `tags` are added.
    Raises `InputError` for an object of another file and a preview that is no picture, `TrellisError` where the
    catalog file cannot be written; then the object is marked no more than before.
    """
    guards.require_object(obj)
    guards.require_own(obj)
    pixels = _read_preview(preview) if preview is not None else _render_preview(obj)
    if catalog is not None:
        folder = folder_of_this_file()
        identifier = ensure_catalog(folder, catalog) if folder else catalog_id(catalog)
    obj.asset_mark()
    if catalog is not None:
        obj.asset_data.catalog_id = identifier
    _describe(obj, author, licence, tags)
    if pixels is not None:
        _set_preview(obj, pixels)
    elif not bpy.app.background:
        obj.asset_generate_preview()  # Blender's own, which needs a window


def save_to_library(
    obj: bpy.types.Object,
    folder: str | os.PathLike[str],
    *,
    catalog: str = CATALOG,
    preview: str | os.PathLike[str] | None = None,
    author: str = AUTHOR,
    licence: str | None = None,
    tags: Sequence[str] = (),
) -> Path:
    """Save the object, marked, as a .blend of its own in an asset library's folder; returns the file.

    The name is the object's, with a number where that is taken: no file is ever replaced. In the open file the
    object stays marked or unmarked as it is; one that is marked is saved with what its mark says, and `author`,
    `licence` and `tags`, see `mark_asset`, are for one that is not. Raises `InputError` for a folder that is not
    there and an object of another file, `TrellisError` where it cannot be written; then no file is left behind.
    """
    folder = path_of(folder, "folder", of_home=True)
    if not folder.is_dir():
        raise InputError(
            "The asset library's folder {folder} is not there; choose another, or create it.", folder=folder
        )
    guards.require_object(obj)
    guards.require_own(obj)
    identifier = ensure_catalog(folder, catalog)
    guards.write_back(obj)
    before = obj.asset_data.catalog_id if obj.asset_data else None
    try:
        if before is None:
            mark_asset(obj, preview=preview, catalog=None, author=author, licence=licence, tags=tags)
        elif preview is not None:
            _set_preview(obj, _read_preview(preview))
        obj.asset_data.catalog_id = identifier
        target = _reserve(folder, clean_name(obj.name))
        _write_blend(obj, target)
    finally:
        if before is None:
            obj.asset_clear()
        else:
            obj.asset_data.catalog_id = before
    return target


def lay_out_grid(objects: Sequence[bpy.types.Object], *, gap: float = 0.25) -> None:
    """Stand the objects in rows on the ground, in the order given, behind whatever else is in the scene.

    `gap` is the free space between them, as a share of the widest. Raises `InputError` for what is no mesh object, has
    no vertices, or is linked from another file.
    """
    if not objects:
        return
    for obj in objects:
        guards.require_points(obj)
    guards.require_own(*objects, overrides=True)
    extents = []
    for obj in objects:
        with guards.mesh_as_it_is(obj) as mesh:
            extents.append(bounds(mesh))
    cell = max(float((high - low)[:2].max()) for low, high in extents) * (1 + gap)
    columns = math.ceil(math.sqrt(len(objects)))
    start = _free_depth(objects) + cell / 2
    for number, obj in enumerate(objects):
        row, column = divmod(number, columns)
        obj.matrix_world = Matrix.Translation(((column - (columns - 1) / 2) * cell, start + row * cell, 0.0))


def _describe(obj: bpy.types.Object, author: str, licence: str | None, tags: Sequence[str]) -> None:
    provenance = read_provenance(obj)
    engine = str(provenance.get("engine") or "unknown")
    is_draft = engine.startswith("draft:")
    data = obj.asset_data
    data.author = author
    data.description = f"Made from {provenance.get('image', 'a picture')} by {engine}"
    data.license = licence if licence is not None else (DRAFT_LICENCE if is_draft else LICENCE)
    # Blender keeps 63 bytes of a tag
    named = [clean_name(str(provenance[key])) for key in ("engine", "model", "image") if provenance.get(key)]
    tags = [tags] if isinstance(tags, str) else tags
    for tag in ("TRELLIS.2", "draft" if is_draft else "generated", *named, *tags):
        data.tags.new(tag, skip_if_exists=True)


def _reserve(folder: Path, name: str) -> Path:
    """A file that was not there before, and now is, empty: nobody else can take its name."""
    for number in itertools.count(1):
        target = folder / (f"{name}.blend" if number == 1 else f"{name}-{number}.blend")
        try:
            target.open("xb").close()
        except FileExistsError:
            continue
        except OSError as error:
            raise TrellisError(
                "{target} cannot be written: {reason}.", target=target, reason=reason_of(error)
            ) from error
        break
    return target


def _write_blend(obj: bpy.types.Object, target: Path) -> None:
    """Into the reserved file, whole or not at all."""
    part = target.with_name(f".{target.name}.part")
    try:
        bpy.data.libraries.write(str(part), {obj}, path_remap="ABSOLUTE", fake_user=True, compress=True)
        move(part, target, BRIEF)
    except (OSError, RuntimeError) as error:
        discard(part)
        discard(target)
        raise TrellisError("{target} cannot be written; see that the disk has room.", target=target) from error


def _free_depth(new: Sequence[bpy.types.Object]) -> float:
    """The y behind which nothing stands; 0 in an empty scene."""
    known = set(new)
    depths = [
        world_bounds(obj)[1].y
        for obj in bpy.context.scene.objects
        if obj.type == "MESH" and obj not in known and obj.data is not None and len(obj.data.vertices)
    ]
    return max(filter(math.isfinite, depths), default=0.0)


def _render_preview(obj: bpy.types.Object) -> np.ndarray | None:
    """A picture of the object as `_read_preview` gives it; None where this Blender cannot render one just now."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preview.png"
        try:
            render_object(obj, path, size=PREVIEW_SIZE, samples=8, transparent=True)
        except TrellisError as error:
            log.warning("%s is marked without a preview: %s", obj.name, error)
            return None
        return _read_preview(path)


def _read_preview(given: str | os.PathLike[str]) -> np.ndarray:
    """A picture's pixels as a preview has them, flat, RGBA from the lower left; raises `InputError`."""
    path = path_of(given, "preview", of_home=True)
    try:
        image = bpy.data.images.load(str(path), check_existing=False)
    except RuntimeError as error:
        raise InputError("{path} is no picture that can be a preview; use a PNG file.", path=path) from error
    try:
        if not image.size[0]:
            raise InputError("{path} is no picture that can be a preview; use a PNG file.", path=path)
        image.scale(PREVIEW_SIZE, PREVIEW_SIZE)
        pixels = np.ones((PREVIEW_SIZE * PREVIEW_SIZE, 4), np.float32)
        found = np.empty(PREVIEW_SIZE * PREVIEW_SIZE * image.channels, np.float32)
        image.pixels.foreach_get(found)
        channels = found.reshape(-1, image.channels)
        pixels[:, : image.channels] = channels
        if image.channels < 3:  # grey
            pixels[:, :3] = channels[:, :1]
        return pixels.reshape(-1)
    finally:
        bpy.data.images.remove(image)


def _set_preview(obj: bpy.types.Object, pixels: np.ndarray) -> None:
    """Put pixels into the datablock's preview; works with and without a window."""
    preview = obj.preview_ensure()
    preview.image_size = (PREVIEW_SIZE, PREVIEW_SIZE)
    preview.image_pixels_float.foreach_set(pixels)
