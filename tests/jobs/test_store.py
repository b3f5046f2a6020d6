"""The list of jobs: one bad row takes no other along, and a database that is lost is made anew of the jobs' folders."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import faults as f
import pytest
from conftest import sentence
from fault_server import FOREVER, SUBMIT, FaultServer, small_glb
from service_tools import PIXEL

from trellis_addon.api import fetch, resume
from trellis_addon.cli import main
from trellis_addon.client.client import Client
from trellis_addon.core.configuration import HOME_VARIABLE, REMOTE_URL_VARIABLE
from trellis_addon.core.errors import StoreError, TimedOutError
from trellis_addon.jobs.job import REMOTE, Job, State
from trellis_addon.jobs.money import limits, move_to_sending, set_limit, spent
from trellis_addon.jobs.runner import run_job
from trellis_addon.jobs.store import JobStore, notices
from trellis_addon.task.settings import Settings
from trellis_addon.task.task import Task


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultServer]:
    monkeypatch.setattr("trellis_addon.client.client.Client.pause", lambda self, seconds, progress: progress.check())
    with FaultServer() as server:
        monkeypatch.setenv(REMOTE_URL_VARIABLE, server.url)
        monkeypatch.setenv("RUNWARE_API_KEY", server.token)
        monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
        yield server


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path)


def add(store: JobStore, name: str = "X", **settings: Any) -> Job:
    return store.add(Task(PIXEL, Settings(settings)), name=name, backend=REMOTE, target='{"a": 1}')


def change(store: JobStore, sql: str, *values: Any) -> None:
    with closing(sqlite3.connect(store.folder / "jobs.sqlite3")) as connection, connection:
        connection.execute(sql, values)


def ready(store: JobStore, server: FaultServer, name: str = "X", **settings: Any) -> Job:
    with Client(server.url, server.token) as client:
        return run_job(add(store, name, **settings), store, client)


def under_way(store: JobStore, server: FaultServer, name: str) -> Job:
    fault = f.status_word("processing", times=FOREVER)
    server.add(fault)
    job = add(store, name)
    with Client(server.url, server.token) as client, pytest.raises(TimedOutError):
        run_job(job, store, client, time_limit=-1.0)
    server._faults.remove(fault)
    found = store.get(job.uuid)
    assert found is not None and found.state is State.RUNNING
    return found


BAD_ROWS = {
    "a state of another version": ("state", "flying"),
    "no JSON": ("request", "{"),
    "JSON of another kind": ("request", "[1, 2]"),
    "JSON without an end to its depth": ("request", "[" * 100_000),
    "not even text": ("request", b"\xff\xfe"),
    "a setting out of range": ("request", lambda request: {**request, "settings": {"resolution": 3}}),
    "a setting of another kind": ("request", lambda request: {**request, "settings": [1]}),
    "a key of another version": ("request", lambda request: {**request, "wings": True}),
    "no model": ("request", lambda request: {key: value for key, value in request.items() if key != "model"}),
    "another task's number": ("request", lambda request: {**request, "taskUUID": "x"}),
    "assets that are none": ("assets", "{}x"),
    "assets of another kind": ("assets", '["asset.glb"]'),
    "assets without a file": ("assets", '[{"provenance": {}}]'),
    "a provenance of another kind": ("assets", '[{"file": "asset.glb", "provenance": 5}]'),
    "a date beyond all dates": ("created", 1e300),
    "a date in words": ("created", "yesterday"),
    "a date that is none": ("sent", float("inf")),
    "a name in bytes": ("name", b"\xff"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_one_bad_row_takes_no_other_along(
    kind: str,
    store: JobStore,
    server: FaultServer,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, odd, last = (under_way(store, server, name) for name in ("first", "odd", "last"))
    column, value = BAD_ROWS[kind]
    if callable(value):
        value = json.dumps(value({**odd.task.to_request(), "inputs": {}}))
    change(store, f"UPDATE jobs SET {column} = ? WHERE uuid = ?", value, odd.uuid)

    assert {job.name for job in store.recent()} == {"first", "last"}
    assert store.get(odd.uuid) is None
    assert any(odd.uuid in notice for notice in notices()) and odd.uuid in caplog.text, "and it is told of"
    (foreign,) = store.foreign()
    assert foreign.uuid == odd.uuid and foreign.reason and foreign.is_paid, "and listed for what it is"
    assert (foreign.name == "odd") is (column != "name") and (foreign.created == odd.created) is (column != "created")
    assert [job.uuid for job in store.foreign(name="ODD")] == ([odd.uuid] if column != "name" else [])
    assert main(["jobs"]) == 0
    said = capsys.readouterr().out
    assert first.uuid in said and last.uuid in said
    assert odd.uuid in said and "made by another version, or is damaged" in said
    assert spent(store, "day") > 0 and main(["limit"]) == 0
    outcomes = dict((job.name, outcome) for job, outcome in resume(store=store, key=server.token))
    assert {name: type(outcome).__name__ for name, outcome in outcomes.items()} == {"first": "Asset", "last": "Asset"}
    assert {job.name for job in store.undelivered()} == {"first", "last"}

    asset = fetch(odd.uuid, key=server.token, store=store)
    assert asset.path.is_file() and len(store.recent()) == 3, "it can be fetched all the same"
    assert store.foreign() == []
    assert len(server.asked(SUBMIT)) == 3


@pytest.mark.parametrize("cost", [-100.0, 1e308, "much", b"\x00", float("inf")])
def test_a_cost_that_is_none_hides_nothing(cost: Any, store: JobStore, server: FaultServer) -> None:
    job = ready(store, server)
    change(store, "UPDATE jobs SET cost = ?", cost)
    (found,) = store.recent()
    assert found.uuid == job.uuid and found.cost is None
    assert 0 < spent(store, "day") < 0.1


@pytest.mark.parametrize(("period", "amount"), [("day", "much"), ("year", 0.0), ("day", float("inf")), ("day", b"x")])
def test_a_limit_that_is_none_stops_nothing(period: str, amount: Any, store: JobStore, server: FaultServer) -> None:
    change(store, "INSERT INTO limits VALUES (?, ?)", period, amount)
    set_limit(store, "month", 5)
    assert limits(store) == {"month": 5} and main(["limit"]) == 0
    assert ready(store, server).state is State.READY


# --- a database that is lost ---


def spoil(kind: str, store: JobStore) -> None:
    database = store.folder / "jobs.sqlite3"
    data = database.read_bytes()
    if kind == "emptied":
        database.write_bytes(b"")
    elif kind == "deleted":
        database.unlink()
    elif kind == "garbage":
        database.write_bytes(b"\x5a" * 8192)
    elif kind == "truncated":
        database.write_bytes(data[: len(data) // 2 // 4096 * 4096 + 100])
    elif kind == "zeros in the middle":
        database.write_bytes(data[:4096] + bytes(len(data) - 4096))
    elif kind == "without its tables":
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("DROP TABLE jobs")
    elif kind == "text":
        database.write_text("not a database, but long enough to look like a file" * 20)


KINDS = ("emptied", "deleted", "garbage", "truncated", "zeros in the middle", "without its tables", "text")


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_that_is_lost_is_made_anew(kind: str, store: JobStore, server: FaultServer) -> None:
    done = ready(store, server, "done", number_results=2)
    store.deliver(done.uuid)
    running = under_way(store, server, "running")
    waiting = add(store, "waiting", seed=5)
    set_limit(store, "day", 3)
    before, were = {job.uuid: job for job in store.recent()}, spent(store, "day")
    damaged = (store.folder / "jobs.sqlite3").read_bytes()
    spoil(kind, store)
    spoilt = (store.folder / "jobs.sqlite3").read_bytes() if kind != "deleted" else b""

    again = JobStore(store.folder)
    assert damaged != spoilt and any(str(store.folder) in notice for notice in notices())
    assert {job.uuid: job for job in again.recent()} == before
    assert again.undelivered() == [] and limits(again) == {"day": 3} and spent(again, "day") == pytest.approx(were)
    kept = [path for path in store.folder.glob("jobs.damaged-*") if path.read_bytes() == spoilt]
    assert bool(kept) is (kind not in ("emptied", "deleted", "without its tables"))

    outcomes = {job.name: outcome for job, outcome in resume(store=again, key=server.token)}
    assert outcomes["running"].provenance["task_uuid"] == running.uuid
    assert "never sent" in sentence(outcomes["waiting"]) and waiting.uuid not in str(server.log)
    assert JobStore(store.folder).recent() == again.recent()


def test_what_010_left(store: JobStore, server: FaultServer) -> None:
    """Folders without records: what is ready is told by its assets; of the rest it is said that nobody knows."""
    done = ready(store, server, "pot", number_results=2, seed=7)
    lost = under_way(store, server, "lost")
    for record in store.folder.glob("jobs/*/job.json"):
        record.unlink()
    (store.folder / "jobs" / "no uuid").mkdir()
    spoil("emptied", store)

    again = JobStore(store.folder)
    found = {job.uuid: job for job in again.recent()}
    assert set(found) == {done.uuid, lost.uuid}
    pot = found[done.uuid]
    assert (pot.name, pot.state, pot.backend, pot.settings["seed"]) == ("pot", State.READY, REMOTE, 7)
    assert [asset.path.read_bytes() for asset in pot.assets] == [small_glb(7), small_glb(8)]
    assert again.undelivered() == [], "nothing comes into a scene a second time"
    assert found[lost.uuid].state is State.FAILED and sentence(Exception(found[lost.uuid].error))
    assert fetch(lost.uuid, key=server.token, store=again).path.is_file()
    assert len(server.asked(SUBMIT)) == 2


def test_an_open_list_that_gets_damaged_mends_itself(store: JobStore) -> None:
    """Between two calls of a program that runs: it says so once, and goes on."""
    job = add(store)
    spoil("garbage", store)
    with pytest.raises(StoreError) as caught:
        store.recent()
    assert "damaged" in sentence(caught.value)
    assert [found.uuid for found in store.recent()] == [job.uuid]


def test_several_programs_mend_it_once(store: JobStore) -> None:
    jobs = {add(store).uuid for _ in range(5)}
    spoil("garbage", store)
    seen: list[set[str]] = []
    start = threading.Barrier(6)

    def work() -> None:
        start.wait()
        seen.append({job.uuid for job in JobStore(store.folder).recent()})

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [jobs] * 6 and len(list(store.folder.glob("jobs.damaged-*"))) == 1


@pytest.mark.parametrize("fault", ["locked", "newer"])
def test_what_is_no_damage_is_left_alone(fault: str, store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store)
    monkeypatch.setattr("trellis_addon.jobs.store.BUSY_TIMEOUT", 0.05)
    before = (store.folder / "jobs.sqlite3").read_bytes()
    with closing(sqlite3.connect(store.folder / "jobs.sqlite3")) as other:
        if fault == "locked":
            other.execute("BEGIN EXCLUSIVE")
        else:
            other.execute("PRAGMA user_version = 99")
            before = (store.folder / "jobs.sqlite3").read_bytes()
        with pytest.raises(StoreError) as caught:
            JobStore(store.folder).recent()
        assert fault in sentence(caught.value)
    assert (store.folder / "jobs.sqlite3").read_bytes() == before and not list(store.folder.glob("jobs.damaged-*"))


def test_the_record_follows_the_job(store: JobStore, server: FaultServer) -> None:
    job = add(store)
    record = job.folder / "job.json"
    assert json.loads(record.read_text())["state"] == "waiting"
    move_to_sending(store, job)
    told = json.loads(record.read_text())
    assert told["state"] == "sending" and abs(told["sent"] - time.time()) < 60
    assert server.token not in record.read_text() and "base64" not in record.read_text()
