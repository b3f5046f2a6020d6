"""The page's addresses, and what their answers forbid the browser.

The files of the page are for everybody, as there is nothing in them that is not in the published source. What is about
tasks needs the token in the header, also the stream of events and the pictures: it stands in no address.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from ...core.errors import TrellisError
from ...core.messages import message
from ...task.task import check_uuid
from ..edge.answers import as_json, bearer
from ..handlers import Service
from ..people.caller import Caller
from ..protocol import JsonObject, RequestError, ServiceReply, error_object
from ..records import TaskRecord
from . import BUILT, SITE, gallery
from .events import changes
from .table import settings_table
from .words import dictionary

VIEWER = "model-viewer.min.js"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_PER_ANSWER = 60  # tasks
_MOST_STREAMS = 64
_GUARDS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
}


def page_routes(service: Service) -> list[Route]:
    """The addresses of the page of this service."""
    page = _Page(service)
    return [
        Route("/", page.index, methods=["GET"]),
        Route("/page/words", page.words, methods=["GET"]),
        Route("/page/settings", page.settings, methods=["GET"]),
        Route("/page/state", page.state, methods=["GET"]),
        Route("/page/tasks", page.tasks, methods=["GET"]),
        Route("/page/tasks/{uuid}", page.task, methods=["GET"]),
        Route("/page/tasks/{uuid}/pictures/{name}", page.picture, methods=["GET"]),
        Route("/page/tasks/{uuid}/results/{index:int}", page.result, methods=["GET"]),
        Route("/page/events", page.events, methods=["GET"]),
        Route("/page/{name}", page.file, methods=["GET"]),
    ]


def content_policy(styles: Iterable[str] = ()) -> str:
    """What the browser may load for the page: nothing from elsewhere, nothing written into it.

    `styles` are the hashes of the style sheets that model-viewer writes into its own shadow root. It reads the textures
    of an asset from blob: addresses, and makes its templates by a policy of its own.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            " ".join(("style-src 'self'", *(f"'{style}'" for style in styles))),
            "img-src 'self' blob: data:",
            "connect-src 'self' blob:",
            "media-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "trusted-types lit-html",
            "require-trusted-types-for 'script'",
        )
    )


