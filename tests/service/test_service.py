"""The service over real HTTP: a real server, real clients, a small engine where the engine is not the matter."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import PATIENCE
from service_tools import (
    PIXEL,
    ROOT,
    TOKEN,
    Mailbox,
    Running,
    local_server,
    only_error,
    picture_server,
    png,
    ready,
    start,
    task,
)

from trellis_addon.core.errors import EngineError
from trellis_addon.service.limits import Limits
from trellis_addon.service.protocol import BODY_LIMIT
from trellis_addon.task.settings import DRAFT_MODEL, SEED_MAX, TRELLIS2_MODEL
from trellis_addon.task.task import examples


@pytest.fixture
def run() -> Iterator[Running]:
    running = Running()
    yield running
    running.close()


# Who may ask


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


# Tasks


def test_async_life_of_a_task(run: Running) -> None:
    run.engine.gate.clear()
    asked = task(seed=7, includeCost=True)
    response = run.post(asked)
    assert response.status_code == 200
    assert response.json() == {"data": [{"taskType": "3dInference", "taskUUID": asked["taskUUID"]}]}
    assert run.engine.began.wait(PATIENCE)
    (item,) = run.poll(asked["taskUUID"])["data"]
    identity = {"taskType": "3dInference", "taskUUID": asked["taskUUID"]}
    assert item == {**identity, "status": "processing", "progress": 42, "stage": "begin"}
    run.engine.gate.set()
    (item,) = run.settle(asked["taskUUID"])["data"]
    (file,) = item.pop("outputs")["files"]
    assert item.pop("performance")["seconds"] > 0
    assert item == {**identity, "status": "success", "seed": 7, "cost": 0.0, "engine": DRAFT_MODEL}
    content = run.http.get(file["url"]).content
    assert json.loads(content[4:]) == {"seed": 7, "size": [1, 1], "settings": {"include_cost": True, "seed": 7}}
    assert run.created == [DRAFT_MODEL]


def test_sync_holds_the_reply(run: Running) -> None:
    asked = task(deliveryMethod="sync")
    body = run.post(asked).json()
    (item,) = body["data"]
    assert item["status"] == "success" and "cost" not in item and 0 <= item["seed"] < 2**32
    assert run.poll(asked["taskUUID"])["data"] == [item]


def test_waiting_sync_requests_do_not_block_others(run: Running) -> None:
    run.engine.gate.clear()
    replies: list[dict[str, Any]] = []

    headers = {"Authorization": f"Bearer {TOKEN}"}
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(timeout=PATIENCE, limits=limits, headers=headers, verify=False) as client:  # one for all: cheaper

        def wait() -> None:
            replies.append(client.post(f"{run.base}/v1", json=[task(deliveryMethod="sync")]).json())

        threads = [threading.Thread(target=wait) for _ in range(50)]
        for thread in threads:
            thread.start()
        assert run.engine.began.wait(PATIENCE)
        assert run.post({"taskType": "ping"}).status_code == 200
        assert not replies, "it was answered while all of these waited"
        run.engine.gate.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert len(replies) == 50 and all(reply["data"][0]["status"] == "success" for reply in replies)


def test_several_results_come_one_by_one_with_their_seeds(run: Running) -> None:
    asked = task(numberResults=3, seed=SEED_MAX - 1)
    run.engine.errors[SEED_MAX] = EngineError("It cannot be done.")
    run.post(asked)
    body = run.settle(asked["taskUUID"])
    assert [(i["resultIndex"], i["seed"]) for i in body["data"]] == [(0, SEED_MAX - 1), (2, 0)]
    (error,) = body["errors"]
    assert error["resultIndex"] == 1 and error["status"] == "error" and error["code"] == "inferenceError"
    assert len({i["outputs"]["files"][0]["uuid"] for i in body["data"]}) == 2


def test_results_are_there_as_soon_as_they_are_ready(run: Running) -> None:
    run.engine.gate.clear()
    asked = task(numberResults=2)
    run.post(asked)
    assert run.engine.began.wait(PATIENCE)
    first, second = run.poll(asked["taskUUID"])["data"]
    assert [(item["resultIndex"], item["progress"]) for item in (first, second)] == [(0, 42), (1, 0)]
    original = run.engine.generate

    def hold_the_second(*arguments: Any, **named: Any) -> Any:
        run.engine.gate.clear()
        return original(*arguments, **named)

    run.engine.generate = hold_the_second  # type: ignore[method-assign]
    run.engine.began.clear()
    run.engine.gate.set()
    assert run.engine.began.wait(PATIENCE)
    first, second = run.poll(asked["taskUUID"])["data"]
    assert (first["status"], second["status"]) == ("success", "processing")
    run.engine.gate.set()
    first, second = run.settle(asked["taskUUID"])["data"]
    assert second["seed"] == first["seed"] + 1


def test_batch_with_good_and_bad(run: Running) -> None:
    good, bad = task(), task(settings={"resolution": 700})
    response = run.post(bad, good, {"taskType": "nonsense"})
    assert response.status_code == 200
    body = response.json()
    assert [item["taskUUID"] for item in body["data"]] == [good["taskUUID"]]
    first, second = body["errors"]
    assert first["taskUUID"] == bad["taskUUID"] and first["taskType"] == "3dInference"
    assert (first["code"], first["parameter"], first["type"]) == ("invalidInteger", "settings.resolution", "integer")
    assert first["allowedValues"] == [512, 1024, 1536]
    assert second["code"] == "unsupportedTaskType"
    assert run.settle(good["taskUUID"])["data"][0]["status"] == "success"
    assert run.poll(bad["taskUUID"]) == {"data": []}


def test_refusals_name_the_field(run: Running) -> None:
    for changes, code, parameter in (
        ({"settings": {"textureSize": 1500}}, "invalidInteger", "settings.textureSize"),
        ({"ttl": 5}, "invalidInteger", "ttl"),
        ({"numberResults": 5}, "invalidInteger", "numberResults"),
        ({"model": "other:model@1"}, "invalidString", "model"),
        ({"model": None}, "missingModel", "model"),
        ({"inputs": {}}, "missingImage", "inputs.image"),
        ({"inputs": 5}, "invalidObject", "inputs"),
        ({"taskUUID": "abc"}, "invalidTaskUUID", "taskUUID"),
        ({"taskUUID": None}, "missingTaskUUID", "taskUUID"),
        ({"prompt": "a frog"}, "unsupportedParameter", "prompt"),
        ({"webhookURL": "ftp://x"}, "invalidString", "webhookURL"),
    ):
        response = run.post(task(**changes))
        error = only_error(response)
        assert (response.status_code, error["code"], error["parameter"]) == (400, code, parameter)
    multiplier = only_error(run.post(task(settings={"textureSize": 1500})))
    assert (multiplier["min"], multiplier["max"], multiplier["multiplier"]) == (1024, 4096, 1024)


@pytest.mark.parametrize(
    "image",
    ["hello", "../../etc/passwd", str(ROOT / "README.md"), "data:image/png;base64,AAAA", PIXEL[:-50], "data:,x"],
)
def test_bad_pictures_are_refused_before_the_acknowledgement(run: Running, image: str) -> None:
    asked = task(inputs={"image": image})
    response = run.post(asked)
    error = only_error(response)
    assert response.status_code == 400
    assert (error["code"], error["parameter"]) == ("invalidImage", "inputs.image")
    assert error["taskUUID"] == asked["taskUUID"]
    # refused, so the UUID is still free
    assert run.post({**asked, "inputs": {"image": PIXEL}}).status_code == 200


def test_the_published_examples_run_verbatim(run: Running) -> None:
    with picture_server(png()) as picture:
        for example in examples():
            request = example["request"]
            body = run.post({**request, "inputs": {"image": picture}}).json()
            assert body == {"data": [{"taskType": "3dInference", "taskUUID": request["taskUUID"]}]}
            assert run.settle(request["taskUUID"])["data"][0]["seed"] == request["seed"]


def test_a_uuid_is_taken_once(run: Running) -> None:
    asked = task()
    assert run.post(asked).status_code == 200
    for again in (asked, {**asked, "taskUUID": asked["taskUUID"].upper()}):
        response = run.post(again)
        error = only_error(response)
        assert response.status_code == 400
        assert (error["code"], error["parameter"]) == ("conflictTaskUUID", "taskUUID")
        assert error["taskUUID"] == again["taskUUID"]
        assert error["message"].startswith("The taskUUID is already in use.")
    twice = task()
    response = run.post(twice, twice)
    assert response.status_code == 200 and len(response.json()["data"]) == 1 and len(response.json()["errors"]) == 1


def test_dry_run_validates_and_does_nothing(run: Running) -> None:
    asked = task()
    dry = {"X-Runware-Dry-Run": "1"}
    response = run.post(asked, task(ttl=1), headers=dry)
    identity = {"taskType": "3dInference", "taskUUID": asked["taskUUID"]}
    assert response.json()["data"] == [{**identity, "cost": 0, "engine": DRAFT_MODEL}]
    assert len(response.json()["errors"]) == 1
    assert run.poll(asked["taskUUID"]) == {"data": []} and not run.engine.seeds
    upload = {"taskType": "mediaStorage", "taskUUID": str(uuid.uuid4()), "operation": "upload", "media": PIXEL}
    assert "mediaUUID" not in run.post(upload, headers=dry).json()["data"][0]


def test_dry_run_refuses_what_is_refused(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = run.post({"taskType": "imageUpload", "image": PIXEL}).json()["data"][0]["imageUUID"]
    media = {"taskType": "mediaStorage"}
    for refused in (
        media,
        {**media, "operation": "rename"},
        {**media, "operation": "upload"},
        {**media, "operation": "upload", "media": "no picture"},
        {**media, "operation": "upload", "media": "http://127.0.0.1:1/x.png"},
        {**media, "operation": "delete"},
        {**media, "operation": "delete", "mediaUUID": str(uuid.uuid4())},
        {"taskType": "imageUpload"},
        {"taskType": "imageUpload", "image": "!"},
        {"taskType": "getTaskDetails", "taskUUID": str(uuid.uuid4())},
        {"taskType": "cancelTask", "taskUUID": str(uuid.uuid4())},
        {"taskType": "accountManagement"},
        {"taskType": "authentication", "apiKey": "wrong"},
        {"taskType": "nonsense"},
        task(inputs={"image": "no picture"}),
        task(webhookURL="http://a b/"),
    ):
        dry, wet = (run.post(refused, headers=headers) for headers in ({"X-Runware-Dry-Run": "1"}, {}))
        assert (dry.status_code, only_error(dry)) == (wet.status_code, only_error(wet)) and wet.status_code >= 400
    upload, delete = (
        {**media, "operation": "upload", "media": PIXEL},
        {**media, "operation": "delete", "mediaUUID": kept},
    )
    for taken in (upload, delete):
        assert run.post(taken, headers={"X-Runware-Dry-Run": "1"}).json()["data"][0]["cost"] == 0
    assert run.post(delete).status_code == 200  # it was still there
    monkeypatch.setattr(Limits, "uploads", 0)
    assert run.post(upload, headers={"X-Runware-Dry-Run": "1"}).status_code == 507
    run.engine.gate.clear()
    monkeypatch.setattr("trellis_addon.service.queue.tasks.QUEUE_LIMIT", 5)
    assert run.post(*(task() for _ in range(5))).status_code == 200
    assert run.post(task(), headers={"X-Runware-Dry-Run": "1"}).status_code == 429


def test_refusals_quote_json(run: Running) -> None:
    for change, words in (
        ({"seed": None}, "seed: null cannot be used; allowed"),
        ({"numberResults": True}, "numberResults: true cannot be used; allowed"),
        ({"settings": {"remesh": None}}, "settings.remesh: null cannot"),
        (
            {"settings": {"resolution": [None, True, {"a": False}]}},
            'settings.resolution: [null, true, {"a": false}] cannot',
        ),
        ({"settings": {"texSlat": False}}, "settings.texSlat: false cannot"),
        ({"outputFormat": 'a"b'}, 'outputFormat: "a\\"b" cannot'),
        ({"ttl": "\0"}, 'ttl: "\\u0000" cannot'),
        ({"webhookURL": "http://localhost:99999/"}, 'webhookURL: "http://localhost:99999/" cannot'),
        ({"inputs": None}, "inputs: null cannot"),
        ({"inputs": {"image": True}}, "inputs.image: true cannot"),
    ):
        assert words in only_error(run.post(task(**change)))["message"]
    for request in (None, True, [None]):
        assert not re.search("None|True|False", only_error(run.post(request))["message"])
    gone = {"taskType": "mediaStorage", "operation": "delete", "mediaUUID": None}
    assert "the UUID null here" in only_error(run.post(gone))["message"]


@pytest.mark.parametrize("field", ["webhookURL", "uploadEndpoint"])
@pytest.mark.parametrize(
    "address",
    ["http://a b/", "http://localhost:99999/", "http://localhost/\0", "http://", "ftp://a/", "http://a..b/", ""],
)
def test_addresses_that_can_never_be_reached(run: Running, field: str, address: str) -> None:
    response = run.post(task(**{field: address}))
    assert response.status_code == 400 and only_error(response)["parameter"] == field
    assert field in only_error(response)["message"]


def test_unknown_tasks(run: Running) -> None:
    unknown = str(uuid.uuid4())
    assert run.poll(unknown) == {"data": []}
    for task_type in ("getTaskDetails", "cancelTask"):
        assert only_error(run.post({"taskType": task_type, "taskUUID": unknown}))["code"] == "taskNotFound"
    assert only_error(run.post({"taskType": "getResponse"}))["code"] == "missingTaskUUID"
    assert only_error(run.post({"taskType": "getResponse", "taskUUID": [1]}))["code"] == "invalidTaskUUID"


def test_task_details_without_the_picture(run: Running) -> None:
    picture = "data:image/png;base64," + base64.b64encode(png(64)).decode() * 3
    asked = task(inputs={"image": "data:image/png;base64," + base64.b64encode(png(200)).decode()})
    assert len(picture) > 200
    run.post(asked)
    done = run.settle(asked["taskUUID"])
    (details,) = run.post({"taskType": "getTaskDetails", "taskUUID": asked["taskUUID"]}).json()["data"]
    assert details["taskType"] == "getTaskDetails" and details["taskUUID"] == asked["taskUUID"]
    assert details["response"] == {"data": done["data"]}
    (request,) = details["request"]
    assert len(request["inputs"]["image"]) < 200
    assert {k: v for k, v in request.items() if k != "inputs"} == {k: v for k, v in asked.items() if k != "inputs"}
    record = run.service.tasks.get(asked["taskUUID"])
    assert record is not None and record.image is None


def test_the_account_is_this_computer(run: Running) -> None:
    asked = {"taskType": "accountManagement", "taskUUID": str(uuid.uuid4()), "operation": "getDetails"}
    (item,) = run.post(asked).json()["data"]
    assert {key: item[key] for key in asked} == asked
    assert item["balance"] == {"amount": 0, "freeBalance": 0, "currency": "USD"}
    assert item["organizationName"] == "This computer" and "cost nothing" in item["note"]
    assert {figure for span in item["usage"].values() for figure in span.values()} == {0}
    wrong = run.post({**asked, "operation": "close"})
    assert wrong.status_code == 400 and only_error(wrong)["parameter"] == "operation"


# Cancelling and failing


def test_cancelling_a_running_and_a_waiting_task(run: Running) -> None:
    run.engine.gate.clear()
    running, waiting, last = task(numberResults=2), task(), task()
    run.post(running, waiting, last)
    assert run.engine.began.wait(PATIENCE)
    for asked in (waiting, running):
        (item,) = run.post({"taskType": "cancelTask", "taskUUID": asked["taskUUID"]}).json()["data"]
        assert item == {"taskType": "cancelTask", "taskUUID": asked["taskUUID"], "cancelled": True}
        body = run.poll(asked["taskUUID"])
        assert body["data"] == [] and {e["code"] for e in body["errors"]} == {"taskCancelled"}
        assert {e["status"] for e in body["errors"]} == {"error"}
    assert run.engine.stopped.wait(PATIENCE)
    run.engine.gate.set()
    assert run.settle(last["taskUUID"])["data"][0]["status"] == "success"
    assert len(run.engine.seeds) == 2  # neither the second result nor the task that waited was begun
    (item,) = run.post({"taskType": "cancelTask", "taskUUID": last["taskUUID"]}).json()["data"]
    assert item["cancelled"] is False
    assert run.poll(last["taskUUID"])["data"][0]["status"] == "success"
    assert only_error(run.post(waiting))["code"] == "conflictTaskUUID"


@pytest.mark.parametrize(
    "error",
    [ValueError("odd\nnumber"), MemoryError(), KeyError("x"), SystemExit(3), RecursionError(), EngineError("No way.")],
    ids=lambda e: type(e).__name__,
)
def test_whatever_the_engine_raises_is_an_error_with_a_sentence(run: Running, error: BaseException) -> None:
    run.engine.errors[1] = error
    asked, after = task(seed=1), task(seed=2)
    run.post(asked, after)
    body = run.settle(asked["taskUUID"])
    assert body["data"] == []
    (found,) = body["errors"]
    assert (found["code"], found["status"], found["taskUUID"]) == ("inferenceError", "error", asked["taskUUID"])
    assert "\n" not in found["message"] and found["message"].endswith(".")
    assert run.settle(after["taskUUID"])["data"][0]["status"] == "success"
    # a sync failure is news, not a refusal: a client that repeats what was refused would only meet a conflict
    response = run.post(task(seed=1, deliveryMethod="sync"))
    assert response.status_code == 200 and only_error(response)["code"] == "inferenceError"


def test_an_engine_that_returns_no_glb(run: Running) -> None:
    run.engine.generate = lambda *_: b"<html>"  # type: ignore[method-assign]
    asked = task()
    run.post(asked)
    assert run.settle(asked["taskUUID"])["errors"][0]["code"] == "inferenceError"


def test_too_many_waiting(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.service.queue.tasks.QUEUE_LIMIT", 20)
    run.engine.gate.clear()
    response = run.post(*(task() for _ in range(21)))
    assert len(response.json()["data"]) == 20
    assert only_error(response)["code"] == "rateLimitExceeded"
    full = run.post(task())
    assert full.status_code == 429 and int(full.headers["retry-after"]) > 0


def test_workers_share_one_queue_first_come_first_served() -> None:
    running = Running(workers=3)
    try:
        running.engine.gate.clear()
        asked = [task(seed=seed) for seed in range(7)]
        running.post(*asked)
        end = time.monotonic() + PATIENCE
        while len(running.engine.seeds) < 3 and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(0.05)
        assert sorted(running.engine.seeds) == [0, 1, 2]  # the first three, and no fourth beside them
        assert [running.poll(t["taskUUID"])["data"][0]["progress"] for t in asked] == [42] * 3 + [0] * 4
        running.engine.gate.set()
        for t in asked:
            assert running.settle(t["taskUUID"])["data"][0]["status"] == "success"
        assert sorted(running.engine.seeds) == list(range(7))
        assert len(running.created) == 3  # one engine a worker
    finally:
        running.close()


# Pictures by other ways


def test_uploads_are_pictures_by_uuid(run: Running) -> None:
    data = png(9)
    text = base64.b64encode(data).decode()
    upload = {"taskType": "mediaStorage", "taskUUID": str(uuid.uuid4()), "operation": "upload", "media": text}
    (item,) = run.post(upload).json()["data"]
    assert item["operation"] == "upload"
    stored = httpx.get(item["mediaURL"])
    assert stored.content == data and stored.headers["content-type"] == "image/png"
    uri = "data:image/png;base64," + text
    (image,) = run.post({"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": uri}).json()["data"]
    assert httpx.get(image["imageURL"]).content == data
    for name in (item["mediaUUID"], image["imageUUID"]):
        asked = task(inputs={"image": name})
        run.post(asked)
        url = run.settle(asked["taskUUID"])["data"][0]["outputs"]["files"][0]["url"]
        assert json.loads(httpx.get(url).content[4:])["size"] == [9, 9]
    delete = {"taskType": "mediaStorage", "operation": "delete", "mediaUUID": item["mediaUUID"]}
    assert run.post(delete).json()["data"][0]["mediaUUID"] == item["mediaUUID"]
    assert httpx.get(item["mediaURL"]).status_code == 404
    assert only_error(run.post(delete))["code"] == "mediaNotFound"
    gone = only_error(run.post(task(inputs={"image": item["mediaUUID"]})))
    assert (gone["code"], gone["parameter"]) == ("mediaNotFound", "inputs.image")


def test_uploads_that_are_refused(run: Running) -> None:
    upload = {"taskType": "mediaStorage", "operation": "upload"}
    for request, code, parameter in (
        ({**upload, "media": "AAAA"}, "invalidImage", "media"),
        ({**upload, "media": "/etc/passwd"}, "invalidImage", "media"),
        (upload, "missingMedia", "media"),
        ({"taskType": "imageUpload", "image": 5}, "missingImage", "image"),
        ({"taskType": "mediaStorage", "operation": "rename"}, "invalidOperation", "operation"),
        ({"taskType": "mediaStorage", "operation": []}, "invalidOperation", "operation"),
        ({"taskType": "mediaStorage", "operation": "delete"}, "mediaNotFound", "mediaUUID"),
    ):
        response = run.post(request)
        error = only_error(response)
        assert (response.status_code, error["code"], error["parameter"]) == (400, code, parameter)


def test_pictures_by_url(run: Running) -> None:
    with picture_server(png(12)) as url:
        good, missing = task(inputs={"image": url}), task(inputs={"image": url + "x"}, numberResults=2)
        run.post(good, missing)
        file = run.settle(good["taskUUID"])["data"][0]["outputs"]["files"][0]
        assert json.loads(httpx.get(file["url"]).content[4:])["size"] == [12, 12]
        body = run.settle(missing["taskUUID"])
        assert [(e["code"], e["parameter"], e["resultIndex"]) for e in body["errors"]] == [
            ("invalidImage", "inputs.image", 0), ("invalidImage", "inputs.image", 1),
        ]  # fmt: skip


# Results out


def test_files_by_address_without_the_token(run: Running) -> None:
    asked = task()
    run.post(asked)
    (file,) = run.settle(asked["taskUUID"])["data"][0]["outputs"]["files"]
    assert file["url"].startswith(run.base + "/files/") and file["url"].endswith(f"/{file['uuid']}.glb")
    secret = file["url"].split("/")[-2]
    assert len(secret) >= 32
    whole = httpx.get(file["url"])
    assert whole.status_code == 200 and whole.headers["content-type"] == "model/gltf-binary"
    assert int(whole.headers["content-length"]) == len(whole.content) and "no-store" in whole.headers["cache-control"]
    head = httpx.head(file["url"])
    assert head.status_code == 200 and not head.content
    assert head.headers["content-length"] == whole.headers["content-length"]
    part = httpx.get(file["url"], headers={"Range": "bytes=4-9"})
    assert part.status_code == 206 and part.content == whole.content[4:10]
    for path in (
        f"/files/{'0' * len(secret)}/{file['uuid']}.glb",
        f"/files/{secret}/other.glb",
        f"/files/{secret}/..%2f..%2f..%2fetc%2fpasswd",
        "/files/../../etc/passwd",
        "/files/",
        f"/files/{secret}",
        f"/files/%2e%2e/{file['uuid']}.glb",
    ):
        with socket.create_connection(("127.0.0.1", run.port)) as raw:  # httpx would tidy the path up
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{run.port}\r\nConnection: close\r\n\r\n".encode())
            assert raw.recv(64).startswith(b"HTTP/1.1 404")


def test_files_go_when_their_time_is_up(run: Running) -> None:
    short, normal = task(ttl=60), task()
    run.post(short, normal)
    urls = [run.settle(t["taskUUID"])["data"][0]["outputs"]["files"][0]["url"] for t in (short, normal)]
    run.clock.now += 59
    assert [httpx.get(url).status_code for url in urls] == [200, 200]
    run.clock.now += 2
    assert [httpx.get(url).status_code for url in urls] == [404, 200]
    assert len(list(run.service.files.folder.iterdir())) == 1
    run.clock.now += 86400
    assert httpx.get(urls[1]).status_code == 404
    # and so do the tasks
    assert run.poll(normal["taskUUID"]) == {"data": []}
    assert run.post(normal).status_code == 200


def test_finished_tasks_are_forgotten_beyond_a_number(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.service.queue.tasks.KEEP_TASKS", 2)
    asked = [task() for _ in range(4)]
    run.post(*asked)
    run.settle(asked[-1]["taskUUID"])
    assert [bool(run.poll(t["taskUUID"])["data"]) for t in asked] == [False, False, True, True]


def test_webhook_gets_each_result_as_a_flat_item(run: Running) -> None:
    box = Mailbox(refuse=2)
    run.engine.errors[6] = EngineError("It cannot be done.")
    with local_server(box) as url:
        asked = task(numberResults=2, seed=5, webhookURL=url + "/hook?key=1")
        run.post(asked)
        body = run.settle(asked["taskUUID"])
        kept = box.wait(2)
    assert {(method, content_type) for method, content_type, _ in kept} == {("POST", "application/json")}
    items = sorted((json.loads(content) for _, _, content in kept), key=lambda item: item["resultIndex"])
    assert items == body["data"] + body["errors"]


def test_finished_files_are_sent_to_the_upload_endpoint(run: Running) -> None:
    box = Mailbox(refuse=1)
    with local_server(box) as url:
        asked = task(uploadEndpoint=url + "/put")
        run.post(asked)
        (file,) = run.settle(asked["taskUUID"])["data"][0]["outputs"]["files"]
        assert box.wait(1) == [("PUT", "model/gltf-binary", httpx.get(file["url"]).content)]


def test_receivers_that_are_not_there_do_no_harm(run: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
    asked = task(uploadEndpoint=dead, webhookURL=dead)
    run.post(asked)
    (item,) = run.settle(asked["taskUUID"])["data"]
    assert httpx.get(item["outputs"]["files"][0]["url"]).status_code == 200


def test_nothing_secret_is_logged(run: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    picture = base64.b64encode(png(300)).decode()
    run.engine.errors[1] = ValueError("x")
    asked = task(inputs={"image": picture}, webhookURL="http://127.0.0.1:9/?key=hook-secret")
    damaged = task(inputs={"image": picture[:99]})
    run.post({"taskType": "authentication", "apiKey": "wrong-key"}, asked, task(seed=1), damaged)
    run.settle(asked["taskUUID"])
    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith(("trellis_addon", "uvicorn")))
    assert "accepted" in ours
    for secret in (TOKEN, "wrong-key", picture[:80], "hook-secret"):
        assert secret not in ours


# Engine choices


def test_the_choice_of_engines() -> None:
    running = Running("draft")
    try:
        for model in (TRELLIS2_MODEL, DRAFT_MODEL):
            assert running.post(task(model=model, deliveryMethod="sync")).json()["data"][0]["engine"] == DRAFT_MODEL
    finally:
        running.close()


# The process


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    process = start(tmp_path, parent_pipe=True)
    assert process.stdin is not None
    process.stdin.write(TOKEN + "\n")
    process.stdin.flush()
    line = ready(process)
    assert set(line) == {"url", "pid", "version", "protocol", "engine"} and line["engine"] == DRAFT_MODEL
    with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20) as client:
        assert client.get(line["url"]).status_code == 200
        # work of all kinds is under way when the parent goes
        gone = threading.Event()
        with local_server(lambda handler: gone.wait(PATIENCE)) as slow:
            client.post(line["url"], json=[task(inputs={"image": slow}), task()])
            (folder,) = tmp_path.iterdir()
            if os.name == "posix":
                assert folder.stat().st_mode & 0o777 == 0o700
            process.stdin.close()
            assert process.wait(PATIENCE) == 0, "it waits for none of that"
            gone.set()
    assert list(tmp_path.iterdir()) == []
    assert process.stdout is not None and process.stderr is not None
    rest, log = process.stdout.read(), process.stderr.read()
    assert rest == "" and TOKEN not in log and "Fatal" not in log and "Traceback" not in log


def test_the_draft_engine_behind_the_process(tmp_path: Path) -> None:
    process = start(tmp_path, parent_pipe=True, engine="draft")
    assert process.stdin is not None
    process.stdin.write(TOKEN + "\n")
    process.stdin.flush()
    url = ready(process)["url"]
    smallest = {"resolution": 512, "textureSize": 1024, "decimationTarget": 100_000}
    picture = base64.b64encode(png(256)).decode()
    with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as client:
        asked = task(deliveryMethod="sync", seed=3, inputs={"image": picture}, settings=smallest)
        (item,) = client.post(url, json=[asked]).json()["data"]
        glb = client.get(item["outputs"]["files"][0]["url"]).content
        assert glb.startswith(b"glTF") and int.from_bytes(glb[8:12], "little") == len(glb)
        largest = {"resolution": 1536, "textureSize": 4096, "decimationTarget": 1_000_000}
        client.post(url, json=[task(inputs={"image": picture}, settings=largest)])
        time.sleep(0.2)
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    assert list(tmp_path.iterdir()) == []
    assert process.stderr is not None and "Traceback" not in process.stderr.read()


@pytest.mark.skipif(
    os.name != "posix",
    reason="needs signals; Windows ends a process without one, as if it were killed",
)
def test_signals_end_the_process_cleanly(tmp_path: Path) -> None:
    import signal

    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(tmp_path, token=TOKEN)
        line = ready(process)
        with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            assert client.get(line["url"]).status_code == 200
            process.send_signal(number)
            output, log = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0 and output == "" and TOKEN not in log and "Traceback" not in log
        assert list(tmp_path.iterdir()) == []


def test_a_token_is_made_up_for_a_person(tmp_path: Path) -> None:
    process = start(tmp_path)
    line = ready(process)
    assert process.stderr is not None
    sentence = process.stderr.readline()
    while "token" not in sentence:
        sentence = process.stderr.readline()
    token = sentence.split(" is ")[1].split()[0]
    assert len(token) >= 32
    assert httpx.get(line["url"], headers={"Authorization": f"Bearer {token}"}).status_code == 200
    process.terminate()
    output, _ = process.communicate(timeout=PATIENCE)
    assert token not in output


def test_it_does_not_start_where_it_should_not(capfd: pytest.CaptureFixture[str]) -> None:
    from trellis_addon.service import serve

    with socket.create_server(("127.0.0.1", 0)) as taken:
        for options, word in (
            ({"engine": "trellis2", "token": "x"}, "not available"),
            ({"engine": "best"}, "choose one of"),
            ({"host": "0.0.0.0"}, "--token"),
            ({"token": "x", "port": taken.getsockname()[1]}, "another port"),
            ({"token": "x", "port": 99999}, "another port"),
            ({"token": "x", "folder": "/no/such/folder"}, "another folder"),
            ({"token": "two words"}, "token"),
            ({"workers": 0}, "workers"),
        ):
            assert serve(**options) == 2  # type: ignore[arg-type]
            output, error = capfd.readouterr()
            assert output == "" and word in error and error.count("\n") == 1


def test_other_hosts_are_welcome_where_it_was_opened_to_them() -> None:
    process = start(host="0.0.0.0", token=TOKEN)
    port = ready(process)["url"].rsplit(":", 1)[1].split("/")[0]
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "workstation:8000"}
    upload = [{"taskType": "imageUpload", "image": PIXEL}]
    reply = httpx.post(f"http://127.0.0.1:{port}/v1", headers=headers, json=upload)
    assert reply.json()["data"][0]["imageURL"].startswith("http://workstation:8000/files/")
    process.terminate()
    process.communicate(timeout=PATIENCE)
