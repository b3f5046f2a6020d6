"""The service's folder: one of the user's choice, which stays, or a temporary one, which goes with the process.

A lock file says that a service is alive in it. The system drops the lock however the process ends,
so a temporary folder whose lock can be had is one that nobody needs any more.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from pathlib import Path

from ...core.errors import InputError
from ...core.files import discard_folder
from ...core.locks import take_lock

log = logging.getLogger(__name__)

PREFIX = "trellis-service-"
DATABASE = "service.sqlite"
_PASSING = "passing.sqlite"
_LOCK = "lock"
# may be there before the first service; see `presence`, and `people.tokens`
_BEFORE = ("clients", "start.lock", "ends.json", "tokens.json", "tokens.json.part")
_NEW = 60.0  # seconds in which a folder without a lock may be one that is just being made


class ServiceFolder:
    """The folder while this process holds it. Raises `InputError` or `OSError` when it cannot be had."""

    def __init__(self, folder: Path | None) -> None:
        self.lasting = folder is not None
        if folder is None:
            remove_abandoned(Path(tempfile.gettempdir()))
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))  # with mode 0700
        else:
            self.path = prepare(folder)
        lock = take_lock(self.path / _LOCK)
        if lock is None:
            raise InputError(
                "Another service is using the folder {folder}; choose another one, or end that service.", folder=folder
            )
        self._lock = lock

    @property
    def database(self) -> str:
        """Where the journal lies; that of a temporary service goes with it."""
        return str(self.path / (DATABASE if self.lasting else _PASSING))

    def close(self) -> None:
        """Let go of it; a temporary one is removed with all that is in it."""
        self._lock.close()
        if self.lasting:
            return
        for _ in range(3):  # a file that is just being written may come while it is deleted
            if discard_folder(self.path):
                break
            time.sleep(0.05)


def remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders of services of this user that were ended by force."""
    for folder in parent.glob(PREFIX + "*"):
        try:
            if folder.is_symlink() or not _is_ours(folder):
                continue
            lock_file = folder / _LOCK
            if time.time() - lock_file.stat().st_mtime < _NEW:
                continue
            lock = take_lock(lock_file)
            if lock is not None:
                lock.close()
                discard_folder(folder)
                log.info("Removed %s, which a service left behind.", folder.name)
        except OSError:  # without a lock file, or gone in the meantime: not for us to judge
            continue


def prepare(folder: Path) -> Path:
    """The user's folder, made where it is missing, readable by its user only; raises `InputError`, `OSError`."""
    folder = folder.absolute()
    folder.mkdir(mode=0o700, exist_ok=True)
    names = {path.name for path in folder.iterdir()}
    if names - {_LOCK, *_BEFORE} and DATABASE not in names:
        raise InputError(
            "The folder {folder} holds other things; choose a new or empty one for the service.", folder=folder
        )
    folder.chmod(0o700)
    return folder


def _is_ours(folder: Path) -> bool:
    return sys.platform == "win32" or folder.stat().st_uid == os.getuid()
