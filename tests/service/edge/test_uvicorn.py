"""What the guard over slow connections relies on inside uvicorn is there, in every version that we allow."""

from __future__ import annotations

import asyncio
import inspect
import tomllib

import h11
import pytest
import uvicorn
from conftest import ROOT
from packaging.requirements import Requirement
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from trellis_addon.service.edge.guard import GuardedProtocol


@pytest.mark.checkout
def test_what_the_zip_brings_is_what_the_project_allows() -> None:
    """Of uvicorn the minor version is pinned, as its protocol class is no public interface."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    allowed = {found.name: found.specifier for found in map(Requirement, project["dependencies"])}
    lines = (ROOT / "tools" / "wheels" / "all.txt").read_text(encoding="utf-8").splitlines()
    brought = dict(line.split("==") for line in lines if "==" in line)
    assert brought and all(version in allowed[name] for name, version in brought.items() if name in allowed)
    major, minor = map(int, brought["uvicorn"].split(".")[:2])
    assert f"{major}.{minor + 1}" not in allowed["uvicorn"]
    assert uvicorn.__version__ in allowed["uvicorn"]


def test_every_method_that_is_taken_over_is_one_of_uvicorn() -> None:
    own = {name for name, value in vars(GuardedProtocol).items() if inspect.isfunction(value)} - {"look", "_note"}
    assert own >= {"data_received", "on_response_complete", "handle_websocket_upgrade"}
    for name in own:
        theirs, ours = (inspect.signature(getattr(kind, name)) for kind in (H11Protocol, GuardedProtocol))
        assert list(theirs.parameters) == list(ours.parameters), name


def test_the_parser_tells_where_a_request_is() -> None:
    """`conn.their_state`, `conn.trailing_data`, `cycle.response_complete`, `transport`, `client`, `loop`."""

    async def run() -> None:
        config = Config(app=lambda scope: None)
        config.load()
        protocol = H11Protocol(config=config, server_state=ServerState(), app_state={})
        server = await asyncio.get_running_loop().create_server(lambda: protocol, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        for _ in range(1000):
            if protocol.transport is not None:
                break
            await asyncio.sleep(0.001)
        assert protocol.client[0] == "127.0.0.1" and protocol.loop is asyncio.get_running_loop()
        assert protocol.cycle is None and protocol.conn.their_state is h11.IDLE
        assert protocol.conn.trailing_data == (b"", False)
        protocol.data_received(b"GET / HT")
        assert protocol.conn.their_state is h11.IDLE and protocol.conn.trailing_data[0] == b"GET / HT"
        writer.close()
        server.close()

    asyncio.run(run())
    assert "response_complete" in vars(RequestResponseCycle)["__init__"].__code__.co_names
