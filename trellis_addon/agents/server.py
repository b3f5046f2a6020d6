"""The server for assistants, over standard input and output, or over HTTP on this machine."""

from __future__ import annotations

import hmac
import sys
from typing import TYPE_CHECKING

from ..core.errors import TrellisError
from ..core.version import VERSION

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer
    from starlette.types import ASGIApp, Receive, Scope, Send

_INSTRUCTIONS = (
    "TRELLIS.2 for Blender: pictures of objects become textured 3D assets (GLB). Begin with `generate`; what was made "
    "before is in `jobs`. A result of the engine draft:relief@1 is a quick relief without any model: say so to the "
    "user. Never confirm a price that the user has not agreed to."
)


def make_server(*, backend: str = "draft", key: str = "", allow_network: bool = True) -> MCPServer:
    """The server with its tools and resources; `backend` is where assets are made unless a call says otherwise.

    Raises `TrellisError` where the package `mcp` is not installed.
    """
    try:
        from mcp.server.mcpserver import MCPServer
    except ImportError as error:
        raise TrellisError("The server for assistants needs the package mcp; install it with pip.") from error
    from .blender import add_blender_tools
    from .reading import add_resources
    from .tools import add_tools

    server = MCPServer("trellis2", instructions=_INSTRUCTIONS, version=VERSION)
    add_tools(server, backend, key, allow_network)
    add_blender_tools(server)
    add_resources(server)
    return server


def run_over_pipes(server: MCPServer) -> None:
    """Until standard input ends."""
    server.run("stdio")


def run_over_http(server: MCPServer, port: int, token: str) -> None:
    """At http://127.0.0.1:port/mcp, for this machine alone and with the token."""
    import uvicorn

    print(f"Listening at http://127.0.0.1:{port}/mcp", file=sys.stderr, flush=True)
    app = http_app(server, token)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def http_app(server: MCPServer, token: str) -> ASGIApp:
    """The server as an ASGI application that only those with the token can use."""
    return _WithToken(server.streamable_http_app(), token)


class _WithToken:
    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            shown = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(shown, self._wanted):
                headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
                await send({"type": "http.response.start", "status": 401, "headers": headers})
                await send({"type": "http.response.body", "body": b"The token is missing or wrong."})
                return
        await self._app(scope, receive, send)
