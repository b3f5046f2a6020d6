"""Thousands of tasks: the row and the results are in the journal, and memory has what somebody works with."""

from __future__ import annotations

import gc
import io
import json
import logging
import shutil
import sqlite3
import time
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import PATIENCE
from service_tools import PIXEL, TOKEN, Running, only_error, ready, start, task

from trellis_addon.cli import main
from trellis_addon.client.backends import Backend, connect
from trellis_addon.core.errors import InputError
from trellis_addon.service.content.files import FileStore
from trellis_addon.service.handshake import CLIENT_HEADER, PRIORITY_HEADER
from trellis_addon.service.lifetime.exit_causes import tail_of
from trellis_addon.service.main import Options, cannot_start
from trellis_addon.service.monitoring.logs import about_task, formatter
from trellis_addon.service.people.caller import BATCH, THE_HOUSE, Caller
from trellis_addon.service.people.tokens import add
from trellis_addon.service.protocol import RequestError
from trellis_addon.service.queue.journal import Journal
from trellis_addon.service.records import TaskRecord
from trellis_addon.task.task import Task


@contextmanager
def running(folder: Path | None, **options: Any) -> Iterator[Running]:
    run = Running(folder=folder, **options)
    try:
        yield run
    finally:
        run.close()


def records() -> int:
    gc.collect()
    return sum(type(each) is TaskRecord for each in gc.get_objects())


@pytest.mark.parametrize("lasting", [True, False])
def test_tasks_that_wait_are_no_records_in_memory(lasting: bool, tmp_path: Path) -> None:
    before = records()
    with running(tmp_path / "service" if lasting else None) as run:
        run.engine.gate.clear()
        asked = [task(seed=number) for number in range(150)]
        run.post(*asked)
        assert run.engine.began.wait(PATIENCE)
        assert run.service.tasks.unfinished() == 150 and run.service.waiting().total() == 149
        assert records() - before <= 66, "those that were asked for last, and the one in work"
        assert run.poll(asked[0]["taskUUID"])["data"][0]["progress"] == 42
        assert run.poll(asked[1]["taskUUID"])["data"][0]["progress"] == 0
        for each in asked[3:]:
            run.post({"taskType": "cancelTask", "taskUUID": each["taskUUID"]})
        assert run.service.waiting().total() == 2
        run.engine.gate.set()
        for number, each in enumerate(asked[:3]):
            assert run.settle(each["taskUUID"])["data"][0]["seed"] == number
        assert run.engine.seeds == [0, 1, 2]


def test_a_restart_goes_on_with_the_row_as_it_was(tmp_path: Path) -> None:
    one, two = [task(seed=number) for number in range(1, 5)], [task(seed=10), task(seed=11, numberResults=2)]
    with running(tmp_path / "service") as run:
        run.service.pause(True)
        run.post(*one, headers={CLIENT_HEADER: "one"})
        run.post(task(seed=20), headers={PRIORITY_HEADER: "batch"})
        run.post(*two, headers={CLIENT_HEADER: "two"})
        before = run.service.waiting()
        assert before["administrator", "two", "interactive"] == 3 and before.total() == 8
    with running(tmp_path / "service") as run:
        assert run.service.waiting() == before
        run.service.pause(False)
        run.settle(two[1]["taskUUID"], PATIENCE)
        end = time.monotonic() + PATIENCE
        while run.service.tasks.unfinished() and time.monotonic() < end:
            time.sleep(0.01)
        assert run.engine.seeds == [1, 10, 2, 11, 3, 12, 4, 20]


def test_a_caller_may_wait_longer_and_not_shorter() -> None:
    assert THE_HOUSE.at(BATCH).priority == BATCH
    slow = Caller("Ann", "person", priority=BATCH)
    assert slow.at("interactive") is slow and slow.at("") is slow and THE_HOUSE.at("nonsense") is THE_HOUSE


def test_a_batch_says_that_it_can_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    from trellis_addon.cli import commands

    said: list[Backend] = []

    def stop(folder: Any, output: Any, backend: Backend, *rest: Any, **named: Any) -> Any:
        said.append(backend)
        raise InputError("Far enough.")

    monkeypatch.setattr("trellis_addon.batch.run_batch", stop)
    monkeypatch.setattr("trellis_addon.scene.require_blender", lambda: None)
    with running(None) as run:
        run.service.pause(True)
        assert commands.main(["batch", ".", "--output", "x.blend", "--backend", run.base], key=TOKEN) == 1
        for backend, priority in ((said[0], "batch"), (Backend(run.base, TOKEN), "interactive")):
            asked = Task(PIXEL)
            with connect(backend) as client:
                client.submit(asked)
            assert run.service.tasks.get(asked.uuid).priority == priority


