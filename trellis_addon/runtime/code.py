"""The library's own code in the folder, by version.

The worker runs from there and never from the extension, so that Blender can replace the extension meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from ..core.errors import EngineError
from ..core.files import discard_folder, remove_folder, rename
from ..core.folders import PACKAGE
from ..core.messages import reason_of
from ..core.version import VERSION
from .layout import LocalFolder
from .running import running

_NAME = "trellis_addon"  # of the package in there, whatever it is called here
_STAMP = "stamp.txt"


def ensure_code(folder: LocalFolder) -> Path:
    """The folder that holds this version's `trellis_addon`, copied if it is not there yet.

    Versions that no worker runs from are dropped. A version that has changed without its number (a checkout) gets a
    folder of its own while a worker runs from the former one. Raises `EngineError` where it cannot be written.
    """
    source = PACKAGE
    files = _files(source)
    stamp = _hash(source, files)
    busy = {process.code for process in running(folder)}
    target = folder.code()
    if _stamp(target) not in (stamp, "") and target.name in busy:
        target = target.with_name(f"{VERSION}-{stamp[:8]}")
    try:
        if _stamp(target) != stamp:
            _copy(source, files, target, stamp)
        for other in target.parent.iterdir():
            if other != target and other.name not in busy:
                discard_folder(other)
    except OSError as error:
        raise EngineError(
            "The library cannot be copied to {target} ({reason}); check the disk and its rights.",
            target=target,
            reason=reason_of(error),
        ) from error
    return target


def _copy(source: Path, files: list[Path], target: Path, stamp: str) -> None:
    """Copied beside and put in place at once: nobody ever sees half of it."""
    temporary = target.with_name(f"{target.name}.{os.getpid()}.new")
    discard_folder(temporary)
    for path in files:
        place = temporary / _NAME / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    (temporary / _STAMP).write_text(stamp, encoding="utf-8")
    if target.exists():
        remove_folder(target)
    try:
        rename(temporary, target)
    except OSError:  # another process was quicker
        if _stamp(target) != stamp:
            raise
        discard_folder(temporary)


def _files(source: Path) -> list[Path]:
    return sorted(path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _hash(source: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(source).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _stamp(target: Path) -> str:
    """What the code there was when it was copied; "" where there is none."""
    try:
        return (target / _STAMP).read_text(encoding="utf-8")
    except OSError:
        return ""
