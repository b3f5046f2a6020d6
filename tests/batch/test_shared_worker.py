"""Processes on one folder: each picture made once and paid once, whoever dies, and whatever fails."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, disc, photo
from fault_server import FOREVER, SUBMIT, FaultServer
from faults import lost_answer, refused, status
from test_lease import Machine

from trellis_addon import api
from trellis_addon.batch import lease, worker
from trellis_addon.batch.rows import Row, Shard, objects_in, row_of
from trellis_addon.batch.shared import NAME, Run, SharedFolder
from trellis_addon.client.backends import Backend
from trellis_addon.core.errors import FieldError, OutputError, TrellisError
from trellis_addon.jobs.job import Job, State
from trellis_addon.jobs.runner import FORGOTTEN_AFTER
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.settings import TRELLIS2_MODEL, Settings
from trellis_addon.task.task import new_uuid

SETTINGS = Settings(resolution=512, texture_size=1024)


class Farm:
    """A folder of pictures that several machines see, and a paid service that all of them ask."""

    def __init__(self, root: Path, server: FaultServer, pictures: int) -> None:
        self.root, self.server = root, server
        self.pictures = root / "pictures"
        self.pictures.mkdir()
        for number in range(pictures):
            disc(96, (60 + 40 * number, 200 - 40 * number, 90)).save(self.pictures / f"p{number}.png")
        self.backend = Backend("remote", key=server.token)
        self.shared = SharedFolder(self.pictures)

    def store(self, machine: str) -> JobStore:
        return JobStore(self.root / machine)

    def run(self, machine: str = "b", **options: Any) -> list[Row]:
        return worker.run_shared(self.pictures, self.backend, SETTINGS, store=self.store(machine), **options)

    def row(self, number: int = 0) -> Row:
        image, views = objects_in(self.pictures)[number]
        return row_of(image, views, SETTINGS, TRELLIS2_MODEL, False)

    def begin(self, machine: str = "a") -> tuple[str, Job]:
        """What a machine has written down of the first picture before it dies: (fingerprint, its own job)."""
        row = self.row()
        self.shared.prepare()
        attempt = self.shared.begin(row.fingerprint, 1, new_uuid(), machine)
        prepared = api.prepare_task(row.image, self.backend, SETTINGS, uuid=attempt.uuid)
        return row.fingerprint, prepared.write_down(self.store(machine), self.backend, fingerprint=row.fingerprint)

    @property
    def sent(self) -> list[str]:
        return [task["taskUUID"] for task in self.server.asked(SUBMIT)]

    @property
    def made(self) -> int:
        return len(self.server.engine.calls)


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    monkeypatch.setattr(worker, "LOOK", 0.01)
    monkeypatch.setattr(
        "trellis_addon.client.client.Client.wait", lambda self, attempt, progress, at_least=0.0: progress.check()
    )
    with FaultServer() as server:
        monkeypatch.setenv("RUNWARE_BASE_URL", server.url)
        yield Farm(tmp_path, server, 2)


def states(rows: list[Row]) -> list[str]:
    return [row.state for row in rows]


def test_what_was_made_is_there_for_all(farm: Farm) -> None:
    rows = farm.run("a")
    assert states(rows) == ["made", "made"] and farm.made == 2
    for row in rows:
        (asset,) = row.assets
        assert asset.path.is_relative_to(farm.pictures / NAME) and asset.path.is_file()
        assert asset.provenance["fingerprint"] == row.fingerprint and row.triangles and row.worker
        assert row.thumbnail is not None and row.thumbnail.is_file()
    again = farm.run("b")
    assert states(again) == ["reused", "reused"] and farm.made == 2
    assert [row.worker for row in again] == [row.worker for row in rows]
    assert not [path for path in (farm.pictures / NAME).iterdir() if path.name.endswith(".part")]


def test_machines_share_the_work(farm: Farm) -> None:
    for number in range(6):
        disc(96, (10 * number, 250, 200)).save(farm.pictures / f"q{number}.png")
    farm.server.engine.seconds = 0.05
    found: dict[str, list[Row]] = {}
    threads = [
        threading.Thread(target=lambda name=name: found.update({name: farm.run(name)}))  # type: ignore[misc]
        for name in "abc"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert farm.made == 8 and len(set(farm.sent)) == 8
    made = [row.image.name for rows in found.values() for row in rows if row.state == "made"]
    assert len(made) == len(set(made)) == 8
    assert all(row.is_good for rows in found.values() for row in rows)


def test_what_a_dead_machine_has_paid_is_fetched(farm: Farm) -> None:
    fingerprint, job = farm.begin()
    api.finish(job, farm.backend, farm.store("a"))
    assert farm.made == 1
    rows = farm.run("b")
    assert states(rows) == ["made", "made"] and farm.made == 2
    assert farm.sent.count(job.uuid) == 1, "asked for, and not sent again"
    (asset,) = rows[0].assets
    assert asset.provenance["task_uuid"] == job.uuid and rows[0].fingerprint == fingerprint


def test_what_was_sent_and_never_answered_is_paid_once(farm: Farm) -> None:
    farm.server.add(lost_answer(SUBMIT, times=FOREVER))
    _, job = farm.begin()
    with pytest.raises(TrellisError):
        api.finish(job, farm.backend, farm.store("a"))
    farm.server._faults.clear()
    assert states(farm.run("b")) == ["made", "made"]
    assert farm.made == 2


def test_what_was_never_sent_is_sent_under_its_own_uuid(farm: Farm) -> None:
    _, job = farm.begin()
    assert states(farm.run("b")) == ["made", "made"]
    assert farm.sent.count(job.uuid) == 1 and farm.made == 2
    kinds = [task["taskType"] for seen in farm.server.log for task in seen.tasks if task.get("taskUUID") == job.uuid]
    assert kinds[0] != SUBMIT, "it is asked for first"


def test_what_was_begun_long_ago_is_not_sent_again(farm: Farm) -> None:
    """A service that forgets would take it, and its price, for a new one."""
    fingerprint, job = farm.begin()
    task = farm.shared._task(fingerprint, 1) / "task.json"
    old = task.stat().st_mtime - FORGOTTEN_AFTER - 60
    os.utime(task, (old, old))
    rows = farm.run("b")
    assert states(rows) == ["failed", "made"] and job.uuid not in farm.sent
    assert states(farm.run("b")) == ["failed", "reused"] and job.uuid not in farm.sent
    assert states(farm.run("b", retry_failed=True)) == ["made", "reused"] and job.uuid not in farm.sent


def test_two_that_hold_the_same_picture_pay_once(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """One seemed dead, and was not: both send one task, and the first result counts."""
    monkeypatch.setattr(lease.Leases, "is_free", lambda self, name, again=False: True)
    monkeypatch.setattr(lease.Leases, "take", lambda self, name, again=False: lease.Lease(self, name, 1, 0))
    farm.server.engine.seconds = 0.1
    found: dict[str, list[Row]] = {}
    threads = [
        threading.Thread(target=lambda name=name: found.update({name: farm.run(name)}))  # type: ignore[misc]
        for name in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert farm.made == 2 and len(set(farm.sent)) == 2
    assert all(row.is_good for rows in found.values() for row in rows)
    assert [row.assets[0].seed for row in found["a"]] == [row.assets[0].seed for row in found["b"]]


def test_a_picture_that_cannot_be_used_is_given_up(farm: Farm) -> None:
    photo().save(farm.pictures / "a_hedge.jpg")
    farm.backend = Backend("draft")
    shared = SharedFolder(farm.pictures)
    rows = worker.run_shared(farm.pictures, farm.backend, SETTINGS, shard=Shard(1, 3), store=farm.store("a"))
    assert states(rows) == ["failed"] and "background" in rows[0].message
    assert len(shared.attempts(rows[0].fingerprint)) == 1
    again = worker.run_shared(farm.pictures, farm.backend, SETTINGS, shard=Shard(1, 3), store=farm.store("b"))
    assert again[0].message == rows[0].message
    assert len(shared.attempts(rows[0].fingerprint)) == 1, "nobody tried again"


def test_what_the_service_cannot_make_is_not_paid_again_and_again(farm: Farm) -> None:
    farm.server.engine.errors = _AllFail()
    assert states(farm.run("a")) == ["failed", "failed"]
    assert len(farm.sent) == 2
    farm.server.engine.errors = {}
    rows = farm.run("b")
    assert states(rows) == ["failed", "failed"] and len(farm.sent) == 2 and "failed" in rows[0].message
    assert states(farm.run("b", retry_failed=True)) == ["made", "made"]
    assert len(set(farm.sent)) == 4, "under another taskUUID"


class _AllFail(dict):  # type: ignore[type-arg]
    def get(self, *_: Any) -> str:
        return "It cannot be made."

    def __contains__(self, _: object) -> bool:
        return True

    def __getitem__(self, _: object) -> str:
        return "It cannot be made."


def test_a_machine_that_only_fails_leaves_the_rest_to_others(farm: Farm) -> None:
    """No money, a wrong key, no network: that is not the pictures' fault."""
    for number in range(8):
        disc(96, (20 * number, 90, 10)).save(farm.pictures / f"q{number}.png")
    farm.server.add(refused("insufficientCredits", 402, SUBMIT, times=FOREVER))
    with pytest.raises(TrellisError, match="no fault of theirs"):
        farm.run("a")
    assert 3 <= len(farm.sent) <= 8 and farm.made == 0
    farm.server._faults.clear()
    rows = farm.run("b")  # what was under way on the other machine may have come through as well
    assert all(row.is_good for row in rows) and len(rows) == 10
    assert farm.made == 10


