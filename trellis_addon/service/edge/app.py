"""The HTTP edges of the service: who may ask, what may be sent, and which function answers.

No web page but its own can use it: no CORS header is ever sent, a body must be `application/json` (which a page
of another origin cannot send unasked), and the Host must be ours (which a rebound name is not).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketClose

from ...core.addresses import as_number, is_this_machine, split_place
from ...core.messages import message
from ..handlers import Service, key_error
from ..handshake import CLIENT_HEADER, PRIORITY_HEADER
from ..limits import Limits
from ..monitoring.metrics import CONTENT_TYPE
from ..people.caller import Caller
from ..protocol import RequestError, ServiceReply, error_object, first_task, parse_tasks
from ..records import TaskRecord
from .administration import routes as administration_routes
from .answers import as_json, bearer, refusal
from .openapi import describe
from .origin import public_address
from .websocket import SocketEdge

_DRAIN = 4  # times the largest body are read and thrown away, so that the client gets to see the refusal
_LARGE = 4 * 2**20  # bytes of a body from where on it is taken apart alone: pictures are copied some times in between
_LOOK = 0.02  # seconds between two looks at a task that a reply waits for
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def create_app(
    service: Service, hosts: Iterable[str] | None, limits: Limits | None = None, further: Iterable[Route] = ()
) -> ASGIApp:
    """The service as an ASGI application. `hosts` are the Host headers that are ours; None lets any pass. `further` are
    routes besides, such as those of the page."""
    edge = _Edge(service, limits or Limits())
    app = Starlette(
        routes=[
            *(Route(path, edge.tasks, methods=["POST"]) for path in ("/v1", "/v1/")),
            *(Route(path, edge.about, methods=["GET"]) for path in ("/v1", "/v1/", "/health")),
            *(WebSocketRoute(path, edge.socket) for path in ("/v1", "/v1/")),
            Route("/healthz", edge.alive, methods=["GET"]),
            Route("/readyz", edge.ready, methods=["GET"]),
            Route("/metrics", edge.metrics, methods=["GET"]),
            *administration_routes(service),
            Route("/openapi.json", edge.description, methods=["GET"]),
            Route("/files/{secret}/{name}", edge.file, methods=["GET"]),
            *further,
        ],
        exception_handlers={HTTPException: _http_error, Exception: _crash},
    )
    app.router.redirect_slashes = False
    strict = _OneLength(app)
    return strict if hosts is None else _HostCheck(strict, hosts)


class _Edge:
    def __init__(self, service: Service, limits: Limits) -> None:
        self.service = service
        self.limits = limits
        self._held = 0  # bytes of all bodies that are there
        self._large = asyncio.Semaphore(1)

    async def tasks(self, request: Request) -> Response:
        key = bearer(request)
        body = _Body(self, request, key)
        try:
            await body.read()
            shown = self.service.caller(key) if key is not None else None
            async with self._large if body.size > _LARGE else contextlib.nullcontext():
                requests, caller = await run_in_threadpool(self._open, body.take(), shown)
                base_url = public_address(request)
                caller = caller.at(request.headers.get(PRIORITY_HEADER, "").strip().lower())
                dry_run = request.headers.get("x-runware-dry-run", "").strip().lower() in ("1", "true")
                reply, waiting = await run_in_threadpool(
                    self.service.answer, requests, base_url, dry_run, _client(request), caller
                )
                del requests  # pictures and all, which a reply that waits need not hold
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except RequestError as error:
            response = refusal(error)
            if not body.ended:  # what is still to come would be taken for the next request
                response.headers["Connection"] = "close"
            return response
        finally:
            body.release()
        for record in waiting:
            await self._wait(record, reply, caller)
        return as_json(reply.body, reply.status)

    def may_hold(self, size: int) -> bool:
        """Count `size` more bytes of bodies, where there is room for them; fewer with a negative one."""
        if size > 0 and self._held + size > self.limits.bodies:
            return False
        self._held += size
        return True

    def shown_key(self, first: Any) -> Any:
        """What a request's first task shows for a token."""
        return first.get("apiKey") if isinstance(first, dict) and first.get("taskType") == "authentication" else None

    async def about(self, request: Request) -> Response:
        try:
            return as_json(self.service.about(self.service.caller(bearer(request))), 200)
        except RequestError as error:
            return refusal(error)

    async def alive(self, request: Request) -> Response:
        """That the process answers; for everybody, as a supervisor has no token."""
        return as_json({"status": "ok"}, 200)

    async def ready(self, request: Request) -> Response:
        """Whether tasks can be taken in; for everybody, and says no more than that to those without the token."""
        obstacle = await run_in_threadpool(self.service.obstacle)
        if not obstacle:
            return as_json({"status": "ready"}, 200)
        told = {"reason": obstacle} if self.service.knows(bearer(request)) else {}
        return as_json({"status": "not ready", **told}, 503)

    async def metrics(self, request: Request) -> Response:
        try:
            self.service.administrator(bearer(request))
            return Response(await run_in_threadpool(self.service.metrics), 200, _NO_STORE, CONTENT_TYPE)
        except RequestError as error:
            return refusal(error)

    async def socket(self, socket: WebSocket) -> None:
        await SocketEdge(self.service, self._open, self._wait).serve(socket)

    async def description(self, request: Request) -> Response:
        """For everybody, without a token: there is nothing in it that is not in the published source."""
        return as_json(describe(), 200)

    async def file(self, request: Request) -> Response:
        secret, name = request.path_params["secret"], request.path_params["name"]
        stored = await run_in_threadpool(self.service.files.find, secret, name)
        if stored is None:
            raise HTTPException(404, "There is no such file here (any more).")
        return FileResponse(stored.path, media_type=stored.media_type, headers=_NO_STORE)

    def _open(self, body: bytes | bytearray, caller: Caller | None) -> tuple[list[Any], Caller]:
        """The body's tasks and whose they are: `caller`'s, or where there is none the first of them shows a token."""
        try:
            requests = parse_tasks(body, self.limits)
        except RequestError:
            if caller is not None:
                raise
            raise key_error(None) from None
        return requests, caller or self.service.caller(self.shown_key(requests[0]))

    async def _wait(self, record: TaskRecord, reply: ServiceReply, caller: Caller) -> None:
        """Put a `sync` task's results into the reply when they are there, for as long as the caller's token counts."""
        while not record.done and not self.service.closing:
            if self.service.people.still(caller) is None:
                reply.refuse(error_object(key_error("")))
                return
            await asyncio.sleep(_LOOK)
        data, errors = self.service.tasks.items(record)
        if not data and all(error["code"] == "storageLimitExceeded" for error in errors):
            for error in errors:  # the state of the service, and not the outcome of the task
                reply.refuse(error)
            return
        reply.add(*data)
        reply.report(errors)


