"""Files where somebody asked for them: the place is tried before the work, and what is written is whole or not."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import messages
from .errors import FieldError
from .files import discard, move
from .messages import message

ROOM = 2**20  # bytes that a disk has left when it counts as full; an asset is larger, nearly always


def try_places(paths: Iterable[Path], field: str = "output") -> None:
    """Raise `FieldError` unless a file can be written at each of these; leaves nothing behind.

    Folders that are missing are made, and taken away again.
    """
    for path in paths:
        try:
            problem = _problem_of(path)
        except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL in the name; RuntimeError: a loop
            problem = reason_of(error)
        if problem:
            sentence = message(
                '{field}: "{path}" cannot be written ({reason}); give another place.',
                field=field,
                path=shortened(path),
                reason=problem,
            )
            raise FieldError(field, str(path), message=sentence)


def demand_free(path: Path, overwrite: bool, field: str = "target") -> None:
    """Raise `FieldError` where a file is there already that nobody has said may be replaced."""
    if not overwrite and os.path.exists(path):
        raise FieldError(
            field,
            str(path),
            message=message("{path} is there already; choose another name, or overwrite it.", path=path),
        )


def demand_other(source: Path, target: Path, field: str = "output") -> None:
    """Raise `FieldError` where the result would go into the file that it is made from, be it through a link."""
    try:
        is_same = target.samefile(source)
    except (OSError, ValueError):  # one of them is not there, which others say
        return
    if is_same:
        raise FieldError(
            field,
            str(target),
            message=message(
                '{field}: "{path}" is the file that it is made from, which stays as it is; give another name.',
                field=field,
                path=shortened(target),
            ),
        )


def put_in_place(files: Mapping[Path, Path | bytes]) -> None:
    """Write these files, from a file or from bytes: all are written beside their names first, and renamed then.

    Raises `OSError`; then nothing is left of what was not whole.
    """
    parts: list[tuple[Path, Path]] = []
    try:
        for path, content in files.items():
            place = Path(os.path.realpath(path))  # through a link, as an ordinary write goes
            place.parent.mkdir(parents=True, exist_ok=True)
            _status(place)  # raises where the name itself cannot be, while nothing is renamed yet
            part = place.with_name(f".trellis2-{secrets.token_hex(8)}.part")
            parts.append((part, place))
            with part.open("xb") as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, file)
            with contextlib.suppress(OSError):
                shutil.copymode(place, part)  # of what was there
        for part, place in parts:
            move(part, place)
    finally:
        for part, _ in parts:
            discard(part)


def reason_of(error: Exception) -> str:
    """What the system says, without the number that it says it by."""
    said = messages.reason_of(error)
    return messages.Message(said.lower(), said)


def _problem_of(path: Path) -> str:
    """Why no file can be written there; empty where it can. Raises what the system raises."""
    status = _status(path)
    if status is not None:
        if stat.S_ISDIR(status.st_mode):
            return message("a folder stands there")
        if not stat.S_ISREG(status.st_mode):
            return message("it is no ordinary file")
        if not os.access(path, os.W_OK):
            return message("the file that is there is write-protected")
    place = Path(os.path.realpath(path))
    made = _make_folders(place.parent)
    try:
        # Of the same length: a name that is too long is found out here, whatever counts as too long there.
        trial = place.with_name(secrets.token_hex(len(place.name))[: max(len(os.fsencode(place.name)), 1)])
        try:
            with trial.open("xb") as file:
                file.write(bytes(4096))
        finally:
            discard(trial)
        return message("the disk is full") if shutil.disk_usage(place.parent).free < ROOM else ""
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it that are missing; returns what was made, the topmost first."""
    missing = []
    while _status(folder) is None and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    made: list[Path] = []
    try:
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
            made.append(each)
    except OSError:
        for each in reversed(made):
            with contextlib.suppress(OSError):
                each.rmdir()
        raise
    return made


def shortened(path: Path) -> str:
    """A path for a sentence: one of thousands of letters would be all there is of it."""
    text = str(path)
    return text if len(text) <= 120 else f"{text[:60]}…{text[-59:]}"
