"""From a GLB to one clean object in the scene."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import bpy

from ...core.errors import DamagedFileError, TrellisError
from ...formats.glb.check import GlbInfo, check_glb
from ...images import clean_name
from ...jobs.job import Asset
from .materials import wire_materials
from .placement import clean_mesh_object, place
from .provenance import write_provenance
from .staging import staging_scene


def import_asset(
    asset: Asset | str | os.PathLike[str],
    *,
    height: float | None = 1.0,
    location: Sequence[float] | None = None,
    name: str = "",
    scene: bpy.types.Scene | None = None,
    parent_collection: bpy.types.Collection | None = None,
) -> bpy.types.Object:
    """Import a GLB as one mesh object, standing on the ground, in a collection of its own.

    `asset`: what `generate` returned, or the path of a GLB. `height`: in metres; None keeps the file's
    own size. `location`: where its bottom centre stands, in metres; default the scene's 3D cursor.
    Main thread only. Raises `DamagedFileError` (the file) or `TrellisError` (Blender could not); then
    nothing is left behind in the file.
    """
    if not isinstance(asset, Asset):
        asset = Asset.from_file(Path(asset))
    if height is not None and not 0.0001 <= height <= 100_000:
        raise TrellisError(f"height: {height} m cannot be used; allowed: from 0.0001 to 100000 m.")
    data, info = _read_checked(asset.path)
    target = scene or bpy.context.scene
    label = clean_name(name or asset.name)
    with staging_scene() as staging:
        _run_importer(asset.path, info)
        obj = clean_mesh_object(staging, label)
        wire_materials(obj, data)
        place(obj, height, target.cursor.location if location is None else location)
        write_provenance(obj, asset)
        give_collection(obj, label, parent_collection or target.collection)
        staging.collection.objects.unlink(obj)
    for layer in target.view_layers:
        layer.update()
    return obj


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
        raise DamagedFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    return data, check_glb(data)


def _run_importer(path: Path, info: GlbInfo) -> None:
    """Blender's own glTF importer, its failures as one sentence."""
    if not _has_gltf_importer():
        raise TrellisError("Blender's glTF 2.0 add-on is switched off; switch it on in Preferences > Add-ons.")
    if "KHR_draco_mesh_compression" in info.extensions and not _can_decode_draco():
        raise TrellisError(
            "The GLB is Draco-compressed, and this Blender has no Draco decoder; "
            "export the file without compression, or use another build of Blender."
        )
    wanted = {
        "filepath": str(path),
        "import_pack_images": True,
        # a GLB cuts the mesh along its UV seams; in Blender a closed surface shall be closed
        "merge_vertices": True,
        "import_shading": "NORMALS",
        # the following do not exist in every version
        "import_scene_as_collection": False,
        "import_select_created_objects": False,
        "import_scene_extras": False,
    }
    known = bpy.ops.import_scene.gltf.get_rna_type().properties.keys()
    try:
        with _quiet("glTFImporter"), _quiet("glTFImporter_errors"):
            outcome = bpy.ops.import_scene.gltf(**{key: value for key, value in wanted.items() if key in known})
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith("Location:")]  # where in Blender's own code
        cause = lines[-1] if lines else "unknown"
        raise DamagedFileError(
            f"Blender's importer cannot read {path.name} ({cause.removeprefix('Error: ')}). Nothing was imported."
        ) from error
    if "FINISHED" not in outcome:
        raise DamagedFileError(f"Blender's importer gave up on {path.name}. Nothing was imported.")


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Without the importer's chatter on the console: what matters comes back as an exception."""

    def nothing(record: logging.LogRecord) -> bool:
        return False

    logging.getLogger(logger).addFilter(nothing)
    try:
        yield
    finally:
        logging.getLogger(logger).removeFilter(nothing)


def _has_gltf_importer() -> bool:
    try:
        bpy.ops.import_scene.gltf.get_rna_type()
    except (KeyError, AttributeError):
        return False
    return True


def _can_decode_draco() -> bool:
    """Whether this build has the decoder library; the importer keeps the test in a place per version."""
    import importlib

    for module, arguments in (
        ("io_scene_gltf2.io.com.draco", (True,)),
        ("io_scene_gltf2.io.com.gltf2_io_draco_compression_extension", (True,)),
        ("io_scene_gltf2.io.com.library", ("bf_intern_draco_bridge", "Draco")),
    ):
        try:
            return bool(importlib.import_module(module).dll_exists(*arguments))
        except (ImportError, AttributeError, TypeError):
            continue
    return True  # not known: the importer itself will say
