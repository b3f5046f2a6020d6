"""What the preferences say of this machine, told to the library the way that a shell would: by environment variables.

A variable that was there before Blender started is a studio's word, and counts more than the preferences.
"""

from __future__ import annotations

import os


class Variable:
    """An environment variable that the preferences may set, as long as nobody else has; its value is a path."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._ours = ""  # what was set here, to know it from somebody else's

    def is_given(self) -> bool:
        """Whether somebody else has set it."""
        return bool(os.environ.get(self.name)) and os.environ.get(self.name) != self._ours

    def use(self, path: str) -> None:
        """Set it from now on; empty goes back to what holds without it."""
        if self.is_given():
            return
        self.reset()
        if path.strip():
            self._ours = os.path.abspath(os.path.expanduser(path.strip()))
            os.environ[self.name] = self._ours

    def reset(self) -> None:
        """As it was before the extension was enabled."""
        if self._ours and os.environ.get(self.name) == self._ours:
            del os.environ[self.name]
        self._ours = ""


DATA_FOLDER = Variable("TRELLIS2_HOME")
LOCAL_FOLDER = Variable("TRELLIS2_LOCAL")
LOCAL_PYTHON = Variable("TRELLIS2_PYTHON")
WEIGHTS = Variable("TRELLIS2_WEIGHTS")
