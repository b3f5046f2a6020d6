"""Locks between processes: the system lets go of them however their holder ends."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .folders import default_folder

if TYPE_CHECKING:
    import filelock


class Lock:
    """A locked file; `close` lets go of it, the end of a `with` and that of the process do as well."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        if self._file.closed:
            return
        if sys.platform == "win32":
            import msvcrt

            # Windows lets go of what was only closed when it gets to it
            with contextlib.suppress(OSError):
                msvcrt.locking(self._file.fileno(), msvcrt.LK_UNLCK, 1)
        self._file.close()


def take_lock(path: Path) -> Lock | None:
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
    return Lock(file)


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
