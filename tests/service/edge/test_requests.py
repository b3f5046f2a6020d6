"""Who may ask, which bodies are none, and addresses that are not there."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import httpx
import pytest
import service_tools
from service_tools import (
    TOKEN,
    Running,
    only_error,
    task,
)

from trellis_addon.service.protocol import BODY_LIMIT
from trellis_addon.task.settings import DRAFT_MODEL, TRELLIS2_MODEL

run = service_tools.run


def test_wrong_and_missing_tokens_are_refused(run: Running) -> None:
    ping = {"taskType": "ping"}
    for headers, code in (
        ({"Authorization": "Bearer wrong"}, "invalidApiKey"),
        ({"Authorization": "Bearer"}, "invalidApiKey"),
        ({"Authorization": "Basic " + TOKEN}, "invalidApiKey"),
        ({}, "missingApiKey"),
    ):
        response = httpx.post(f"{run.base}/v1", json=[ping], headers=headers)
        assert response.status_code == 401
        assert response.headers["content-type"] == "application/json"
        error = only_error(response)
        assert (error["code"], error["parameter"], error["taskType"]) == (code, "apiKey", "authentication")
        assert TOKEN not in response.text


def test_authentication_task_in_front(run: Running) -> None:
    key = {"taskType": "authentication", "apiKey": TOKEN}
    response = httpx.post(f"{run.base}/v1", json=[key, {"taskType": "ping"}])
    assert response.status_code == 200
    first, second = response.json()["data"]
    assert first["taskType"] == "authentication" and uuid.UUID(first["connectionSessionUUID"])
    assert second == {"taskType": "ping", "pong": True}
    for wrong, code in (({**key, "apiKey": "no"}, "invalidApiKey"), ({"taskType": "authentication"}, "missingApiKey")):
        response = httpx.post(f"{run.base}/v1", json=[wrong, {"taskType": "ping"}])
        assert response.status_code == 401 and only_error(response)["code"] == code
    second_place = httpx.post(f"{run.base}/v1", json=[{"taskType": "ping"}, key])
    assert second_place.status_code == 401


def test_a_large_body_with_a_wrong_token_still_gets_its_answer(run: Running) -> None:
    body = json.dumps([task(inputs={"image": "A" * 20_000_000})])
    headers = {"Authorization": "Bearer no", "Content-Type": "application/json"}
    assert httpx.post(f"{run.base}/v1", content=body, headers=headers).status_code == 401


def test_other_hosts_are_refused_everywhere(run: Running) -> None:
    for host in ("evil.example", f"evil.example:{run.port}", "127.0.0.1:1", ""):
        for path in ("/v1", "/files/a/b.glb"):
            response = run.http.get(path, headers={"Host": host})
            assert response.status_code == 403 and only_error(response)["code"] == "forbidden"
    for host in (f"localhost:{run.port}", f"127.1:{run.port}", f"127.0.0.2:{run.port}", f"[::1]:{run.port}"):
        assert run.http.get("/v1", headers={"Host": host}).status_code == 200
    for host in ("127.0.0.1", f"10.0.0.1:{run.port}", f"0.0.0.0:{run.port}", f"127.evil.example:{run.port}", "[::1"):
        assert run.http.get("/v1", headers={"Host": host}).status_code == 403


def test_what_a_web_page_could_send_is_refused(run: Running) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        response = run.http.post("/v1", content=b'[{"taskType":"ping"}]', headers={"Content-Type": content_type})
        assert response.status_code == 415 and only_error(response)["code"] == "unsupportedMediaType"
    assert run.http.post("/v1", content=b'[{"taskType":"ping"}]').status_code == 415
    charset = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert run.http.post("/v1", content=b'[{"taskType":"ping"}]', headers=charset).status_code == 200
    preflight = run.http.options("/v1", headers={"Origin": "http://a.example", "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 405
    assert not any(name.startswith("access-control") for name in preflight.headers)


def test_handshake(run: Running) -> None:
    for path in ("/v1", "/health"):
        about = run.http.get(path).json()
        assert about["engine"] == DRAFT_MODEL and about["models"] == [TRELLIS2_MODEL, DRAFT_MODEL]
        assert about["name"] and about["version"]
        assert httpx.get(run.base + path).status_code == 401


def test_a_request_takes_no_time_of_its_own(run: Running) -> None:
    taken = []
    for _ in range(20):
        began = time.monotonic()
        run.post({"taskType": "ping"})
        taken.append(time.monotonic() - began)
    assert min(taken) < 0.035, "each takes 0.04 s where TCP waits for more data"


# Bodies


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[1,", b"\xff\xfe\x00", b'"text"', b"7", b"null", b"[]", b"[NaN]", b"[" * 100_000,
        b'[{"taskType":"ping","x":1' + b"0" * 5000 + b"}]",
    ],
)  # fmt: skip
def test_bodies_that_are_no_tasks(run: Running, body: bytes) -> None:
    response = run.http.post("/v1", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400 and response.headers["content-type"] == "application/json"
    assert only_error(response)["code"] in ("invalidJSON", "invalidRequest", "emptyRequest")


def test_too_large_a_body(run: Running) -> None:
    body = b'[{"taskType":"ping","x":"' + b"A" * BODY_LIMIT + b'"}]'
    response = run.http.post("/v1", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 413 and only_error(response)["code"] == "bodyTooLarge"


def test_single_object_and_odd_items(run: Running) -> None:
    assert run.http.post("/v1", json={"taskType": "ping"}).json() == {"data": [{"taskType": "ping", "pong": True}]}
    odd: Any
    for odd in (7, None, [], "x", {}, {"taskType": 5}, {"taskType": ""}, {"taskType": "videoInference"}):
        response = run.post(odd)
        assert response.status_code == 400
        assert only_error(response)["code"] in ("invalidObject", "missingTaskType", "unsupportedTaskType")
    lone_surrogate = b'[{"taskType":"\\ud800","taskUUID":"\\udfff"}]'
    response = run.http.post("/v1", content=lone_surrogate, headers={"Content-Type": "application/json"})
    assert response.status_code == 400


def test_unknown_addresses_answer_in_json(run: Running) -> None:
    for method, path, status in (("GET", "/", 404), ("PUT", "/v1", 405), ("POST", "/v2", 404), ("PUT", "/health", 405)):
        response = run.http.request(method, path)
        assert response.status_code == status and only_error(response)["code"]
