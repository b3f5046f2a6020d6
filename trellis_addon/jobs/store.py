"""The store of jobs: one SQLite file that every Blender and script of this user shares."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock

from ..core.errors import JobError, StoreError
from ..core.folders import default_folder
from ..task.settings import Settings
from ..task.task import Task
from .job import NOT_KEPT, PICTURE_FILE, SOURCE_FILE, TRANSITIONS, Asset, Job, State

VERSION = 1  # of the tables, kept in the file's user_version
BUSY_TIMEOUT = 30.0  # seconds to wait for other writers

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    backend TEXT NOT NULL,
    state TEXT NOT NULL,
    request TEXT NOT NULL,          -- the task as asked for, its image left out: that is image.txt in the folder
    seed INTEGER,                   -- 0 .. 2^63-1, as the user set it
    image_sha256 TEXT NOT NULL,
    batch TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    created REAL NOT NULL,
    sent REAL,
    finished REAL,
    delivered REAL,
    error TEXT NOT NULL DEFAULT '',
    cost REAL,                      -- US dollars
    assets TEXT NOT NULL DEFAULT '[]',
    target TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS jobs_by_batch ON jobs (batch, fingerprint);
CREATE INDEX IF NOT EXISTS jobs_by_created ON jobs (created);
CREATE TABLE IF NOT EXISTS uploads (
    service TEXT NOT NULL,
    sha256 TEXT NOT NULL,           -- of what was uploaded
    media_uuid TEXT NOT NULL,
    used REAL NOT NULL,
    PRIMARY KEY (service, sha256)
);
CREATE TABLE IF NOT EXISTS limits (period TEXT PRIMARY KEY, amount REAL NOT NULL);
"""


