"""The service on a disk that gets full: it says so, keeps what it has, and goes on once there is room again."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE
from service_tools import PIXEL, Running, only_error, task

from trellis_addon.core.machine.disk import is_full
from trellis_addon.service.content.files import FileStore
from trellis_addon.service.limits import Limits


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 6 MB, where one can be had."""
    if not hasattr(os, "geteuid") or os.geteuid() or not shutil.which("mount"):
        pytest.skip("a small disk of its own needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def write_on(file: RawIOBase, size: int) -> None:
    while file.write(b"x" * size):
        pass


def fill(disk: Path) -> Path:
    """The file that takes all that is left."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with pytest.raises(OSError, match="No space") as caught:
                write_on(file, size)
            assert is_full(caught.value)
    return filler


def refused_for_room(run: Running, *tasks: Any) -> None:
    response = run.post(*tasks)
    assert response.status_code == 507, response.text
    error = only_error(response)
    assert error["code"] == "storageLimitExceeded" and "disk is full" in error["message"]


def test_a_real_disk_gets_full(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "disk_reserve", 0)
    upload = {"taskType": "imageUpload", "image": PIXEL}
    run = Running(folder=disk / "service")
    try:
        kept = task(seed=1, deliveryMethod="sync")
        assert run.post(kept).json()["data"][0]["seed"] == 1
        run.engine.gate.clear()
        caught, waiting = task(seed=2, numberResults=2), task(seed=5, deliveryMethod="sync")
        assert run.post(caught).status_code == 200
        assert run.engine.began.wait(PATIENCE)
        filler = fill(disk)
        for _ in range(3):
            refused_for_room(run, task())
            refused_for_room(run, upload)
        run.engine.gate.set()
        body = run.settle(caught["taskUUID"])
        assert [error["code"] for error in body["errors"]] == ["storageLimitExceeded"] * 2
        refused_for_room(run, waiting)
        assert run.poll(kept["taskUUID"])["data"][0]["status"] == "success"  # what is there is served
        file = run.poll(kept["taskUUID"])["data"][0]["outputs"]["files"][0]
        assert run.http.get(file["url"]).content.startswith(b"glTF")
        assert run.post({"taskType": "ping"}).status_code == 200
        run.clock.now += 10 * 86400
        assert run.poll(kept["taskUUID"]) == {"data": []}  # what is too old goes, though that cannot be written down
        filler.unlink()
        assert run.post(task(seed=3, deliveryMethod="sync")).json()["data"][0]["seed"] == 3
        assert run.post(upload).status_code == 200
        assert not list(disk.rglob("*.part"))
    finally:
        run.close()
    again = Running(folder=disk / "service")
    try:
        assert again.post(task(seed=4, deliveryMethod="sync")).json()["data"][0]["seed"] == 4
    finally:
        again.close()


def test_a_journal_that_cannot_grow(tmp_path: Path) -> None:
    """SQLite says itself that there is no room; what it had begun is taken back, and the next one is not refused."""
    run = Running(folder=tmp_path / "service")
    try:
        database = run.service._journal._database
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")
        long = {"webhookURL": "http://127.0.0.1:1/" + "x" * 20_000}
        refused_for_room(run, task(**long))
        refused_for_room(run, task(**long))
        assert not database.in_transaction
        assert not list(run.service.files.pictures.iterdir())
        database.execute(f"PRAGMA max_page_count = {pages + 1000}")
        assert run.post(task(**long)).status_code == 200
    finally:
        run.close()


def test_files_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "disk_reserve", 0)
    run = Running()
    whole = FileStore._write
    room = {"pictures": True, "files": True}

    def write(self: FileStore, path: Path, data: bytes) -> None:
        if not room[path.parent.name]:
            path.with_name(path.name + ".part").write_bytes(data[:1])
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(self, path, data)

    monkeypatch.setattr(FileStore, "_write", write)
    try:
        room["pictures"] = False
        refused_for_room(run, task())
        room.update(pictures=True, files=False)
        refused_for_room(run, {"taskType": "mediaStorage", "operation": "upload", "media": PIXEL})
        refused_for_room(run, task(deliveryMethod="sync"))
        asked = task(numberResults=2)
        assert run.post(asked).status_code == 200
        body = run.settle(asked["taskUUID"])  # the outcome of a task is no refusal of the question for it
        assert [error["code"] for error in body["errors"]] == ["storageLimitExceeded"] * 2
        assert all("disk is full" in error["message"] for error in body["errors"])
        room["files"] = True
        assert run.post(task(seed=9, deliveryMethod="sync")).json()["data"][0]["seed"] == 9
    finally:
        run.close()


def test_what_a_full_disk_is(tmp_path: Path) -> None:
    assert is_full(OSError(errno.ENOSPC, "No space left on device")) and is_full(OSError(errno.EDQUOT, "Disk quota"))
    assert not is_full(OSError(errno.EACCES, "Permission denied")) and not is_full(ValueError())
    database = sqlite3.connect(tmp_path / "a.sqlite")
    database.execute("CREATE TABLE a (b)")
    database.execute("PRAGMA max_page_count = 2")
    with pytest.raises(sqlite3.OperationalError) as caught:
        database.execute("INSERT INTO a VALUES (?)", ("x" * 100_000,))
    assert is_full(caught.value)
    with pytest.raises(sqlite3.OperationalError) as caught:
        database.execute("nonsense")
    assert not is_full(caught.value, tmp_path)
    database.close()
