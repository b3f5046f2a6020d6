"""What is there of the weights: group by group, file by file, by sizes and the heads of the files."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..core.messages import message, reason_of
from ..formats.safetensors import HeaderError, end_of, read_header
from ..formats.safetensors import entry_of as entry_of_tensor
from ..transfer.part import part_of
from .manifest import Entry, Manifest, read_manifest
from .published import BY_KEY, GROUP_OF_PATH, GROUPS, Group, WeightFile

Completeness = Literal["missing", "part", "complete", "damaged"]
_MAX_HEADER = 16 << 20  # bytes; that of a published file has a hundred kilobytes


@dataclass(frozen=True)
class GroupStatus:
    """How far a group is in a folder: bytes that are there and that there should be, and what is wrong in words."""

    group: Group
    state: Completeness
    have: int
    size: int
    problem: str = ""


def status(folder: Path) -> tuple[GroupStatus, ...]:
    """Every group of the catalogue, as far as sizes and the heads of the files tell; nothing is read whole.

    Milliseconds; never raises for what lies in the folder.
    """
    record = read_manifest(folder)
    return tuple(_group_status(folder, record, group) for group in GROUPS)


def _group_status(folder: Path, record: Manifest, group: Group) -> GroupStatus:
    """The status of the variant that is complete, or of which most is there."""
    found = [_variant(folder, record, files) for files in group.variants]
    state, have, size, problem = max(found, key=lambda variant: (variant[0] == "complete", variant[1]))
    return GroupStatus(group, state, have, size, problem)


def _variant(folder: Path, record: Manifest, files: Sequence[WeightFile]) -> tuple[Completeness, int, int, str]:
    have = size = 0
    whole, problem = True, ""
    for file in files:
        path, wanted = folder / file.path, expected(record, file)
        size += wanted.expected
        if not path.is_file():
            whole = False
            with contextlib.suppress(OSError):
                have += part_of(path).stat().st_size
            continue
        have += path.stat().st_size
        text = whats_wrong(path, wanted)
        if not text and (entry := record.by_path.get(file.path)) and entry.is_bad:
            text = message("its contents are not those of the published file")
        problem = problem or (message("{path} is damaged: {reason}.", path=file.path, reason=text) if text else "")
    if problem:
        return "damaged", have, size, problem
    if whole:
        return "complete", have, have, ""
    return ("part" if have else "missing"), have, size, ""


def expected(record: Manifest, file: WeightFile) -> WeightFile:
    """What a file should be: as it was fetched, or else as it was published."""
    entry = record.by_path.get(file.path)
    if entry is None:
        return file
    size = entry.size or None  # 0 where nobody told it
    return replace(file, size=size, sha256=entry.sha256, about=file.expected)


def whats_wrong(path: Path, wanted: WeightFile) -> str:
    """What is wrong with a file as far as its size and its head tell; "" for nothing."""
    size = path.stat().st_size
    if wanted.size is not None and size != wanted.size:
        return message("it has {size} bytes in place of {expected}", size=size, expected=wanted.size)
    if not size:
        return message("it is empty")
    return bad_head(path, size) if path.suffix == ".safetensors" else ""


def bad_head(path: Path, size: int) -> str:
    """What is wrong with the head of a safetensors file, as far as it tells; "" for nothing."""
    try:
        with path.open("rb") as file:
            header = read_header(file, size, _MAX_HEADER)
    except HeaderError:
        return message("it is no safetensors file")
    except OSError as error:
        return message("it cannot be read ({reason})", reason=reason_of(error))
    entries = [entry_of_tensor(told) for told in header.tensors.values()]
    if not all(entries):
        return message("it is no safetensors file")
    if end_of(filter(None, entries)) != size - header.body:
        return message("its tensors do not fill it")
    return ""


def entry_of(file: WeightFile, source: str = "", is_bad: bool = False) -> Entry:
    """How the record of a folder writes a file down; its size 0 where it is not known as yet."""
    key = GROUP_OF_PATH.get(file.path, "")
    licence = BY_KEY[key].licence if key else ""
    return Entry(file.path, file.size or 0, file.sha256, licence, key, source, is_bad)


def all_files(record: Manifest) -> list[WeightFile]:
    """The published files, and what else the record of a folder knows."""
    files = {file.path: file for group in GROUPS for file in group.files}
    for entry in record.files:
        files.setdefault(entry.path, WeightFile(entry.path, entry.size, entry.sha256))
    return list(files.values())
