"""Starting the service, saying that it is there, and the ways in which it ends."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import ipaddress
import json
import logging
import os
import secrets
import shutil
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.addresses import is_this_machine
from ..core.configuration import TOKEN_VARIABLE, configuration
from ..core.errors import TrellisError
from ..core.messages import message, reason_of
from ..core.stopping import answered
from ..core.version import VERSION
from ..engines import registry
from ..task.settings import TRELLIS2_MODEL
from . import page
from .handshake import PROTOCOL
from .lifetime import presence
from .lifetime.presence import LOG_BEGINS
from .limits import Limits
from .monitoring.logs import FORMATS, TEXT, formatter
from .people.tokens import read as read_tokens
from .worker import idle_minutes

if TYPE_CHECKING:
    from ..cluster.pool import Cluster

log = logging.getLogger(__name__)

CANNOT_START = 2
LOST = 75  # this process can use its device no more: another one may
LOG_LIMIT = 2 * 2**20  # bytes
MOST_WORKERS = 64
LEAST_QUOTA = 2**27  # bytes
_GRACE = 2.0  # seconds that the orderly end may take before the process is ended by force
_LAST_GRACE = 1.0  # and then, for what came up meanwhile
_GRACE_OF_CLUSTER = 15.0  # the same, where there are processes of Ray's to end
_LOOK = 1.0  # seconds between two looks at who uses the worker
_LOOKS = 3  # in vain, one after the other, and it ends


@dataclass(frozen=True)
class Options:
    """How the service is to run; see `serve`."""

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    engine: str = "auto"
    workers: int | None = None
    folder: Path | None = None
    allow_private_addresses: bool | None = None
    parent_pipe: bool = False
    shared: str | None = None
    log: Path | None = None
    log_format: str = TEXT
    quota: int | None = None
    page: bool | None = None
    cluster: str | None = None
    limits: Limits = field(default_factory=Limits)


def run(options: Options) -> int:
    """See `serve`."""
    if options.log is not None:
        log_to(options.log, options.log_format)
    parent: int | None = None
    if options.parent_pipe:
        parent = _take_stdin()
        options = replace(options, token=_first_line(parent))
    options = replace(options, host=options.host.strip().removeprefix("[").removesuffix("]"))
    problem = cannot_start(options)
    if problem:
        return _refuse(problem)
    host, port = options.host, options.port
    try:
        listener = _listen(options)
    except (socket.gaierror, UnicodeError, TypeError) as error:  # the last for a name that none could have
        return _refuse(
            message(
                "The service cannot listen at {host}: this machine has no such address ({reason}); give another host.",
                host=host,
                reason=reason_of(error),
            )
        )
    except (OSError, OverflowError) as error:
        return _refuse(
            message(
                "The service cannot listen at {host}, port {port}: {reason}; give another host."
                if getattr(error, "errno", None) == errno.EADDRNOTAVAIL
                else "The service cannot listen at {host}, port {port}: {reason}; choose another port.",
                host=host,
                port=port,
                reason=reason_of(error),
            )
        )
    # A parent that does not read the log must not come to block us: only what matters goes there.
    quiet = options.parent_pipe and options.log is None
    anew = options.log is not None or options.log_format != TEXT
    _set_up_log(logging.WARNING if quiet else logging.INFO, options.token or "", anew=anew, kind=options.log_format)
    with contextlib.closing(listener):
        return _run(listener, options, parent)


def _listen(options: Options) -> socket.socket:
    try:
        return listen(options.host, options.port)
    except OSError:
        if options.shared is None:
            raise
        return listen(options.host, 0)  # the place of a worker that ended, taken by somebody else meanwhile


def listen(host: str, port: int) -> socket.socket:
    """A socket that is listening already, so that its port is known before the server runs."""
    # The protocol is named, as socket.create_server does not do: asyncio switches the wait for more
    # data off only where it sees TCP, and with it on each request takes 40 ms longer.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)  # Windows: else another program may take the port over
        if exclusive is not None:
            listener.setsockopt(socket.SOL_SOCKET, exclusive, 1)
        elif os.name == "posix":  # elsewhere it would let two services have the same port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def _run(listener: socket.socket, options: Options, parent: int | None) -> int:
    import uvicorn

    from .edge.app import create_app
    from .edge.guard import Guard, guarded, guarded_websocket
    from .edge.websocket import is_available
    from .handlers import Service
    from .page.routes import page_routes

    host, port = options.host, listener.getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    token = options.token or secrets.token_urlsafe(24)
    allow_private = options.allow_private_addresses
    ending = _Ending()
    try:
        cluster = _join(options)
        service = Service(
            token,
            engine=options.engine,
            workers=options.workers,
            folder=options.folder,
            quota=options.quota,
            # Whoever asks at the loopback address is a program of the user's, which reaches them anyway.
            allow_private_addresses=is_this_machine(host) if allow_private is None else allow_private,
            on_lost=lambda cause: ending.end(LOST),
            on_stop=ending.end if options.shared is not None else None,
            previews=has_page(options),
            cluster=cluster,
        )
    except OSError as error:
        return _refuse(
            message("The service cannot make its folder: {reason}; choose another folder.", reason=reason_of(error))
        )
    except sqlite3.Error as error:
        return _refuse(message("The service's folder cannot be read ({reason}); choose another folder.", reason=error))
    except TrellisError as error:
        return _refuse(error.message)
    guard = Guard(options.limits)
    config = uvicorn.Config(
        create_app(
            service,
            _own_hosts(host, port) if is_this_machine(host) else None,
            options.limits,
            page_routes(service) if has_page(options) else (),
        ),
        log_config=None,
        access_log=False,  # the addresses of files are secrets
        http=guarded(guard),
        ws=guarded_websocket(guard) if is_available() else "none",
        ws_per_message_deflate=False,  # pictures gain nothing by it
        ws_max_size=options.limits.body,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)

    def stop() -> None:
        service.closing = True
        server.should_exit = server.force_exit = True

    ending.begin(stop, service.close, _GRACE if cluster is None else _GRACE_OF_CLUSTER)
    # uvicorn replaces these answers while it runs and raises the signal again afterwards: without one of our own that
    # would end the process before the folder is removed.
    with answered(lambda *_: ending.end()):
        try:
            service.restore()
            url = f"http://{name}:{port}/v1"
            facts = {
                "url": url,
                "pid": os.getpid(),  # whoever has started it may know a launcher's alone
                "version": VERSION,
                "protocol": PROTOCOL,
                "engine": service.engine,
            }
            if options.shared is not None:
                told = {**facts, "token": token, "mark": options.shared, "since": time.time()}
                presence.write_worker(service.folder.path, told)
                _in_thread(_watch_clients, service.folder.path, options.log, ending.end)
            elif parent is not None:
                _in_thread(_watch_parent, parent, ending.end)
            print(json.dumps(facts), flush=True)
            if options.log is not None or cluster is not None:
                os.dup2(2, 1)  # libraries print there as well, and whoever reads that pipe may be gone
            if not options.token and options.log_format == TEXT:
                print(f"The token for this run is {token} (Authorization: Bearer TOKEN).", file=sys.stderr, flush=True)
            if not is_this_machine(host):
                for sentence in filter(None, (for_others(host, port), about_firewall())):
                    _say(sentence, options.log_format)
            service.start()  # not before all is said: what is left to do may be what ends the process
            server.run(sockets=[listener])
        finally:
            if options.shared is not None and ending.code == 0:
                presence.forget_worker(service.folder.path, os.getpid())
            service.close()
    if ending.code == LOST:
        log.error("The service ends, because it can use its device no more; start it again.")
    return ending.code


def _join(options: Options) -> Cluster | None:
    """The cluster that is to make the results; raises `EngineError`."""
    if options.cluster is None:
        return None
    from ..cluster.pool import Cluster

    here = configuration()
    # what is said of the results, and not of a machine
    said = {"fast": here.fast, "memory": here.memory, "eight_bits": here.eight_bits, "finishing": here.finishing}
    wishes = {name: value for name, value in said.items() if value}
    cluster = Cluster(options.cluster, engine=options.engine, most=options.workers, wishes=wishes)
    cluster.connect()
    return cluster


class _Ending:
    """How the process ends, from whatever thread: the first word holds."""

    def __init__(self) -> None:
        self.code = 0
        self._is_ending = threading.Event()
        self._stop: Callable[[], None] = lambda: None
        self._clean_up: Callable[[], None] = lambda: None
        self._grace = _GRACE

    def begin(self, stop: Callable[[], None], clean_up: Callable[[], None], grace: float = _GRACE) -> None:
        self._stop, self._clean_up, self._grace = stop, clean_up, grace

    def end(self, code: int = 0) -> None:
        """Stop at once; safe to call from any thread, and more than once."""
        if not self._is_ending.is_set():
            self._is_ending.set()
            self.code = code
        self._stop()
        threading.Thread(target=self._by_force, daemon=True).start()

    def _by_force(self) -> None:
        """The last resort: a thread inside native code cannot be interrupted, and Python would wait for it."""
        # not waited for: another program, such as a backup, may hold the journal
        _in_thread(self._clean_up)
        time.sleep(self._grace)
        _in_thread(self._clean_up).join(_LAST_GRACE)
        os._exit(self.code)


def has_page(options: Options) -> bool:
    """Whether it has a page: one that a person has started does, one that a program looks after does not."""
    return page.is_here() and not options.parent_pipe if options.page is None else options.page


def for_others(host: str, port: int) -> str:
    """What another machine must enter to use this service."""
    found = _own_addresses() if host in ("0.0.0.0", "::") else [host]
    urls = " or ".join(f"http://{f'[{address}]' if ':' in address else address}:{port}" for address in found)
    return message(
        "Other machines reach this service at {urls}. In Blender: enter that in the add-on's preferences, "
        "with the token that was given here; in scripts: backend=ADDRESS, and the token in "
        "TRELLIS2_SERVICE_TOKEN. What is sent is not encrypted: outside of a network you trust, put a "
        "proxy with TLS before it.",
        urls=urls,
    )


def about_firewall(system: str = sys.platform) -> str:
    """What this system asks about a program that others are to reach; "" where it does not ask."""
    if system == "win32":
        return message(
            "Where Windows asks whether Python may use networks, allow it: who cancels has a rule that blocks it from "
            "then on, to be deleted in Windows Defender Firewall > Allow an app."
        )
    if system == "darwin":
        return message("Where macOS asks whether Python may accept connections from the network, allow it.")
    return ""


def _own_addresses() -> list[str]:
    """This machine's addresses in its networks; its name where they cannot be told."""
    found = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: the system only says which way it would go
        found.append(probe.getsockname()[0])
    with contextlib.suppress(OSError):
        entries = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET, socket.SOCK_STREAM)
        found += [str(entry[4][0]) for entry in entries]
    names = [address for address in dict.fromkeys(found) if not ipaddress.ip_address(address).is_loopback]
    return names or [socket.gethostname()]


