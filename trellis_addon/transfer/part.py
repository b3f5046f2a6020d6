"""The part of a file that has come, beside its target, and what must be known to go on with it in another process."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.files import discard, move, unlink
from .errors import Damaged

CHUNK = 1 << 20


@dataclass(frozen=True)
class Remote:
    """A file on the web, and what is known of it.

    `size` in bytes, None where unknown. `sha256` in hex, whole or as a prefix of 16 digits or more, "" where unknown.
    `headers` are sent along, a token among them only to the host of `url`.
    """

    url: str
    size: int | None = None
    sha256: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def part_of(target: Path) -> Path:
    """Where what has come of a file lies until it is whole."""
    return target.with_name(target.name + ".part")


def leftovers_of(target: Path) -> tuple[Path, ...]:
    """Everything that a download which was broken off may leave beside its target."""
    return part_of(target), _note_of(target), target.with_name(target.name + ".lock")


def hash_file(path: Path, on_bytes: Callable[[int], None] = lambda done: None) -> str:
    """The SHA-256 of a file in hex; `on_bytes` is told how many bytes have been read, and may raise."""
    return _hash(path, on_bytes).hexdigest()


def fits(digest: str, wanted: str) -> bool:
    """Whether a hash is the wanted one, which may be a prefix, or unknown."""
    return digest.startswith(wanted.lower())


class Part:
    """What has come of one file. `length` and the hash always are those of the bytes on the disk.

    `validator` is the server's name for the version that they are of (ETag or Last-Modified), "" where it gave none.
    """

    def __init__(self, target: Path, remote: Remote) -> None:
        self.path = part_of(target)
        self.length = 0
        self.validator = ""
        self._target = target
        self._remote = remote
        self._note = _note_of(target)
        self._digest = hashlib.sha256()
        # The address itself may hold a password.
        self._address = hashlib.sha256(remote.url.encode()).hexdigest()[:16]

    @property
    def is_whole(self) -> bool:
        return self.length > 0 and self.length == self._remote.size

    def take_up(self, on_bytes: Callable[[int], None]) -> None:
        """Go on with what an earlier run has left, where that is of the same file; else it is thrown away."""
        have = self.path.stat().st_size if self.path.is_file() else 0
        if not have or not self._is_ours(have):
            self.drop()
            return
        self._digest = _hash(self.path, on_bytes)
        self.length = have

    def begin(self, validator: str) -> None:
        """Begin with an empty part, of the version that the server calls so."""
        self.drop()
        self.path.touch()
        self.validator = validator
        note = {"address": self._address, "sha256": self._remote.sha256, "validator": validator}
        self._note.write_text(json.dumps(note), encoding="utf-8")

    def append(self, file: Any, chunk: bytes) -> None:
        file.write(chunk)
        self._digest.update(chunk)
        self.length += len(chunk)

    def drop(self) -> None:
        """Throw away what has come."""
        unlink(self.path)
        unlink(self._note)
        self.length, self.validator, self._digest = 0, "", hashlib.sha256()

    def finish(self) -> None:
        """Put the file in its place, as a whole; raises `Damaged` where it is not what was asked for."""
        size, digest = self._remote.size, self._digest.hexdigest()
        if size is not None and self.length != size:
            raise Damaged(
                "{name} came with {length} bytes in place of {size}",
                name=self._target.name,
                length=self.length,
                size=size,
            )
        if not fits(digest, self._remote.sha256):
            raise Damaged("{name} came with other contents than it should have", name=self._target.name)
        with self.path.open("r+b") as file:
            os.fsync(file.fileno())  # a whole file by its name must be one after a power cut too
        move(self.path, self._target)
        discard(self._note)

    def _is_ours(self, have: int) -> bool:
        """Whether the bytes that are there belong to the wanted file; sets the validator where the server has one."""
        if self._remote.size is not None and have > self._remote.size:
            return False
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            note = {}
        if not isinstance(note, dict):
            note = {}
        if note.get("sha256", self._remote.sha256) != self._remote.sha256:
            return False
        if note.get("address") == self._address:
            self.validator = str(note.get("validator") or "")
        # Without a hash, only the server can tell whether the file still is the same.
        return bool(self._remote.sha256 or self.validator)


def _note_of(target: Path) -> Path:
    return target.with_name(target.name + ".part.json")


def _hash(path: Path, on_bytes: Callable[[int], None]) -> Any:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            on_bytes(done)
    return digest
