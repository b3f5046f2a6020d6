"""Tokens for people: a file that changes while the service runs, and what each person sees, and may have made."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import PATIENCE
from service_tools import PIXEL, TOKEN, Running, only_error, task

from trellis_addon.cli import main
from trellis_addon.core.errors import FieldError, InputError
from trellis_addon.service.people.caller import Caller
from trellis_addon.service.people.tokens import TOKEN as SHAPE
from trellis_addon.service.people.tokens import Tokens, add, read, revoke
from trellis_addon.service.queue.schedule import Scheduler
from trellis_addon.service.records import Waiting


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "service"


@pytest.fixture
def run(folder: Path) -> Iterator[Running]:
    running = Running(folder=folder)
    yield running
    running.close()


def as_person(run: Running, name: str, **facts: Any) -> httpx.Client:
    token = add(run.service.folder.path, Caller(name=name, **{"role": "person", **facts}))
    return httpx.Client(base_url=run.base, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE)


def ask(client: httpx.Client, *tasks: dict[str, Any], **headers: str) -> httpx.Response:
    return client.post("/v1", json=list(tasks), headers=headers)


# The file


def test_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--folder", str(folder)]
    more = ["--share", "2", "--priority", "batch", "--daily-limit", "5", "--end", "2099-01-31"]
    assert main(["tokens", "add", "Jürgen", *place, *more]) == 0
    told = capsys.readouterr()
    token = told.out.strip()
    assert SHAPE.fullmatch(token), "alone on standard output, for programs"
    kept = (folder / "tokens.json").read_text(encoding="utf-8")
    assert token not in kept and token[4:] not in kept
    assert main(["tokens", "add", "jürgen", *place]) == 2 and "revoke that one first" in capsys.readouterr().err
    assert main(["tokens", "add", "Ann", *place, "--role", "administrator"]) == 0
    capsys.readouterr()
    assert main(["tokens", "list", *place]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Jürgen +person +batch +2 +5  2099-01-31", lines[1])
    assert re.fullmatch(r"Ann +administrator +interactive +1", lines[2]) and len(lines) == 3
    assert main(["tokens", "revoke", "Jürgen", *place]) == 0
    assert main(["tokens", "revoke", "Jürgen", *place]) == 2 and '"Jürgen"' in capsys.readouterr().err
    assert [caller.name for caller in read(folder)] == ["Ann"]
    assert main(["tokens", "list", "--folder", str(folder / "typo")]) == 1 and "typo" in capsys.readouterr().err


@pytest.mark.parametrize(
    "facts",
    [
        {"name": ""},
        {"name": "a/b"},
        {"name": "a\nb"},
        {"name": "x" * 65},
        {"name": "Administrator"},
        {"share": 0.0},
        {"share": float("nan")},
        {"daily_limit": 0},
        {"end": "31.1.2099"},
        {"end": "2099-02-30"},
        {"priority": "high"},
        {"role": "king"},
    ],
)
def test_what_cannot_be(facts: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(FieldError):
        add(tmp_path, Caller(**{"name": "Ann", "role": "person", **facts}))
    assert read(tmp_path) == []


def test_a_file_that_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    """A service does not start with it; one that runs goes on with what it knew."""
    token = add(tmp_path, Caller("Ann", "person"))
    people = Tokens(tmp_path, TOKEN)
    for content in (
        "no JSON",
        '{"version": 1}',
        '{"version": 9, "tokens": []}',
        '{"version": 1, "tokens": [{"x": 1}]}',
    ):
        (tmp_path / "tokens.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=r"tokens\.json"):
            Tokens(tmp_path, TOKEN)
        assert people.find(token) is not None
    (tmp_path / "tokens.json").unlink()
    other = add(tmp_path, Caller("Ben", "person"))
    (tmp_path / "tokens.json").write_text((tmp_path / "tokens.json").read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert Tokens(tmp_path, TOKEN).find(other) is not None, "as Notepad saves it"
    (tmp_path / "tokens.json").unlink()
    assert people.find(token) is None and people.find(TOKEN) is not None


def test_only_tokens_that_are_there_count(tmp_path: Path) -> None:
    token = add(tmp_path, Caller("Ann", "person", end="2027-03-31"))
    now = [time.mktime((2027, 3, 31, 23, 0, 0, 0, 0, -1))]
    people = Tokens(tmp_path, TOKEN, lambda: now[0])
    ann = people.find(token)
    assert ann is not None and ann.name == "Ann" and not ann.is_administrator
    for wrong in ("", token[:-1], token + "x", ann.digest, None, 5, "\ud800", TOKEN[:-1]):
        assert people.find(wrong) is None
    now[0] += 3601
    assert people.find(token) is None and people.still(ann) is None, "the last day is over"
    now[0] -= 3601
    assert people.still(ann) == ann
    revoke(tmp_path, "Ann")
    add(tmp_path, Caller("Ann", "person"))
    assert people.still(ann) is None and people.find(token) is None, "another token of the same name"


# While the service runs


def test_added_and_revoked_without_a_restart(run: Running) -> None:
    ping = {"taskType": "ping"}
    with as_person(run, "Ann") as ann:
        assert ask(ann, ping).status_code == 200
        assert {"person": "Ann", "role": "person"}.items() <= ann.get("/v1").json().items()
        revoke(run.service.folder.path, "Ann")
        assert ask(ann, ping).status_code == 401 and ann.get("/v1").status_code == 401
    assert run.post(ping).status_code == 200


def test_a_reply_that_waits_ends_with_its_token(run: Running) -> None:
    run.engine.gate.clear()
    with as_person(run, "Ann") as ann:
        import threading

        threading.Thread(
            target=lambda: (run.engine.began.wait(PATIENCE), revoke(run.service.folder.path, "Ann"))
        ).start()
        asked = task(deliveryMethod="sync")
        response = ask(ann, asked)
    assert response.status_code == 401 and only_error(response)["code"] == "invalidApiKey"
    assert run.poll(asked["taskUUID"])["data"][0]["status"] == "processing", "the task itself goes on"


def test_an_open_websocket_ends_with_its_token(run: Running) -> None:
    """The one whose token is revoked, though it says nothing; not the other one."""
    websockets = pytest.importorskip("websockets.asyncio.client")
    from websockets.exceptions import ConnectionClosed

    path = run.service.folder.path
    tokens = [add(path, Caller(name, "person")) for name in ("Ann", "Ben")]

    async def both() -> tuple[Any, Any]:
        address = run.base.replace("http", "ws") + "/v1"
        async with websockets.connect(address) as ann, websockets.connect(address) as ben:
            for line, token in ((ann, tokens[0]), (ben, tokens[1])):
                await line.send(json.dumps([{"taskType": "authentication", "apiKey": token}]))
                assert "connectionSessionUUID" in await line.recv()
            revoke(path, "Ann")
            said = json.loads(await asyncio.wait_for(ann.recv(), PATIENCE))
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(ann.recv(), PATIENCE)
            await ben.send(json.dumps([{"taskType": "ping"}]))
            assert json.loads(await ben.recv())["data"][0]["pong"]
            return said, closed.value.rcvd.code if closed.value.rcvd else None

    said, code = asyncio.run(both())
    assert said["errors"][0]["code"] == "invalidApiKey" and code == 1008


# What each one sees


def test_a_person_sees_what_is_theirs(run: Running) -> None:
    asked = task()
    with (
        as_person(run, "Ann") as ann,
        as_person(run, "Ben") as ben,
        as_person(run, "Chief", role="administrator") as chief,
    ):
        assert ask(ann, asked).status_code == 200
        run.settle(asked["taskUUID"])
        uuid = {"taskUUID": asked["taskUUID"]}
        for client, sees in ((ann, True), (ben, False), (chief, True)):
            assert bool(ask(client, {"taskType": "getResponse", **uuid}).json()["data"]) is sees
            for kind in ("getTaskDetails", "cancelTask"):
                response = ask(client, {"taskType": kind, **uuid})
                assert response.status_code == (200 if sees else 400)
                if not sees:
                    assert only_error(response)["code"] == "taskNotFound"
        assert only_error(ask(ben, asked))["code"] == "conflictTaskUUID"
        upload = ask(ann, {"taskType": "imageUpload", "image": PIXEL}).json()["data"][0]["imageUUID"]
        used = task(inputs={"image": upload})
        delete = {"taskType": "mediaStorage", "operation": "delete", "mediaUUID": upload}
        assert only_error(ask(ben, used))["code"] == only_error(ask(ben, delete))["code"] == "mediaNotFound"
        assert ask(ann, used).status_code == 200 and ask(chief, delete).status_code == 200
        file = run.poll(asked["taskUUID"])["data"][0]["outputs"]["files"][0]
        assert httpx.get(file["url"]).status_code == 200, "whoever is given the address may have it"
        delete["mediaUUID"] = file["uuid"]
        assert ask(ben, delete).status_code == 400 and ask(ann, delete).status_code == 200


def test_who_made_what_is_in_the_journal(run: Running, folder: Path) -> None:
    asked = task()
    with as_person(run, "Ann") as ann:
        ask(ann, asked, **{"X-Trellis-Client": "blender"})
    run.post(task())
    run.close()
    with closing(sqlite3.connect(folder / "service.sqlite")) as journal:
        rows = journal.execute("SELECT task, person, client, priority FROM origins").fetchall()
        assert (asked["taskUUID"], "Ann", "blender", "interactive") in rows
        assert {row[1] for row in rows} == {"Ann", "administrator"}
    again = Running(folder=folder)
    try:
        assert again.service.tasks.get(asked["taskUUID"]).person == "Ann"
    finally:
        again.close()


def test_a_daily_limit_counts_results_and_begins_anew(run: Running) -> None:
    run.engine.gate.clear()
    with as_person(run, "Ann", daily_limit=4) as ann:
        assert ask(ann, task()).status_code == 200
        assert run.engine.began.wait(PATIENCE)
        waiting = task(numberResults=2)
        assert ask(ann, waiting).status_code == 200
        for headers in ({}, {"X-Runware-Dry-Run": "1"}):
            refused = ask(ann, task(numberResults=2), **headers)
            assert refused.status_code == 403 and "4 results a day" in only_error(refused)["message"]
        assert ask(ann, {"taskType": "cancelTask", "taskUUID": waiting["taskUUID"]}).json()["data"][0]["cancelled"]
        assert ask(ann, task(numberResults=3)).status_code == 200, "what was not begun is given back"
        assert ask(ann, task()).status_code == 403
        assert run.service.used_today() == {"Ann": 4}
        assert run.post(task()).status_code == 200
        run.clock.now += 86400
        assert ask(ann, task()).status_code == 200


# Whose turn it is


def order(turns: Scheduler, count: int) -> str:
    taken = ""
    for _ in range(count):
        turn = turns.take(0)
        assert turn is not None
        taken += turn.record.uuid[0]
        turns.done(turn)
    return taken


def loaded(shares: dict[str, float]) -> Scheduler:
    from trellis_addon.service.records import Slot, TaskRecord
    from trellis_addon.task.settings import Settings

    return Scheduler(
        lambda uuid: TaskRecord(uuid, Settings(), "", {}, 0, "", [Slot()]), lambda person: shares.get(person, 1.0)
    )


def test_people_take_turns_by_their_shares() -> None:
    turns = loaded({"a": 2.0})
    for person in "ab":
        for number in range(40):
            turns.add_waiting(Waiting(f"{person}{number}", person, "", "interactive", (0,)))
    taken = order(turns, 30)
    assert (taken.count("a"), taken.count("b")) == (20, 10) and "aaaa" not in taken
    turns.add_waiting(Waiting("c", "c", "", "interactive", (0,)))
    assert "c" in order(turns, 3), "who comes anew waits for nobody's row"


def test_who_waits_for_a_picture_comes_before_batches() -> None:
    turns = loaded({})
    for number in range(3):
        turns.add_waiting(Waiting(f"b{number}", "x", "", "batch", (0,)))
    assert order(turns, 1) == "b"
    for number in range(2):
        turns.add_waiting(Waiting(f"i{number}", "y", "", "interactive", (0,)))
    assert order(turns, 4) == "iibb"
    assert turns.waiting().total() == 0


def test_who_asks_for_one_after_another_gains_nothing() -> None:
    turns = loaded({})
    for number in range(10):
        turns.add_waiting(Waiting(f"b{number}", "b", "", "interactive", (0,)))
    taken = ""
    for number in range(6):
        turns.add_waiting(Waiting(f"a{number}", "a", "", "interactive", (0,)))
        taken += order(turns, 1)
        turns.remove(f"a{number}")
    assert taken.count("b") >= 3


def test_what_is_cancelled_waits_no_more() -> None:
    turns = loaded({})
    for uuid in ("a", "b"):
        turns.add_waiting(Waiting(uuid, "x", uuid, "batch", (0, 1)))
    turns.remove("a")
    turns.remove("not there")
    assert dict(turns.waiting()) == {("x", "b", "batch"): 2}
    assert order(turns, 2) == "bb" and turns.take(0) is None
    turns.pause(True)
    turns.add_waiting(Waiting("c", "x", "", "batch", (0,)))
    assert turns.take(0) is None
    turns.pause(False)
    assert order(turns, 1) == "c"


def test_a_result_whose_machine_went_comes_first() -> None:
    from trellis_addon.service.records import Slot, TaskRecord
    from trellis_addon.task.settings import Settings

    turns = Scheduler()
    for name, person in (("a", "x"), ("b", "y"), ("c", "x")):
        slots = [Slot() for _ in range(2)]
        turns.add(TaskRecord(name, Settings(), "", {}, 0, "", slots, client=name, person=person))
    first = turns.take(0)
    assert first is not None and (first.record.uuid, first.index) == ("a", 0)
    turns.done(first)
    assert order(turns, 2) == "bc"
    turns.add_again(first.record, 0)
    again = turns.take(0)
    assert again is not None and again.record is first.record and again.index == 0
    turns.done(again)
    assert sorted(order(turns, 3)) == ["a", "b", "c"] and turns.take(0) is None
    turns.add_again(first.record, 1)
    assert order(turns, 1) == "a" and not turns.waiting()
    assert turns.take(60.0, lambda: True) is None
