"""The store of jobs: one SQLite file that every Blender and script of this user shares."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs

from ..errors import TrellisError
from ..task import Task
from .job import TRANSITIONS, Asset, Job, State

HOME_VARIABLE = "TRELLIS2_HOME"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    uuid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    backend TEXT NOT NULL,
    state TEXT NOT NULL,
    request TEXT NOT NULL,          -- the task as sent, its image left out: that is image.png in the folder
    seed INTEGER,                   -- 0 .. 2^63-1, as the user set it
    image_sha256 TEXT NOT NULL,
    batch TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    created REAL NOT NULL,
    error TEXT NOT NULL DEFAULT '',
    cost REAL,
    assets TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX IF NOT EXISTS jobs_by_batch ON jobs (batch, fingerprint);
CREATE INDEX IF NOT EXISTS jobs_by_created ON jobs (created);
"""


def default_folder() -> Path:
    """Where jobs and their files live: outlasts Blender's versions and the extension's removal."""
    return Path(os.environ.get(HOME_VARIABLE) or platformdirs.user_data_path("trellis2-blender", appauthor=False))


class JobStore:
    """Reads and writes jobs; safe to use from several threads and processes at once.

    Every call opens its own connection: SQLite's locking is what keeps writers apart.
    """

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder or default_folder()
        self._clock = clock
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.executescript(_SCHEMA)

    def add(self, task: Task, *, name: str, backend: str, image_sha256: str = "", batch: str = "", fingerprint: str = "") -> Job:
        """Write a job down, before anything is sent."""
        folder = self.folder / "jobs" / task.uuid
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "image.txt").write_text(task.image, encoding="utf-8")
        job = Job(
            task, name, backend, folder,
            image_sha256=image_sha256, batch=batch, fingerprint=fingerprint, created=self._clock(),
        )  # fmt: skip
        request = task.to_request()
        del request["inputs"]
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO jobs (uuid, name, backend, state, request, seed, image_sha256, batch, fingerprint, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    task.uuid, name, backend, job.state, json.dumps(request), task.settings.get("seed"),
                    image_sha256, batch, fingerprint, job.created,
                ),
            )  # fmt: skip
        return job

    def move(self, job: Job, state: State, *, error: str = "", cost: float | None = None, assets: tuple[Asset, ...] = ()) -> Job:
        """Take a job to another state; raises `TrellisError` for a step that the table does not allow.

        The step happens only if the row still is in the state that `job` says, so that of two
        processes one goes on and the other is told.
        """
        if state not in TRANSITIONS[job.state]:
            raise TrellisError(f"A job that is {job.state} cannot become {state}.")
        changed = replace(job, state=state, error=error, cost=cost if cost is not None else job.cost, assets=assets or job.assets)
        with self._connection() as connection:
            cursor = connection.execute(
                "UPDATE jobs SET state = ?, error = ?, cost = ?, assets = ? WHERE uuid = ? AND state = ?",
                (state, error, changed.cost, _assets_json(changed), job.uuid, job.state),
            )
            if cursor.rowcount != 1:
                raise TrellisError(f'The job "{job.name}" is being worked on by another program.')
        return changed

    def get(self, uuid: str) -> Job | None:
        return next(iter(self._select("WHERE uuid = ?", (uuid,))), None)

    def recent(self, limit: int = 50) -> list[Job]:
        """The newest jobs first."""
        return self._select("ORDER BY created DESC LIMIT ?", (limit,))

    def in_batch(self, batch: str, fingerprint: str) -> Job | None:
        """The newest job of a batch for this very picture and these settings that was not given up."""
        states = (State.FAILED, State.CANCELLED)
        found = self._select(
            "WHERE batch = ? AND fingerprint = ? AND state NOT IN (?, ?) ORDER BY created DESC LIMIT 1",
            (batch, fingerprint, *states),
        )
        return found[0] if found else None

    def _select(self, clause: str, values: tuple[Any, ...]) -> list[Job]:
        with self._connection() as connection:
            rows = connection.execute(f"SELECT * FROM jobs {clause}", values).fetchall()
        return [self._job(row) for row in rows]

    def _job(self, row: sqlite3.Row) -> Job:
        folder = self.folder / "jobs" / row["uuid"]
        image = folder / "image.txt"
        # Without its picture a job can still be asked for; it can only not be sent again.
        text = image.read_text(encoding="utf-8") if image.exists() else "(not kept)"
        request = {**json.loads(row["request"]), "inputs": {"image": text}}
        assets = tuple(Asset(folder / a["file"], row["name"], a["provenance"]) for a in json.loads(row["assets"]))
        return Job(
            Task.from_request(request), row["name"], row["backend"], folder, State(row["state"]), row["image_sha256"],
            row["batch"], row["fingerprint"], row["created"], row["error"], row["cost"],
            tuple(replace(asset, variations=assets) for asset in assets),
        )  # fmt: skip

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.folder / "jobs.sqlite3", timeout=15.0)
        try:
            connection.row_factory = sqlite3.Row
            with connection:  # commits, or rolls back on an exception
                yield connection
        finally:
            connection.close()


def _assets_json(job: Job) -> str:
    return json.dumps([{"file": asset.path.name, "provenance": dict(asset.provenance)} for asset in job.assets])
