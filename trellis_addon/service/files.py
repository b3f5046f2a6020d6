"""Results, uploads and the pictures of waiting tasks on disk; what is served has an address that cannot be guessed."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from ..core.files import move, unlink
from ..core.messages import message
from ..task.task import new_uuid
from .journal import Journal
from .limits import Limits
from .protocol import RequestError, disk_full
from .records import StoredFile

log = logging.getLogger(__name__)

DEFAULT_TTL = 24 * 3600.0  # seconds

_LATENTS = "application/vnd.safetensors"
_MEDIA_TYPES = {
    "safetensors": _LATENTS,
    "glb": "model/gltf-binary",
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
}
_SIGNATURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp", b"glTF": "glb"}


class FileStore:
    """The files below the service's folder: `files` are served for a time, `pictures` belong to unfinished tasks."""

    def __init__(self, clock: Callable[[], float], folder: Path, journal: Journal, lasting: bool = False) -> None:
        self._clock = clock
        self._lasting = lasting
        self._journal = journal
        self._lock = threading.Lock()
        self._by_uuid: dict[str, StoredFile] = {}
        self._by_secret: dict[str, StoredFile] = {}
        self._uploads: set[str] = set()
        self.folder = folder / "files"
        self.pictures = folder / "pictures"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.pictures.mkdir(mode=0o700, exist_ok=True)

    def restore(self, pictures: set[Path]) -> None:
        """Take up what the journal knows of; what it does not know, and no task of `pictures` needs, is deleted."""
        for stored in self._journal.files(self.folder):
            self._by_uuid[stored.uuid] = self._by_secret[stored.secret] = stored
            if stored.media_type.startswith("image/"):
                self._uploads.add(stored.uuid)
        known = {stored.path for stored in self._by_uuid.values()} | pictures
        for path in (*self.folder.iterdir(), *self.pictures.iterdir()):
            if path not in known:
                _unlink(path)
        self.sweep()

    def put(self, data: bytes, ttl: float = DEFAULT_TTL) -> StoredFile:
        """Keep the bytes for `ttl` seconds."""
        uuid = new_uuid()
        suffix = next((s for start, s in _SIGNATURES.items() if data.startswith(start)), "bin")
        if suffix == "bin" and looks_like_latents(data):
            suffix = "safetensors"
        stored = StoredFile(
            uuid=uuid,
            name=f"{uuid}.{suffix}",
            secret=secrets.token_hex(24),
            path=self.folder / f"{uuid}.{suffix}",
            media_type=_MEDIA_TYPES.get(suffix, "application/octet-stream"),
            ttl=ttl,
            expires=self._clock() + ttl,
        )
        self._write(stored.path, data)
        try:
            self._journal.add_file(stored)
        except sqlite3.Error:
            _unlink(stored.path)
            raise
        with self._lock:
            self._by_uuid[uuid] = self._by_secret[stored.secret] = stored
        self.sweep()
        return stored

    def put_upload(self, data: bytes) -> StoredFile:
        """Keep what a client wants to name later; raises as `check_upload`."""
        self.check_upload(len(data))
        stored = self.put(data)
        with self._lock:
            self._uploads.add(stored.uuid)
        return stored

    def check_upload(self, size: int) -> None:
        """`RequestError` where there are too many uploads for one more of so many bytes, or no room."""
        with self._lock:
            uploads = [self._by_uuid[uuid] for uuid in self._uploads if uuid in self._by_uuid]
            self._uploads = {stored.uuid for stored in uploads}
        kept = sum(stored.size for stored in uploads)
        if len(uploads) >= Limits.uploads or kept + size > Limits.upload_bytes:
            sentence = message(
                "{uploads} uploads of {kept:.1f} GB are kept already; delete some, or send later.",
                uploads=len(uploads),
                kept=kept / 2**30,
            )
            raise RequestError("storageLimitExceeded", sentence)
        if shutil.disk_usage(self.folder).free < Limits.disk_reserve + size:
            raise disk_full()

    def keep_picture(self, data: bytes) -> Path:
        """Keep the picture, or the latents, of a task until the task is finished."""
        path = self.pictures / new_uuid()
        self._write(path, data)
        return path

    def find(self, secret: str, name: str) -> StoredFile | None:
        """The file behind an address, while it is there."""
        self.sweep()
        with self._lock:
            stored = self._by_secret.get(secret)
        return stored if stored is not None and stored.name == name and stored.path.is_file() else None

    def use(self, uuid: str, *, latents: bool = False) -> bytes | None:
        """The bytes of a picture, or of latents, whose time starts anew; None when there are none of this UUID."""
        self.sweep()
        with self._lock:
            stored = self._by_uuid.get(uuid.lower())
            if stored is None or not stored.media_type.startswith(_LATENTS if latents else "image/"):
                return None
            stored.expires = self._clock() + stored.ttl
            with contextlib.suppress(sqlite3.OperationalError):  # a full disk: it is renewed for as long as this runs
                self._journal.add_file(stored)
        try:
            return stored.path.read_bytes()
        except OSError:
            return None

    def has(self, uuid: str) -> bool:
        """Whether there is a file of this UUID."""
        self.sweep()
        with self._lock:
            return uuid.lower() in self._by_uuid

    def delete(self, uuid: str) -> bool:
        with self._lock:
            stored = self._by_uuid.get(uuid.lower())
        if stored is not None:
            self._remove(stored)
        return stored is not None

    def sweep(self) -> None:
        """Delete what has expired."""
        now = self._clock()
        with self._lock:
            expired = [stored for stored in self._by_uuid.values() if stored.expires <= now]
        for stored in expired:
            self._remove(stored)

    def _write(self, path: Path, data: bytes) -> None:
        """Whole or not at all, and on the disk before anybody is told of it."""
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                file.write(data)
                if self._lasting:
                    file.flush()
                    os.fsync(file.fileno())
            move(part, path)
        except OSError:
            _unlink(part)  # on a full disk the next one needs the room
            raise

    def _remove(self, stored: StoredFile) -> None:
        with self._lock:
            self._by_uuid.pop(stored.uuid, None)
            self._by_secret.pop(stored.secret, None)
        _unlink(stored.path)
        self._journal.forget_file(stored.uuid)


def looks_like_latents(data: bytes) -> bool:
    """Whether it may be a safetensors file: the length of its JSON header, and the header."""
    return len(data) > 9 and int.from_bytes(data[:8], "little") <= len(data) - 8 and data[8:9] == b"{"


def _unlink(path: Path) -> None:
    try:
        unlink(path, 0)
    except OSError as error:
        # Windows keeps a file that is being sent; it goes with the folder, or at the next start.
        log.info("A file that is not needed any more cannot be deleted yet: %s", error.strerror)
