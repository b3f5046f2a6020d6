"""Pictures in by other ways, results out by files, webhooks and uploads, and what the log never says."""

from __future__ import annotations

import base64
import json
import logging
import socket
import uuid

import httpx
import pytest
import service_tools
from service_tools import (
    TOKEN,
    Mailbox,
    Running,
    local_server,
    only_error,
    picture_server,
    png,
    task,
)

from trellis_addon.core.errors import EngineError

run = service_tools.run


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
