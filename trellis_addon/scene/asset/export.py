"""The GLB as the service delivered it: for programs that shall get what was made, not what Blender made of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import bpy

from ...core.errors import DamagedFileError, FieldError, InputError, OutputError, TrellisError
from ...core.files import BRIEF, discard, move
from ...core.given import path_of
from ...core.messages import message
from ...core.output import demand_free, reason_of, shortened
from ...formats.glb.check import check_glb_file
from ...images import clean_name
from ...jobs.job import Asset
from ...jobs.store import JobStore
from ..importing.provenance import read_provenance


def original_of(obj: bpy.types.Object, *, store: JobStore | None = None) -> Asset:
    """The result of the job that an object was made by, its GLB on this disk.

    Raises `InputError` for an object of another origin, `TrellisError` where job or file are not here any more:
    its sentence says how to fetch them again.
    """
    provenance = read_provenance(obj)
    uuid = str(provenance.get("task_uuid") or "")
    if not uuid:
        raise InputError('"{name}" was not made by this add-on: there is no original to export.', name=obj.name)
    cure = message("fetch it again with Fetch by Task UUID: {uuid}", uuid=uuid)
    job = (store or JobStore()).get(uuid)
    if job is None:
        raise TrellisError('The job of "{name}" is not in this computer\'s list; {cure}.', name=obj.name, cure=cure)
    asset = next((asset for asset in job.assets if _is_same(asset, provenance)), None)
    if asset is None:
        raise TrellisError('The job of "{name}" has no such result any more; {cure}.', name=obj.name, cure=cure)
    if not asset.path.is_file():
        raise TrellisError(
            'The GLB of "{name}" is not in the jobs\' folder any more; {cure}.', name=obj.name, cure=cure
        )
    return asset


def export_original(
    obj: bpy.types.Object, target: str | os.PathLike[str], *, overwrite: bool = False, store: JobStore | None = None
) -> Path:
    """Copy the original GLB of an object, byte by byte, to a file or into a folder; returns the file.

    A file that is there is replaced only with `overwrite`. Raises `FieldError` for the target, `DamagedFileError`
    where the GLB itself is damaged, and as `original_of` does.
    """
    asset = original_of(obj, store=store)
    path = path_of(target, "target", of_home=True)
    if os.path.isdir(path):
        path /= f"{clean_name(obj.name)}.glb"
    if path.suffix.lower() != ".glb":
        raise FieldError("target", str(path), "give a folder, or a file name that ends in .glb")
    demand_free(path, overwrite)
    try:
        check_glb_file(asset.path)
    except DamagedFileError as error:
        raise DamagedFileError(
            'The GLB of "{name}" has been damaged on disk; delete the job\'s file.', name=obj.name
        ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _copy(asset.path, path, overwrite)
    except FileExistsError as error:
        raise FieldError(
            "target", str(path), message=message("{path} is there already; choose another name.", path=path)
        ) from error
    except (OSError, ValueError) as error:
        raise OutputError(
            "{path} cannot be written: {reason}.", path=shortened(path), reason=reason_of(error)
        ) from error
    return path


def _is_same(asset: Asset, provenance: dict[str, object]) -> bool:
    """Whether it is the very result; `file_uuid` is the surest, and older objects have none."""
    key = "file_uuid" if provenance.get("file_uuid") else "result_index"
    return asset.provenance.get(key) == provenance.get(key)


def _copy(source: Path, target: Path, overwrite: bool) -> None:
    """Whole or not at all; without `overwrite` not over what another program has put there meanwhile either."""
    handle, name = tempfile.mkstemp(suffix=".part", dir=target.parent)
    os.close(handle)
    try:
        shutil.copyfile(source, name)
        if not overwrite:
            target.open("xb").close()
        move(name, target, BRIEF)
    finally:
        discard(name)
