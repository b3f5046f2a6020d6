"""Where this package lies, and where it keeps things on the user's machine."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath

from .configuration import configuration

PACKAGE = Path(__file__).resolve().parents[1]  # whatever it is called in this process
EXTENSION = PACKAGE.parent  # the checkout, or what Blender made of the zip

_NAME = "trellis2-blender"
_STORE = "WindowsApps"  # where the Microsoft Store puts its programs


def file_of(module: str, package: Path = PACKAGE) -> Path:
    """The file of a module of this package (".runtime.entry"), for another Python to run by its path."""
    return package.joinpath(*module.split(".")).with_suffix(".py")


def default_folder(*, chosen: bool = True) -> Path:
    """Where jobs and their files live: outlasts Blender's versions and the extension's removal.

    Without `chosen`: where they would if the preferences said nothing.
    """
    named = configuration(chosen=chosen).home
    if named:
        return Path(named)
    import platformdirs

    usual = platformdirs.user_data_path(_NAME, appauthor=False)
    return _for_windows(usual, Path.home(), store_package()) if sys.platform == "win32" else usual


def shown_folder(folder: Path) -> Path:
    """A folder as other programs find it: Windows shows a program of the Store another one in place of AppData."""
    if not store_package():
        return folder
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".where-") as file:
            return Path(os.path.realpath(file.name)).parent
    except OSError:
        return folder


@functools.cache
def store_package() -> str:
    """The family name of the Microsoft Store's package that this process runs from; "" for all other programs."""
    return _told_package() or _package_in((sys.executable, sys.base_prefix))


def _told_package() -> str:
    if sys.platform == "win32":
        import ctypes

        length = ctypes.c_uint32(256)
        name = ctypes.create_unicode_buffer(length.value)
        try:
            if ctypes.windll.kernel32.GetCurrentPackageFamilyName(ctypes.byref(length), name) == 0:
                return name.value
        except (AttributeError, OSError):  # a Windows before 8
            pass
    return ""


def _package_in(paths: Iterable[str]) -> str:
    """The package of a path such as `C:\\Program Files\\WindowsApps\\Maker.Name_1.2.0.0_x64__id\\python.exe`."""
    for path in paths:
        parts = PureWindowsPath(path).parts
        name, *middle = parts[parts.index(_STORE) + 1].split("_") if _STORE in parts[:-1] else [""]
        if middle:
            return f"{name}_{middle[-1]}"
    return ""


def _for_windows(usual: Path, home: Path, package: str) -> Path:
    """The folder of a program of the Store, `package`, or of another program.

    What the former write into AppData lands in a folder of their own, which no other program sees and which goes with
    the app: theirs is in the user's folder. What a version before this one has put there stays in use. Other programs
    join them where they have nothing of their own.
    """
    outside = home / _NAME
    if not package:
        return outside if outside.is_dir() and not usual.exists() else usual
    hidden = usual.parent / "Packages" / package / "LocalCache" / "Local" / _NAME
    return hidden if (hidden / "jobs.sqlite3").is_file() and not outside.exists() else outside
