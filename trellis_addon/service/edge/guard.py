"""Slow and many connections: uvicorn itself waits for ever for a header, a body, or somebody to read its answer."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...core.addresses import as_number, is_this_machine
from ..limits import Limits, most_connections

_LOOK = 0.25  # seconds between two looks at all connections
KNOWN = "has_shown_the_token"  # in the state of a WebSocket's scope
_CLOSE_SECONDS = 2.0  # for the other side of a WebSocket to hear that it is closed
_SHARE_OF_STRANGERS = 4  # one connection of so many may be a WebSocket that has not shown the token
_REQUEST_TIMEOUT = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)
_TOO_SLOW = b'{"errors":[{"code":"requestTooSlow","message":"The request did not arrive in time; send it again."}]}'


class GuardedProtocol(H11Protocol):
    """A connection that is watched. `guard` is set by `guarded`."""

    guard: Guard
    is_stranger = False  # an HTTP request shows its token at once, or is over
    since = 0.0  # when the present phase began
    phase = ""
    stuck: float | None = None  # since when nobody has read what was written

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._note()
        self.guard.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.guard.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._note()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._note()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.stuck = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.stuck = None

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self.guard.remove(self)  # what comes next has a protocol of its own
        super().handle_websocket_upgrade(event)

    @property
    def is_waiting(self) -> bool:
        """Whether it is between two requests, or in the header of one."""
        return self.phase in ("idle", "header")

    def look(self, now: float, limits: Limits) -> None:
        """End it where it is too slow. The body's own limits are the app's, while somebody reads it."""
        waited = now - self.since
        if self.stuck is not None and now - self.stuck > limits.write_seconds:
            self.transport.abort()
        elif self.phase == "header" and waited > limits.header_seconds:
            if not self.transport.is_closing():
                if self.conn.trailing_data[0]:  # it has begun to ask
                    self.transport.write(_REQUEST_TIMEOUT % (len(_TOO_SLOW), _TOO_SLOW))
                self.transport.close()
        elif self.phase == "rest" and waited > limits.pause_seconds:
            self.transport.abort()

    def _note(self) -> None:
        """Which phase it is in, and since when."""
        theirs = self.conn.their_state
        phase = "request"
        if theirs is h11.IDLE:
            # a connection that never sent anything has no time of its own in uvicorn
            phase = "header" if self.cycle is None or self.conn.trailing_data[0] else "idle"
        elif theirs is h11.SEND_BODY and self.cycle is not None and self.cycle.response_complete:
            phase = "rest"  # of a body that nobody wants any more
        if phase != self.phase:
            self.phase, self.since = phase, self.loop.time()


class Watched(Protocol):
    """What a guard knows of a connection."""

    client: Any
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    since: float

    @property
    def is_waiting(self) -> bool: ...

    @property
    def is_stranger(self) -> bool: ...

    def look(self, now: float, limits: Limits) -> None: ...


class Guard:
    """All connections of a service, looked at while there are any."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._most = most_connections(limits)
        self._open: dict[Watched, str] = {}
        self._next: asyncio.TimerHandle | None = None

    def add(self, connection: Watched) -> None:
        peer = str((connection.client or ("",))[0])
        self._open[connection] = peer
        strangers = [known for known in self._open if known.is_stranger]
        if len(strangers) > self._most // _SHARE_OF_STRANGERS:
            self._make_room(strangers)
        elif len(self._open) > self._most:
            self._make_room(list(self._open))
        elif not _is_own(peer):
            same = [known for known, address in self._open.items() if address == peer]
            if len(same) > self.limits.client_connections:
                self._make_room(same)
        if self._next is None:
            self._next = connection.loop.call_later(_LOOK, self._look, connection.loop)

    def remove(self, connection: Watched) -> None:
        self._open.pop(connection, None)

    def _make_room(self, among: list[Watched]) -> None:
        """End the stranger that has waited longest, or else whoever has, or the newest where all are busy."""
        *others, newest = among
        waiting = [connection for connection in others if connection.is_waiting]
        victim = min(waiting, key=lambda connection: (not connection.is_stranger, connection.since), default=newest)
        self.remove(victim)
        victim.transport.abort()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._open):
            connection.look(now, self.limits)
        self._next = loop.call_later(_LOOK, self._look, loop) if self._open else None


def guarded(guard: Guard) -> type[Any]:
    """The protocol class for uvicorn's `http`."""
    return type("GuardedConnection", (GuardedProtocol,), {"guard": guard})


def guarded_websocket(guard: Guard) -> type[Any]:
    """The protocol class for uvicorn's `ws`, where the package `websockets` is installed."""
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    class GuardedWebSocket(WebSocketsSansIOProtocol):
        """Until it has shown the token it is a stranger, may send little, and goes first where there are too many."""

        since = 0.0  # when it began
        stuck: float | None = None
        heard = 0
        scope: Any = None  # until there is a request
        closed: float | None = None  # since when it is to end, which the other side may not care about

        @property
        def is_stranger(self) -> bool:
            """Whether it has not shown the token yet, or a wrong one."""
            return self.closed is not None or self.scope is None or not self.scope["state"].get(KNOWN)

        is_waiting = is_stranger

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.since = self.loop.time()
            guard.add(self)

        def connection_lost(self, exc: Exception | None) -> None:
            guard.remove(self)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self.heard += len(data)
            if self.is_stranger and self.heard > 4 * guard.limits.unproven:
                self.transport.abort()
            else:
                super().data_received(data)

        async def send(self, message: Any) -> None:
            await super().send(message)
            if message["type"] == "websocket.close":
                self.closed = self.loop.time()

        def pause_writing(self) -> None:
            super().pause_writing()
            self.stuck = self.loop.time()

        def resume_writing(self) -> None:
            super().resume_writing()
            self.stuck = None

        def look(self, now: float, limits: Limits) -> None:
            is_stuck = self.stuck is not None and now - self.stuck > limits.write_seconds
            if is_stuck or (self.closed is not None and now - self.closed > _CLOSE_SECONDS):
                self.transport.abort()

    return GuardedWebSocket


def _is_own(peer: str) -> bool:
    return as_number(peer) is None or is_this_machine(peer)  # no number: a socket of the system's own
