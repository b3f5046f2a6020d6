"""Starting the service, saying that it is there, and the ways in which it ends."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import os
import secrets
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..engines import base
from ..errors import TrellisError
from ..settings import TRELLIS2_MODEL
from ..version import VERSION

CANNOT_START = 2
MOST_WORKERS = 64
_GRACE = 2.0  # seconds that the orderly end may take before the process is ended by force


@dataclass(frozen=True)
class Options:
    """How the service is to run; see `serve`."""

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    engine: str = "auto"
    workers: int = 1
    folder: Path | None = None
    allow_private_addresses: bool | None = None
    parent_pipe: bool = False


def run(options: Options) -> int:
    """See `serve`."""
    parent: int | None = None
    if options.parent_pipe:
        parent = _take_stdin()
        options = replace(options, token=_first_line(parent))
    problem = _cannot_start(options)
    if problem:
        return _refuse(problem)
    host, port = options.host, options.port
    try:
        listener = listen(host, port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return _refuse(f"The service cannot listen at {host}, port {port}: {reason}; choose another port.")
    # A parent that does not read the log must not come to block us: only what matters goes there.
    _set_up_log(logging.WARNING if options.parent_pipe else logging.INFO)
    with contextlib.closing(listener):
        return _run(listener, options, parent)


def listen(host: str, port: int) -> socket.socket:
    """A socket that is listening already, so that its port is known before the server runs."""
    # The protocol is named, as socket.create_server does not do: asyncio switches the wait for more
    # data off only where it sees TCP, and with it on each request takes 40 ms longer.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let two services have the same port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def _run(listener: socket.socket, options: Options, parent: int | None) -> int:
    import uvicorn

    from .app import create_app
    from .handlers import Service
    from .protocol import BODY_LIMIT
    from .websocket import is_available

    host, port = options.host, listener.getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    token = options.token or secrets.token_urlsafe(24)
    allow_private = options.allow_private_addresses
    try:
        service = Service(
            token,
            engine=options.engine,
            workers=options.workers,
            folder=options.folder,
            # Whoever asks at the loopback address is a program of the user's, which reaches them anyway.
            allow_private_addresses=_is_loopback(host) if allow_private is None else allow_private,
        )
    except OSError as error:
        return _refuse(f"The service cannot make its folder: {error.strerror}; choose another folder.")
    except sqlite3.Error as error:
        return _refuse(f"The service's folder cannot be read ({error}); choose another folder.")
    except TrellisError as error:
        return _refuse(str(error))
    config = uvicorn.Config(
        create_app(service, _own_hosts(host, port) if _is_loopback(host) else None),
        log_config=None,
        access_log=False,  # the addresses of files are secrets
        http="h11",
        ws="websockets-sansio" if is_available() else "none",
        ws_max_size=BODY_LIMIT,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)

    def end() -> None:
        """Stop at once; safe to call from any thread, and more than once."""
        service.closing = True
        server.should_exit = server.force_exit = True
        threading.Thread(target=_end_by_force, args=(service.close,), daemon=True).start()

    if threading.current_thread() is threading.main_thread():
        # uvicorn replaces these while it runs and raises the signal again afterwards: without a handler
        # of our own that would end the process before the folder is removed.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: end())
    try:
        service.start()
        if parent is not None:
            threading.Thread(target=_watch_parent, args=(parent, end), name="trellis-parent", daemon=True).start()
        ready = {"url": f"http://{name}:{port}/v1", "version": VERSION, "engine": service.engine}
        print(json.dumps(ready), flush=True)
        if not options.token:
            print(f"The token for this run is {token} (Authorization: Bearer TOKEN).", file=sys.stderr, flush=True)
        server.run(sockets=[listener])
    finally:
        service.close()
    return 0


def _cannot_start(options: Options) -> str:
    """Why the service cannot start as asked; empty when it can."""
    host, token, engine, workers = options.host, options.token, options.engine, options.workers
    if engine not in base.CHOICES:
        return f'There is no engine "{engine}"; choose one of {", ".join(base.CHOICES)}.'
    if base.engine_for(TRELLIS2_MODEL, engine) == TRELLIS2_MODEL and not base.trellis2_available():
        return f"The engine for {TRELLIS2_MODEL} is not available here; use the draft engine or the remote API."
    if not 1 <= workers <= MOST_WORKERS:
        return f"{workers} workers cannot be; choose a number from 1 to {MOST_WORKERS}."
    if options.parent_pipe and not token:
        return "No token came in: the first line of standard input must be the token."
    if not token and not _is_loopback(host):
        return f"At {host} others can reach the service: choose a token for it with --token."
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        return "The token cannot be sent in a header; use letters, digits and signs without spaces."
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _own_hosts(host: str, port: int) -> list[str]:
    names = ["127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host]
    return [f"{name}:{port}" for name in names] + (names if port == 80 else [])


def _take_stdin() -> int:
    """A descriptor of our own for standard input, which becomes empty for everybody else.

    A thread that waits inside sys.stdin makes Python abort at its end; and on Windows, libraries that
    look at standard input while they load would hang for as long as somebody waits for that pipe.
    """
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return pipe


def _first_line(pipe: int) -> str:
    line = b""
    while (byte := os.read(pipe, 1)) not in (b"", b"\n") and len(line) < 4096:
        line += byte
    return line.decode("utf-8", "replace").strip()


def _watch_parent(pipe: int, end: Callable[[], None]) -> None:
    """Wait for the pipe to close, which it does when the parent process ends, however that happens."""
    with contextlib.suppress(OSError):
        while os.read(pipe, 4096):
            pass
    end()


def _end_by_force(clean_up: Callable[[], None]) -> None:
    """The last resort: a thread inside native code cannot be interrupted, and Python would wait for it."""
    clean_up()
    time.sleep(_GRACE)
    clean_up()
    os._exit(0)


def _set_up_log(level: int) -> None:
    if not logging.getLogger().handlers:
        logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        for name in ("httpx", "httpcore"):  # they would log the addresses of webhooks and uploads
            logging.getLogger(name).setLevel(logging.WARNING)


def _refuse(sentence: str) -> int:
    print(sentence, file=sys.stderr, flush=True)
    return CANNOT_START
