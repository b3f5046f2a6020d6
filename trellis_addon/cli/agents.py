"""The command that lets assistants use the library: mcp."""

from __future__ import annotations

import argparse
import secrets
import sys
from typing import Any

from ..core.configuration import configuration


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to argparse's sub-parsers."""
    mcp = commands.add_parser("mcp", parents=[common], help="serve assistants, by the Model Context Protocol")
    mcp.add_argument("--url", default="", metavar="ADDRESS", help="make assets at this service (default: draft, here)")
    mcp.add_argument("--backend", default="draft", help="or there: draft, local, remote")
    mcp.add_argument("--http", type=int, metavar="PORT", help="over HTTP on this machine, not over standard input")
    mcp.add_argument("--token", default="", help="what clients over HTTP must show (default: one is made up and told)")
    mcp.set_defaults(run=_mcp)


def _mcp(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..agents.server import make_server, run_over_http, run_over_pipes

    server = make_server(backend=options.url or options.backend, key=key, allow_network=allow_network)
    if options.http is None:
        run_over_pipes(server)
        return 0
    token = options.token or configuration().service_token or ""
    if not token:
        token = secrets.token_urlsafe(24)
        print(f"Token: {token}", file=sys.stderr, flush=True)
    run_over_http(server, options.http, token)
    return 0