class JobStore:
    """Reads and writes jobs; safe to use from several threads and processes at once.

    Every call opens its own connection: SQLite's locking is what keeps writers apart, and a file lock
    per job, which the system releases however a process ends, is what keeps two from working on one.
    """

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder or default_folder()
        self.clock = clock
        with _as_sentence(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with self.connection() as connection:
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if found > VERSION:
                raise StoreError(f"The jobs in {self.folder} were written by a newer version; update this one.")
            if found < VERSION:
                connection.executescript(_SCHEMA)
                connection.execute(f"PRAGMA user_version = {VERSION}")

    def add(
        self,
        task: Task,
        *,
        name: str,
        backend: str,
        image_sha256: str = "",
        batch: str = "",
        fingerprint: str = "",
        thumbnail: bytes = b"",
        target: str = "",
        source: Mapping[str, Any] | None = None,
        picture: str = "",
    ) -> Job:
        """Write a job down, before anything is sent. `thumbnail` is a PNG.

        `source` and `picture` are for a job that is derived from another one's result: see `Job`.
        """
        folder = self._folder(task.uuid)
        job = Job(
            task, name, backend, folder,
            image_sha256=image_sha256, batch=batch, fingerprint=fingerprint, created=self.clock(), target=target,
        )  # fmt: skip
        with _as_sentence(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for file, text in (
                ("image.txt", task.image),
                ("latents.txt", task.latents),
                (PICTURE_FILE, "" if task.image else picture),
                (SOURCE_FILE, json.dumps(source) if source else ""),
            ):
                if text:
                    (folder / file).write_text(text, encoding="utf-8")
            if thumbnail:
                job.thumbnail.write_bytes(thumbnail)
        self._insert(job)
        return job

    def adopt(self, uuid: str, *, name: str, backend: str, settings: Settings) -> Job:
        """A job that the service knows and this store does not, by its taskUUID: it only has to be fetched."""
        job = Job(
            Task(NOT_KEPT, settings, uuid=uuid), name, backend, self._folder(uuid),
            state=State.RUNNING, created=self.clock(),
        )  # fmt: skip
        with _as_sentence(job.folder):
            job.folder.mkdir(parents=True, exist_ok=True)
        self._insert(job)
        return job

    def move(
        self,
        job: Job,
        state: State,
        *,
        error: str = "",
        cost: float | None = None,
        assets: tuple[Asset, ...] = (),
        check: Callable[[sqlite3.Connection], None] = lambda connection: None,
    ) -> Job:
        """Take a job to another state; raises `JobError` for a step that the table does not allow.

        The step happens only if the row still is in the state that `job` says, so that of two
        processes one goes on and the other is told. What `check` raises stops it; nobody else can write
        between the check and the step.
        """
        if state not in TRANSITIONS[job.state]:
            raise JobError(f"A job that is {job.state} cannot become {state}.")
        changed = replace(
            job,
            state=state,
            error=error,
            sent=self.clock() if state is State.SENDING else job.sent,
            finished=self.clock() if state is State.READY else job.finished,
            cost=cost if cost is not None else job.cost,
            assets=assets or job.assets,
        )
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            check(connection)
            cursor = connection.execute(
                "UPDATE jobs SET state = ?, error = ?, sent = ?, finished = ?, cost = ?, assets = ?"
                " WHERE uuid = ? AND state = ?",
                (
                    state, error, changed.sent, changed.finished, changed.cost, _assets_json(changed),
                    job.uuid, job.state,
                ),
            )  # fmt: skip
            if cursor.rowcount != 1:
                raise JobError(f'The job "{job.name}" is being worked on by another program.')
        return changed

    def note(self, job: Job, error: str) -> None:
        """Remember what went wrong with a job that can go on from where it is."""
        with self.connection() as connection:
            connection.execute("UPDATE jobs SET error = ? WHERE uuid = ?", (error, job.uuid))

    @contextmanager
    def claim(self, job: Job) -> Iterator[Job]:
        """Work on a job alone: yields it as it stands now; `JobError` while another program has it."""
        if self.get(job.uuid) is None:
            raise JobError(f'The job "{job.name}" was deleted.')
        lock = filelock.FileLock(job.folder / "lock", thread_local=False)
        try:
            with _as_sentence(job.folder):
                job.folder.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=0)
        except filelock.Timeout:
            raise JobError(f'The job "{job.name}" is being worked on by another program.') from None
        try:
            current = self.get(job.uuid)
            if current is None:  # since we looked
                shutil.rmtree(job.folder, ignore_errors=True)
                raise JobError(f'The job "{job.name}" was deleted.')
            yield current
        finally:
            lock.release()

    def deliver(self, uuid: str) -> bool:
        """Mark a job as having reached a scene; False when it had before. Of several callers one gets True."""
        with self.connection() as connection:
            cursor = connection.execute(
                "UPDATE jobs SET delivered = ? WHERE uuid = ? AND delivered IS NULL", (self.clock(), uuid)
            )
            return cursor.rowcount == 1

    def delete(self, job: Job) -> None:
        """Remove a job and its files; not while something works on it."""
        with self.claim(job), self.connection() as connection:
            connection.execute("DELETE FROM jobs WHERE uuid = ?", (job.uuid,))
        shutil.rmtree(job.folder, ignore_errors=True)

    def get(self, uuid: str) -> Job | None:
        return next(iter(self._select("WHERE uuid = ?", (uuid,))), None)

    def recent(self, limit: int = 50) -> list[Job]:
        """The newest jobs first, for a list: without their pictures, which are megabytes each."""
        return self._select("ORDER BY created DESC LIMIT ?", (limit,), with_picture=False)

    def unfinished(self) -> list[Job]:
        """What was begun and is not over, oldest first: after a crash, this goes on."""
        states = [state for state in State if not state.is_over]
        marks = ", ".join("?" * len(states))
        return self._select(f"WHERE state IN ({marks}) ORDER BY created", tuple(states))

    def undelivered(self) -> list[Job]:
        """What is ready and belongs somewhere that it has not reached, oldest first."""
        return self._select("WHERE state = ? AND delivered IS NULL AND target != '' ORDER BY created", (State.READY,))

    def in_batch(self, batch: str, fingerprint: str) -> Job | None:
        """The newest job of a batch for this very picture and these settings that was not given up."""
        found = self._select(
            "WHERE batch = ? AND fingerprint = ? AND state NOT IN (?, ?) ORDER BY created DESC LIMIT 1",
            (batch, fingerprint, State.FAILED, State.CANCELLED),
        )
        return found[0] if found else None

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own; what is done with it happens as a whole. Raises `StoreError`."""
        with _as_sentence(self.folder):
            connection = sqlite3.connect(self.folder / "jobs.sqlite3", timeout=BUSY_TIMEOUT)
            try:
                connection.row_factory = sqlite3.Row
                with connection:  # commits, or rolls back on an exception
                    yield connection
            finally:
                connection.close()

    def _folder(self, uuid: str) -> Path:
        return self.folder / "jobs" / uuid

    def _insert(self, job: Job) -> None:
        request = job.task.to_request()
        del request["inputs"]
        values = (
            job.uuid, job.name, job.backend, job.state, json.dumps(request), job.settings.get("seed"),
            job.image_sha256, job.batch, job.fingerprint, job.created, job.target,
        )  # fmt: skip
        with self.connection() as connection:
            try:
                connection.execute(
                    "INSERT INTO jobs (uuid, name, backend, state, request, seed, image_sha256, batch, fingerprint,"
                    " created, target) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
            except sqlite3.IntegrityError:
                raise JobError(f"The job {job.uuid} is in the list already.") from None

    def _select(self, clause: str, values: tuple[Any, ...], *, with_picture: bool = True) -> list[Job]:
        with self.connection() as connection:
            rows = connection.execute(f"SELECT * FROM jobs {clause}", values).fetchall()
        return [self._job(row, with_picture) for row in rows]

    def _job(self, row: sqlite3.Row, with_picture: bool) -> Job:
        folder = self._folder(row["uuid"])
        inputs = _read_inputs(folder) if with_picture else {"image": NOT_KEPT}
        request = {**json.loads(row["request"]), "inputs": inputs}
        assets = tuple(Asset(folder / a["file"], row["name"], a["provenance"]) for a in json.loads(row["assets"]))
        return Job(
            Task.from_request(request), row["name"], row["backend"], folder, State(row["state"]), row["image_sha256"],
            row["batch"], row["fingerprint"], row["created"], row["sent"], row["finished"], row["delivered"],
            row["error"], row["cost"], tuple(replace(asset, variations=assets) for asset in assets),
            row["target"],
        )  # fmt: skip


@contextmanager
def _as_sentence(folder: Path) -> Iterator[None]:
    """A folder or a disk that does not do what it should, told in a sentence."""
    try:
        yield
    except filelock.Timeout:  # an OSError by its type, and none by its meaning
        raise
    except sqlite3.Error as error:
        raise StoreError(f"The list of jobs in {folder} cannot be used ({error}); {_CURE}.") from error
    except (OSError, NotImplementedError) as error:
        raise StoreError(f"The jobs' folder {folder} cannot be used ({reason(error)}); {_CURE}.") from error


_CURE = "see that the disk has room and the folder can be written, and try again"


def reason(error: Exception) -> str:
    """What the system says, without the number that it says it by."""
    return str(getattr(error, "strerror", None) or type(error).__name__)


def _read_inputs(folder: Path) -> dict[str, str]:
    """The task's picture and latents as they were written down.

    After a crash of the whole machine a file can be there and empty.
    """
    found = {}
    for name in ("image", "latents"):
        try:
            text = (folder / f"{name}.txt").read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        if text:
            found[name] = text
    return found or {"image": NOT_KEPT}


def _assets_json(job: Job) -> str:
    return json.dumps([{"file": asset.path.name, "provenance": dict(asset.provenance)} for asset in job.assets])
