"""The store of jobs: one SQLite file that every Blender and script of this user shares; all its SQL is here.

Beside a job's row there is a record of it in its folder (`records.py`): a database that is damaged is moved aside, and
a new one is made of those.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock

from ..client.replies import as_number
from ..core import database
from ..core.errors import JobError, StoreError, TakenError
from ..core.files import discard_folder, move
from ..core.folders import default_folder
from ..core.messages import message, to_store
from ..core.version import VERSION
from ..task.settings import Settings
from ..task.task import Task
from . import records, rows
from .job import (
    CHOSEN_FILE,
    MESH_FILE,
    NOT_KEPT,
    PICTURE_FILE,
    REGION_FILE,
    SOURCE_FILE,
    TRANSITIONS,
    UNCORRECTED_FILE,
    VIEWS_FILE,
    Asset,
    Job,
    State,
)

log = logging.getLogger(__name__)

BUSY_TIMEOUT = 30.0  # seconds to wait for other writers
UPLOAD_LIFE = 25 * 86400.0  # seconds; the platform deletes an upload 30 days after its last use

_TABLES = ("jobs", "uploads", "limits")
_FIRST = """
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


def _add_writer(connection: sqlite3.Connection) -> None:
    database.add_column(connection, "jobs", "written_by", "TEXT NOT NULL DEFAULT ''")


# From 0.1.0's tables to today's: a change is a step more, and what stands here stays as it is. 0.1.0 names the columns
# of `jobs` when it writes, and those of the other tables not: a column more in one of these locks it out.
STEPS = (
    database.Step(1, 1, database.run_script(_FIRST)),
    database.Step(2, 1, _add_writer),  # the version that has written a job down: what it asks for is of that version
)


@dataclass(frozen=True)
class Charge:
    """What a job that was sent has to do with money: `cost` in US dollars as written down, which may be nonsense."""

    cost: Any
    state: str
    results: int


