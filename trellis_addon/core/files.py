"""Reading, renaming and deleting, also where another program holds a file for a moment; nobody else does.

On Windows a virus scanner, an indexer or a synchronisation opens a file that was just closed, for tenths of a second
up to many seconds, and meanwhile nobody can rename, replace or delete it. So it is tried again, with growing waits,
and whoever waits in vain is told who may hold the file. Elsewhere a refusal is final.
"""

from __future__ import annotations

import contextlib
import errno
import ntpath
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .messages import message

PATIENCE = 10.0  # seconds
BRIEF = 1.0  # on Blender's main thread, and for what may stay lying
_SCANNED = 100e6  # bytes a second, of a scanner on a slow disk
_FIRST, _LONGEST = 0.01, 1.0  # seconds between two tries
_DENIED = 5  # ERROR_ACCESS_DENIED: also what is being deleted, and what one has no right to
_HELD = {_DENIED, 32, 33, 145}  # sharing violation, lock violation, a folder whose content is just going

Found = TypeVar("Found")


class Held(PermissionError):
    """Another program did not let go of a file in time; says so."""


def move(part: str | os.PathLike[str], target: str | os.PathLike[str], patience: float | None = None) -> None:
    """Put a file in its place, over what lies there.

    `patience` in seconds: by default `PATIENCE`, and more for gigabytes, which a scanner reads first. Raises `OSError`.
    """
    if patience is None:
        with contextlib.suppress(OSError):
            patience = PATIENCE + os.stat(part).st_size / _SCANNED
    patiently(lambda: os.replace(part, target), PATIENCE if patience is None else patience)


def rename(source: Path, target: Path) -> None:
    """Give a file or a folder a name that nothing has yet; raises `OSError`, on Windows where something has it."""
    patiently(lambda: os.rename(source, target), PATIENCE)


def unlink(path: str | os.PathLike[str], patience: float = PATIENCE) -> None:
    """Delete a file, if it is there; raises `OSError`."""
    with contextlib.suppress(FileNotFoundError):
        patiently(lambda: os.unlink(path), patience)


def discard(path: str | os.PathLike[str], patience: float = BRIEF) -> bool:
    """Delete a file that does no harm where it stays; returns whether it is gone."""
    try:
        unlink(path, patience)
    except OSError:
        return False
    return True


def remove_folder(folder: Path, patience: float = PATIENCE) -> None:
    """Delete a folder with everything in it; raises `OSError`, when all has been deleted that can be."""
    with contextlib.suppress(FileNotFoundError):
        patiently(lambda: _remove_all(extended(folder)), patience)


def discard_folder(folder: Path, patience: float = BRIEF) -> bool:
    """Delete a folder that does no harm where it stays; returns whether it is gone."""
    try:
        remove_folder(folder, patience)
    except OSError:
        return False
    return True


def _remove_all(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        shutil.rmtree(folder)  # says why


def read_text(path: Path) -> str:
    """A small ordinary file's text, also while another of our programs just replaces it; `OSError`, `ValueError`."""
    return patiently(lambda: read_bytes(path), BRIEF).decode("utf-8")


def read_bytes(path: Path) -> bytes:
    """An ordinary file's bytes; raises `OSError`, also for a pipe or a device: those may never come to an end."""
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():  # of a folder the system says so itself
        raise OSError(errno.EINVAL, message("it is no ordinary file"))
    return path.read_bytes()


def patiently(action: Callable[[], Found], patience: float) -> Found:
    """Do it, again and again while another program is in the way, for `patience` seconds at most; raises `OSError`.

    What counts is the time it has waited, not the clock, which may jump.
    """
    waited, wait = 0.0, _FIRST
    while True:
        try:
            return action()
        except OSError as error:
            if not _is_held(error):
                raise
            if waited >= patience:
                raise _told(error) if patience else error from error
        time.sleep(wait)
        waited += wait
        wait = min(2 * wait, _LONGEST)


def extended(path: Path) -> Path:
    """The path as Windows takes it beyond 260 characters; elsewhere the same."""
    return Path(extended_name(os.path.abspath(path))) if os.name == "nt" else path


def extended_name(path: str) -> str:
    r"""An absolute Windows path that may be longer than 260 characters: \\?\C:\..., of a share \\?\UNC\server\share."""
    path = path.replace("/", "\\")
    if path.startswith(("\\\\?\\", "\\\\.\\")):
        return path
    return "\\\\?\\UNC\\" + path[2:] if ntpath.splitdrive(path)[0].startswith("\\\\") else "\\\\?\\" + path


def _is_held(error: OSError) -> bool:
    """Whether another program is in the way; only Windows says so, by a number of its own."""
    return getattr(error, "winerror", None) in _HELD or (os.name == "nt" and isinstance(error, PermissionError))


def _told(error: OSError) -> Held:
    reason = (
        message("it is write-protected, or another program, such as a virus scanner, holds it")
        if getattr(error, "winerror", _DENIED) == _DENIED
        else message("another program, such as a virus scanner, holds it")
    )
    return Held(error.errno, reason, error.filename)
