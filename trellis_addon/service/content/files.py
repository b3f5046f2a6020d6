"""Results, uploads and the pictures of waiting tasks on disk; what is served has an address that cannot be guessed."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ...core.files import move, unlink
from ...core.messages import message
from ...task.task import new_uuid
from ..limits import Limits
from ..people.caller import HOUSE, THE_HOUSE, Caller
from ..protocol import RequestError, disk_full
from ..queue.journal import Journal
from ..records import StoredFile

log = logging.getLogger(__name__)

DEFAULT_TTL = 24 * 3600.0  # seconds

LATENTS, MESH, PICTURE = "application/vnd.safetensors", "model/gltf-binary", "image/"
_MEDIA_TYPES = {
    "safetensors": LATENTS,
    "glb": MESH,
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
}
_SIGNATURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp", b"glTF": "glb"}


class FileStore:
    """The files below the service's folder: `files` are served for a time, `pictures` belong to unfinished tasks.

    What is known of them is in the journal. Where the files together have more than `quota` bytes, the results that
    were made first go before their time; uploads and the newest file stay.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        folder: Path,
        journal: Journal,
        lasting: bool = False,
        quota: int | None = None,
    ) -> None:
        self._clock = clock
        self._lasting = lasting
        self._journal = journal
        self._lock = threading.Lock()
        self.quota = quota
        self.size = 0
        """Bytes of all files that are served."""
        self.folder = folder / "files"
        self.pictures = folder / "pictures"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.pictures.mkdir(mode=0o700, exist_ok=True)

    def restore(self) -> None:
        """Take up what the journal knows of; what it does not know, and no unfinished task needs, is deleted."""
        self._journal.complete_files(self.folder)
        sizes = self._journal.all_sizes()
        with self._lock:
            self.size = sum(sizes.values())
        for folder, names in ((self.folder, sizes.keys()), (self.pictures, self._journal.kept_names())):
            for path in folder.iterdir():
                if path.name not in names:
                    _unlink(path)
        self.sweep()

    def put(self, data: bytes, ttl: float = DEFAULT_TTL, person: str = HOUSE, *, upload: bool = False) -> StoredFile:
        """Keep a person's bytes for `ttl` seconds."""
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
            person=person,
            size=len(data),
        )
        self._write(stored.path, data)
        try:
            self._journal.add_file(stored, self._clock(), upload=upload)
        except sqlite3.Error:
            _unlink(stored.path)
            raise
        with self._lock:
            self.size += len(data)
        self.sweep()
        self._keep_quota(stored)
        return stored

    def put_upload(self, data: bytes, person: str = HOUSE) -> StoredFile:
        """Keep what a person wants to name later; raises as `check_upload`."""
        self.check_upload(len(data))
        return self.put(data, DEFAULT_TTL, person, upload=True)

    def check_upload(self, size: int) -> None:
        """`RequestError` where there are too many uploads for one more of so many bytes, or no room."""
        uploads, kept = self._journal.uploads()
        if uploads >= Limits.uploads or kept + size > Limits.upload_bytes:
            sentence = message(
                "{uploads} uploads of {kept:.1f} GB are kept already; delete some, or send later.",
                uploads=uploads,
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
        stored = self._journal.file(self.folder, secret=secret) if secret and secret.isascii() else None
        is_there = stored is not None and stored.name == name and stored.expires > self._clock()
        return stored if stored is not None and is_there and stored.path.is_file() else None

    def use(self, uuid: str, caller: Caller = THE_HOUSE, *, media_type: str = PICTURE) -> bytes | None:
        """The bytes of a picture, or of another kind, whose time starts anew; None when `caller` has none such."""
        stored = self._seen(uuid, caller)
        if stored is None or not stored.media_type.startswith(media_type):
            return None
        self._journal.renew_file(stored.uuid, self._clock() + stored.ttl)
        try:
            return stored.path.read_bytes()
        except OSError:
            return None

    def has(self, uuid: str, caller: Caller = THE_HOUSE) -> bool:
        """Whether `caller` has a file of this UUID."""
        return self._seen(uuid, caller) is not None

    def delete(self, uuid: str, caller: Caller = THE_HOUSE) -> bool:
        stored = self._seen(uuid, caller)
        if stored is not None:
            self._remove([stored])
        return stored is not None

    def sweep(self) -> None:
        """Delete what has expired."""
        while expired := self._journal.expired_files(self.folder, self._clock()):
            if not self._remove(expired):
                return

    def _seen(self, uuid: str, caller: Caller) -> StoredFile | None:
        self.sweep()
        stored = self._journal.file(self.folder, uuid=uuid.lower()) if uuid.isascii() else None
        if stored is None or stored.expires <= self._clock():  # on a full disk it cannot be forgotten
            return None
        return stored if caller.may_see(stored.person) else None

    def _keep_quota(self, newest: StoredFile) -> None:
        """Have what was made first go, as far as there is more than there may be."""
        while self.quota is not None and self.size > self.quota:
            oldest = [stored for stored in self._journal.oldest_results(self.folder, 2) if stored.uuid != newest.uuid]
            if not oldest or not self._remove(oldest[:1]):
                return
            log.info("The result %s goes before its time: the files have more than their quota.", oldest[0].uuid)

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

    def _remove(self, files: Sequence[StoredFile]) -> bool:
        """Whether they are gone from the journal, which cannot be where the disk is full."""
        size = sum(stored.size for stored in files)
        for stored in files:
            _unlink(stored.path)
        gone = self._journal.forget_files([stored.uuid for stored in files])
        if gone:
            with self._lock:
                self.size -= size
        return gone


def looks_like_latents(data: bytes) -> bool:
    """Whether it may be a safetensors file: the length of its JSON header, and the header."""
    return len(data) > 9 and int.from_bytes(data[:8], "little") <= len(data) - 8 and data[8:9] == b"{"


def _unlink(path: Path) -> None:
    try:
        unlink(path, 0)
    except OSError as error:
        # Windows keeps a file that is being sent; it goes with the folder, or at the next start.
        log.info("A file that is not needed any more cannot be deleted yet: %s", error.strerror)