def cannot_start(options: Options) -> str:
    """Why the service cannot start as asked; empty when it can."""
    host, token, engine, workers = options.host, options.token, options.engine, options.workers
    if engine not in registry.CHOICES:
        return message(
            'There is no engine "{engine}"; choose one of {choices}.', engine=engine, choices=list(registry.CHOICES)
        )
    if options.cluster is not None:
        from ..cluster.joining import cannot_join

        if problem := cannot_join(options.cluster):
            return problem
    elif registry.engine_for(TRELLIS2_MODEL, engine) == TRELLIS2_MODEL and not registry.trellis2_available():
        return message(
            "The engine for {model} is not available here; use the draft engine or the remote API.",
            model=TRELLIS2_MODEL,
        )
    try:
        idle_minutes()
    except TrellisError as error:
        return error.message
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        return message(
            "{workers} workers cannot be; choose a number from 1 to {limit}.", workers=workers, limit=MOST_WORKERS
        )
    if options.page and not page.is_here():
        return message(
            "This installation has no page: it is left out of Blender's extension; start the service from a wheel or a "
            "checkout, or with --no-page."
        )
    if options.shared is not None and options.folder is None:
        return message("A service that programs share needs a folder: choose one with --folder.")
    if options.parent_pipe and not token:
        return message("No token came in: the first line of standard input must be the token.")
    if options.log_format not in FORMATS:
        return message(
            "There is no log format {name}; choose one of {choices}.", name=options.log_format, choices=FORMATS
        )
    if options.log_format != TEXT and not (token or options.parent_pipe or _has_people(options.folder)):
        return message(
            "A token that is made up would stand in the log: choose one with --token or the variable {variable}.",
            variable=TOKEN_VARIABLE,
        )
    if options.quota is not None and options.quota < LEAST_QUOTA:
        return message("The quota is too small for one result; give at least {least} GB.", least=LEAST_QUOTA / 2**30)
    if not token and not is_this_machine(host) and not _has_people(options.folder):
        return message("At {host} others can reach the service: choose a token for it with --token.", host=host)
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        return message("The token cannot be sent in a header; use letters, digits and signs without spaces.")
    return ""


