"""Lists of jobs that earlier releases have written: nothing is lost, nothing paid again, both may go on with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import sentence
from fault_server import SUBMIT, Clock, FaultServer
from releases import RELEASES, Left, in_release, rows, unpack
from service_tools import PIXEL

from trellis_addon.api import fetch, finish, retry
from trellis_addon.client.backends import Backend
from trellis_addon.core import database
from trellis_addon.core.configuration import HOME_VARIABLE, REMOTE_URL_VARIABLE
from trellis_addon.core.errors import StoreError, UnsentError
from trellis_addon.formats.latents import check_latents
from trellis_addon.jobs import store as store_module
from trellis_addon.jobs.job import REMOTE, Job, State
from trellis_addon.jobs.money import limits, spent
from trellis_addon.jobs.store import STEPS, JobStore
from trellis_addon.task.settings import Settings
from trellis_addon.task.task import Task


@pytest.fixture(params=RELEASES)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Left:
    return unpack(request.param, tmp_path)


@pytest.fixture
def store(left: Left) -> JobStore:
    return JobStore(left.home, clock=lambda: left.said["written"] + 60.0)


@pytest.fixture
def server(left: Left, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """The paid API with what the release has sent it, at the time when it was sent."""
    monkeypatch.setattr("trellis_addon.client.client.Client.pause", lambda self, seconds, progress: progress.check())
    monkeypatch.setattr("trellis_addon.client.client.Client.wait", lambda self, attempt, progress: progress.check())
    monkeypatch.setattr(Clock, "__call__", lambda clock: left.said["written"] + 60.0)
    with FaultServer(folder=left.root / "remote") as server:
        monkeypatch.setenv(REMOTE_URL_VARIABLE, server.url)
        monkeypatch.setenv("RUNWARE_API_KEY", server.token)
        monkeypatch.setenv(HOME_VARIABLE, str(left.home))
        yield server


def facts_of(job: Job) -> dict[str, Any]:
    """As `write_release.py` has asked the release."""
    return {
        "uuid": job.uuid,
        "name": job.name,
        "state": str(job.state),
        "backend": job.backend,
        "settings": dict(job.settings),
        "cost": job.cost,
        "created": job.created,
        "sent": job.sent,
        "delivered": job.delivered,
        "fingerprint": job.fingerprint,
        "assets": [{"file": asset.path.name, "provenance": dict(asset.provenance)} for asset in job.assets],
    }


def test_every_job_is_what_it_was(left: Left, store: JobStore) -> None:
    said = {job["uuid"]: job for job in left.all_jobs}
    found = {job.uuid: job for job in store.recent(100)}
    assert {job["state"] for job in said.values()} == {str(state) for state in State}, "there is one in each state"
    assert store.foreign(100) == []
    for uuid, facts in said.items():
        told = facts_of(found[uuid])
        assert told == {name: facts[name] for name in told}, facts["name"]
        assert all(asset.path.is_file() for asset in found[uuid].assets)
        whole = store.get(uuid)
        assert whole is not None and whole.picture and whole.thumbnail.is_file(), "it can be made again"


def test_money_limits_and_uploads(left: Left, store: JobStore) -> None:
    assert limits(store) == {"day": 1000.0}
    told = sum(job["cost"] or 0 for job in left.said["jobs"] if job["backend"] == REMOTE)
    assert spent(store, "day") > told > 0.0
    (upload,) = rows(left.home / "jobs.sqlite3", "uploads")
    assert store.find_upload(upload["service"], upload["sha256"]) == upload["media_uuid"]


def test_nothing_is_paid_again(left: Left, store: JobStore, server: FaultServer) -> None:
    """What was sent is asked for; what was not is not sent by itself, and can be sent by the artist."""
    outcomes: dict[str, Any] = {}
    for job in store.unfinished():
        if job.is_paid:
            try:
                outcomes[job.name] = finish(job, Backend(REMOTE), store, may_send=False)
            except UnsentError as error:
                outcomes[job.name] = sentence(error)
    assert server.asked(SUBMIT) == []
    made = {name for name, outcome in outcomes.items() if not isinstance(outcome, str)}
    assert made == {"running", "uncertain", "redone", "lamp"} and set(outcomes) - made == {"sending", "waiting"}
    for name in made:
        assert outcomes[name].path.is_file() and outcomes[name].provenance["task_uuid"] == left.jobs[name]["uuid"]

    waiting = store.get(left.jobs["waiting"]["uuid"])
    assert waiting is not None and waiting.state is State.FAILED
    assert finish(retry(waiting, store), Backend(REMOTE), store).path.is_file()
    assert len(server.asked(SUBMIT)) == 1


def test_deleted_files_come_again(left: Left, store: JobStore, server: FaultServer) -> None:
    job = store.get(left.jobs["ready"]["uuid"])
    assert job is not None and len(job.assets) == 2
    before = [asset.path.read_bytes() for asset in job.assets]
    for asset in job.assets:
        asset.path.unlink()
    fetch(job.uuid, store=store)
    assert [asset.path.read_bytes() for asset in job.assets] == before and server.asked(SUBMIT) == []


def test_kept_latents_are_gone_on_from(left: Left, store: JobStore) -> None:
    job = store.get(left.jobs["done by the worker"]["uuid"])
    assert job is not None and job.assets[0].latents is not None
    kept = check_latents(job.assets[0].latents.read_bytes())
    assert (kept.resolution, kept.tokens, kept.seed, kept.shape_seed) == (512, 20, 14, 9)
    assert kept.settings == {"resolution": 512, "tex_slat_steps": 20}
    assert [str(note) for note in kept.notes] == ["Not enough memory: 512 in place of 1024."]


# --- two versions on one list ---


LAST = STEPS[-1].version
BEGIN = "from trellis_addon.jobs import JobStore, State\nfrom trellis_addon import Settings, Task\nstore = JobStore()\n"
LIST = "print(*sorted(f'{job.uuid} {job.state}' for job in store.recent(100)), sep='\\n')\n"
ADD = f"print(store.add(Task({PIXEL!r}, Settings(resolution=512)), name='theirs', backend='remote').uuid)\n"
MOVE = "job = store.get({uuid!r})\nstore.move(store.move(job, State.SENDING), State.RUNNING)\n"


def listed(store: JobStore) -> list[str]:
    return sorted(f"{job.uuid} {job.state}" for job in store.recent(100))


def test_two_versions_go_on_with_one_list(left: Left, store: JobStore) -> None:
    """The release and this one, side by side, in both directions; and back to the release."""
    assert in_release(left, BEGIN + LIST) == listed(store)
    ours = store.add(Task(PIXEL, Settings(seed=3)), name="ours", backend=REMOTE)
    (theirs,) = in_release(left, BEGIN + ADD)
    in_release(left, BEGIN + MOVE.format(uuid=ours.uuid))
    assert in_release(left, BEGIN + LIST) == listed(store)
    found = store.get(theirs)
    assert found is not None and found.settings == {"resolution": 512}
    store.move(found, State.SENDING)
    moved = store.get(ours.uuid)
    assert moved is not None and moved.state is State.RUNNING
    assert in_release(left, BEGIN + LIST) == listed(JobStore(left.home))
    written = {row["uuid"]: row["written_by"] for row in rows(left.home / "jobs.sqlite3", "jobs")}
    assert written[theirs] == "" and written[ours.uuid] == store_module.VERSION


def test_a_copy_is_kept_before_a_step(left: Left) -> None:
    before = list(rows(left.home / "jobs.sqlite3", "jobs"))
    with closing(sqlite3.connect(left.home / "jobs.sqlite3")) as connection:
        copy = left.home / f"jobs.version-{database.version_of(connection)}.sqlite3"
    JobStore(left.home)
    assert list(rows(copy, "jobs")) == before
    stamp = copy.stat().st_mtime_ns
    JobStore(left.home)
    assert copy.stat().st_mtime_ns == stamp, "and once only"


def test_a_later_version_that_we_can_follow(
    left: Left, store: JobStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version after this one, with a step more: this one goes on with the list, the release as well."""
    job = store.add(Task(PIXEL), name="before", backend=REMOTE)
    more = lambda connection: database.add_column(connection, "jobs", "mood", "TEXT NOT NULL DEFAULT 'calm'")  # noqa: E731
    monkeypatch.setattr(store_module, "STEPS", (*STEPS, database.Step(LAST + 1, 1, more)))
    later = JobStore(left.home)
    later.add(Task(PIXEL), name="later", backend=REMOTE)
    assert (left.home / f"jobs.version-{LAST}.sqlite3").is_file()
    monkeypatch.undo()
    again = JobStore(left.home)
    assert {"before", "later"} <= {found.name for found in again.recent()}
    again.move(job, State.SENDING)
    assert in_release(left, BEGIN + LIST) == listed(again)
    assert {row["mood"] for row in rows(left.home / "jobs.sqlite3", "jobs")} == {"calm"}


