"""Whole .blend files, for scripts and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import filelock

from ..core.errors import TrellisError
from ..core.locks import lock_of
from ..core.messages import reason_of


def new_file() -> None:
    """Start from nothing: no cube, no camera, no light."""
    bpy.ops.wm.read_homefile(use_empty=True)


@contextmanager
def alone_with(path: Path, patience: float = 0.0) -> Iterator[None]:
    """From opening a .blend file to saving it: two that do so at once would each lose what the other has made.

    Raises `TrellisError` where another program of this user is at it, and still is after `patience` seconds.
    """
    try:
        lock = lock_of(path, patience)
        lock.acquire(timeout=patience)
    except filelock.Timeout as error:
        raise TrellisError(
            "{path} is being written by another program; wait for it, or give another output.", path=path
        ) from error
    except OSError as error:
        raise TrellisError(
            "The lock of {path} cannot be written: {reason}.", path=path, reason=reason_of(error)
        ) from error
    try:
        yield
    finally:
        lock.release()


def stamp_of(path: Path) -> tuple[int, int] | None:
    """What tells one state of a file from another: when it was written, and its bytes; None where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def open_file(path: Path) -> None:
    try:
        bpy.ops.wm.open_mainfile(filepath=str(path), load_ui=False)
    except RuntimeError as error:
        raise TrellisError(
            "{path} cannot be opened as a .blend file; move it away or give another output.", path=path
        ) from error


def use_own_scene() -> None:
    """See that the open scene is one that something can be put into: a file may show one that is linked into it."""
    window = bpy.context.window or bpy.context.window_manager.windows[0]
    if window.scene.is_editable and window.scene.override_library is None:
        return
    # of those that are this file's own Blender keeps one at least
    window.scene = next(scene for scene in bpy.data.scenes if scene.is_editable and scene.override_library is None)


def save_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        bpy.ops.wm.save_as_mainfile(filepath=str(path.resolve()), compress=True, check_existing=False)
    except (RuntimeError, OSError) as error:
        raise TrellisError(
            "{path} cannot be written: {reason}.", path=path, reason=str(error).strip().rstrip(".")
        ) from error
