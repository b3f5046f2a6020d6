"""What the preferences say of this machine, told to the library: where the environment says nothing, it counts.

A variable that was there before Blender started is a studio's word, and counts more than the preferences.
"""

from __future__ import annotations

import os

from ..trellis_addon.core.configuration import choose, is_given


class Variable:
    """A field of the library's configuration that the preferences may choose; its value is a path."""

    def __init__(self, field: str) -> None:
        self._field = field

    def is_given(self) -> bool:
        """Whether the environment says it, so that a choice does not count."""
        return is_given(self._field)

    def use(self, path: str) -> None:
        """Choose it from now on; empty goes back to what holds without it."""
        path = path.strip()
        choose(**{self._field: os.path.abspath(os.path.expanduser(path)) if path else ""})

    def reset(self) -> None:
        """As it was before the extension was enabled."""
        choose(**{self._field: ""})


DATA_FOLDER = Variable("home")
LOCAL_FOLDER = Variable("local")
LOCAL_PYTHON = Variable("python")
WEIGHTS = Variable("weights")
BLENDER = Variable("blender")
