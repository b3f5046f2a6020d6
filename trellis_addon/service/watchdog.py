"""A service started by hand that is looked after: this process starts it, and starts it again when it dies.

The add-on does this for its own worker (`client.supervisor`); here it is for a machine that serves others.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

from ..core.messages import message
from ..runtime.child import start_child
from . import presence
from .exit_causes import cause_of, oom_kills, tail_of
from .main import CANNOT_START, Options, cannot_start

WAITS = (0.0, 1.0, 5.0, 15.0, 30.0)  # seconds before it is started again, after so many ends in a row
_ROW = 600.0  # seconds in which ends are in a row


def keep_running(options: Options) -> int:
    """Run the service until it is told to end; its exit code.

    It keeps its address and its token. After more than five ends in ten minutes it is given up.
    """
    problem = cannot_start(options)
    if problem:
        print(problem, file=sys.stderr, flush=True)
        return CANNOT_START
    return _Keeper(options).run()


class _Keeper:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._token = options.token or secrets.token_urlsafe(24)
        self._port = options.port
        self._process: subprocess.Popen[str] | None = None
        self._stopped = threading.Event()
        self._ends: list[float] = []

    def run(self) -> int:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._stop)
        while True:
            kills = oom_kills()
            process = self._start()
            code = process.wait()
            if code in (0, CANNOT_START) or self._stopped.is_set():
                return 0 if self._stopped.is_set() else code
            said = tail_of(self._options.log) if self._options.log is not None else ""
            cause = cause_of(code, said, oom_kills() - kills)
            wait = self._wait()
            again = message("it is not started again") if wait is None else message("it is started again")
            print(f"The service ended: {cause}; {again}.", file=sys.stderr, flush=True)
            if self._options.folder is not None and self._options.folder.is_dir():
                presence.note_end(self._options.folder, process.pid, cause)
            if wait is None:
                return code if 0 < code < 256 else 1
            if self._stopped.wait(wait):
                return 0

    def _start(self) -> subprocess.Popen[str]:
        arguments = ["serve", *_arguments(self._options), "--token-stdin", "--port", str(self._port)]
        process = start_child(".cli", arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._process = process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(self._token + "\n")
            process.stdin.flush()
        except OSError:  # it has ended already, and said why
            return process
        line = process.stdout.readline()
        if line and not self._ends:
            print(line, end="", flush=True)
            if not self._options.token:
                print(f"The token for this run is {self._token} (Authorization: Bearer TOKEN).", file=sys.stderr)
        if line:
            self._port = int(json.loads(line)["url"].rpartition(":")[2].partition("/")[0])
        threading.Thread(target=process.stdout.read, daemon=True).start()
        if self._stopped.is_set():
            self._close()
        return process

    def _wait(self) -> float | None:
        """How long to wait before it is started again; None where it is given up."""
        now = time.monotonic()
        self._ends = [end for end in self._ends if end > now - _ROW] + [now]
        return WAITS[len(self._ends) - 1] if len(self._ends) <= len(WAITS) else None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped.set()
        self._close()

    def _close(self) -> None:
        """Have it end: it does when this pipe closes."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()


def _arguments(options: Options) -> list[str]:
    """The command line that says what `options` say, but for port and token; the device goes by the environment."""
    found = ["--host", options.host, "--engine", options.engine]
    for name, value in (
        ("--workers", options.workers),
        ("--folder", options.folder),
        ("--log", options.log),
    ):
        found += [name, str(value)] if value is not None else []
    if options.allow_private_addresses is not None:
        found.append(f"--{'' if options.allow_private_addresses else 'no-'}allow-private-addresses")
    return found
