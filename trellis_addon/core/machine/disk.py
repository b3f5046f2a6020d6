"""Telling a full disk from all else that can go wrong with files."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # the last is of a limit to a file's size
_FULL_WINDOWS = {39, 112}  # ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL
_NEXT_TO_NOTHING = 2**20  # bytes


def is_full(error: BaseException, folder: Path | None = None) -> bool:
    """Whether something failed because the disk, or what the user may have of it, is full.

    SQLite does not always say more than that it could not write: then it is told by what is left where `folder` is.
    """
    if isinstance(error, sqlite3.Error):
        kind = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return kind == sqlite3.SQLITE_FULL or (kind == sqlite3.SQLITE_IOERR and _has_no_room(folder))
    if isinstance(error, OSError):
        return error.errno in _FULL or getattr(error, "winerror", None) in _FULL_WINDOWS
    return False


def _has_no_room(folder: Path | None) -> bool:
    try:
        return folder is not None and shutil.disk_usage(folder).free < _NEXT_TO_NOTHING
    except OSError:
        return False
