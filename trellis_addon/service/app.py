"""The HTTP edges of the service: who may ask, what may be sent, and which function answers.

No web page can use it: no CORS header is ever sent, a body must be `application/json` (which a page
of another origin cannot send unasked), and the Host must be ours (which a rebound name is not).
"""

from __future__ import annotations

import asyncio
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

from .handlers import Service, key_error
from .openapi import describe
from .protocol import BODY_LIMIT, JsonObject, Reply, RequestError, encode, error_object, parse_tasks
from .tasks import TaskRecord
from .websocket import SocketEdge

_DRAIN_LIMIT = 4 * BODY_LIMIT  # read on that far and throw away, so that the client gets to see the refusal
_LOOK = 0.02  # seconds between two looks at a task that a reply waits for
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def create_app(service: Service, hosts: Iterable[str] | None) -> ASGIApp:
    """The service as an ASGI application. `hosts` are the Host headers that are ours; None lets any pass."""
    edge = _Edge(service)
    app = Starlette(
        routes=[
            *(Route(path, edge.tasks, methods=["POST"]) for path in ("/v1", "/v1/")),
            *(Route(path, edge.about, methods=["GET"]) for path in ("/v1", "/v1/", "/health")),
            *(WebSocketRoute(path, edge.socket) for path in ("/v1", "/v1/")),
            Route("/openapi.json", edge.description, methods=["GET"]),
            Route("/files/{secret}/{name}", edge.file, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _crash},
    )
    app.router.redirect_slashes = False
    return app if hosts is None else _HostCheck(app, hosts)


class _Edge:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def tasks(self, request: Request) -> Response:
        key = _bearer(request)
        refused = key is not None and not self._service.knows(key)
        is_json = request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
        try:
            body = await _read(request, keep=is_json and not refused)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        try:
            if not is_json:
                raise RequestError("unsupportedMediaType", "Send the tasks as Content-Type: application/json.")
            if refused:
                raise key_error(key)
            if body is None:
                limit = BODY_LIMIT // 2**20
                raise RequestError("bodyTooLarge", f"The request is larger than {limit} MB; send a smaller picture.")
            requests = await run_in_threadpool(self._open, body, key is not None)
        except RequestError as error:
            reply = Reply()
            reply.refuse(error_object(error))
            return _json(reply.body, reply.status)
        del body
        base_url = f"{request.url.scheme}://{request.headers.get('host') or request.url.netloc}"
        dry_run = request.headers.get("x-runware-dry-run", "").strip().lower() in ("1", "true")
        reply, waiting = await run_in_threadpool(self._service.answer, requests, base_url, dry_run)
        del requests  # pictures and all, which a reply that waits need not hold
        for record in waiting:
            await self._wait(record, reply)
        return _json(reply.body, reply.status)

    async def about(self, request: Request) -> Response:
        key = _bearer(request)
        if not self._service.knows(key):
            reply = Reply()
            reply.refuse(error_object(key_error(key)))
            return _json(reply.body, reply.status)
        return _json(self._service.about(), 200)

    async def socket(self, socket: WebSocket) -> None:
        await SocketEdge(self._service, self._open, self._wait).serve(socket)

    async def description(self, request: Request) -> Response:
        """For everybody, without a token: there is nothing in it that is not in the published source."""
        return _json(describe(), 200)

    async def file(self, request: Request) -> Response:
        stored = self._service.files.find(request.path_params["secret"], request.path_params["name"])
        if stored is None:
            raise HTTPException(404, "There is no such file here (any more).")
        return FileResponse(stored.path, media_type=stored.media_type, headers=_NO_STORE)

    def _open(self, body: bytes, authenticated: bool) -> list[Any]:
        """The body's tasks, where the header or the first of them shows the token."""
        try:
            requests = parse_tasks(body)
        except RequestError:
            if authenticated:
                raise
            raise key_error(None) from None
        first = requests[0]
        if not authenticated:
            is_key = isinstance(first, dict) and first.get("taskType") == "authentication"
            shown = first.get("apiKey") if is_key else None
            if not self._service.knows(shown):
                raise key_error(shown)
        return requests

    async def _wait(self, record: TaskRecord, reply: Reply) -> None:
        """Put a `sync` task's results into the reply when they are there."""
        while not record.done and not self._service.closing:
            await asyncio.sleep(_LOOK)
        data, errors = self._service.tasks.items(record)
        reply.add(*data)
        reply.report(errors)


class _HostCheck:
    """Turns away what was sent to another name than ours: a web page's own name that was bound to this address."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            given = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
            if len(given) != 1 or given[0] not in self._hosts:
                if scope["type"] == "websocket":
                    await WebSocketClose()(scope, receive, send)
                    return
                error = RequestError("forbidden", "The Host header is not this service's address.")
                await _json({"errors": [error_object(error)]}, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _bearer(request: Request) -> str | None:
    """What the Authorization header shows; None without one."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, key = header.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


async def _read(request: Request, keep: bool) -> bytes | None:
    """The body; None when it is too large or not to be kept, and then it is read all the same, up to a limit."""
    body = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if keep and size <= BODY_LIMIT:
            body += chunk
        else:
            body.clear()
        if size > _DRAIN_LIMIT:
            break
    return bytes(body) if keep and size <= BODY_LIMIT else None


def _json(body: JsonObject, status: int) -> Response:
    headers = {"Cache-Control": "no-store"}
    if status == 429:
        headers["Retry-After"] = "2"  # seconds
    return Response(encode(body), status, headers, "application/json")


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "notFound", 405: "methodNotAllowed"}.get(status, "invalidRequest")
    detail = error.detail if isinstance(error, HTTPException) and status == 404 and error.detail != "Not Found" else ""
    message = detail or f"{request.method} is not possible at this address; send tasks by POST to /v1."
    response = _json({"errors": [error_object(RequestError(code, message))]}, status)
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response


async def _crash(request: Request, error: Exception) -> Response:
    # Starlette raises the error again after this, so that the server logs it.
    sentence = "The service failed at this request; its log has the details."
    return _json({"errors": [error_object(RequestError("internalServerError", sentence))]}, 500)