class Ledger:
    """The list as money sees it, in one look: nobody writes between two of its answers."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def charges(self, backend: str, since: float, until: float) -> list[Charge]:
        """The jobs that were sent to a backend between two times."""
        found = self._connection.execute(
            "SELECT cost, state, request FROM jobs WHERE backend = ? AND sent >= ? AND sent < ?",
            (backend, since, until),
        )
        return [Charge(row["cost"], row["state"], rows.results_in(row["request"])) for row in found]

    def limits(self) -> dict[str, float]:
        """The most to spend, in US dollars, by period; what SQLite was given that can be no limit is left out."""
        found = self._connection.execute("SELECT period, amount FROM limits")
        return {row["period"]: row["amount"] for row in found if as_number(row["amount"]) is not None}


# What an artist should know of the list, in the order it was found; and which rows were told of already.
_notices: list[str] = []
_told: set[tuple[Path, str]] = set()
_examined: set[tuple[Path, int]] = set()  # databases that were read from end to end by this program


def notices() -> tuple[str, ...]:
    """What was found wrong with lists of jobs since this program began, in sentences."""
    return tuple(_notices)


def _notice(sentence: str) -> None:
    log.warning("%s", sentence)
    _notices.append(sentence)


class JobStore:
    """Reads and writes jobs; safe to use from several threads and processes at once.

    Every call opens its own connection: SQLite's locking is what keeps writers apart, and a file lock
    per job, which the system releases however a process ends, is what keeps two from working on one.

    A row that cannot be read is passed over, and told of in the log. A database that is damaged is kept under another
    name, and what the jobs' folders tell makes a new one; see `notices`.
    """

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder or default_folder()
        self.clock = clock
        with _as_sentence(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for is_last in (False, False, True):
                try:
                    found = self._prepare()
                except sqlite3.DatabaseError as error:
                    if _is_damage(error):
                        self._replace_damaged()
                    elif is_last or not self._was_replaced_meanwhile(error):
                        raise
                    else:
                        continue
                    found = 0
                if found:
                    _notice(
                        message(
                            "The list of jobs in {folder} was lost; a new one was made of {found} jobs' folders.",
                            folder=self.folder,
                            found=found,
                        )
                    )
                break

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
        views: Mapping[str, str] | None = None,
        chosen: Mapping[str, Any] | None = None,
        uncorrected: Mapping[str, str] | None = None,
    ) -> Job:
        """Write a job down, before anything is sent. `thumbnail` is a PNG; `chosen` and `uncorrected` as in `Job`.

        `source`, `picture` and `views` are for a job that is derived from another one's result: see `Job`.
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
                (MESH_FILE, task.mesh),
                (PICTURE_FILE, "" if task.image else picture),
                (VIEWS_FILE, json.dumps(dict(kept)) if (kept := task.views or views) else ""),
                (REGION_FILE, json.dumps(task.region.to_json()) if task.region is not None else ""),
                (SOURCE_FILE, json.dumps(source) if source else ""),
                (CHOSEN_FILE, json.dumps(chosen) if chosen else ""),
                (UNCORRECTED_FILE, json.dumps(dict(uncorrected)) if uncorrected else ""),
            ):
                if text:
                    (folder / file).write_text(text, encoding="utf-8")
            if thumbnail:
                job.thumbnail.write_bytes(thumbnail)
        self._insert(job)
        return job

    def adopt(self, uuid: str, *, name: str, backend: str, settings: Settings) -> Job:
        """A job that its service knows and this store does not, or cannot read, by its taskUUID: to be fetched."""
        job = Job(
            Task(NOT_KEPT, settings, uuid=uuid), name, backend, self._folder(uuid),
            state=State.RUNNING, created=self.clock(),
        )  # fmt: skip
        with _as_sentence(job.folder):
            job.folder.mkdir(parents=True, exist_ok=True)
        self._insert(job, replace_it=True)
        return job

    def move(
        self,
        job: Job,
        state: State,
        *,
        error: str = "",
        cost: float | None = None,
        assets: tuple[Asset, ...] = (),
        unsent: bool = False,
        check: Callable[[Ledger], None] = lambda ledger: None,
    ) -> Job:
        """Take a job to another state; raises `JobError` for a step that the table does not allow.

        The step happens only if the row still is in the state that `job` says, so that of two
        processes one goes on and the other is told. What `check` raises stops it; nobody else can write
        between the check and the step. `unsent`: what was tried to be sent has not left this machine.
        """
        if state not in TRANSITIONS[job.state]:
            raise JobError("A job that is {present} cannot become {wanted}.", present=job.state, wanted=state)
        changed = replace(
            job,
            state=state,
            error=error,
            sent=None if unsent else self.clock() if state is State.SENDING else job.sent,
            finished=self.clock() if state is State.READY else job.finished,
            cost=cost if cost is not None else job.cost,
            assets=assets or job.assets,
        )
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            check(Ledger(connection))
            cursor = connection.execute(
                "UPDATE jobs SET state = ?, error = ?, sent = ?, finished = ?, cost = ?, assets = ?"
                " WHERE uuid = ? AND state = ?",
                (
                    state, to_store(error), changed.sent, changed.finished, changed.cost, rows.assets_text(changed),
                    job.uuid, job.state,
                ),
            )  # fmt: skip
            if cursor.rowcount != 1:
                raise TakenError('The job "{name}" is being worked on by another program.', name=job.name)
        self._record(job.uuid)
        return changed

    def note(self, job: Job, error: str) -> None:
        """Remember what went wrong with a job that can go on from where it is."""
        with self.connection() as connection:
            connection.execute("UPDATE jobs SET error = ? WHERE uuid = ?", (to_store(error), job.uuid))
        self._record(job.uuid)

    @contextmanager
    def claim(self, job: Job) -> Iterator[Job]:
        """Work on a job alone: yields it as it stands now; `JobError` while another program has it."""
        if self.get(job.uuid) is None:
            raise JobError('The job "{name}" was deleted.', name=job.name)
        lock = filelock.FileLock(job.folder / "lock", thread_local=False)
        try:
            with _as_sentence(job.folder):
                job.folder.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=0)
        except filelock.Timeout:
            raise TakenError('The job "{name}" is being worked on by another program.', name=job.name) from None
        try:
            current = self.get(job.uuid)
            if current is None:  # since we looked
                discard_folder(job.folder)
                raise JobError('The job "{name}" was deleted.', name=job.name)
            yield current
        finally:
            lock.release()

    def is_claimed(self, job: Job) -> bool:
        """Whether somebody works on the job just now: another program, or another thread of this one."""
        if not job.folder.is_dir():
            return False
        lock = filelock.FileLock(job.folder / "lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except (filelock.Timeout, OSError):
            return True
        lock.release()
        return False

    def deliver(self, uuid: str) -> bool:
        """Mark a job as having reached a scene; False when it had before. Of several callers one gets True."""
        with self.connection() as connection:
            cursor = connection.execute(
                "UPDATE jobs SET delivered = ? WHERE uuid = ? AND delivered IS NULL", (self.clock(), uuid)
            )
            is_first = cursor.rowcount == 1
        if is_first:
            self._record(uuid)
        return is_first

    def delete(self, job: Job) -> None:
        """Remove a job and its files; not while something works on it."""
        with self.claim(job), self.connection() as connection:
            connection.execute("DELETE FROM jobs WHERE uuid = ?", (job.uuid,))
        discard_folder(job.folder)

    def get(self, uuid: str) -> Job | None:
        """The job of this taskUUID; None where there is none, or its row cannot be read."""
        return next(iter(self._select("WHERE uuid = ?", (uuid,))), None)

    def recent(self, limit: int = 50, name: str = "") -> list[Job]:
        """The newest jobs first, for a list: without their pictures, which are megabytes each.

        `name` is a part of theirs, whatever the case of its letters.
        """
        newest = "ORDER BY created DESC LIMIT ?"
        if not name:
            return self._select(newest, (limit,), with_picture=False)
        return self._select(f"WHERE instr(casefold(name), ?) {newest}", (name.casefold(), limit), with_picture=False)

    def foreign(self, limit: int = 50, name: str = "") -> list[rows.ForeignJob]:
        """Of what `recent` looks at, the newest that it passes over: another version may have written it."""
        query = "SELECT * FROM jobs WHERE instr(casefold(name), ?) ORDER BY created DESC LIMIT ?"
        with self.connection() as connection:
            found = connection.execute(query, (name.casefold(), limit)).fetchall()
        return [job for row in found if isinstance(job := self._read(row), rows.ForeignJob)]

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
    def ledger(self) -> Iterator[Ledger]:
        """What money asks of the list."""
        with self.connection() as connection:
            yield Ledger(connection)

    def set_limit(self, period: str, amount: float | None) -> None:
        """Keep the most to spend in a period, in US dollars; None takes it away."""
        with self.connection() as connection:
            connection.execute("DELETE FROM limits WHERE period = ?", (period,))
            if amount is not None:
                connection.execute("INSERT INTO limits (period, amount) VALUES (?, ?)", (period, amount))
            limits = Ledger(connection).limits()
        with _as_sentence(self.folder):
            records.keep_limits(self.folder, limits)

    def find_upload(self, service: str, digest: str) -> str:
        """The UUID that a service keeps a picture under, by the picture's SHA-256; empty where it was not uploaded."""
        since = self.clock() - UPLOAD_LIFE
        with self.connection() as connection:
            row = connection.execute(
                "SELECT media_uuid FROM uploads WHERE service = ? AND sha256 = ? AND used > ?", (service, digest, since)
            ).fetchone()
        return row["media_uuid"] if row else ""

    def keep_upload(self, service: str, digest: str, uuid: str) -> None:
        """Remember that a picture was uploaded, and used just now."""
        with self.connection() as connection:
            connection.execute(
                "REPLACE INTO uploads (service, sha256, media_uuid, used) VALUES (?, ?, ?, ?)",
                (service, digest, uuid, self.clock()),
            )

    def forget_upload(self, service: str, uuid: str) -> None:
        """A service has an upload no more."""
        with self.connection() as connection:
            connection.execute("DELETE FROM uploads WHERE service = ? AND media_uuid = ?", (service, uuid))

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own; what is done with it happens as a whole. Raises `StoreError`."""
        with _as_sentence(self.folder):
            try:
                with self._connected() as connection:
                    yield connection
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._replace_damaged()
                raise StoreError(
                    "The list of jobs in {folder} was damaged, and was made anew; try again.", folder=self.folder
                ) from error

    @property
    def _database(self) -> Path:
        return self.folder / "jobs.sqlite3"

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._database, timeout=BUSY_TIMEOUT)
        try:
            connection.row_factory = sqlite3.Row
            connection.create_function("casefold", 1, lambda text: str(text).casefold())  # SQLite's knows ASCII only
            with connection:  # commits, or rolls back on an exception
                yield connection
        finally:
            connection.close()

    def _prepare(self) -> int:
        """Make the tables where they are missing, of what the folders tell; returns how many jobs were found there."""
        with self._connected() as connection:
            if database.is_too_new(connection, STEPS):
                raise StoreError(
                    "The jobs in {folder} were written by a newer version; update this one, or choose another data "
                    "folder for it.",
                    folder=self.folder,
                )
            if database.version_of(connection) and _has_tables(connection):
                self._examine(connection)
            return database.take_steps(connection, STEPS, self._database, fill=self._rebuild, is_whole=_has_tables)

    def _rebuild(self, connection: sqlite3.Connection) -> int:
        """Fill empty tables with what the folders tell; returns how many jobs that were."""
        for period, amount in records.find_limits(self.folder).items():
            connection.execute("INSERT OR IGNORE INTO limits (period, amount) VALUES (?, ?)", (period, amount))
        return sum(_restore(connection, row) for row in records.find(self.folder / "jobs"))

    def _examine(self, connection: sqlite3.Connection) -> None:
        """Raise for what is damaged somewhere in the middle; once for each program, as it reads everything."""
        known = (self._database, self._database.stat().st_ino)
        if known not in _examined:
            (told,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if told != "ok":
                raise _Damage(told)
            _examined.add(known)
            if (limits := Ledger(connection).limits()) and not (self.folder / records.LIMITS_FILE).exists():
                with contextlib.suppress(OSError):  # of version 0.1.0, which kept them in the database only
                    records.keep_limits(self.folder, limits)

    def _was_replaced_meanwhile(self, error: sqlite3.DatabaseError) -> bool:
        """Whether another program moved the file aside while it was read here, which looks like a disk that fails; once
        it is done with that."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_IOERR or not self._rebuilding.exists():
            return False
        with contextlib.suppress(filelock.Timeout), filelock.FileLock(self._rebuilding).acquire(timeout=BUSY_TIMEOUT):
            pass
        return True

    @property
    def _rebuilding(self) -> Path:
        return self.folder / "rebuild.lock"

    def _replace_damaged(self) -> None:
        """Keep the database under another name, and begin a new one; of several programs one does."""
        lock = filelock.FileLock(self._rebuilding)
        try:
            lock.acquire(timeout=BUSY_TIMEOUT)
        except filelock.Timeout:
            raise StoreError(
                "The list of jobs in {folder} is being repaired by another program.", folder=self.folder
            ) from None
        try:
            _examined.discard((self._database, self._database.stat().st_ino))
            try:
                self._prepare()
                return  # another program has
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
            with contextlib.suppress(sqlite3.Error), self._connected() as connection:
                records.keep_limits(self.folder, Ledger(connection).limits())
            aside = self._database.with_name(f"jobs.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.sqlite3")
            # these first: once the file is gone they may be those of another program's new one
            for ending in ("-journal", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    move(f"{self._database}{ending}", f"{aside}{ending}")
            move(self._database, aside)
            found = self._prepare()
            _notice(
                message(
                    "The list of jobs in {folder} was damaged; it is kept as {name}, and a new one was made "
                    "of {found} jobs' folders.",
                    folder=self.folder,
                    name=aside.name,
                    found=found,
                )
            )
        finally:
            lock.release()

    def _record(self, uuid: str) -> None:
        """Have the job's folder tell what its row does; that it cannot is no reason to stop."""
        try:
            with self.connection() as connection:
                row = connection.execute("SELECT * FROM jobs WHERE uuid = ?", (uuid,)).fetchone()
        except StoreError as error:
            log.info("The record of the job %s cannot be written: %s", uuid, error)
            return
        if row is not None:
            records.keep(self._folder(uuid), dict(row))

    def _folder(self, uuid: str) -> Path:
        return self.folder / "jobs" / uuid

    def _insert(self, job: Job, *, replace_it: bool = False) -> None:
        values = (
            job.uuid, job.name, job.backend, job.state, rows.request_text(job), job.settings.get("seed"),
            job.image_sha256, job.batch, job.fingerprint, job.created, job.target, VERSION,
        )  # fmt: skip
        with self.connection() as connection:
            try:
                connection.execute(
                    f"{'REPLACE' if replace_it else 'INSERT'} INTO jobs"
                    " (uuid, name, backend, state, request, seed, image_sha256, batch, fingerprint, created, target,"
                    " written_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
            except sqlite3.IntegrityError:
                raise JobError("The job {uuid} is in the list already.", uuid=job.uuid) from None
        self._record(job.uuid)

    def _select(self, clause: str, values: tuple[Any, ...], *, with_picture: bool = True) -> list[Job]:
        with self.connection() as connection:
            found = connection.execute(f"SELECT * FROM jobs {clause}", values).fetchall()
        jobs = (self._read(row, with_picture=with_picture) for row in found)
        return [job for job in jobs if isinstance(job, Job)]

    def _read(self, row: Any, *, with_picture: bool = False) -> Job | rows.ForeignJob:
        """One row must not take the others along: a newer version may have written it, or a disk lost some bytes."""
        try:
            return rows.job_of(row, self._folder(row["uuid"]), with_picture=with_picture)
        except rows.UNREADABLE as error:
            job = rows.foreign_of(row, error)
            self._tell_of(job)
            return job

    def _tell_of(self, job: rows.ForeignJob) -> None:
        known = (self.folder, job.uuid)
        if known not in _told:
            _told.add(known)
            _notice(
                message(
                    'The job {uuid} ("{name}") is passed over: its row in the list cannot be read ({reason}). '
                    "A newer version may have written it.",
                    uuid=job.uuid,
                    name=job.name,
                    reason=job.reason,
                )
            )


class _Damage(sqlite3.DatabaseError):
    """What SQLite's own check has found."""


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is no database, or not whole; a locked one, a full disk, missing rights are another matter."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, _Damage) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _has_tables(connection: sqlite3.Connection) -> bool:
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return found.issuperset(_TABLES)


def _restore(connection: sqlite3.Connection, row: records.Row) -> bool:
    """Put a row back; False where it is there, or is none."""
    columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(jobs)")]
    values = {"batch": "", "fingerprint": "", "image_sha256": "", "error": "", "assets": "[]", "target": "", **row}
    given = {name: values[name] for name in columns if values.get(name) is not None}
    marks = ", ".join("?" * len(given))
    try:
        cursor = connection.execute(
            f"INSERT OR IGNORE INTO jobs ({', '.join(given)}) VALUES ({marks})", tuple(given.values())
        )
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, OverflowError) as error:
        log.warning("The job %s cannot be put back into the list: %s", row.get("uuid"), error)
        return False
    return cursor.rowcount == 1


@contextmanager
def _as_sentence(folder: Path) -> Iterator[None]:
    """A folder or a disk that does not do what it should, told in a sentence."""
    try:
        yield
    except filelock.Timeout:  # an OSError by its type, and none by its meaning
        raise
    except sqlite3.Error as error:
        raise StoreError(
            "The list of jobs in {folder} cannot be used ({reason}); {cure}.", folder=folder, reason=error, cure=_CURE
        ) from error
    except (OSError, NotImplementedError) as error:
        raise StoreError(
            "The jobs' folder {folder} cannot be used ({reason}); {cure}.",
            folder=folder,
            reason=reason(error),
            cure=_CURE,
        ) from error


_CURE = message(
    "see that the disk has room and the folder can be written, or name another one in the preferences or TRELLIS2_HOME"
)


def reason(error: Exception) -> str:
    """What the system says, without the number that it says it by."""
    return str(getattr(error, "strerror", None) or type(error).__name__)
