"""Whether a process of this machine still lives, by a lock on a file that no other machine looks at.

The system lets go of a lock however its holder ends, so that a death here is known at once. It is never asked about
another machine's: a lock on a network folder may be no lock at all.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.files import discard
from ..core.locks import Lock, take_lock

_BOOT = Path("/proc/sys/kernel/random/boot_id")  # Linux: another one after every start


class Presence:
    """That this process is here: `worker` is its name among all, `machine` that of the running system."""

    def __init__(self) -> None:
        self.machine = machine()
        self.host = platform.node() or "unknown"
        self.worker = f"{self.host}-{os.getpid()}-{secrets.token_hex(4)}"
        self._path = _lock_file(self.machine, self.worker)
        self._lock: Lock | None = None
        try:
            self._lock = take_lock(self._path)
        except OSError:  # then others wait until nothing is heard of it
            self._lock = None

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
            discard(self._path, 0.0)

    def is_gone(self, facts: Mapping[str, Any]) -> bool:
        """Whether the worker that wrote these facts is certain to have ended; of another machine's nothing is."""
        worker = str(facts.get("worker", ""))
        if facts.get("machine") != self.machine or worker in ("", self.worker):
            return False
        path = _lock_file(self.machine, worker)
        try:
            if not path.is_file():
                return False
            lock = take_lock(path)
        except OSError:  # another user's
            return False
        if lock is None:
            return False
        lock.close()
        return True


def machine() -> str:
    """What tells this running system from others, as far as it can be told."""
    try:
        boot = _BOOT.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        boot = ""
    return hashlib.sha256(f"{platform.node()} {uuid.getnode()} {boot}".encode()).hexdigest()[:16]


def _lock_file(machine: str, worker: str) -> Path:
    digest = hashlib.sha256(worker.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"trellis2-{machine}-{digest}.lock"
