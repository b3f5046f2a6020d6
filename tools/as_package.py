"""The extension as one importable package, for tools that read it: its own name is Blender's to choose."""

from __future__ import annotations

import shutil
from pathlib import Path

from environments import ROOT

NAME = "trellis2"
FOLDERS = ("trellis_addon", "addon", "operators", "ui")


def copy_extension(folder: Path) -> Path:
    """Make `folder`/trellis2 a copy of the extension's code as it is now; returns it."""
    extension = folder / NAME
    shutil.rmtree(extension, ignore_errors=True)
    extension.mkdir(parents=True)
    shutil.copy2(ROOT / "__init__.py", extension / "__init__.py")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, extension / name, ignore=shutil.ignore_patterns("__pycache__"))
    return extension
