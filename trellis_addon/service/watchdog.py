"""A service started by hand that is looked after: this process starts it, and starts it again when it dies.

The add-on does this for its own worker (`client.supervisor`); here it is for a machine that serves others.
"""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import subprocess
import sys
import threading
from types import FrameType
from typing import IO

from ..core.messages import message
from ..core.processes import STEP, wait
from ..core.stopping import answered
from ..runtime.child import start_child
from .lifetime.restarts import Restarts
from .main import CANNOT_START, Options, cannot_start, has_page
from .monitoring.logs import TEXT

_PIECE = 4096  # characters


def keep_running(options: Options) -> int:
    """Run the service until it is told to end; its exit code.

    It keeps its address and its token; `service.lifetime.restarts` says how often it is started again.
    """
    problem = cannot_start(options)
    if problem:
        print(problem, file=sys.stderr, flush=True)
        return CANNOT_START
    return _Watchdog(options).run()


class _Watchdog:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._token = options.token or secrets.token_urlsafe(24)
        self._port = options.port
        self._process: subprocess.Popen[str] | None = None
        self._pid = 0  # the service's own, where a launcher stands for its Python
        self._stopped = threading.Event()
        self._restarts = Restarts(lambda: (options.folder, options.log))
        self._is_announced = False

    def run(self) -> int:
        with answered(self._stop):
            return self._keep_running()

    def _keep_running(self) -> int:
        while True:
            self._restarts.begins()
            process = self._start()
            code = wait(process)
            if code in (0, CANNOT_START) or self._stopped.is_set():
                return 0 if self._stopped.is_set() else code
            cause = self._restarts.has_ended(self._pid, code)
            pause = self._restarts.pause()
            again = message("it is not started again") if pause is None else message("it is started again")
            print(f"The service ended: {cause}; {again}.", file=sys.stderr, flush=True)
            if pause is None:
                return code if 0 < code < 256 else 1
            while pause > 0 and not self._stopped.is_set():
                self._stopped.wait(min(pause, STEP))
                pause -= STEP
            if self._stopped.is_set():
                return 0

    def _start(self) -> subprocess.Popen[str]:
        arguments = ["serve", *_arguments(self._options), "--token-stdin", "--port", str(self._port)]
        process = start_child(".cli", arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._process, self._pid = process, process.pid
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(self._token + "\n")
            process.stdin.flush()
        except OSError:  # it has ended already, and said why
            return process
        line = _first_line(process)
        if line and not self._is_announced:
            self._is_announced = True
            print(line, end="", flush=True)
            if not self._options.token and self._options.log_format == TEXT:
                print(f"The token for this run is {self._token} (Authorization: Bearer TOKEN).", file=sys.stderr)
        if line:
            told = json.loads(line)
            self._port = int(told["url"].rpartition(":")[2].partition("/")[0])
            self._pid = int(told["pid"])
        if self._stopped.is_set():
            self._close()
        return process

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped.set()
        self._close()

    def _close(self) -> None:
        """Have it end: it does when this pipe closes."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()


def _first_line(process: subprocess.Popen[str]) -> str:
    """What it says first, or "" at its end; whatever follows is read away. In steps, for Ctrl-C to get through."""
    assert process.stdout is not None
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read(pipe: IO[str]) -> None:
        lines.put(pipe.readline())
        while pipe.read(_PIECE):
            pass

    threading.Thread(target=read, args=(process.stdout,), daemon=True).start()
    while True:
        with contextlib.suppress(queue.Empty):
            return lines.get(timeout=STEP)


def _arguments(options: Options) -> list[str]:
    """The command line that says what `options` say, but for port and token; the device goes by the environment."""
    found = ["--host", options.host, "--engine", options.engine]
    for name, value in (
        ("--workers", options.workers),
        ("--folder", options.folder),
        ("--log", options.log),
        ("--log-format", options.log_format),
        ("--quota", options.quota / 2**30 if options.quota is not None else None),
        ("--cluster", options.cluster),
    ):
        found += [name, str(value)] if value is not None else []
    found.append("--page" if has_page(options) else "--no-page")
    if options.allow_private_addresses is not None:
        found.append(f"--{'' if options.allow_private_addresses else 'no-'}allow-private-addresses")
    return found
