"""Catalogs of Blender's asset browser: lines in a text file that Blender and many others write to as well.

The format is Blender's: `UUID:path/of/catalog:Simple Name`, a line `VERSION 1` before the first, `#` for comments.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path

import bpy
import filelock

from ...core.errors import InputError, TrellisError
from ...core.files import BRIEF, discard, move
from ...core.locks import lock_of
from ...core.messages import reason_of

FILE_NAME = "blender_assets.cats.txt"
CATALOG = "TRELLIS.2"

_NAMESPACE = uuid.UUID("5b8ce8dc-0a7c-5e0c-9a5f-0d7f0c9f7a11")  # of this add-on's catalogs, for good
_HEAD = "# Asset catalogs, one a line: UUID:path/of/catalog:Simple Name\n\nVERSION 1\n\n"
_PATIENCE = 10.0  # seconds to wait for others that write


def catalog_id(path: str = CATALOG) -> str:
    """The UUID of a catalog as this add-on makes it: the same path has the same everywhere and always."""
    return str(uuid.uuid5(_NAMESPACE, clean_path(path)))


def clean_path(path: str) -> str:
    """A catalog's path as Blender keeps it: parts between slashes, no colons, no backslashes."""
    if not isinstance(path, str):
        raise InputError('The catalog is no text; give a path such as "TRELLIS.2/Props".')
    parts = (part.strip() for part in path.replace("\\", "/").replace(":", "-").split("/"))
    cleaned = "/".join(" ".join(part.split()) for part in parts if part)
    if not cleaned:
        raise InputError('The catalog has no name; give a path such as "TRELLIS.2/Props".')
    return cleaned


def ensure_catalog(folder: Path, path: str = CATALOG) -> str:
    """See that the library in `folder` has the catalog, and return its UUID.

    A catalog of that path that is there keeps its UUID, one of ours that was renamed in Blender keeps its name.
    Whatever else stands in the file stays as it is; the file is replaced as a whole, and of several programs of
    this user one writes at a time. Raises `TrellisError` where the folder cannot be written.
    """
    path = clean_path(path)
    target = (folder / FILE_NAME).resolve()  # which may be a link
    try:
        with lock_of(target, _PATIENCE):
            text = _read(target)
            known = {known_path: known_id for known_id, known_path in reversed(_entries(text, target))}
            identifier = catalog_id(path)
            if path in known or identifier in known.values():
                return known.get(path, identifier)
            parts = path.split("/")
            # with those above it, which Blender would otherwise make up and call unsaved
            missing = [
                part
                for part in ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
                if part not in known and catalog_id(part) not in known.values()
            ]
            lines = "".join(f"{catalog_id(part)}:{part}:{part.replace('/', '-')}\n" for part in missing)
            ending = "" if not text or text.endswith("\n") else "\n"
            _replace(target, f"{text or _HEAD}{ending}{lines}")
            return identifier
    except filelock.Timeout as error:
        raise TrellisError("Another program holds {target}; try again when it is done.", target=target) from error
    except OSError as error:
        raise TrellisError("{target} cannot be written: {reason}.", target=target, reason=reason_of(error)) from error


def library_folders() -> dict[str, Path]:
    """The asset libraries of the preferences, by name."""
    libraries = bpy.context.preferences.filepaths.asset_libraries
    return {library.name: Path(bpy.path.abspath(library.path)) for library in libraries if library.path}


def folder_of_this_file() -> Path | None:
    """Where Blender looks for the catalogs of the open file: its library's folder, or else its own; None unsaved."""
    if not bpy.data.filepath:
        return None
    here = Path(bpy.data.filepath).parent
    return next((folder for folder in library_folders().values() if here.is_relative_to(folder)), here)


def catalogs_in(folder: Path) -> dict[str, str]:
    """The catalogs of a library: UUID by path."""
    target = folder / FILE_NAME
    return {path: identifier for identifier, path in _entries(_read(target), target)}


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise TrellisError(
            "{path} is no catalog file (not UTF-8); move it away, Blender writes a new one.", path=path
        ) from error


def _entries(text: str, path: Path) -> list[tuple[str, str]]:
    """(UUID, path) of each catalog."""
    found = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("VERSION"):
            if line.split()[1:] != ["1"]:
                raise TrellisError(
                    "{path} was written by a newer Blender ({line}); update this add-on.", path=path, line=line
                )
            continue
        identifier, _, rest = line.partition(":")
        found.append((identifier.strip().lower(), rest.partition(":")[0].strip()))
    return found


def _replace(target: Path, text: str) -> None:
    """The old text or the new one, never half of it."""
    handle, name = tempfile.mkstemp(prefix=target.name, suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, target.stat().st_mode & 0o777 if target.exists() else 0o644)
        move(name, target, BRIEF)
    except BaseException:
        discard(name)
        raise
