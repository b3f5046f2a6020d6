"""What lies in a worker's folder for its clients, and from them: its address, who uses it, how the last one ended.

worker.json     where the worker that is running listens, and its token; readable by its user only
clients/        a locked file for each program that uses the worker; the system drops the lock with the program
ends.json       when and why workers have ended unasked, the last ones
start.lock      held by the client that starts a worker
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from ...core.files import discard, move, read_text, unlink
from ...core.locks import Lock, take_lock
from ...core.messages import from_wire, to_wire

WORKER = "worker.json"
CLIENTS = "clients"
ENDS = "ends.json"
START_LOCK = "start.lock"
LOG_BEGINS = "--- worker"  # a line of its log: from here on it is another process
_KEPT_ENDS = 20
_YOUNG = 60.0  # seconds in which a client may still be about to lock its file


def write_worker(folder: Path, facts: dict[str, Any]) -> None:
    """Tell where the worker is: `url`, `token`, `pid`, `version`, ..."""
    _write(folder / WORKER, facts)


def read_worker(folder: Path) -> dict[str, Any]:
    """What `write_worker` has told; empty where no worker runs, or did not get to take its word back."""
    told = _read(folder / WORKER)
    kinds = {"url": str, "token": str, "pid": int}
    is_sound = isinstance(told, dict) and all(isinstance(told.get(name), kind) for name, kind in kinds.items())
    return told if is_sound else {}


def forget_worker(folder: Path, pid: int) -> None:
    """Take the word back, if it is still this process's."""
    if read_worker(folder).get("pid") == pid:
        unlink(folder / WORKER)


def note_end(folder: Path, pid: int, cause: str) -> None:
    """Write down that the worker `pid` has ended unasked."""
    known = [end for end in ends(folder) if end["pid"] != pid]
    with contextlib.suppress(OSError):  # on a full disk it is only not known later; whoever watches goes on
        _write(
            folder / ENDS, [*known, {"pid": pid, "time": time.time(), "cause": cause, **to_wire(cause)}][-_KEPT_ENDS:]
        )


def ends(folder: Path) -> list[dict[str, Any]]:
    """The last ends, the oldest first: `pid`, `time` in Unix seconds, `cause` in words."""
    told = _read(folder / ENDS)
    listed = told if isinstance(told, list) else []
    known = [end for end in listed if isinstance(end, dict) and {"pid", "time", "cause"} <= end.keys()]
    return [{**end, "cause": from_wire(str(end["cause"]), end)} for end in known]


def last_end(folder: Path) -> str:
    """The cause of the last end; empty where none is known."""
    known = ends(folder)
    return known[-1]["cause"] if known else ""


class WorkerUser:
    """A program's sign that it uses the worker of this folder, until `close` or its own end."""

    def __init__(self, folder: Path) -> None:
        place = folder / CLIENTS
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = place / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._lock: Lock | None = None
        for _ in range(100):
            self._lock = take_lock(self._path)
            if self._lock is not None:
                return
            time.sleep(0.01)  # the worker is just looking whether it is locked
        raise OSError(f"{self._path} cannot be locked")

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
            discard(self._path)


def is_used(folder: Path) -> bool:
    """Whether a program uses the worker of this folder."""
    found = False
    for path in (folder / CLIENTS).glob("*"):
        with contextlib.suppress(OSError):
            lock = take_lock(path)
            if lock is None:
                found = True
                continue
            lock.close()
            if time.time() - path.stat().st_mtime > _YOUNG:
                unlink(path, 0)
    return found


def _write(path: Path, content: Any) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
    move(part, path)  # on Windows it may take a while: somebody may just read the old one


def _read(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except (OSError, ValueError):
        return None
