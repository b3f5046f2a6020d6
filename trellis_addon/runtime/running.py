"""Which processes run from the folder, so that nothing is taken away under them.

Each of them holds a lock on a file of its own; the system lets go of it however the process ends.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from ..core.configuration import configuration
from ..core.errors import EngineError
from ..core.files import discard
from ..core.folders import PACKAGE
from ..core.locks import take_lock
from .layout import LOCK_FILE, LocalFolder, PackagesFolder


@dataclass(frozen=True)
class Running:
    """A process, and the name of the folder in code/ that it runs from."""

    pid: int
    code: str


def hold() -> filelock.FileLock | None:
    """Say that this process runs from its folder, for as long as the result is kept; None where it does not."""
    named = configuration().local
    code = PACKAGE.parent
    if not named or code.parent != Path(named).resolve() / "code":
        return None
    folder = _folder(LocalFolder(Path(named)))
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{code.name}@{os.getpid()}.lock")
    lock.acquire(blocking=False)
    return lock


def running(folder: LocalFolder) -> list[Running]:
    """The processes that run from a folder now."""
    found: list[Running] = []
    for path in sorted(_folder(folder).glob("*.lock")):
        code, _, pid = path.stem.rpartition("@")
        lock = filelock.FileLock(path)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            found.append(Running(int(pid) if pid.isdigit() else 0, code))
        else:  # left by one that was killed
            lock.release()
            discard(path, 0)
    return found


def demand_idle(folder: LocalFolder, what: str) -> None:
    """Raise `EngineError` while something runs from the folder; `what` then is what cannot be done."""
    if (found := running(folder)) and isinstance(folder, PackagesFolder):
        raise EngineError(
            "A process ({process}) is working with these packages; wait until it is done, then {what}.",
            process=found[0].pid,
            what=what,
        )
    if found:
        raise EngineError(
            "The worker is running (process {process}); stop it, then {what}.", process=found[0].pid, what=what
        )


@contextlib.contextmanager
def exclusive(folder: LocalFolder) -> Iterator[None]:
    """Be the only one who installs or removes in a claimed folder; raises `EngineError` where somebody is at it.

    Programs that `virtual` starts meanwhile hold the lock as well (not on Windows): where this process is killed, they
    may go on for a while. A folder that is nobody's any more at the end is deleted where we made it, if it is empty.
    """
    state = folder.state()
    lock = take_lock(folder.root / LOCK_FILE)
    if lock is None:
        raise EngineError(
            "Another program is installing or removing in {folder}; wait until it is done, or end it.",
            folder=folder.root,
        )
    os.set_inheritable(lock.fileno(), True)
    try:
        yield
    finally:
        if os.name == "nt":  # which deletes no open files
            lock.close()
        discard(folder.root / LOCK_FILE)
        lock.close()
        if state is not None and state.made_root and folder.state() is None:
            with contextlib.suppress(OSError):  # something else is in it
                for place in [folder.root, *folder.root.parents][: 1 + state.made_above]:
                    place.rmdir()


def _folder(folder: LocalFolder) -> Path:
    return folder.cache / "running"
