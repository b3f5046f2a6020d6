"""From a GLB to one clean object in the scene."""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy

from ...core.errors import DamagedFileError, FieldError, TrellisError
from ...core.given import path_of
from ...core.messages import message, reason_of
from ...formats.glb.check import GlbInfo, check_glb, known_sound
from ...formats.glb.scenes import one_scene
from ...images import clean_name
from ...jobs.job import Asset
from ...task.height import check_height
from ..rules.guards import require_main_thread, require_own
from ..rules.units import metres_per_unit
from .gltf import run_importer
from .materials import wire_materials
from .placement import clean_mesh_object, place
from .polygons import restore_polygons
from .provenance import write_provenance
from .staging import staging_scene

log = logging.getLogger(__name__)


def import_asset(
    asset: Asset | str | os.PathLike[str],
    *,
    height: float | None = 1.0,
    location: Sequence[float] | None = None,
    name: str = "",
    scene: bpy.types.Scene | None = None,
    parent_collection: bpy.types.Collection | None = None,
    keeps_place: bool = False,
) -> bpy.types.Object:
    """Import a GLB as one mesh object, standing on the ground, in a collection of its own.

    `asset`: what `generate` returned, or the path of a GLB. `height`: in metres; None keeps the file's
    own size. `location`: where its bottom centre stands, in Blender's coordinates as any object's; default the
    scene's 3D cursor. `keeps_place`: where the file has it, its coordinates being the scene's.
    Main thread only. Raises `DamagedFileError` (the file) or `TrellisError` (Blender could not); then
    nothing is left behind in the file.
    """
    if not isinstance(asset, Asset):
        asset = Asset.from_file(path_of(asset, "asset"))
    require_main_thread("import_asset")
    check_height(height)
    if location is not None and not _is_place(location):
        raise FieldError("location", location, message("give three numbers, such as (0, 0, 0)"))
    data, info = _read_checked(asset.path)
    target = scene or bpy.context.scene
    parent = parent_collection or target.collection
    require_own(target, parent if parent != target.collection else None)
    label = clean_name(name or asset.name)
    where = None if keeps_place else target.cursor.location if location is None else location
    try:
        with staging_scene() as staging:
            with _shown_alone(asset.path, data) as (path, shown):
                run_importer(path, asset.path.name, info)
            restore_polygons(staging, shown)
            obj = clean_mesh_object(staging, label)
            wire_materials(obj, shown)
            place(obj, height, where, metres_per_unit(target))
            write_provenance(obj, asset)
            give_collection(obj, label, parent)
            staging.collection.objects.unlink(obj)
    except TrellisError:
        raise
    except Exception as error:  # whatever Blender or an add-on in it comes up with: callers rely on the tree of errors
        log.exception("%s cannot be imported", asset.path)
        raise TrellisError(
            "{name} cannot be brought into this file, for an unexpected reason ({kind}); the console has the details.",
            name=asset.path.name,
            kind=type(error).__name__,
        ) from error
    for layer in target.view_layers:
        layer.update()
    return obj


def _is_place(location: Any) -> bool:
    try:
        return len(location) == 3 and all(math.isfinite(float(value)) for value in location)
    except (TypeError, ValueError):
        return False


def give_collection(obj: bpy.types.Object, label: str, parent: bpy.types.Collection) -> bpy.types.Collection:
    """Put an object into a collection of its own, under `parent`."""
    collection = bpy.data.collections.new(label)
    collection.objects.link(obj)
    parent.children.link(collection)
    return collection


def _read_checked(path: Path) -> tuple[bytes, GlbInfo]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedFileError("{path} cannot be read: {reason}.", path=path, reason=reason_of(error)) from error
    return data, known_sound(path) or check_glb(data)


@contextmanager
def _shown_alone(path: Path, data: bytes) -> Iterator[tuple[Path, bytes]]:
    """The file to import, and its bytes: the importer takes every node of every scene, so it gets those shown alone."""
    shown = one_scene(data)
    if shown is data:
        yield path, data
        return
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "shown.glb"
        alone.write_bytes(shown)
        yield alone, shown
