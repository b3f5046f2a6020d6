"""A request that can be left at any moment.

What waits for the network is a thread of its own; whoever asks looks at Cancel and at the clock meanwhile, however
silent the other side is. A request that is left before it was sent is not sent any more.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from .failures import ProxyFailed

LOOK = 0.1  # seconds between two looks at Cancel
HEAD_LIMIT = 60.0  # seconds that the header of a file may take: one that drips in would never come to an end
_AHEAD = 16  # pieces of a reply that may have come in before they are taken
# What is raised while there is no connection yet.
_UNCONNECTED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.InvalidURL,
    httpx.UnsupportedProtocol,
)
# What each client has opened; it keeps a connection for its next requests, and a request may go out on any of them.
_opened: weakref.WeakKeyDictionary[httpx.Client, weakref.WeakSet[socket.socket]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()  # of the above


class _Left(Exception):
    """Nobody waits for the reply any more."""


class Line:
    """One request of a client's, and its reply.

    `has_left` says afterwards whether a byte of it may have left this machine: what is said to a proxy, or about
    certificates, before the request itself does not count.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.has_left = False
        self._client = client
        self._check: Callable[[], None] = lambda: None
        self._socket: socket.socket | None = None  # that the reply comes by, once it comes
        self._came: queue.Queue[Any] = queue.Queue(_AHEAD)  # the response, pieces of its body, None; or an exception
        self._is_left = threading.Event()
        self._gate = threading.Lock()  # either it is left first, or it leaves first
        self._is_over = False  # the thread has the whole reply, or an exception
        self._is_traced = False
        self._asked: float | None = None  # when the last byte of the request was handed over

    @contextmanager
    def open(
        self,
        method: str,
        url: str,
        check: Callable[[], None],
        *,
        head_limit: float | None = None,
        raw: bool = False,
        **options: Any,
    ) -> Iterator[LineReply]:
        """Send, and yield the reply as soon as its header is whole; `options` are those of `httpx.Client.stream`.

        `head_limit` are the seconds that the header may take once the request was sent. `raw` leaves the body packed,
        as it comes. `check` is called at every look and may raise (`Cancelled`); raises what httpx raises besides.
        """
        self._check = check
        threading.Thread(target=self._run, args=(method, url, raw, options), daemon=True).start()
        try:
            response = self._take(lambda: self._waits_longer_than(head_limit))
            self.has_left = True
            yield LineReply(self, response)
        except Exception as error:
            self._leave()  # from here on the request leaves no more
            if not (self._is_traced or isinstance(error, _UNCONNECTED)):  # a transport that tells nothing, as in tests
                self.has_left = True
            if isinstance(error, ProxyFailed):  # it has refused what it was to hand on
                self.has_left = False
            raise
        finally:
            self._leave()

    def _take(self, is_late: Callable[[], bool]) -> Any:
        """What comes next."""
        while True:
            self._check()
            if is_late():
                raise httpx.ReadTimeout("The reply does not come to an end.")
            with contextlib.suppress(queue.Empty):
                came = self._came.get(timeout=LOOK)
                if isinstance(came, (OSError, UnicodeError)):  # what httpx lets through of the system's
                    raise httpx.TransportError(str(came)) from came
                if isinstance(came, BaseException):
                    raise came
                return came

    def _waits_longer_than(self, seconds: float | None) -> bool:
        return seconds is not None and self._asked is not None and time.monotonic() > self._asked + seconds

    def _run(self, method: str, url: str, raw: bool, options: Mapping[str, Any]) -> None:
        try:
            with self._client.stream(method, url, extensions={"trace": self._trace}, **options) as response:
                stream = response.extensions.get("network_stream")
                found = stream.get_extra_info("socket") if stream else None
                self._socket = found if isinstance(found, socket.socket) else None
                self._give(response)
                for piece in response.iter_raw() if raw else response.iter_bytes():
                    self._give(piece)
            self._is_over = True
            self._give(None)
        except _Left:
            self._is_over = True
        except BaseException as error:
            self._is_over = True
            with contextlib.suppress(_Left):
                self._give(error)

    def _give(self, came: Any) -> None:
        while not self._is_left.is_set():
            with contextlib.suppress(queue.Full):
                self._came.put(came, timeout=LOOK)
                return
        raise _Left

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """What httpcore tells of a connection; an exception from here ends it."""
        self._is_traced = True
        if event.endswith(".started") and "response" not in event:
            request = info.get("request")
            is_sent = "send_request" in event and getattr(request, "method", b"") != b"CONNECT"
            with self._gate:
                if self._is_left.is_set():
                    raise _Left
                self.has_left = self.has_left or is_sent
        elif event.endswith("send_request_body.complete"):
            self._asked = time.monotonic()
        elif event.endswith(".complete"):
            ask = getattr(info.get("return_value"), "get_extra_info", None)  # of a stream
            opened = ask("socket") if ask else None
            if isinstance(opened, socket.socket):
                with _lock:
                    _opened.setdefault(self._client, weakref.WeakSet()).add(opened)

    def _leave(self) -> None:
        """Have the thread end where it is still at it: it may wait in a socket that nothing will come from."""
        with self._gate:
            self._is_left.set()
        if self._is_over:
            return
        with _lock:
            sockets = [self._socket] if self._socket else list(_opened.get(self._client, ()))
        for opened in sockets:
            with contextlib.suppress(OSError):
                # not the method of a TLS socket, which would pull its state from under the reading thread
                socket.socket.shutdown(opened, socket.SHUT_RDWR)


class LineReply:
    """A reply as it comes in: `response` has its status and its headers."""

    def __init__(self, line: Line, response: httpx.Response) -> None:
        self.response = response
        self._line = line

    def pieces(self, limit: float | None = None) -> Iterator[bytes]:
        """The body as it comes; `httpx.ReadTimeout` where it takes longer than `limit` seconds."""
        end = time.monotonic() + limit if limit is not None else None
        while (piece := self._line._take(lambda: end is not None and time.monotonic() > end)) is not None:
            yield piece
