"""One of this user's programs at a time: a lock for a file that several may write to."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import filelock

from .core.folders import default_folder


def lock_of(target: Path, patience: float) -> filelock.BaseFileLock:
    """The lock of a file; entering it raises `filelock.Timeout` after `patience` seconds, and `OSError`.

    Kept with the jobs, not beside the file: it would stay lying there.
    """
    folder = default_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(os.path.normcase(target.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return filelock.FileLock(folder / f"{digest}.lock", timeout=patience)
