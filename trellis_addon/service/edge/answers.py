"""What all edges share: who shows which token, and answers in JSON."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ..protocol import JsonObject, RequestError, ServiceReply, encode, error_object


def bearer(request: Request) -> str | None:
    """What the Authorization header shows; None without one."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, key = header.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def as_json(body: JsonObject, status: int) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if status == 429:
        headers["Retry-After"] = "2"  # seconds
    return Response(encode(body), status, headers, "application/json")


def refusal(error: RequestError) -> Response:
    """The answer to a request of which nothing was accepted."""
    reply = ServiceReply()
    reply.refuse(error_object(error))
    return as_json(reply.body, reply.status)
