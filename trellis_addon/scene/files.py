"""Whole .blend files, for scripts and the command line."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..core.errors import TrellisError


def new_file() -> None:
    """Start from nothing: no cube, no camera, no light."""
    bpy.ops.wm.read_homefile(use_empty=True)


def open_file(path: Path) -> None:
    try:
        bpy.ops.wm.open_mainfile(filepath=str(path), load_ui=False)
    except RuntimeError as error:
        raise TrellisError(f"{path} cannot be opened as a .blend file; move it away or give another output.") from error


def save_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        bpy.ops.wm.save_as_mainfile(filepath=str(path.resolve()), compress=True, check_existing=False)
    except (RuntimeError, OSError) as error:
        raise TrellisError(f"{path} cannot be written: {str(error).strip().rstrip('.')}.") from error
