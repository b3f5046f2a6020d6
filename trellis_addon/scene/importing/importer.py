"""From a GLB to one clean object in the scene."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import bpy

from ...core.errors import DamagedFileError, TrellisError
from ...core.messages import reason_of
from ...formats.glb.check import GlbInfo, check_glb, known_sound
from ...formats.glb.scenes import one_scene
from ...images import clean_name
from ...jobs.job import Asset
from ...task.height import check_height
from ..rules.guards import require_own
from ..rules.units import metres_per_unit
from .materials import wire_materials
from .placement import clean_mesh_object, place
from .polygons import restore_polygons
from .provenance import write_provenance
from .staging import staging_scene

log = logging.getLogger(__name__)

# What other add-ons hang into Blender's importer and exporter, by the names that these look for.
_HOOKS = tuple(f"glTF2{way}UserExtension{number}" for way in ("Import", "Export") for number in ("", "s")) + (
    "glTF2_pre_export_callback",
    "glTF2_post_export_callback",
)


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
        asset = Asset.from_file(Path(asset))
    check_height(height)
    data, info = _read_checked(asset.path)
    target = scene or bpy.context.scene
    parent = parent_collection or target.collection
    require_own(target, parent if parent != target.collection else None)
    label = clean_name(name or asset.name)
    where = None if keeps_place else target.cursor.location if location is None else location
    try:
        with staging_scene() as staging:
            with _shown_alone(asset.path, data) as (path, shown):
                _run_importer(path, asset.path.name, info)
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


@contextmanager
def without_hooks() -> Iterator[None]:
    """Without what other add-ons hang into the importer and the exporter.

    An asset is the same whichever add-ons are on, and one that is out of order does not make it fail.
    """
    names = bpy.context.preferences.addons.keys()
    modules = [module for name in names if (module := sys.modules.get(name)) is not None]
    taken = [(module, hook, vars(module).pop(hook)) for module in modules for hook in _HOOKS if hook in vars(module)]
    try:
        yield
    finally:
        for module, hook, value in taken:
            setattr(module, hook, value)


def _run_importer(path: Path, name: str, info: GlbInfo) -> None:
    """Blender's own glTF importer, its failures as one sentence about the file `name`."""
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
        with without_hooks(), _quiet("glTFImporter"), _quiet("glTFImporter_errors"):
            outcome = bpy.ops.import_scene.gltf(**{key: value for key, value in wanted.items() if key in known})
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith("Location:")]  # where in Blender's own code
        cause = lines[-1] if lines else "unknown"
        raise DamagedFileError(
            "Blender's importer cannot read {name} ({cause}). Nothing was imported.",
            name=name,
            cause=cause.removeprefix("Error: "),
        ) from error
    if "FINISHED" not in outcome:
        raise DamagedFileError("Blender's importer gave up on {name}. Nothing was imported.", name=name)


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
