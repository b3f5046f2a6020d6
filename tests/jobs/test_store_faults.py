"""Jobs whose store is full, cannot be written, was deleted or is used by several at once."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

from conftest import sentence  # first: it is what finds the package

# isort: split
import fault_world
import faults as f
import pytest
from fault_server import DETAILS, FOREVER, POLL, FaultServer, small_glb
from fault_world import World

from trellis_addon.api import finish
from trellis_addon.client.backends import Backend
from trellis_addon.core.errors import (
    ApiKeyError,
    JobError,
    NetworkError,
    StoreError,
    TimedOutError,
)
from trellis_addon.core.machine.parallel import as_ready
from trellis_addon.jobs.job import Job, State
from trellis_addon.jobs.store import JobStore

world = fault_world.world


def test_a_full_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever cannot be written: the job goes on when there is room again."""
    job = world.job()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("trellis_addon.client.download._save", full)
        assert "No space left" in world.fail(job, StoreError)
    found = world.store.get(job.uuid)
    assert found is not None and found.state is State.RUNNING and "No space left" in found.error
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        world.fail(job, StoreError)
    assert world.run(job).state is State.READY and world.paid == 1


@pytest.mark.parametrize("state", [State.SENDING, State.RUNNING, State.READY])
def test_a_store_that_cannot_be_written(state: State, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any step: another program holds the file, and nothing of the job gets lost."""
    job = world.job()
    move = JobStore.move

    def locked(store: JobStore, job: Job, to: State, **more: Any) -> Job:
        if to is not state:
            return move(store, job, to, **more)
        with sqlite3.connect(store.folder / "jobs.sqlite3") as other:
            other.execute("BEGIN IMMEDIATE")
            try:
                return move(store, job, to, **more)
            finally:
                other.rollback()

    with monkeypatch.context() as patch:
        patch.setattr("trellis_addon.jobs.store.BUSY_TIMEOUT", 0.05)
        patch.setattr(JobStore, "move", locked)
        assert "locked" in world.fail(job, StoreError)
    before = {State.SENDING: State.WAITING, State.RUNNING: State.SENDING, State.READY: State.RUNNING}
    assert world.state(job) is before[state]
    assert world.run(job).state is State.READY and world.paid == 1 and set(world.submissions) == {job.uuid}


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError) as caught:
        JobStore(tmp_path / "file")
    sentence(caught.value)
    (tmp_path / "store" / "jobs.sqlite3").mkdir(parents=True)
    with pytest.raises(StoreError) as caught:
        JobStore(tmp_path / "store")
    sentence(caught.value)


def test_files_that_were_deleted_are_fetched_again(world: World) -> None:
    done = world.run(world.job(number_results=2))
    done.assets[1].path.unlink()
    again = world.run(done)
    assert [asset.path.read_bytes() for asset in again.assets] == [small_glb(7), small_glb(8)]
    assert world.paid == 2 and len(world.submissions) == 1
    shutil.rmtree(done.folder)
    assert all(asset.path.is_file() and asset.sidecar.is_file() for asset in world.run(done).assets)
    done.assets[0].path.unlink()
    world.server.add(f.no_data(POLL, times=FOREVER), f.refused("taskNotFound", 404, DETAILS, times=FOREVER))
    assert "deleted" in world.fail(done, JobError)


def test_a_folder_that_was_deleted(world: World) -> None:
    running, waiting = world.job(), world.job()
    world.server.add(f.status_word("processing", times=FOREVER))
    world.fail(running, TimedOutError, time_limit=10.0)
    world.end_faults()
    for job in (running, waiting):
        shutil.rmtree(job.folder)
    assert world.run(running).state is State.READY, "nothing but the picture was in it"
    assert "picture was not kept" in world.fail(waiting, JobError)
    assert world.submissions == [running.uuid]
    (waiting.folder / "image.txt").write_bytes(b"\xff\xfe damaged")
    assert len(world.store.recent()) == 2, "one damaged job must not hide the others"


def test_a_deleted_job_is_not_run(world: World) -> None:
    job = world.job()
    world.store.delete(job)
    assert "deleted" in world.fail(job, JobError)
    assert not job.folder.exists() and not world.server.log


def test_a_service_that_is_gone(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    with FaultServer() as server:
        world = World(server, store)
        world.server.add(f.status_word("processing", times=FOREVER))
        job = world.job()
        world.fail(job, TimedOutError, time_limit=5.0)
        server.stop()
        assert "cannot be reached" in world.fail(job, NetworkError)
        assert world.state(job) is State.RUNNING


def test_two_at_once_do_not_fight(world: World) -> None:
    world.server.engine.seconds = 0.2
    job = world.job()
    outcomes: list[str] = []

    def work() -> None:
        try:
            outcomes.append(str(World(world.server, world.store).run(job).state))
        except JobError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("ready") >= 1 and world.paid == 1 and len(world.submissions) == 1
    assert all(text == "ready" or "another program" in text for text in outcomes)


def test_without_a_key_nothing_waits_for_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not be sent, and paid, on the day when there is a key."""
    monkeypatch.setattr("trellis_addon.client.backends.find_key", lambda given: ("", ""))
    job = world.job()
    with pytest.raises(ApiKeyError):
        finish(job, Backend("remote"), world.store)
    assert world.state(job) is State.FAILED and world.store.unfinished() == []


def test_what_nobody_waits_for_is_not_begun() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.02)
        return number

    outcomes = as_ready(range(20), work, 2)
    assert next(outcomes)[0] in (0, 1)
    outcomes.close()  # type: ignore[attr-defined]
    time.sleep(0.1)
    assert len(begun) <= 5
    assert [type(outcome) for _, outcome in as_ready([1], lambda number: sys.exit(), 1)] == [RuntimeError]