def test_results_go_when_the_quota_is_reached_the_oldest_first(tmp_path: Path) -> None:
    with running(tmp_path / "service", quota=500) as run:
        upload = run.post({"taskType": "imageUpload", "image": PIXEL}).json()["data"][0]
        urls = []
        for seed in range(12):
            run.clock.now += 1
            asked = task(seed=seed)
            run.post(asked)
            urls.append(run.settle(asked["taskUUID"])["data"][0]["outputs"]["files"][0]["url"])
        there = [httpx.get(url).status_code == 200 for url in urls]
        assert there == sorted(there) and not there[0] and there[-1]
        kept = sum(path.stat().st_size for path in run.service.files.folder.iterdir())
        assert kept == run.service.files.size <= 500
        assert httpx.get(upload["imageURL"]).status_code == 200, "tasks to come may name it"
    with running(tmp_path / "service", quota=500) as run:
        assert run.service.files.size == kept
        assert run.http.get("/v1/admin").json()["disk"]["files"] == kept


def test_one_result_that_is_larger_than_the_quota_is_there(tmp_path: Path) -> None:
    files = FileStore(time.time, tmp_path, Journal(str(tmp_path / "x.sqlite")), quota=10)
    first, second = files.put(b"glTF" + bytes(50)), files.put(b"glTF" + bytes(60))
    assert not first.path.exists() and second.path.is_file() and files.size == 64


