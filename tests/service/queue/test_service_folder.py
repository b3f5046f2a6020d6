"""What a service keeps: across restarts in a folder of its own, and nothing at all without one."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import PATIENCE
from service_tools import ROOT, TOKEN, Mailbox, Running, local_server, only_error, png, ready, start, task, until

from trellis_addon.core.progress import Progress
from trellis_addon.engines.engine import Made, Order
from trellis_addon.service.worker import MOST_STARTS

PICTURE = base64.b64encode(png(256)).decode()
SMALLEST = {"resolution": 512, "textureSize": 1024, "decimationTarget": 100_000}


@contextmanager
def running(folder: Path | None, now: float | None = None, **options: Any) -> Iterator[Running]:
    run = Running(folder=folder, **options)
    run.clock.now = now or run.clock.now
    try:
        yield run
    finally:
        run.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "service"


def file_of(item: dict[str, Any]) -> dict[str, Any]:
    (file,) = item["outputs"]["files"]
    return file


# The process is killed


@pytest.mark.skipif(
    os.name != "posix", reason="the lock and the kill are POSIX'; on Windows msvcrt's lock falls with the process alike"
)
def test_a_killed_service_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    asked = [task(inputs={"image": PICTURE}, settings=SMALLEST, numberResults=2) for _ in range(3)]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    first: dict[str, Any] = {}
    with httpx.Client(headers=headers, timeout=PATIENCE) as client:
        process = start(tmp_path, token=TOKEN, folder=str(folder), engine="draft")
        url = ready(process)["url"]
        upload = {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": PICTURE}
        image = client.post(url, json=[upload]).json()["data"][0]
        assert len(client.post(url, json=asked).json()["data"]) == 3
        while not first:  # at least one result is there, and others are not
            poll = client.post(url, json=[{"taskType": "getResponse", "taskUUID": asked[0]["taskUUID"]}]).json()
            first = next((item for item in poll["data"] if item["status"] == "success"), {})
        content = client.get(file_of(first)["url"]).content
        process.kill()
        process.communicate()
        assert folder.stat().st_mode & 0o777 == 0o700

        process = start(tmp_path, token=TOKEN, folder=str(folder), engine="draft")
        url = ready(process)["url"]
        for t in asked:
            assert client.post(url, json=[t]).json()["errors"][0]["code"] == "conflictTaskUUID"
            items = settled(client, url, t["taskUUID"])
            assert [item["resultIndex"] for item in items] == [0, 1]
            assert items[1]["seed"] == items[0]["seed"] + 1
            for item in items:
                assert client.get(file_of(item)["url"]).content.startswith(b"glTF")
        again = settled(client, url, asked[0]["taskUUID"])[first["resultIndex"]]
        assert file_of(again)["uuid"] == file_of(first)["uuid"] and again["seed"] == first["seed"]
        assert file_of(again)["url"].startswith(url.removesuffix("/v1"))  # the port is another one now
        assert client.get(file_of(again)["url"]).content == content
        by_uuid = task(inputs={"image": image["imageUUID"]}, settings=SMALLEST)
        assert client.post(url, json=[by_uuid]).status_code == 200
        assert settled(client, url, by_uuid["taskUUID"])
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert not list((folder / "pictures").iterdir())  # those of finished tasks are not kept


def settled(client: httpx.Client, url: str, task_uuid: str) -> list[dict[str, Any]]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        body = client.post(url, json=[{"taskType": "getResponse", "taskUUID": task_uuid}]).json()
        assert "errors" not in body, body
        if body["data"] and all(item["status"] == "success" for item in body["data"]):
            return body["data"]
        time.sleep(0.02)
    raise AssertionError(f"not done in time: {body}")


# It ends in an orderly way


def test_unfinished_tasks_run_again_with_their_seed(folder: Path) -> None:
    done, running_task, waiting = task(seed=1), task(numberResults=2), task(seed=3, includeCost=True)
    with running(folder) as run:
        run.post(done)
        before = run.settle(done["taskUUID"])
        run.engine.gate.clear()
        run.post(running_task, waiting)
        until(lambda: len(run.engine.seeds) == 2)
        seed = run.engine.seeds[1]
        assert len(list((folder / "pictures").iterdir())) == 2
    with running(folder) as run:
        after = run.poll(done["taskUUID"])["data"]
        assert file_of(after[0])["uuid"] == file_of(before["data"][0])["uuid"]
        assert httpx.get(file_of(after[0])["url"]).status_code == 200
        items = run.settle(running_task["taskUUID"])["data"]
        assert [(item["resultIndex"], item["seed"]) for item in items] == [(0, seed), (1, seed + 1)]
        (item,) = run.settle(waiting["taskUUID"])["data"]
        assert (item["seed"], item["cost"]) == (3, 0.0)
        assert run.engine.seeds == [seed, 3, seed + 1]  # in turns, and what was done is not done again
        for t in (done, running_task, waiting):
            assert only_error(run.post(t))["code"] == "conflictTaskUUID"
        (details,) = run.post({"taskType": "getTaskDetails", "taskUUID": waiting["taskUUID"]}).json()["data"]
        assert details["request"] == [waiting] and details["response"]["data"] == [item]


def test_results_that_are_there_are_not_made_again(folder: Path) -> None:
    asked = task(numberResults=3, seed=5)
    with running(folder) as run:
        original = run.engine.generate

        def hold_the_second(order: Order, progress: Progress) -> Made:
            if order.seed == 6:
                run.engine.gate.clear()
            return original(order, progress)

        run.engine.generate = hold_the_second  # type: ignore[method-assign]
        run.post(asked)
        until(lambda: len(run.engine.seeds) == 2)
        first = run.poll(asked["taskUUID"])["data"][0]
    with running(folder) as run:
        items = run.settle(asked["taskUUID"])["data"]
        assert run.engine.seeds == [6, 7]
        assert [item["seed"] for item in items] == [5, 6, 7] and file_of(items[0])["uuid"] == file_of(first)["uuid"]


def test_errors_and_cancelled_tasks_stay_what_they_are(folder: Path) -> None:
    failed, cancelled = task(seed=1), task(seed=2)
    with running(folder) as run:
        run.engine.errors[1] = ValueError("no")
        run.post(failed)
        run.settle(failed["taskUUID"])
        run.engine.gate.clear()
        run.post(cancelled)
        run.post({"taskType": "cancelTask", "taskUUID": cancelled["taskUUID"]})
        kept = [run.poll(t["taskUUID"])["errors"] for t in (failed, cancelled)]
    with running(folder) as run:
        assert [run.poll(t["taskUUID"])["errors"] for t in (failed, cancelled)] == kept
        assert run.engine.seeds == []


def test_time_goes_on_while_it_is_down(folder: Path) -> None:
    short, long = task(ttl=60), task(ttl=10**6)
    with running(folder) as run:
        run.post(short, long)
        files = [file_of(run.settle(t["taskUUID"])["data"][0]) for t in (short, long)]
        now = run.clock.now
    with running(folder, now + 61) as run:
        run.service.files.sweep()
        assert [path.stem for path in (folder / "files").iterdir()] == [files[1]["uuid"]]
        assert run.poll(short["taskUUID"])["data"]
    with running(folder, now + 200_000) as run:
        assert run.poll(short["taskUUID"]) == {"data": []}  # a task is kept for a day,
        (item,) = run.poll(long["taskUUID"])["data"]  # or for as long as its files
        assert httpx.get(file_of(item)["url"]).status_code == 200


def test_expired_files_go_while_nobody_asks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.service.handlers._SWEEP_SECONDS", 0.02)
    with running(None) as run:
        asked = task(ttl=60)
        run.post(asked)
        run.settle(asked["taskUUID"])
        run.clock.now += 61
        end = time.monotonic() + PATIENCE
        while list(run.service.files.folder.iterdir()) and time.monotonic() < end:
            time.sleep(0.01)
        assert not list(run.service.files.folder.iterdir())


def test_news_that_could_not_be_told_are_told_after_the_restart(folder: Path) -> None:
    closed = Mailbox(refuse=10**6)
    with local_server(closed) as url:
        asked = task(webhookURL=url + "/hook", uploadEndpoint=url + "/put")
        with running(folder) as run:
            run.service._delivery._first_wait = 60  # the second attempt is far away
            run.post(asked)
            run.settle(asked["taskUUID"])
            until(lambda: closed.attempts >= 2)
        closed.refuse = 0
        with running(folder) as run:
            kept = closed.wait(2)
            (item,) = run.poll(asked["taskUUID"])["data"]
            content = httpx.get(file_of(item)["url"]).content
            # one that was delivered is not delivered again
            until(lambda: not run.service._journal.deliveries())
        with running(folder):
            time.sleep(0.1)
    by_method = {method: body for method, _, body in kept}
    assert by_method["PUT"] == content and json.loads(by_method["POST"])["taskUUID"] == asked["taskUUID"]
    assert len(closed.kept) == 2


def test_a_task_that_ends_the_process_is_given_up_in_the_end(folder: Path) -> None:
    asked = task()
    with running(folder) as run:
        run.engine.gate.clear()
        run.post(asked)
        assert run.engine.began.wait(PATIENCE)
    # an orderly end says nothing against the task, only an end by force counts
    with sqlite3.connect(folder / "service.sqlite") as database:
        assert database.execute("SELECT starts FROM tasks").fetchall() == [(0,)]
        database.execute("UPDATE tasks SET starts = ?", (MOST_STARTS,))
    database.close()
    with running(folder) as run:
        (error,) = run.settle(asked["taskUUID"])["errors"]
        assert error["code"] == "inferenceError" and "given up" in error["message"] and not run.engine.seeds


def test_a_full_disk_does_not_take_a_result_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with running(folder) as run:
        monkeypatch.setattr(run.service._journal, "settle", full)
        for _ in range(2):  # and the worker goes on
            asked = task()
            run.post(asked)
            assert run.settle(asked["taskUUID"])["data"][0]["status"] == "success"
        monkeypatch.setattr(run.service._journal, "add_task", full)
        refused = run.post(task())
        assert refused.status_code == 500 and only_error(refused)["code"] == "internalServerError"
        assert not list((folder / "pictures").iterdir())


def test_files_that_nobody_knows_are_removed_at_the_start(folder: Path) -> None:
    with running(folder) as run:
        asked = task()
        run.post(asked)
        (item,) = run.settle(asked["taskUUID"])["data"]
    (folder / "files" / "half.glb.part").write_bytes(b"glT")
    (folder / "pictures" / "orphan").write_bytes(b"x")
    with running(folder):
        assert [path.stem for path in (folder / "files").iterdir()] == [file_of(item)["uuid"]]
        assert not list((folder / "pictures").iterdir())


def test_without_a_folder_nothing_is_kept() -> None:
    with running(None) as run:
        asked = task()
        run.post(asked)
        run.settle(asked["taskUUID"])
        path = run.service.folder.path
        assert not (path / "service.sqlite").exists() and not list((path / "pictures").iterdir())
    assert not path.exists()


@pytest.mark.skipif(
    os.name != "posix",
    reason="needs signals; Windows ends a process without one, as if it were killed",
)
def test_the_command_line(folder: Path) -> None:
    options = ["--token", TOKEN, "--workers", "2", "--folder", str(folder), "--no-allow-private-addresses"]
    process = subprocess.Popen(
        [sys.executable, "-m", "trellis_addon", "serve", *options], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    url = ready(process)["url"]
    asked = task(webhookURL="http://127.0.0.1:9/")
    answer = httpx.post(url, json=[asked], headers={"Authorization": f"Bearer {TOKEN}"}).json()
    assert answer["errors"][0]["code"] == "forbiddenAddress"
    assert (folder / "service.sqlite").exists()
    process.terminate()
    process.communicate(timeout=PATIENCE)


# Whose folder it is


def test_folders_that_cannot_be_used(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from trellis_addon.service import serve

    other = tmp_path / "photos"
    other.mkdir()
    (other / "holiday.jpg").write_bytes(b"x")
    damaged, newer = tmp_path / "damaged", tmp_path / "newer"
    for place in (damaged, newer):
        place.mkdir()
    (damaged / "service.sqlite").write_bytes(b"not a database" * 100)
    database = sqlite3.connect(newer / "service.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with running(folder):
        for path, word in ((folder, "Another service"), (other, "other things"), (damaged, "read"), (newer, "version")):
            assert serve(token="x", folder=path) == 2
            output, error = capfd.readouterr()
            assert output == "" and word in error and error.count("\n") == 1
    assert (other / "holiday.jpg").exists()
    with running(folder):  # it was let go of
        pass


@pytest.mark.skipif(
    os.name != "posix",
    reason="needs signals; Windows ends a process without one, as if it were killed",
)
def test_what_dead_services_left_behind_is_removed(tmp_path: Path) -> None:
    dead, alive = start(tmp_path, token=TOKEN), start(tmp_path, token=TOKEN)
    ready(dead), ready(alive)
    dead.kill()
    dead.communicate()
    (tmp_path / "trellis-service-of-somebody-else").mkdir()  # without a lock: not ours to judge
    long_ago = time.time() - 3600
    young = sorted(tmp_path.glob("trellis-service-*/lock"))
    assert len(young) == 2
    third = start(tmp_path, token=TOKEN)
    ready(third)
    assert all(lock.exists() for lock in young)  # it might just be being made
    for lock in young:
        os.utime(lock, (long_ago, long_ago))
    fourth = start(tmp_path, token=TOKEN)
    ready(fourth)
    assert sum(lock.exists() for lock in young) == 1
    for process in (alive, third, fourth):
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert [path.name for path in tmp_path.iterdir()] == ["trellis-service-of-somebody-else"]
