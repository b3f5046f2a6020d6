"""The task protocol over a WebSocket, and the platform's own client over both transports, where they are installed."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import service_tools
from conftest import PATIENCE
from service_tools import PIXEL, TOKEN, Running, ready, start, task
from starlette.websockets import WebSocketDisconnect

from trellis_addon.service.edge.app import create_app
from trellis_addon.task.settings import TRELLIS2_MODEL

KEY = [{"taskType": "authentication", "apiKey": TOKEN}]


run = service_tools.run


def client(run: Running, hosts: list[str] | None = None) -> Any:
    """The application itself: a server that speaks the protocol needs a library that may not be here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have another HTTP library
        from starlette.testclient import TestClient
    return TestClient(create_app(run.service, hosts), base_url=run.base)


def settle(socket: Any, task_uuid: str) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        socket.send_json([{"taskType": "getResponse", "taskUUID": task_uuid}])
        body = socket.receive_json()
        if all(item["status"] == "success" for item in body["data"]):
            return body
        time.sleep(0.01)
    raise AssertionError("not done in time")


def test_life_of_a_task(run: Running) -> None:
    with client(run).websocket_connect("/v1") as socket:
        socket.send_json(KEY)
        (item,) = socket.receive_json()["data"]
        assert item["taskType"] == "authentication" and uuid.UUID(item["connectionSessionUUID"])
        socket.send_json([{"taskType": "ping", "ping": True}])
        assert socket.receive_json() == {"data": [{"taskType": "ping", "pong": True}]}
        asked = task(numberResults=2, seed=3)
        socket.send_json([asked])
        assert socket.receive_json() == {"data": [{"taskType": "3dInference", "taskUUID": asked["taskUUID"]}]}
        body = settle(socket, asked["taskUUID"])
        assert [(item["resultIndex"], item["seed"]) for item in body["data"]] == [(0, 3), (1, 4)]
        url = body["data"][0]["outputs"]["files"][0]["url"]
        assert run.http.get(url.replace("http://testserver", run.base)).content.startswith(b"glTF")
        socket.send_json([asked])
        body = socket.receive_json()
        assert body["errors"][0]["code"] == "conflictTaskUUID"
        for bad in ("{", "[]", "[NaN]", '"x"'):
            socket.send_text(bad)
            assert socket.receive_json()["errors"][0]["code"] in ("invalidJSON", "emptyRequest", "invalidRequest")


def test_a_task_that_is_not_known_is_named(run: Running) -> None:
    """Over a socket for many tasks nobody could tell else whose answer that is, and would wait for it for ever."""
    known, unknown = task(), str(uuid.uuid4())
    with client(run).websocket_connect("/v1") as socket:
        socket.send_json(KEY)
        socket.receive_json()
        socket.send_json([known])
        socket.receive_json()
        socket.send_json([{"taskType": "getResponse", "taskUUID": each} for each in (unknown, known["taskUUID"])])
        body = socket.receive_json()
        assert [item["taskUUID"] for item in body["data"]] == [known["taskUUID"]]
        (error,) = body["errors"]
        assert (error["code"], error["taskUUID"]) == ("taskNotFound", unknown)
    assert run.poll(unknown) == {"data": []}  # a request of its own needs no such thing


def test_a_waiting_sync_task_does_not_hold_up_others(run: Running) -> None:
    run.engine.gate.clear()
    with client(run).websocket_connect("/v1") as socket:
        socket.send_json(KEY)
        socket.receive_json()
        socket.send_json([task(deliveryMethod="sync", seed=1)])
        socket.send_bytes(json.dumps([{"taskType": "ping"}]).encode())
        assert socket.receive_json()["data"][0]["pong"] is True
        run.engine.gate.set()
        assert socket.receive_json()["data"][0]["seed"] == 1


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ([{"taskType": "authentication", "apiKey": "wrong"}], "invalidApiKey"),
        ([{"taskType": "ping"}], "missingApiKey"),
        ([], "missingApiKey"),
    ],
)
def test_without_the_token_it_ends(run: Running, first: Any, code: str) -> None:
    with client(run).websocket_connect("/v1") as socket:
        socket.send_json(first)
        assert socket.receive_json()["errors"][0]["code"] == code
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()


def test_who_says_nothing_is_hung_up_on(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.service.edge.websocket.FIRST_FRAME_SECONDS", 0.05)
    with client(run).websocket_connect("/v1") as socket, pytest.raises(WebSocketDisconnect):
        socket.receive_json()


def test_web_pages_and_other_hosts_are_turned_away(run: Running) -> None:
    for headers, hosts in (({"Origin": "http://page.example"}, None), ({}, ["elsewhere:80"])):
        with pytest.raises(WebSocketDisconnect), client(run, hosts).websocket_connect("/v1", headers=headers):
            pass


# With real servers and clients


@pytest.fixture
def served() -> Iterator[str]:
    process = start(token=TOKEN, engine="draft", workers=2)
    try:
        yield ready(process)["url"]
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def test_over_a_real_connection(served: str) -> None:
    connect = pytest.importorskip("websockets.asyncio.client").connect
    address = served.replace("http", "ws", 1)

    async def talk() -> None:
        async with connect(address, max_size=None) as socket:
            await socket.send(json.dumps(KEY))
            assert "connectionSessionUUID" in await socket.recv()
            await socket.send(json.dumps([{"taskType": "ping", "x": "A" * 20_000_000}]))
            assert json.loads(await socket.recv()) == {"data": [{"taskType": "ping", "pong": True}]}
        with pytest.raises(pytest.importorskip("websockets.exceptions").InvalidStatus, match="403"):
            await connect(address, origin="http://page.example")

    asyncio.run(asyncio.wait_for(talk(), 20))


@pytest.mark.parametrize("transport", ["rest", "websocket"])
def test_the_official_client(served: str, transport: str) -> None:
    runware = pytest.importorskip("runware")
    addresses = {"http_base_url": served, "ws_base_url": served.replace("http", "ws", 1)}
    asked = {
        "taskType": "3dInference",
        "model": TRELLIS2_MODEL,
        "inputs": {"image": PIXEL},
        "seed": 7,
        "settings": {"resolution": 512, "textureSize": 1024, "decimationTarget": 100_000},
    }

    async def talk() -> None:
        async with runware.Runware(api_key=TOKEN, transport=transport, **addresses) as sdk:
            for count in (1, 4):
                results = await sdk.run({**asked, "numberResults": count})
                assert [result["seed"] for result in results] == [7 + number for number in range(count)]
                for result in results:
                    (file,) = result["outputs"]["files"]
                    assert httpx.get(file["url"]).content.startswith(b"glTF")
            account = await sdk.account_management({"operation": "getDetails"})
            assert "This computer" in json.dumps(account, default=vars)

    asyncio.run(asyncio.wait_for(talk(), 30))


def test_the_official_client_is_not_left_waiting(served: str) -> None:
    runware = pytest.importorskip("runware")

    async def talk() -> None:
        address = served.replace("http", "ws", 1)
        async with runware.Runware(api_key=TOKEN, transport="websocket", ws_base_url=address) as sdk:
            with pytest.raises(Exception, match="known here"):
                await sdk.get_response({"taskUUID": str(uuid.uuid4())})

    asyncio.run(asyncio.wait_for(talk(), 15))