def test_latents_that_were_sent_count_as_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.service.content.files.Limits.uploads", 1)
    files = FileStore(time.time, tmp_path, Journal(str(tmp_path / "x.sqlite")))
    files.put_upload(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(RequestError, match="uploads"):
        files.put_upload(b"\x89PNG")


def test_results_that_found_no_room_are_written_down_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = task(seed=3)
    with running(tmp_path / "service") as run:
        monkeypatch.setattr(run.service._journal, "settle", _full)
        run.post(asked)
        made = run.settle(asked["taskUUID"])
        run.service.tasks.sweep()
        monkeypatch.undo()
        run.service.tasks.sweep()
    with running(tmp_path / "service") as run:
        again = run.poll(asked["taskUUID"])["data"]
        assert again[0]["outputs"]["files"][0]["uuid"] == made["data"][0]["outputs"]["files"][0]["uuid"]
        assert run.engine.seeds == []


def _full(*_: Any, **__: Any) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def test_files_and_tasks_that_0_1_wrote_belong_to_the_house(tmp_path: Path) -> None:
    asked = [task(seed=1, ttl=10**6), task(seed=2, numberResults=2)]
    with running(tmp_path / "service") as run:
        run.post(asked[0])
        run.settle(asked[0]["taskUUID"])
        run.service.pause(True)
        run.post(asked[1])
        now = run.clock.now
    with sqlite3.connect(tmp_path / "service" / "service.sqlite") as journal:
        journal.execute("DELETE FROM origins")
        journal.execute("DELETE FROM owners")
    journal.close()
    with running(tmp_path / "service") as run:
        assert dict(run.service.waiting()) == {("administrator", "", "interactive"): 2}
        assert run.service.files.size > 0
        run.clock.now = now + 200_000
        assert run.poll(asked[0]["taskUUID"])["data"], "for as long as its ttl"
        run.clock.now = now + 10**6 + 86400
        assert not run.poll(asked[0]["taskUUID"])["data"]


# The log


def lines(kind: str) -> tuple[logging.Logger, io.StringIO]:
    logger, stream = logging.Logger("trellis_addon.service.trial"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(kind, TOKEN))
    logger.addHandler(handler)
    return logger, stream


def test_a_log_for_programs() -> None:
    logger, stream = lines("json")
    named = "tr2_" + "x" * 43
    with about_task("5efab433-316e-4b0b-b8c4-6e0edbe3779c", "Ann"):
        logger.info("Sent %s, %s\nto https://a:b@example.com/key?%s", TOKEN, named, "A" * 900)
        try:
            raise ValueError(named)
        except ValueError:
            logger.exception("Broken")
    with about_task({"odd": 1}, "Ben"):
        logger.warning("Odd")
    logger.warning("Nobody's")
    text = stream.getvalue()
    assert TOKEN not in text and named not in text and "AAAA" not in text and "a:b" not in text
    first, second, third, fourth = map(json.loads, text.splitlines())
    assert first["message"].startswith("Sent (the token), (a token)\nto https://example.com/")
    assert (first["level"], first["person"]) == ("INFO", "Ann") and first["time"].endswith("+00:00")
    assert first["taskUUID"] == second["taskUUID"] == "5efab433-316e-4b0b-b8c4-6e0edbe3779c"
    assert "ValueError: (a token)" in second["error"]
    assert third["person"] == "Ben" and "taskUUID" not in third and "person" not in fourth
    logger, stream = lines("text")
    logger.info("%s %s", TOKEN, named)
    assert stream.getvalue().endswith("(the token) (a token)\n")


def test_the_life_of_a_task_is_in_the_log(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.handler.setFormatter(formatter("json", TOKEN))
    with running(tmp_path / "service") as run, caplog.at_level(logging.INFO):
        asked = task(inputs={"image": PIXEL})
        run.post(asked)
        run.settle(asked["taskUUID"])
    told = [json.loads(line) for line in caplog.text.splitlines() if line.startswith("{")]
    mine = [each["message"] for each in told if each.get("taskUUID") == asked["taskUUID"]]
    assert [word for word in ("accepted", "begins", "succeeded") if any(word in text for text in mine)] == [
        "accepted", "begins", "succeeded",
    ]  # fmt: skip
    assert PIXEL[:40] not in caplog.text


def test_what_serve_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--quota", "0.01"]) == 2
    assert "quota is too small" in capfd.readouterr().err
    assert main(["serve", "--log-format", "json"]) == 2
    assert "would stand in the log" in capfd.readouterr().err
    with pytest.raises(SystemExit):
        main(["serve", "--log-format", "xml"])
    folder = tmp_path / "service"
    folder.mkdir()
    for options in (Options("0.0.0.0", engine="draft", folder=folder), Options(log_format="json", folder=folder)):
        assert cannot_start(options)
        add(folder, Caller(f"Ann {options.host}", "person"))
        assert not cannot_start(options), "nobody needs the single token"
        (folder / "tokens.json").unlink()


def test_every_line_of_a_log_for_programs_is_an_object(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    for _ in range(2):
        process = start(
            token=TOKEN,
            engine="draft",
            host="0.0.0.0",
            log=str(log),
            log_format="json",
            folder=str(tmp_path / "service"),
        )
        assert ready(process)["pid"]
        process.terminate()
        process.communicate(timeout=PATIENCE)
    said = log.read_text(encoding="utf-8")
    told = [json.loads(line) for line in said.splitlines()]
    assert all({"time", "level", "logger", "message"} <= each.keys() for each in told) and TOKEN not in said
    assert sum("Other machines reach this service" in each["message"] for each in told) == 2
    assert sum(each["message"].startswith("--- worker") for each in told) == 2
    assert tail_of(log).count("Other machines") == 1, "of the last process alone"


def test_it_says_when_the_row_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.service.queue.tasks.QUEUE_LIMIT", 3)
    with running(tmp_path / "service") as run:
        run.service.pause(True)
        run.post(task(), task())
    with running(tmp_path / "service") as run:
        assert run.post(task()).status_code == 200
        assert only_error(run.post(task()))["code"] == "rateLimitExceeded"


def test_nobody_fills_the_row_for_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.service.queue.tasks.QUEUE_LIMIT", 4)
    with running(tmp_path / "service") as run:
        run.service.pause(True)
        token = add(tmp_path / "service", Caller("Ann", "person"))
        refused = run.post(task(), task(), task(), headers={"Authorization": f"Bearer {token}"})
        assert len(refused.json()["data"]) == 2 and "half" in only_error(refused)["message"]
        assert run.post(task(), task()).status_code == 200


def test_a_task_that_cannot_be_read_any_more_is_given_up(tmp_path: Path) -> None:
    asked = [task(), task(seed=2)]
    with running(tmp_path / "service") as run:
        run.service.pause(True)
        run.post(*asked)
    with closing(sqlite3.connect(tmp_path / "service" / "service.sqlite")) as journal, journal:
        (text,) = journal.execute("SELECT request FROM tasks WHERE uuid = ?", (asked[0]["taskUUID"],)).fetchone()
        text = json.dumps({**json.loads(text), "outputFormat": "HOLOGRAM"})
        journal.execute("UPDATE tasks SET request = ? WHERE uuid = ?", (text, asked[0]["taskUUID"]))
    with running(tmp_path / "service") as run:
        run.service.pause(False)
        assert run.settle(asked[1]["taskUUID"])["data"][0]["seed"] == 2
        assert run.poll(asked[0]["taskUUID"]) == {"data": []} and run.service.tasks.unfinished() == 0


def test_what_a_page_shows_is_what_a_worker_works_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.service.queue.tasks._RECENT", 0)
    with running(tmp_path / "service") as run:
        run.engine.gate.clear()
        asked = [task(), task()]
        run.post(*asked)
        assert run.engine.began.wait(PATIENCE)
        (_, waiting), (_, at_work) = run.service.tasks.page()
        assert run.service.tasks.load(asked[0]["taskUUID"]) is at_work and at_work.slots[0].progress == 42
        assert run.service.tasks.load(waiting.uuid.upper()) is waiting
        assert run.service.tasks.cancel(at_work) and run.engine.stopped.wait(PATIENCE)


def test_pictures_of_many_tasks_leave_room_for_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("trellis_addon.service.handlers._FEW", 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 10**8))
    with running(tmp_path / "service") as run:
        run.service.pause(True)
        assert run.post(task(), task()).status_code == 200
        full = run.post(task())
        assert full.status_code == 507 and only_error(full)["code"] == "storageLimitExceeded"