class _Page:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._files = {path.name: path for path in sorted(SITE.iterdir()) if path.suffix in _TYPES}
        self._files |= {path.name: path for path in sorted(BUILT.glob("*")) if path.suffix in (".js", ".txt")}
        self._streams = 0
        self._rendering = asyncio.Semaphore(1)
        about = BUILT / "model-viewer.json"
        known = json.loads(about.read_text(encoding="utf-8")) if about.is_file() else {}
        self._policy = content_policy(known.get("styles", ()))

    # For everybody

    async def index(self, request: Request) -> Response:
        return self._sent(request, "index.html")

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            raise HTTPException(404, message("There is no such file here (any more)."))
        return self._sent(request, name)

    async def words(self, request: Request) -> Response:
        """The sentences in the first of the browser's languages that there are translations for."""
        found = dictionary(request.query_params.get("language") or request.headers.get("accept-language", ""))
        response = as_json(found, 200)
        response.headers.update({**_GUARDS, "Vary": "Accept-Language"})
        return response

    async def settings(self, request: Request) -> Response:
        return self._answer({**settings_table(), "viewer": f"/page/{VIEWER}" if VIEWER in self._files else ""})

    # With the token

    async def state(self, request: Request) -> Response:
        return await self._answered(request, partial(gallery.state_of, self._service))

    async def tasks(self, request: Request) -> Response:
        text = request.query_params.get("before", "")
        before = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None

        def find(caller: Caller) -> JsonObject:
            return gallery.listed(self._service.tasks, caller, before, _PER_ANSWER)

        return await self._answered(request, find)

    async def task(self, request: Request) -> Response:
        def find(caller: Caller) -> JsonObject:
            change = self._service.tasks.changes.last
            return {"task": gallery.seen(self._record(request, caller), change)}

        return await self._answered(request, find)

    async def picture(self, request: Request) -> Response:
        def find(caller: Caller) -> Path | None:
            record, previews = self._record(request, caller), self._service.previews
            name = request.path_params["name"]
            if previews is None or name not in gallery.pictures_of(record):
                return None
            return previews.find(record.uuid, name)

        async def answer(caller: Caller) -> Response:
            return _picture(await run_in_threadpool(find, caller))

        return await self._guarded(request, answer)

    async def result(self, request: Request) -> Response:
        """What a result looks like, rendered here when it is asked for first.

        One at a time, and only for those who still want it: whoever scrolls past a hundred assets would otherwise have
        every thread wait for pictures that nobody looks at any more.
        """
        index = request.path_params["index"]
        previews = self._service.previews

        def made(caller: Caller) -> tuple[TaskRecord, Path | None]:
            record = self._record(request, caller)
            return record, previews.find_asset(record.uuid, index) if previews is not None else None

        def make(record: TaskRecord) -> Path | None:
            file = gallery.file_of(record, index)
            stored = self._service.files.find(*file) if file is not None else None
            return previews.of_asset(record.uuid, index, stored.path) if stored is not None and previews else None

        async def answer(caller: Caller) -> Response:
            record, path = await run_in_threadpool(made, caller)
            if path is None:
                async with self._rendering:
                    if not await request.is_disconnected():
                        path = await run_in_threadpool(make, record)
            return _picture(path)

        return await self._guarded(request, answer)

    async def events(self, request: Request) -> Response:
        async def answer(caller: Caller) -> Response:
            if self._streams >= _MOST_STREAMS:
                sentence = message("Too many pages are open on this service already; close one, and try again.")
                raise RequestError("rateLimitExceeded", sentence)
            headers = {**_GUARDS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return StreamingResponse(self._stream(caller), 200, headers, "text/event-stream")

        return await self._guarded(request, answer)

    async def _stream(self, caller: Caller) -> AsyncIterator[bytes]:
        self._streams += 1
        try:
            async for event in changes(self._service, caller):
                yield event
        finally:
            self._streams -= 1

    # The rest

    def _record(self, request: Request, caller: Caller) -> TaskRecord:
        return self._service.known(check_uuid(request.path_params["uuid"]), caller)

    async def _answered(self, request: Request, make: Callable[[Caller], JsonObject]) -> Response:
        async def answer(caller: Caller) -> Response:
            return self._answer(await run_in_threadpool(make, caller))

        return await self._guarded(request, answer)

    async def _guarded(self, request: Request, answer: Callable[[Caller], Awaitable[Response]]) -> Response:
        try:
            return await answer(self._service.caller(bearer(request)))
        except TrellisError as error:
            return _refused(error)

    def _answer(self, body: JsonObject) -> Response:
        response = as_json(body, 200)
        response.headers.update(_GUARDS)
        return response

    def _sent(self, request: Request, name: str) -> Response:
        """A file of the page; the browser asks each time whether it has changed."""
        data = self._files[name].read_bytes()
        mark = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
        headers = {**_GUARDS, "Content-Security-Policy": self._policy, "Cache-Control": "no-cache", "ETag": mark}
        if request.headers.get("if-none-match") == mark:
            return Response(None, 304, headers)
        return Response(data, 200, {**headers, "Content-Type": _TYPES[Path(name).suffix]})


def _picture(path: Path | None) -> Response:
    if path is None:
        raise RequestError("notFound", message("There is no such picture here (any more)."))
    return FileResponse(path, media_type="image/webp", headers={**_GUARDS, "Cache-Control": "no-store"})


def _refused(error: TrellisError) -> Response:
    reply = ServiceReply()
    reply.refuse(error_object(error))
    return as_json(reply.body, 404 if error.code in ("notFound", "taskNotFound") else reply.status)