def test_trouble_on_the_way_is_another_machines_chance(farm: Farm) -> None:
    farm.server.add(status(503, SUBMIT, times=FOREVER))
    rows = farm.run("a")
    assert states(rows) == ["failed", "failed"]
    farm.server._faults.clear()
    assert states(farm.run("b")) == ["made", "made"] and farm.made == 2


def test_copies_of_a_picture_are_made_once(farm: Farm) -> None:
    (farm.pictures / "copy.png").write_bytes((farm.pictures / "p0.png").read_bytes())
    rows = farm.run("a")
    assert all(row.is_good for row in rows) and len(rows) == 3 and farm.made == 2


def test_a_result_that_was_deleted_is_made_again(farm: Farm) -> None:
    import shutil

    rows = farm.run("a")
    shutil.rmtree(rows[0].assets[0].path.parent)
    assert states(farm.run("a")) == ["made", "reused"]
    assert farm.made == 2, "from this machine's own list of jobs"
    folder = rows[1].assets[0].path.parent
    (folder / "result.json").unlink()
    assert states(farm.run("a")) == ["reused", "made"], "what was left of it is moved aside"


def test_a_stopped_one_leaves_its_pictures_to_others(farm: Farm) -> None:
    farm.server.engine.seconds = 0.5
    begun = threading.Event()

    def report(row: Row, stage: str, share: float) -> None:
        if stage == "Sending":
            begun.set()

    rows = farm.run("a", report=report, is_stopped=begun.is_set)
    assert "" in states(rows)
    assert all(row.is_good for row in farm.run("b"))
    assert farm.made == 2 and len(set(farm.sent)) == 2


