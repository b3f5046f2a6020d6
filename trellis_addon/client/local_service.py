"""Starting and ending our own service as a child process.

The child gets its token over standard input and ends when that pipe closes, so it never outlives
the program that needs it, however that program ends.
"""

from __future__ import annotations

import atexit
import json
import logging
import secrets
import subprocess
import threading
from dataclasses import dataclass, field

from ..child import start_child
from ..errors import EngineError

log = logging.getLogger(__name__)

START_TIMEOUT = 60.0
STOP_TIMEOUT = 5.0


@dataclass
class LocalService:
    """A running service of ours: its address and the token it accepts."""

    url: str
    token: str = field(repr=False)
    process: subprocess.Popen[str]

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """End it: politely by closing its pipe, and if that does not help, at once."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


_services: dict[str, LocalService] = {}
_lock = threading.Lock()


def local_service(engine: str) -> LocalService:
    """The service with this `--engine`, started when it is not running.

    Blocks for about a second on the first call; raises `EngineError` when it does not start.
    """
    with _lock:
        service = _services.get(engine)
        if service is None or not service.running:
            service = _services[engine] = start_service(engine)
        return service


def stop_local_services() -> None:
    """End every service that this process started."""
    with _lock:
        for service in _services.values():
            service.stop()
        _services.clear()


atexit.register(stop_local_services)


def start_service(engine: str) -> LocalService:
    """A service of one's own, to be stopped by whoever asked for it; raises `EngineError`."""
    token = secrets.token_urlsafe(32)
    process = start_child(
        ".cli",
        ["serve", "--engine", engine, "--token-stdin"],
        is_local=engine != "draft",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin and process.stdout and process.stderr
    complaints: list[str] = []
    threading.Thread(target=_collect, args=(process.stderr, complaints), daemon=True).start()
    process.stdin.write(token + "\n")
    process.stdin.flush()
    watchdog = threading.Timer(START_TIMEOUT, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
        url = json.loads(line)["url"]
    except (ValueError, KeyError, TypeError):
        process.kill()
        process.wait()
        said = " ".join(complaints[-3:]).strip() or "it said nothing"
        raise EngineError(f"The local service did not start: {said}") from None
    finally:
        watchdog.cancel()
    threading.Thread(target=_collect, args=(process.stdout, []), daemon=True).start()
    return LocalService(url, token, process)


def _collect(pipe, lines: list[str]) -> None:  # type: ignore[no-untyped-def]
    """Read a pipe to its end, so that the child never blocks on it; keep the last lines."""
    for line in pipe:
        log.debug("service: %s", line.rstrip())
        lines.append(line.rstrip())
        del lines[:-20]
