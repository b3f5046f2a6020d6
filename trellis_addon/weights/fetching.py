"""The weights of TRELLIS.2 in a folder: what is there, what is missing, fetching, checking, and removing one by one.

The folder is a copy of the published repository in its own layout, with those of others under owner/name.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.errors import EngineError
from ..core.files import discard, move, unlink
from ..core.machine.awake import awake
from ..core.messages import message
from ..core.progress import Progress
from ..core.sizes import progress_words, size_words
from ..transfer.errors import disk_trouble
from ..transfer.part import CHUNK, Remote, fits, hash_file, leftovers_of, part_of
from . import licences
from .eight_bits import converted_of
from .manifest import MANIFEST_FILE, Manifest, check_path, read_manifest, update_manifest
from .published import WeightFile, catalogue, group_of, needed
from .state import GroupStatus, all_files, bad_head, entry_of, expected, status, whats_wrong

__all__ = [
    "GroupStatus",
    "WeightsProblem",
    "catalogue",
    "disk_use",
    "fetch",
    "missing_bytes",
    "needed",
    "origins",
    "remove",
]
__all__ += ["status", "verify"]


@dataclass(frozen=True)
class WeightsProblem:
    """A file of the folder that is not what it should be."""

    path: str
    text: str


def fetch(
    folder: Path,
    groups: Sequence[str],
    source: str = "",
    accepted: Iterable[str] = (),
    progress: Progress | None = None,
    allow_network: bool = True,
) -> str:
    """Put groups of the catalogue into `folder`, and return whose files they are, in words.

    `source` is "" for the hub (or what `HF_ENDPOINT` names), else a web address or a folder; see
    `weights_source.open_source`. `accepted` are keys of licences that the user accepts with this; `LicenceError` where
    one is missing. What is there is not fetched again, what broke off goes on, damaged files are replaced. The
    folder counts as a model only when the first fetch is complete. Raises `EngineError`, `OfflineError`, `Cancelled`.
    """
    from ..transfer.client import make_client
    from ..transfer.file import sweep
    from .source import HubSource, open_source

    progress = progress or Progress()
    wanted = [group_of(key) for key in dict.fromkeys(groups)]
    if accepted := tuple(accepted):
        licences.accept(folder, accepted)
    licences.demand(folder, [group.licence for group in wanted])
    progress.update("Asking for the list of files", 0)
    with make_client() as http, awake("downloading weights"):
        origin = open_source(source, http, check=progress.check, allow_network=allow_network)
        if isinstance(origin, HubSource):  # of two variants it would give the other one now, perhaps
            there = {found.group.key for found in status(folder) if found.state == "complete"}
            wanted = [group for group in wanted if len(group.variants) == 1 or group.key not in there]
        items = origin.items([group.key for group in wanted])
        for item in items:
            check_path(item.file.path, origin.title)
        record = read_manifest(folder)
        fresh = [item for item in items if not _is_known(folder, record, item.file)]
        _remember(folder, [item.file for item in items], origin.title)
        # The one that makes it a model comes last.
        fresh.sort(key=lambda item: item.file.path == "pipeline.json")
        remotes = [(item.origin, folder / item.file.path) for item in fresh if isinstance(item.origin, Remote)]
        _download(remotes, http, progress)
        places = [(item.origin, item.file) for item in fresh if isinstance(item.origin, Path)]
        _copy(places, folder, progress)
    _refuse_strange(folder, [item.file.path for item in fresh])
    _forgive(folder, [item.file.path for item in fresh])
    for path in {item.file.path for item in items} | {file.path for group in wanted for file in group.files}:
        sweep(folder / path)
        _drop_empty(folder, (folder / path).parent)
    progress.update("The weights are there", 1)
    return origin.title


def missing_bytes(folder: Path, groups: Iterable[str]) -> int:
    """How much there is still to fetch of these groups, as far as sizes are known beforehand."""
    wanted = set(groups)
    lacking = [found for found in status(folder) if found.group.key in wanted and found.state != "complete"]
    return sum(found.size if found.state == "damaged" else max(0, found.size - found.have) for found in lacking)


def remove(folder: Path, group: str) -> int:
    """Delete the files of a group, with what was made of them and what is there of a broken download; returns the bytes
    that came free.

    Raises `EngineError` where a file is in use.
    """
    key = group_of(group).key
    paths = {file.path for file in group_of(key).files}
    paths |= {entry.path for entry in read_manifest(folder).files if entry.group == key}
    freed = 0
    for path in sorted(paths):
        for file in (folder / path, *converted_of(folder / path), *leftovers_of(folder / path)):
            freed += _delete(file)
        _drop_empty(folder, (folder / path).parent)
    if (folder / MANIFEST_FILE).is_file():
        left = update_manifest(folder, lambda record: record.without(paths))
        if not any(entry.group for entry in left.files):  # licences that came along, of nothing any more
            for entry in left.files:
                freed += _delete(folder / entry.path)
                _drop_empty(folder, (folder / entry.path).parent)
    return freed


def verify(folder: Path, progress: Progress | None = None) -> tuple[WeightsProblem, ...]:
    """Hash every file whose hash is known, and say which are not what they should be; `fetch` then replaces them."""
    progress = progress or Progress()
    record = read_manifest(folder)
    files = [file for file in (expected(record, file) for file in all_files(record)) if (folder / file.path).is_file()]
    total, done = sum((folder / file.path).stat().st_size for file in files) or 1, 0
    problems = []
    for file in files:
        path = folder / file.path
        text = whats_wrong(path, file)

        def told(now: int, before: int = done) -> None:
            progress.update(f"Checking {progress_words(before + now, total)}", (before + now) / total)

        if not text and file.sha256 and not fits(hash_file(path, told), file.sha256):
            text = message("its contents are not those of the published file")
        done += path.stat().st_size
        if text:
            problems.append(
                WeightsProblem(
                    file.path,
                    message("{path} is damaged: {reason}; fetch the weights again.", path=file.path, reason=text),
                )
            )
    bad = {problem.path for problem in problems}
    if bad or any(entry.is_bad for entry in record.files):
        _mark(folder, {file.path: file for file in files}, bad)
    return tuple(problems)


def disk_use(folder: Path) -> int:
    """Bytes of everything in the folder."""
    total = 0
    for path in folder.rglob("*") if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def origins(folder: Path) -> tuple[str, ...]:
    """Whose files lie in the folder, in words; empty where nobody wrote it down."""
    return tuple(dict.fromkeys(entry.source for entry in read_manifest(folder).files if entry.source))


def _is_known(folder: Path, record: Manifest, file: WeightFile) -> bool:
    """Whether the file is there and was fetched as what is wanted now: then it is not even read again."""
    entry, path = record.by_path.get(file.path), folder / file.path
    return (
        entry is not None
        and bool(file.sha256)
        and entry.sha256 == file.sha256
        and not entry.is_bad
        and path.is_file()
        and path.stat().st_size == file.size
    )


def _remember(folder: Path, files: Iterable[WeightFile], title: str) -> None:
    """Write down what is going to be here, so that what is there of it can be judged. Bad stays bad until it is new."""

    def change(record: Manifest) -> Manifest:
        bad = {entry.path for entry in record.files if entry.is_bad}
        entries = [entry_of(file, title, file.path in bad) for file in files]
        return replace(record, name=record.name or title).with_entries(entries)

    update_manifest(folder, change)


def _forgive(folder: Path, paths: Iterable[str]) -> None:
    """Write down that these files are as they should be, with their sizes."""
    fresh = set(paths)

    def change(record: Manifest) -> Manifest:
        known = [entry for entry in record.files if entry.path in fresh]
        sizes = {entry.path: (folder / entry.path).stat().st_size for entry in known}
        return record.with_entries(replace(entry, is_bad=False, size=sizes[entry.path]) for entry in known)

    update_manifest(folder, change)


def _mark(folder: Path, files: Mapping[str, WeightFile], bad: Set[str]) -> None:
    """Write down which files a check has found damaged."""

    def change(record: Manifest) -> Manifest:
        known = [replace(entry, is_bad=entry.path in bad) for entry in record.files]
        others = [entry_of(files[path], is_bad=True) for path in bad - record.by_path.keys()]
        return record.with_entries([*known, *others])

    update_manifest(folder, change)


def _download(items: Sequence[tuple[Remote, Path]], http: object, progress: Progress) -> None:
    import httpx

    from ..transfer.download import fetch_all

    assert isinstance(http, httpx.Client)
    last = [item for item in items if item[1].name == "pipeline.json"]
    fetch_all([item for item in items if item not in last], progress.part(0, 0.999), client=http)
    fetch_all(last, progress.part(0.999, 1), client=http, stage="Finishing")


def _copy(items: Sequence[tuple[Path, WeightFile]], folder: Path, progress: Progress) -> None:
    """Files of another folder, hashed on their way; raises `EngineError`."""
    total, done = sum(place.stat().st_size for place, _ in items) or 1, 0
    if items and total > shutil.disk_usage(_existing(folder)).free:
        raise EngineError(
            "{total} do not fit on the disk of {folder}; free some space.", total=size_words(total), folder=folder
        )
    for place, file in items:
        target = folder / file.path
        if target.exists() and target.samefile(place):
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = part_of(target)
            digest = hashlib.sha256()
            with place.open("rb") as source, part.open("wb") as copy:
                while chunk := source.read(CHUNK):
                    copy.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    progress.update(f"Copying {progress_words(done, total)}", done / total)
            if not fits(digest.hexdigest(), file.sha256):
                discard(part)
                raise EngineError("{place} is damaged; choose another source.", place=place)
            move(part, target)
        except OSError as error:
            raise disk_trouble(target.name, target.parent, error) from error


def _refuse_strange(folder: Path, paths: Iterable[str]) -> None:
    """Delete what is no file of its kind, whoever vouched for it, and raise `EngineError`."""
    for path in paths:
        place = folder / path
        text = bad_head(place, place.stat().st_size) if path.endswith(".safetensors") else ""
        if text:
            _delete(place)
            raise EngineError("{path} was not kept: {text}; choose another source.", path=path, text=text)


def _delete(path: Path) -> int:
    """Delete a file and return its bytes, 0 where there is none."""
    try:
        size = path.stat().st_size
        unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise EngineError(
            "{path} cannot be removed while it is in use; stop the local worker first.", path=path
        ) from error
    return size


def _drop_empty(folder: Path, place: Path) -> None:
    while place != folder and folder in place.parents:
        try:
            place.rmdir()
        except OSError:
            return
        place = place.parent


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