def test_what_kills_its_workers_is_given_up(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    row = farm.row()
    farm.shared.prepare()
    for count in range(worker.DEATHS + 1):
        leases = lease.Leases(farm.shared.leases, Machine(f"m{count}"), stale=0.0)
        leases.is_free(row.fingerprint[:32])
        assert leases.take(row.fingerprint[:32]) is not None
    rows = farm.run("b", stale=0.0)
    assert states(rows) == ["failed", "made"] and "workers died" in rows[0].message
    assert states(farm.run("c")) == ["failed", "reused"]
    assert states(farm.run("c", retry_failed=True)) == ["made", "reused"]


def test_shards_are_all_of_it_and_nothing_twice(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.png").touch()
    parts = [objects_in(tmp_path, Shard(number, 3)) for number in (1, 2, 3)]
    assert sorted(map(len, parts)) == [2, 2, 3]
    assert sorted(image.name for part in parts for image, _ in part) == [f"{number}.png" for number in range(7)]
    assert objects_in(tmp_path, Shard(9, 9)) == []


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "", "1/2/3"])
def test_a_shard_that_is_none(text: str) -> None:
    with pytest.raises(FieldError, match="2/8"):
        Shard.parse(text)


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0,
    reason="root, and whoever uses Windows, may write anyway; a folder that is gone ends in the same sentence",
)
def test_a_folder_that_cannot_be_written(farm: Farm) -> None:
    farm.pictures.chmod(0o500)
    with pytest.raises(OutputError, match="see that this machine may write there"):
        farm.run("a")
    farm.pictures.chmod(0o700)


def test_settings_are_told_apart(farm: Farm) -> None:
    farm.run("a")
    other = worker.run_shared(farm.pictures, farm.backend, SETTINGS.replace(seed=7), store=farm.store("a"))
    assert states(other) == ["made", "made"] and farm.made == 4
    assert {run.settings.get("seed") for run in farm.shared.runs()} == {None, 7}
    assert Run(SETTINGS, TRELLIS2_MODEL) in farm.shared.runs()


def test_the_lease_of_a_job_that_another_program_holds(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of this machine that stands still, with the job's lock: what is free of charge is begun anew."""
    monkeypatch.setattr(worker, "_TAKEN", 1)
    farm.backend = dataclasses.replace(farm.backend, name=farm.server.url)
    monkeypatch.setenv("TRELLIS2_SERVICE_TOKEN", farm.server.token)
    _, job = farm.begin("b")
    with farm.store("b").claim(job):
        first = farm.run("b")
        assert states(first) == ["failed", "made"]
        assert states(farm.run("b")) == ["made", "reused"]
    assert farm.store("b").get(job.uuid).state is State.WAITING  # type: ignore[union-attr]
