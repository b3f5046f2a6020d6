"""Blender's own glTF importer: its failures as one sentence, and without what other add-ons hang into it.

Up to Blender 5.0 (Python 3.11) an operator that runs under `temp_override` brings Blender down as soon as another
thread runs Python at that moment: operators let go of the interpreter, and whatever then asks the context reads the
override's dictionary without holding it, because Blender asks whether *any* thread holds it. Imports happen under an
override and jobs run in threads, so there the importer is called by its functions, which hold it throughout.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy

from ...core.errors import DamagedFileError, TrellisError
from ...formats.glb.check import GlbInfo

# What other add-ons hang into Blender's importer and exporter, by the names that these look for.
_HOOKS = tuple(f"glTF2{way}UserExtension{number}" for way in ("Import", "Export") for number in ("", "s")) + (
    "glTF2_pre_export_callback",
    "glTF2_post_export_callback",
)


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


def run_importer(path: Path, name: str, info: GlbInfo) -> None:
    """Import `path` into the context's scene.

    Raises `DamagedFileError` that calls the file `name`, or `TrellisError` where this Blender has not what it needs.
    """
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
    with without_hooks(), _quiet("glTFImporter"), _quiet("glTFImporter_errors"):
        if sys.version_info < (3, 12):
            _by_its_functions(wanted, name)
        else:
            _by_its_operator(wanted, name)


def _by_its_operator(wanted: dict[str, Any], name: str) -> None:
    known = bpy.ops.import_scene.gltf.get_rna_type().properties.keys()
    try:
        outcome = bpy.ops.import_scene.gltf(**{key: value for key, value in wanted.items() if key in known})
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith("Location:")]  # where in Blender's own code
        raise _unreadable(name, lines[-1].removeprefix("Error: ") if lines else "unknown") from error
    if "FINISHED" not in outcome:
        raise DamagedFileError("Blender's importer gave up on {name}. Nothing was imported.", name=name)


def _by_its_functions(wanted: dict[str, Any], name: str) -> None:
    """What the operator does of itself, in the releases with Python 3.11, whose importer does not change any more."""
    reading = importlib.import_module("io_scene_gltf2.io.imp.gltf2_io_gltf")
    try:
        making = importlib.import_module("io_scene_gltf2.blender.imp.blender_gltf")
    except ModuleNotFoundError:  # its name up to 4.2
        making = importlib.import_module("io_scene_gltf2.blender.imp.gltf2_blender_gltf")
    properties = bpy.ops.import_scene.gltf.get_rna_type().properties
    settings = {item.identifier: item.default for item in properties if hasattr(item, "default")}
    settings.update(wanted, import_user_extensions=[], loglevel=logging.CRITICAL)
    try:
        importer = reading.glTFImporter(wanted["filepath"], settings)
        importer.read()
        importer.checks()
        with _without(making.BlenderScene, "select_imported_objects"):  # by an operator, in 4.2 always
            making.BlenderGlTF.create(importer)
    except reading.ImportError as error:
        raise _unreadable(name, str(error.args[0])) from error
    except Exception as error:  # of a damaged file the importer's own code may raise anything
        raise _unreadable(name, f"{type(error).__name__}: {error}") from error


def _unreadable(name: str, cause: str) -> DamagedFileError:
    return DamagedFileError(
        "Blender's importer cannot read {name} ({cause}). Nothing was imported.", name=name, cause=cause
    )


@contextmanager
def _without(owner: type, function: str) -> Iterator[None]:
    """With a static function of a class doing nothing."""
    kept = vars(owner)[function]
    setattr(owner, function, staticmethod(lambda *arguments: None))
    try:
        yield
    finally:
        setattr(owner, function, kept)


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
