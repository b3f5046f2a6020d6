"""`weights.json`: which files lie in a folder of weights, with sizes, hashes and licences.

It makes a folder a mirror, behind any web server. In a folder of our own it also says what was fetched, and from where.
A manifest of a mirror is a stranger's: names that leave the folder, and files that hold code, are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import filelock

from ..core.errors import EngineError
from ..core.files import discard, move, unlink
from ..core.messages import message, reason_of
from ..core.progress import Progress
from ..transfer.part import hash_file
from .licences import ACCEPTED_FILE
from .published import BY_KEY, GROUP_OF_PATH, group_of

MANIFEST_FILE = "weights.json"
FORMAT = "trellis2-weights"
MAX_BYTES = 4 << 20  # of a manifest
MAX_FILES = 1000
_PATIENCE = 20.0  # seconds for another process to write it
ENDINGS = (".json", ".safetensors", ".onnx", ".md")
LICENCE_NAMES = ("LICENSE", "LICENSE.txt", "NOTICE")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_PART = re.compile(r"[^\\/:*?\"<>|\x00-\x1f\x7f]{1,120}")


@dataclass(frozen=True)
class Entry:
    """A file: its path in the folder, bytes, SHA-256 in hex, key of its licence, key of its group."""

    path: str
    size: int
    sha256: str
    licence: str = ""
    group: str = ""
    source: str = ""  # where it came from, in the record of a folder of ours
    is_bad: bool = False  # a check has found it damaged


@dataclass(frozen=True)
class Manifest:
    """What a folder of weights holds. `name` says whose files they are."""

    name: str = ""
    files: tuple[Entry, ...] = ()
    by_path: dict[str, Entry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_path", {entry.path: entry for entry in self.files})

    def with_entries(self, entries: Iterable[Entry]) -> Manifest:
        """With these in place of the entries of the same paths."""
        return replace(self, files=tuple({**self.by_path, **{entry.path: entry for entry in entries}}.values()))

    def without(self, paths: Iterable[str]) -> Manifest:
        gone = set(paths)
        return replace(self, files=tuple(entry for entry in self.files if entry.path not in gone))


def check_path(path: Any, where: str) -> str:
    """A path of a manifest, once it is certain that it stays in the folder and is of a harmless kind.

    Raises `EngineError`.
    """
    if not isinstance(path, str) or not 0 < len(path) <= 240:
        raise EngineError("{where} names a file by something that is no path; use another source.", where=where)
    parts = path.split("/")
    if not all(_is_plain(part) for part in parts):
        raise EngineError(
            '{where} names the file "{path}", which could lie outside the folder; use another source.',
            where=where,
            path=_shown(path),
        )
    name = PurePosixPath(path)
    if name.suffix.lower() in _PICKLES:
        raise EngineError(
            '{where} names "{path}", a kind of file that can hold programs; only safetensors are used.',
            where=where,
            path=_shown(path),
        )
    if name.suffix.lower() not in ENDINGS and name.name not in LICENCE_NAMES:
        raise EngineError(
            '{where} names "{path}", which is no file of weights; use another source.', where=where, path=_shown(path)
        )
    if path in (MANIFEST_FILE, ACCEPTED_FILE) or path.endswith(".part.json"):
        raise EngineError(
            '{where} names "{path}", which is not for it to give; use another source.', where=where, path=_shown(path)
        )
    return path


def parse_manifest(data: bytes, where: str) -> Manifest:
    """A manifest of bytes, which may be anybody's; `where` names it in the `EngineError` that this raises."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        raise EngineError("{where} is no JSON file; use another source.", where=where) from None
    if not isinstance(told, dict) or told.get("format") != FORMAT or not isinstance(told.get("files"), list):
        raise EngineError("{where} is no list of weights of this add-on; use another source.", where=where)
    if told.get("version") != 1:
        raise EngineError("{where} is of a later kind than this add-on knows; update the add-on.", where=where)
    if len(told["files"]) > MAX_FILES:
        raise EngineError("{where} lists more than {limit} files; use another source.", where=where, limit=MAX_FILES)
    entries = [_entry(item, where) for item in told["files"]]
    if len({entry.path.lower() for entry in entries}) < len(entries):
        raise EngineError("{where} lists a file twice; use another source.", where=where)
    name = told.get("name")
    return Manifest(" ".join(name.split())[:80] if isinstance(name, str) else "", tuple(entries))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder; an empty one where there is none, or none that can be read."""
    path = folder / MANIFEST_FILE
    try:
        return parse_manifest(path.read_bytes(), str(path)) if path.stat().st_size <= MAX_BYTES else Manifest()
    except (OSError, EngineError):
        return Manifest()


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write it into the folder, as a whole; raises `EngineError`."""
    path = folder / MANIFEST_FILE
    files = [{key: value for key, value in asdict(entry).items() if value != ""} for entry in manifest.files]
    for item in files:
        if not item["is_bad"]:
            del item["is_bad"]
    told = {"format": FORMAT, "version": 1, "name": manifest.name, "files": files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(MANIFEST_FILE + ".new")
        temporary.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        move(temporary, path)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return path


def update_manifest(folder: Path, change: Callable[[Manifest], Manifest]) -> Manifest:
    """Write what `change` makes of the manifest that is there, while no other process does; returns it.

    One that lists no file of a group any more is deleted. Raises `EngineError`.
    """
    path = folder / f"{MANIFEST_FILE}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path, timeout=_PATIENCE, thread_local=False):
            manifest = change(read_manifest(folder))
            if any(entry.group for entry in manifest.files):
                write_manifest(folder, manifest)
            else:
                unlink(folder / MANIFEST_FILE)
            discard(path, 0)  # Windows removes it itself, when it is let go
    except OSError as error:
        raise _unwritable(folder, error) from error
    return manifest


def make_manifest(folder: Path, name: str = "", progress: Progress | None = None) -> Manifest:
    """The manifest of the weights that lie in a folder, every file of a kind that may be in one hashed.

    Files of no group are left out, but for licences and read-me files. Raises `EngineError`, `Cancelled`.
    """
    progress = progress or Progress()
    if not (folder / "pipeline.json").is_file():
        raise EngineError(
            "{folder} holds no weights: there is no pipeline.json in it; choose the folder that has one.", folder=folder
        )
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    paths = [(path, path.relative_to(folder).as_posix()) for path in found]
    paths = [(path, name) for path, name in paths if name in GROUP_OF_PATH or _is_text(path)]
    total, done = sum(path.stat().st_size for path, _ in paths) or 1, 0
    entries = []
    for path, place in paths:
        check_path(place, str(folder))
        size = path.stat().st_size
        digest = hash_file(path, lambda n, done=done: progress.update("Checking", (done + n) / total))  # type: ignore[misc]
        done += size
        group = GROUP_OF_PATH.get(place, "")
        entries.append(Entry(place, size, digest, group_of(group).licence if group else "", group))
    return Manifest(name or folder.name, tuple(entries))


def _entry(item: Any, where: str) -> Entry:
    if not isinstance(item, dict):
        raise EngineError("{where} is damaged: an entry is no object; use another source.", where=where)
    path = check_path(item.get("path"), where)
    size, digest = item.get("size"), item.get("sha256", "")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 42:
        raise EngineError('{where} does not tell the size of "{path}"; use another source.', where=where, path=path)
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}|", digest.lower()):
        raise EngineError('{where} does not tell the SHA-256 of "{path}"; use another source.', where=where, path=path)
    texts = {key: item[key] for key in ("licence", "source") if isinstance(item.get(key), str)}
    group = item.get("group")
    known = group if isinstance(group, str) and group in BY_KEY else GROUP_OF_PATH.get(path, "")
    return Entry(path, size, digest.lower(), group=known, is_bad=item.get("is_bad") is True, **texts)


def _is_plain(part: str) -> bool:
    """Whether a part of a path means the same name on every system, and no other place."""
    return bool(_PART.fullmatch(part)) and not (
        part.startswith(".") or part.endswith((".", " ")) or part != part.strip() or _RESERVED.fullmatch(part)
    )


def _unwritable(folder: Path, error: OSError) -> EngineError:
    reason = message("another program writes there") if isinstance(error, filelock.Timeout) else reason_of(error)
    return EngineError(
        "{folder} cannot be written to ({reason}); choose another folder for the weights.", folder=folder, reason=reason
    )


def _shown(path: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in path[:80])


def _is_text(path: Path) -> bool:
    return path.name in LICENCE_NAMES or path.name in ("LICENSE.md", "README.md")
