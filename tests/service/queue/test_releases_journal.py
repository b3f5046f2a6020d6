"""Journals that earlier releases have written, and later ones: the worker goes on with them, or without."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import QUICK, disc, encoded, sentence
from fault_server import SUBMIT, Clock, FaultServer
from releases import RELEASES, Left, in_release, rows, unpack
from service_tools import PIXEL

from trellis_addon.api import finish
from trellis_addon.client.backends import Backend
from trellis_addon.client.client import Client
from trellis_addon.client.local_service import stop_local_services
from trellis_addon.core.configuration import HOME_VARIABLE
from trellis_addon.core.errors import TrellisError
from trellis_addon.jobs.job import State
from trellis_addon.jobs.runner import run_job
from trellis_addon.jobs.store import JobStore
from trellis_addon.service.queue.journal import Journal
from trellis_addon.task.settings import Settings
from trellis_addon.task.task import Task


@pytest.fixture(params=RELEASES)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Left:
    return unpack(request.param, tmp_path)


def test_the_worker_goes_on_with_what_it_was_given(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished, begun and waiting tasks of the local worker, for the jobs that wait for them: none is sent again."""
    monkeypatch.setattr(Clock, "__call__", lambda clock: left.said["written"] + 60.0)
    store = JobStore(left.home)
    with FaultServer(folder=left.root / "local" / "service", workers=1) as worker:
        with Client(worker.url, worker.token, remote=False) as client:
            for name in ("begun by the worker", "in the worker's line"):
                job = store.get(left.jobs[name]["uuid"])
                assert job is not None and job.state is State.RUNNING
                made = run_job(job, store, client)
                assert made.state is State.READY and made.assets[0].seed == job.settings["seed"]
            done = store.get(left.jobs["done by the worker"]["uuid"])
            assert done is not None
            before = done.assets[0].path.read_bytes()
            done.assets[0].path.unlink()
            assert run_job(done, store, client).assets[0].path.read_bytes() == before
        assert worker.asked(SUBMIT) == []


@pytest.fixture
def journal(left: Left) -> Path:
    return left.root / "remote" / "service.sqlite"


def uuids(path: Path, **options: bool) -> set[str]:
    opened = Journal(str(path), **options)
    try:
        return {record.uuid for record in opened.tasks(path.parent / "pictures")}
    finally:
        opened.close()


def test_a_journal_of_before_0_1(journal: Path) -> None:
    """Version 1 had no column of latents: it comes, after a copy."""
    before = {row["uuid"] for row in rows(journal, "tasks")}
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute("ALTER TABLE tasks DROP COLUMN latents")
        connection.execute("DROP TABLE IF EXISTS shape")
        connection.execute("PRAGMA user_version = 1")
    assert uuids(journal) == before and len(before) > 5
    assert "latents" in next(rows(journal, "tasks"))
    assert "latents" not in next(rows(journal.with_name("service.version-1.sqlite"), "tasks"))


def test_the_release_goes_on_with_it_after_a_step_back(left: Left, journal: Path) -> None:
    with FaultServer(folder=left.root / "remote") as server, Client(server.url, server.token) as client:
        task = Task(PIXEL, Settings(seed=3))
        client.submit(task)
    found = in_release(left, LIST.format(path=str(journal), pictures=str(journal.parent / "pictures")))
    assert set(found) == uuids(journal) and task.uuid in found


LIST = """
from pathlib import Path
try:
    from trellis_addon.service.queue.journal import Journal
except ModuleNotFoundError:  # in 0.1.0
    from trellis_addon.service.journal import Journal
print(*(record.uuid for record in Journal({path!r}).tasks(Path({pictures!r}))), sep="\\n")
"""


def spoil(path: Path, how: str) -> None:
    if how == "of a later version":
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        for file in path.parent.glob("service.sqlite-*"):
            file.unlink()
        path.write_bytes(b"no database at all, but long enough to look like one" * 50)


@pytest.mark.parametrize("how", ["of a later version", "damaged"])
def test_a_journal_that_nobody_can_read(how: str, journal: Path) -> None:
    """One's own service says so, and leaves it; the worker puts it aside."""
    uuids(journal)
    spoil(journal, how)
    before = journal.read_bytes()
    with pytest.raises((TrellisError, sqlite3.DatabaseError)) as caught:
        Journal(str(journal))
    if how == "of a later version":
        assert "another version" in sentence(caught.value)
    assert journal.read_bytes() == before
    assert uuids(journal, replaceable=True) == set()
    (aside,) = journal.parent.glob("service.aside-*.sqlite")
    assert aside.read_bytes()[:16] == before[:16]
    assert uuids(journal) == set(), "and the new one is sound"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    yield tmp_path / "home"
    stop_local_services()


def test_local_gpu_starts_after_a_step_back(home: Path) -> None:
    """The worker's own process with a later version's journal: what it was given is sent again, and costs nothing."""
    place = home / "worker" / "service"
    place.mkdir(parents=True)
    Journal(str(place / "service.sqlite")).close()
    spoil(place / "service.sqlite", "of a later version")
    store = JobStore()
    picture = f"data:image/png;base64,{base64.b64encode(encoded(disc(64))).decode()}"
    begun = store.add(Task(picture, Settings(QUICK)), name="begun", backend="local")
    store.move(store.move(begun, State.SENDING), State.RUNNING)
    assert finish(begun, Backend("local"), store).path.is_file()
    assert len(list(place.glob("service.aside-*.sqlite"))) == 1
