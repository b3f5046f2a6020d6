"""Locks between processes: the system lets go of them however their holder ends."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .folders import default_folder

if TYPE_CHECKING:
    import filelock


def take_lock(path: Path) -> IO[bytes] | None:
    """The lock file, locked for as long as it stays open; None where another process holds it."""
    file = path.open("ab")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def lock_of(target: Path, patience: float) -> filelock.BaseFileLock:
    """This user's lock of a file that several programs may write to.

    Entering it raises `filelock.Timeout` after `patience` seconds, and `OSError`. Kept with the jobs, not beside the
    file: it would stay lying there.
    """
    import filelock

    folder = default_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(os.path.normcase(target.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return filelock.FileLock(folder / f"{digest}.lock", timeout=patience)
