"""Taking the local backend away: everything of ours in the folder, and nothing else."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ...core.errors import EngineError
from ...core.files import extended, patiently
from ...core.machine.backups import NEVER_INDEX
from ...core.machine.places import is_link
from ...core.messages import message, reason_of
from ...core.progress import Progress
from ...runtime.layout import PARTS, LocalFolder
from ...runtime.running import demand_idle, exclusive

_PATIENCE = 3.0  # seconds for each file that another program has open
_WEIGHTS = "weights"


def remove(folder: LocalFolder, *, keep_weights: bool = False, progress: Progress | None = None) -> int:
    """Delete what is ours in a folder; returns the bytes freed.

    Links are deleted, never followed. The folder itself goes where we made it and nothing else is in it. Raises
    `EngineError` for a folder that is not ours, while a worker runs from it, and where something cannot be deleted;
    doing it again then goes on. `Cancelled` leaves the rest in place.
    """
    progress = progress or Progress()
    state = folder.state()
    if state is None:
        raise EngineError("Nothing is installed in {folder}.", folder=folder.root)
    demand_idle(folder, message("remove it"))
    with exclusive(folder):
        # half an installation must not look like one
        folder.write_state(replace(state, complete=False))
        parts = [part for part in _parts(folder) if part.name != _WEIGHTS or not keep_weights]
        total = sum(map(_size, parts))
        freed = 0
        for part in parts:
            for size in delete(part):
                freed += size
                progress.update("Removing", freed / total if total else 1.0)
        if not holds_anything(folder):
            give_folder_up(folder)
    return freed


def size_of(folder: LocalFolder) -> int:
    """The bytes that `remove` would free."""
    return sum(map(_size, _parts(folder)))


def _parts(folder: LocalFolder) -> list[Path]:
    return [*_inside(folder), folder.elsewhere]


def _inside(folder: LocalFolder) -> list[Path]:
    # a worker of one engine alone has a service folder of its own (client/worker_home.py)
    return [*(folder.root / name for name in PARTS), *sorted(folder.root.glob(f"{folder.service.name}-*"))]


def holds_anything(folder: LocalFolder) -> bool:
    """Whether anything of ours is in a folder, besides what it says about itself."""
    return any(part.exists() for part in _inside(folder))


def drop_root(folder: LocalFolder) -> None:
    """Take a claimed folder away again where nothing of ours has come into it."""
    if not holds_anything(folder):
        with exclusive(folder):
            give_folder_up(folder)


def give_folder_up(folder: LocalFolder) -> None:
    """Make the folder nobody's; `running.exclusive` takes it away then."""
    for path in (folder.root / NEVER_INDEX, folder.state_file.with_suffix(".new"), folder.state_file):
        for _ in delete(path):
            pass


def delete(path: Path) -> Iterator[int]:
    """Delete a file or a folder with everything in it, without following links; yields the bytes of each as it goes.

    Raises `EngineError` for what cannot be deleted.
    """
    path = extended(path)
    try:
        facts = path.lstat()
    except OSError:
        return
    if stat.S_ISDIR(facts.st_mode) and not is_link(facts):
        for name in _names(path):
            yield from delete(path / name)
        _insist(path.rmdir, path)
        return
    _insist(path.rmdir if stat.S_ISDIR(facts.st_mode) else path.unlink, path)
    yield facts.st_size


def _names(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except PermissionError:
        _allow(path)
    try:
        return os.listdir(path)
    except OSError as error:
        raise _refused(path, error) from error


def _insist(action: Callable[[], None], path: Path) -> None:
    """Do it, also where its rights are in the way, or another program has it open for a moment."""
    try:
        return action()
    except FileNotFoundError:
        return None
    except OSError:
        _allow(path)
        _allow(path.parent)
    try:
        return patiently(action, _PATIENCE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(path, error) from error


def _allow(path: Path) -> None:
    """Make something writable that is ours: wheels and Windows know read-only files."""
    with contextlib.suppress(OSError):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | stat.S_IRWXU)


def _refused(path: Path, error: OSError) -> EngineError:
    return EngineError(
        "{path} cannot be deleted ({reason}); close what uses it, then remove again: what is gone stays gone.",
        path=path,
        reason=reason_of(error),
    )


def _size(path: Path) -> int:
    """The bytes below a path; links count as themselves."""
    try:
        facts = path.lstat()
        if not stat.S_ISDIR(facts.st_mode) or is_link(facts):
            return facts.st_size
        return sum(_size(path / name) for name in os.listdir(path))
    except OSError:
        return 0
