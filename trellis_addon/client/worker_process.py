"""One service in a process of its own: starting it, and ending it.

The child gets its token over standard input. One that is this program's alone ends when that pipe closes, so that it
never outlives the program that needs it, however that program ends.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ..core.errors import EngineError
from ..core.messages import message
from ..core.processes import kill
from ..runtime.child import start_child
from ..service.lifetime.exit_causes import cause_of, tail_of
from ..service.main import CANNOT_START

log = logging.getLogger(__name__)

START_TIMEOUT = 60.0
STOP_TIMEOUT = 5.0
_LONGEST_LINE = 10_000  # characters


@dataclass(frozen=True)
class LocalService:
    """A running service of ours: its address and the token it accepts. `process` is None where another started it."""

    url: str
    token: str = field(repr=False)
    process: subprocess.Popen[str] | None = field(default=None, repr=False)
    pid: int = 0  # its own, which is not that of `process` where a launcher stands for the Python

    @property
    def running(self) -> bool:
        return self.process is None or self.process.poll() is None

    def stop(self) -> None:
        """End it: politely by closing its pipe, and if that does not help, at once."""
        if self.process is None:
            return
        if self.process.stdin:
            self.process.stdin.close()
        end_process(self.process)


def end_process(process: subprocess.Popen[str]) -> None:
    """Wait for the end, which was asked for, and if it does not come, bring it about."""
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        kill(process)


def start_process(
    engine: str,
    *,
    folder: Path | None = None,
    log_file: Path | None = None,
    mark: str | None = None,
    port: int = 0,
) -> LocalService:
    """Start a service with this `--engine`; raises `EngineError`.

    `folder` is its lasting one. `mark` says that it is shared, see `service.serve`. What it has to complain of goes to
    `log_file`, or to this program's log at the level DEBUG.
    """
    token = secrets.token_urlsafe(32)
    arguments = ["serve", "--engine", engine, "--token-stdin", "--port", str(port)]
    for option, value in (("--folder", folder), ("--log", log_file), ("--shared", mark)):
        arguments += [option, str(value)] if value is not None else []
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if mark is not None and os.name == "posix":
        streams["start_new_session"] = True  # Ctrl-C in one program's terminal must not end it for all
    process = start_child(".cli", arguments, is_local=engine != "draft", **streams)
    assert process.stdin and process.stdout and process.stderr
    complaints: list[str] = []
    collecting = threading.Thread(target=_collect, args=(process.stderr, complaints), daemon=True)
    collecting.start()
    watchdog = threading.Timer(START_TIMEOUT, process.kill)
    watchdog.start()
    try:
        process.stdin.write(token + "\n")
        process.stdin.flush()
        ready = json.loads(process.stdout.readline())
        url, pid = str(ready["url"]), int(ready.get("pid") or process.pid)
    except (OSError, ValueError, KeyError, TypeError):
        raise EngineError(
            "The local service did not start: {reason}", reason=_why(process, collecting, complaints, log_file)
        ) from None
    finally:
        watchdog.cancel()
    threading.Thread(target=_collect, args=(process.stdout, []), daemon=True).start()
    return LocalService(url, token, process, pid)


def _why(
    process: subprocess.Popen[str], collecting: threading.Thread, complaints: list[str], log_file: Path | None
) -> str:
    """Why a process that is not ready will not get so: what it said itself, or what its end tells."""
    try:
        code = process.wait(1.0)
    except subprocess.TimeoutExpired:
        kill(process)
        return message("it did not get ready in time.")
    collecting.join(1.0)
    said = "\n".join(complaints) or (tail_of(log_file) if log_file is not None else "")
    if code not in (0, 1, CANNOT_START):
        return message("{cause}.", cause=cause_of(code, said))
    return " ".join(said.splitlines()[-3:]).strip()[-400:] or message("it said nothing.")


def _collect(pipe: IO[str], lines: list[str]) -> None:
    """Read a pipe to its end, so that the child never blocks on it; keep the last lines.

    Nothing that comes can end the reading, and what has no lines is taken in pieces.
    """
    with contextlib.suppress(OSError, ValueError):  # ValueError: closed by whoever ended the process
        while line := pipe.readline(_LONGEST_LINE):
            log.debug("service: %s", line.rstrip())
            lines.append(line.rstrip())
            del lines[:-20]
