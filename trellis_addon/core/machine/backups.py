"""Leaving out of a Mac's backups and index what can be downloaded again."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from ..processes import ask

NEVER_INDEX = ".metadata_never_index"  # Spotlight leaves out the folder that has this file
_TIMEOUT = 20.0  # seconds


def leave_out(folder: Path) -> None:
    """Keep a folder, which holds nothing of the user's own, out of Time Machine and Spotlight; elsewhere nothing."""
    if sys.platform == "darwin":
        ask(["/usr/bin/tmutil", "addexclusion", str(folder)], _TIMEOUT)
        with contextlib.suppress(OSError):
            (folder / NEVER_INDEX).touch()
