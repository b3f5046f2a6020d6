"""The data folder of the preferences, told to the library the way that a shell would: by its environment variable.

A variable that was there before Blender started is a studio's word, and counts more than the preferences.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

VARIABLE = "TRELLIS2_HOME"


@dataclass
class _Ours:
    folder: str = ""  # what was set here, to know it from somebody else's


_ours = _Ours()


def is_given() -> bool:
    """Whether somebody else has set the variable."""
    return bool(os.environ.get(VARIABLE)) and os.environ.get(VARIABLE) != _ours.folder


def use(folder: str) -> None:
    """Keep jobs in this folder from now on; empty goes back to the user's data folder."""
    if is_given():
        return
    reset()
    if folder.strip():
        _ours.folder = os.path.abspath(os.path.expanduser(folder.strip()))
        os.environ[VARIABLE] = _ours.folder


def reset() -> None:
    """As it was before the extension was enabled."""
    if _ours.folder and os.environ.get(VARIABLE) == _ours.folder:
        del os.environ[VARIABLE]
    _ours.folder = ""
