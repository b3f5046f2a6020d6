"""What the tests of rebaking share: objects as they look, taken to a GLB by a Blender without a window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from trellis_addon.runtime.child import run_blender
from trellis_addon.scene.rebaking.copies import save_copies


def sent(objects: Sequence[Any], folder: Path, size: int = 256) -> Path:
    """The GLB of these objects that rebaking begins with."""
    save_copies(objects, folder / "copies.blend")
    path = folder / "sent.glb"
    arguments = [str(folder / "copies.blend"), str(path), "--texture-size", str(size)]
    assert run_blender(bpy.app.binary_path, ".scene.rebaking.process", arguments, lambda: None) == ""
    return path
