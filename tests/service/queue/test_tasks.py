"""Tasks from their acknowledgement to their end: several results, refusals, cancelling, failures."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import uuid
from typing import Any

import httpx
import pytest
import service_tools
from conftest import PATIENCE
from service_tools import (
    PIXEL,
    ROOT,
    TOKEN,
    Running,
    only_error,
    picture_server,
    png,
    task,
)

from trellis_addon.core.errors import EngineError
from trellis_addon.service.limits import Limits
from trellis_addon.task.settings import DRAFT_MODEL, SEED_MAX
from trellis_addon.task.task import examples

run = service_tools.run


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
