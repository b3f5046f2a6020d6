"""What outlasts an installation: the folders that were chosen in the preferences, in a small file; nothing secret.

Blender keeps preferences by the repository that the extension came from: who has dropped a zip onto it first and
subscribes later starts with empty ones, and 25 GB would be downloaded a second time. So what was chosen is written into
the data folder where it always is, and empty preferences begin with that.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import bpy

from ..trellis_addon.core.files import BRIEF, move
from ..trellis_addon.core.folders import default_folder

log = logging.getLogger(__name__)

FILE = "choices.json"
NAMES = ("data_folder", "local_folder", "local_python", "weights")

_is_taking = False


def keep(stored: Any) -> None:
    """Write down what is chosen now. That it cannot be written is no reason to stop: it is for another day."""
    try:
        path = _file()
        part = path.with_name(f"{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(_chosen(stored), indent=2) + "\n", encoding="utf-8")
        move(part, path, BRIEF)
    except (OSError, ImportError) as error:
        log.info("The chosen folders cannot be written down: %s", error)


def take(stored: Any) -> None:
    """Empty preferences begin with what a former installation has chosen; others see that theirs is written down."""
    try:
        has_file = _file().exists()
    except (OSError, ImportError) as error:  # packages that are not there yet are no reason not to be enabled
        log.info("The chosen folders cannot be looked for: %s", error)
        return
    if any(_chosen(stored).values()):
        if not has_file:  # of a version before this one
            keep(stored)
        return
    global _is_taking
    _is_taking = True
    try:
        for name, path in _kept().items():
            log.info("As a former installation had it: %s is %s", name, path)
            setattr(stored, name, path)
    finally:
        _is_taking = False


def is_taking() -> bool:
    """Whether properties are just set from the file: their update functions do nothing then, as Blender may still be
    starting, and whoever enables the extension goes by all of them afterwards."""
    return _is_taking


def _chosen(stored: Any) -> dict[str, str]:
    return {name: bpy.path.abspath(getattr(stored, name).strip()) for name in NAMES}


def _kept() -> dict[str, str]:
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    told = found if isinstance(found, dict) else {}
    return {name: path for name in NAMES if isinstance(path := told.get(name), str) and path}


def _file() -> Path:
    return default_folder(chosen=False) / FILE
