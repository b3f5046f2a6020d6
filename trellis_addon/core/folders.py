"""Where this package lies, and where it keeps things on the user's machine."""

from __future__ import annotations

from pathlib import Path

from .configuration import configuration

PACKAGE = Path(__file__).resolve().parents[1]  # whatever it is called in this process
EXTENSION = PACKAGE.parent  # the checkout, or what Blender made of the zip


def default_folder(*, chosen: bool = True) -> Path:
    """Where jobs and their files live: outlasts Blender's versions and the extension's removal.

    Without `chosen`: where they would if the preferences said nothing.
    """
    import platformdirs

    return Path(configuration(chosen=chosen).home or platformdirs.user_data_path("trellis2-blender", appauthor=False))