def test_a_later_version_that_nobody_can_follow(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to do, and leaves the list as it is; the copy is that of before."""
    JobStore(left.home)
    other = lambda connection: connection.execute("ALTER TABLE jobs RENAME COLUMN name TO title")  # noqa: E731
    monkeypatch.setattr(store_module, "STEPS", (*STEPS, database.Step(LAST + 1, LAST + 1, other)))
    JobStore(left.home)
    monkeypatch.undo()
    database_file = left.home / "jobs.sqlite3"
    before = database_file.read_bytes()
    with pytest.raises(StoreError) as caught:
        JobStore(left.home)
    assert "newer" in sentence(caught.value) and "data folder" in sentence(caught.value)
    assert database_file.read_bytes() == before and not list(left.home.glob("jobs.damaged-*"))
    (left.home / f"jobs.version-{LAST}.sqlite3").replace(database_file)  # a step back
    assert len(JobStore(left.home).recent(100)) == len(list(rows(database_file, "jobs")))


@pytest.mark.parametrize("fails_at", [0, 1])
def test_a_step_that_breaks_off_leaves_the_list_as_it_was(
    fails_at: int, left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE jobs ADD COLUMN half TEXT")
        connection.execute("DELETE FROM jobs")
        raise sqlite3.OperationalError("database or disk is full")

    steps = [database.Step(LAST + number, 1, lambda connection: None) for number in (1, 2)]
    steps[fails_at] = database.Step(LAST + 1 + fails_at, 1, half)
    count = len(JobStore(left.home).recent(100))
    monkeypatch.setattr(store_module, "STEPS", (*STEPS, *steps))
    with pytest.raises(StoreError):
        JobStore(left.home)
    monkeypatch.undo()
    assert len(JobStore(left.home).recent(100)) == count
    with closing(sqlite3.connect(left.home / "jobs.sqlite3")) as connection:
        assert database.version_of(connection) == LAST + fails_at
