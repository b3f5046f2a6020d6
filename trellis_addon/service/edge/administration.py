"""What an administrator's page asks for and does: plain JSON below one address.

The token comes in the Authorization header alone, which no web page of another origin can send unasked.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...core.errors import FieldError, TrellisError
from ..administration import MOST_ON_A_PAGE, Administration
from ..handlers import Service
from ..protocol import JsonObject, RequestError, error_object
from .answers import as_json, bearer, refusal

PREFIX = "/v1/admin"
Answer = Callable[[Administration, Request], JsonObject]


def routes(service: Service) -> list[Route]:
    """The addresses; each answers administrators only."""
    office = Administration(service)

    def route(method: str, path: str, answer: Answer) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                service.administrator(bearer(request))
                return as_json(await run_in_threadpool(answer, office, request), 200)
            except RequestError as error:
                return refusal(error)
            except FieldError as error:
                return as_json({"data": [], "errors": [error_object(error)]}, 400)
            except TrellisError as error:
                return as_json({"data": [], "errors": [error_object(error)]}, 500)

        return Route(PREFIX + path, endpoint, methods=[method])

    return [
        route("GET", "", lambda office, request: office.overview()),
        route("GET", "/people", lambda office, request: {"people": office.people()}),
        route("GET", "/tasks", _tasks),
        route("GET", "/errors", lambda office, request: {"errors": office.errors()}),
        route("POST", "/tasks/{uuid}/cancel", lambda office, request: office.cancel(request.path_params["uuid"])),
        route("POST", "/people/{name}/cancel", lambda office, request: office.cancel_all(request.path_params["name"])),
        route("POST", "/people/{name}/revoke", lambda office, request: office.revoke(request.path_params["name"])),
        route("POST", "/pause", lambda office, request: office.pause(True)),
        route("POST", "/resume", lambda office, request: office.resume()),
        route("POST", "/drain", lambda office, request: office.drain()),
    ]


def _tasks(office: Administration, request: Request) -> JsonObject:
    asked = request.query_params
    return office.tasks(
        person=asked.get("person"),
        unfinished=asked.get("state") == "unfinished",
        before=_whole(request, "before"),
        limit=_whole(request, "limit") or MOST_ON_A_PAGE,
    )


def _whole(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) > 0):
        raise FieldError(name, text[:60], "give a whole number from 1", code="invalidInteger")
    return int(text)