def _has_people(folder: Path | None) -> bool:
    """Whether there are tokens by name, so that nobody needs to be given the single one."""
    try:
        return folder is not None and bool(read_tokens(folder))
    except TrellisError:
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


def _watch_clients(folder: Path, log_file: Path | None, end: Callable[[], None]) -> None:
    """Wait until no program uses the worker any more."""
    looks = 0
    while looks < _LOOKS:
        time.sleep(_LOOK)
        looks = 0 if presence.is_used(folder) else looks + 1
        if log_file is not None:
            shorten_log(log_file)
    end()


def _say(sentence: str, kind: str) -> None:
    """To whoever has started it; where programs read what comes there, as they read it."""
    if kind == TEXT:
        print(sentence, file=sys.stderr, flush=True)
    else:
        log.info("%s", sentence)


def log_to(path: Path, kind: str = TEXT) -> None:
    """From here on whatever this process says, also its libraries and a crash, goes to this file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shorten_log(path)
        # a named pipe that nobody reads would be waited for
        at_once = getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | at_once, 0o600)
        if at_once and sys.platform != "win32":
            os.set_blocking(descriptor, True)
    except OSError as error:
        print(f"The log {path} cannot be written: {error.strerror}.", file=sys.stderr, flush=True)
        return
    begins = f"{LOG_BEGINS} {os.getpid()}"
    if kind == TEXT:
        line = f"{begins} {time.strftime('%Y-%m-%d %H:%M:%S')}"
    else:
        line = formatter(kind, "").format(logging.LogRecord(__name__, logging.INFO, "", 0, begins, None, None))
    os.write(descriptor, f"{line}\n".encode())
    os.dup2(descriptor, 2)
    os.close(descriptor)
    faulthandler.enable()


def shorten_log(path: Path) -> None:
    """Begin the file anew when it is long; what was in it is kept beside it, once."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > LOG_LIMIT:
            # not renamed: Windows does not let go of an open file
            shutil.copyfile(path, path.with_name(path.name + ".1"))
            os.truncate(path, 0)


def _in_thread(work: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, name=f"trellis{work.__name__}", daemon=True)
    thread.start()
    return thread


def _set_up_log(level: int, secret: str, *, anew: bool, kind: str = TEXT) -> None:
    if anew or not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(formatter(kind, secret))
        logging.basicConfig(level=level, handlers=[handler], force=True)
        for name in ("httpx", "httpcore"):  # they would log the addresses of webhooks and uploads
            logging.getLogger(name).setLevel(logging.WARNING)


def _refuse(sentence: str) -> int:
    print(sentence, file=sys.stderr, flush=True)
    return CANNOT_START