class _OneLength:
    """Turns away requests with two lengths, which a proxy may have read as two requests where we read one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = {name for name, _ in scope["headers"]} if scope["type"] == "http" else set()
        if {b"content-length", b"transfer-encoding"} <= names:
            error = RequestError("invalidRequest", "A request has a Content-Length or a Transfer-Encoding, not both.")
            response = as_json({"errors": [error_object(error)]}, 400)
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _HostCheck:
    """Turns away what was sent to another name than ours: a web page's own name that was bound to this address.

    A number is no such name: whatever it is by which this machine was reached.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            given = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
            if len(given) != 1 or not self._is_ours(given[0]):
                if scope["type"] == "websocket":
                    await WebSocketClose()(scope, receive, send)
                    return
                error = RequestError("forbidden", "The Host header is not this service's address.")
                await as_json({"errors": [error_object(error)]}, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        name, port = split_place(host)
        is_number = as_number(name) is not None and is_this_machine(name)
        return host in self._hosts or (is_number and f"127.0.0.1:{port}".removesuffix(":") in self._hosts)


def _client(request: Request) -> str:
    """What tells the clients apart that take turns: a program of ours says so itself."""
    host = request.client.host if request.client is not None else ""
    return request.headers.get(CLIENT_HEADER, "")[:64] or host


class _Body:
    """A request's body on its way in. What is to be refused is not kept, but read on, as far as that is bearable."""

    def __init__(self, edge: _Edge, request: Request, key: str | None) -> None:
        self._edge = edge
        self._request = request
        self._key = key
        self._kept = bytearray()
        self._counted = 0
        length = request.headers.get("content-length", "")
        self._promised = int(length[:20]) if length.isdigit() else 0
        self._refusal = self._refused_at_once()
        self.size = 0
        self.ended = False

    async def read(self) -> None:
        """Raises `RequestError` for what is refused, when it has come to its end or has gone on for too long."""
        limits, clock = self._edge.limits, asyncio.get_running_loop().time
        began = clock()
        stream = self._request.stream()
        while not self.ended and max(self.size, self._promised) <= _DRAIN * limits.body:
            latest = began + limits.body_seconds + self.size / limits.slowest
            try:
                async with asyncio.timeout_at(min(clock() + limits.pause_seconds, latest)):
                    chunk = await anext(stream, None)
            except TimeoutError:
                sentence = message("The request's body did not arrive in time; send it again.")
                raise self._refusal or RequestError("requestTooSlow", sentence) from None
            if chunk is None:
                self.ended = True
            else:
                self._take_in(chunk)
        if self._refusal is not None:
            raise self._refusal

    def take(self) -> bytearray:
        """The whole body, which is not kept here any more."""
        kept, self._kept = self._kept, bytearray()
        return kept

    def release(self) -> None:
        """Count it no longer."""
        self._kept = bytearray()
        self._edge.may_hold(-self._counted)
        self._counted = 0

    def _refused_at_once(self) -> RequestError | None:
        headers = self._request.headers
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return RequestError("unsupportedMediaType", "Send the tasks as Content-Type: application/json.")
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            return RequestError("unsupportedMediaType", "Send the tasks as they are, without a Content-Encoding.")
        if self._key is not None and not self._edge.service.knows(self._key):
            return key_error(self._key)
        return self._too_large() if self._promised > self._edge.limits.body else None

    def _too_large(self) -> RequestError:
        limit = self._edge.limits.body // 2**20
        return RequestError(
            "bodyTooLarge", message("The request is larger than {limit} MB; send a smaller picture.", limit=limit)
        )

    def _take_in(self, chunk: bytes) -> None:
        limits = self._edge.limits
        before, self.size = self.size, self.size + len(chunk)
        if self._refusal is not None:
            return
        if self.size > limits.body:
            self._refuse(self._too_large())
        elif not self._edge.may_hold(len(chunk)):
            sentence = message("The service is reading too many large requests already; send this one again later.")
            self._refuse(RequestError("rateLimitExceeded", sentence))
        else:
            self._counted += len(chunk)
            self._kept += chunk
            if self._key is None and before <= limits.unproven < self.size:
                shown = self._edge.shown_key(first_task(self._kept[: limits.unproven]))
                if not self._edge.service.knows(shown):
                    self._refuse(key_error(shown))

    def _refuse(self, error: RequestError) -> None:
        self._refusal = error
        self.release()


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "notFound", 405: "methodNotAllowed"}.get(status, "invalidRequest")
    detail = error.detail if isinstance(error, HTTPException) and status == 404 and error.detail != "Not Found" else ""
    sentence = detail or message(
        "{method} is not possible at this address; send tasks by POST to /v1.", method=request.method
    )
    response = as_json({"errors": [error_object(RequestError(code, sentence))]}, status)
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response


async def _crash(request: Request, error: Exception) -> Response:
    # Starlette raises the error again after this, so that the server logs it.
    sentence = message("The service failed at this request; its log has the details.")
    return as_json({"errors": [error_object(RequestError("internalServerError", sentence))]}, 500)
