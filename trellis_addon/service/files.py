"""Results and uploads on disk, served under addresses that cannot be guessed, and only for a time."""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..task import new_uuid

log = logging.getLogger(__name__)

DEFAULT_TTL = 24 * 3600.0  # seconds

_MEDIA_TYPES = {"glb": "model/gltf-binary", "png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
_SIGNATURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp", b"glTF": "glb"}


@dataclass
class StoredFile:
    """A file and the time it goes; `secret` is the part of its address that nobody can guess."""

    uuid: str
    name: str
    secret: str
    path: Path
    media_type: str
    ttl: float
    expires: float

    @property
    def url_path(self) -> str:
        return f"/files/{self.secret}/{self.name}"


class FileStore:
    """The service's folder, readable by its user only. What has expired is deleted at the next occasion."""

    def __init__(self, clock: Callable[[], float], folder: str | Path | None = None) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_uuid: dict[str, StoredFile] = {}
        self._by_secret: dict[str, StoredFile] = {}
        # mkdtemp makes the folder with mode 0700
        self.folder = Path(tempfile.mkdtemp(prefix="trellis-service-", dir=folder))

    def put(self, data: bytes, ttl: float = DEFAULT_TTL) -> StoredFile:
        """Keep the bytes for `ttl` seconds."""
        uuid = new_uuid()
        suffix = next((s for start, s in _SIGNATURES.items() if data.startswith(start)), "bin")
        stored = StoredFile(
            uuid=uuid,
            name=f"{uuid}.{suffix}",
            secret=secrets.token_hex(24),
            path=self.folder / f"{uuid}.{suffix}",
            media_type=_MEDIA_TYPES.get(suffix, "application/octet-stream"),
            ttl=ttl,
            expires=self._clock() + ttl,
        )
        stored.path.write_bytes(data)
        with self._lock:
            self._by_uuid[uuid] = self._by_secret[stored.secret] = stored
        self.sweep()
        return stored

    def find(self, secret: str, name: str) -> StoredFile | None:
        """The file behind an address, while it is there."""
        self.sweep()
        with self._lock:
            stored = self._by_secret.get(secret)
        return stored if stored is not None and stored.name == name and stored.path.is_file() else None

    def use(self, uuid: str) -> bytes | None:
        """The bytes of an upload, whose time starts anew; None when there is none of this UUID."""
        self.sweep()
        with self._lock:
            stored = self._by_uuid.get(uuid.lower())
            if stored is None or not stored.media_type.startswith("image/"):
                return None
            stored.expires = self._clock() + stored.ttl
        try:
            return stored.path.read_bytes()
        except OSError:
            return None

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

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        for _ in range(3):  # a file that is just being written or sent may hold it for a moment
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                break
            time.sleep(0.05)

    def _remove(self, stored: StoredFile) -> None:
        with self._lock:
            self._by_uuid.pop(stored.uuid, None)
            self._by_secret.pop(stored.secret, None)
        try:
            stored.path.unlink(missing_ok=True)
        except OSError as error:
            # Windows keeps a file that is being sent; it goes with the folder.
            log.info("A file that has expired cannot be deleted yet: %s", error.strerror)
