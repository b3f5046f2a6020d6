"""What the service must not forget when its process ends: tasks, results, files, news still to deliver.

One SQLite database. Every change is written before anybody is told of it; at the start it is read once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from ..core import database
from ..core.errors import TrellisError
from ..core.files import move
from ..core.places import is_on_network
from ..task.former import todays
from ..task.settings import Settings
from .protocol import JsonObject
from .records import Slot, StoredFile, TaskRecord

log = logging.getLogger(__name__)

_FIRST = """
CREATE TABLE IF NOT EXISTS tasks (
    uuid TEXT PRIMARY KEY, place INTEGER NOT NULL, request TEXT NOT NULL, model TEXT NOT NULL, seed INTEGER NOT NULL,
    base_url TEXT NOT NULL, picture TEXT NOT NULL, image_url TEXT NOT NULL, starts INTEGER NOT NULL, finished REAL
);
CREATE TABLE IF NOT EXISTS results (
    task TEXT NOT NULL, number INTEGER NOT NULL, item TEXT, error TEXT, PRIMARY KEY (task, number)
);
CREATE TABLE IF NOT EXISTS deliveries (
    task TEXT NOT NULL, number INTEGER NOT NULL, field TEXT NOT NULL, PRIMARY KEY (task, number, field)
);
CREATE TABLE IF NOT EXISTS files (
    uuid TEXT PRIMARY KEY, name TEXT NOT NULL, secret TEXT NOT NULL, media_type TEXT NOT NULL,
    ttl REAL NOT NULL, expires REAL NOT NULL
);
"""


def _add_latents(connection: sqlite3.Connection) -> None:
    database.add_column(connection, "tasks", "latents", "TEXT NOT NULL DEFAULT ''")


# Each of a task's further pictures: the file's name, or else the web address.
_VIEWS = """
CREATE TABLE IF NOT EXISTS views (
    task TEXT NOT NULL, view TEXT NOT NULL, file TEXT NOT NULL, url TEXT NOT NULL, PRIMARY KEY (task, view)
);
"""


# A change is a step more, and what stands here stays as it is. 0.1.0 reads the tables of 2, and names no columns when
# it writes: with one more in any table it would fail.
_STEPS = (
    database.Step(1, 1, database.run_script(_FIRST)),
    database.Step(2, 2, _add_latents),
    database.Step(3, 2, database.run_script(_VIEWS)),
)


class _TooNewError(TrellisError):
    """The tables are of a version that this one does not understand."""


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        if database.is_too_new(connection, _STEPS):
            raise _TooNewError("The folder was written by another version of the service; choose a new folder.")
        _choose_log(connection, path)
        # A task that was acknowledged is a promise: it is on the disk before.
        connection.execute("PRAGMA synchronous = FULL")
        database.take_steps(connection, _STEPS, Path(path) if path != ":memory:" else None)
    except BaseException:
        connection.close()
        raise
    return connection


def _put_aside(path: Path, error: Exception) -> None:
    aside = path.with_name(f"{path.stem}.aside-{time.strftime('%Y%m%d-%H%M%S')}{path.suffix}")
    log.warning("The journal cannot be used and is kept as %s; a new one is begun: %s", aside.name, error)
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            move(path.with_name(path.name + ending), aside.with_name(aside.name + ending))


class Journal:
    """The database at `path`; ":memory:" remembers nothing beyond the process. May be used by all threads.

    `replaceable`: whether one that cannot be read, because a newer version wrote it or it is damaged, is put aside and
    begun anew. So it is with the worker's, whose folder is nobody's choice and whose clients send again what it does
    not know. Otherwise it raises `TrellisError`, or `sqlite3.DatabaseError` for a damaged one.
    """

    def __init__(self, path: str, *, replaceable: bool = False) -> None:
        self._lock = threading.Lock()
        try:
            self._database = _open(path)
        except (sqlite3.DatabaseError, _TooNewError) as error:
            is_of_disk = isinstance(error, sqlite3.OperationalError)  # a full one, or rights that are missing
            if is_of_disk or not replaceable:
                raise
            _put_aside(Path(path), error)
            self._database = _open(path)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    # Tasks

    def add_task(self, record: TaskRecord) -> None:
        self._write(
            (
                "INSERT INTO tasks (uuid, place, request, model, seed, base_url, picture, image_url, starts, latents)"
                " SELECT ?, coalesce(max(place), 0) + 1, ?, ?, ?, ?, ?, ?, 0, ? FROM tasks",
                (
                    record.uuid,
                    json.dumps(record.request),
                    record.model,
                    record.seed,
                    record.base_url,
                    record.picture.name if record.picture is not None else "",
                    record.image_url,
                    record.latents.name if record.latents is not None else "",
                ),
            ),
            *(
                (
                    "INSERT INTO views (task, view, file, url) VALUES (?, ?, ?, ?)",
                    (record.uuid, view, "", kept) if isinstance(kept, str) else (record.uuid, view, kept.name, ""),
                )
                for view, kept in record.views.items()
            ),
        )

    def begin(self, uuid: str) -> None:
        """Count that the work on a task begins, until `clear_starts`."""
        self._write(("UPDATE tasks SET starts = starts + 1 WHERE uuid = ?", (uuid,)))

    def clear_starts(self, uuid: str | None = None, *, but: str = "") -> None:
        """Forget how often the work on a task, or on all of them `but` one, has begun: it did not end the process."""
        one, name = ("=", uuid) if uuid is not None else ("!=", but)
        self._tidy((f"UPDATE tasks SET starts = 0 WHERE finished IS NULL AND uuid {one} ?", (name,)))

    def settle(self, record: TaskRecord, number: int, deliveries: list[str]) -> None:
        """Write result `number` down, whether the task is finished with it, and the news about it still to deliver."""
        slot = record.slots[number]
        texts = (None if part is None else json.dumps(part) for part in (slot.item, slot.error))
        self._write(
            (
                "INSERT OR REPLACE INTO results (task, number, item, error) VALUES (?, ?, ?, ?)",
                (record.uuid, number, *texts),
            ),
            ("UPDATE tasks SET finished = ? WHERE uuid = ?", (record.finished, record.uuid)),
            *(
                ("INSERT INTO deliveries (task, number, field) VALUES (?, ?, ?)", (record.uuid, number, field))
                for field in deliveries
            ),
        )

    def delivered(self, uuid: str, number: int, field: str) -> None:
        self._tidy(("DELETE FROM deliveries WHERE task = ? AND number = ? AND field = ?", (uuid, number, field)))

    def forget_task(self, uuid: str) -> None:
        self._tidy(
            ("DELETE FROM tasks WHERE uuid = ?", (uuid,)),
            ("DELETE FROM results WHERE task = ?", (uuid,)),
            ("DELETE FROM deliveries WHERE task = ?", (uuid,)),
            ("DELETE FROM views WHERE task = ?", (uuid,)),
        )

    def tasks(self, pictures: Path) -> list[TaskRecord]:
        """All tasks in the order in which they came in; their pictures lie in `pictures`."""
        records = []
        columns = "uuid, request, model, seed, base_url, picture, image_url, starts, finished, latents"
        for uuid, text, model, seed, base_url, picture, image_url, starts, finished, latents in self._read(
            f"SELECT {columns} FROM tasks ORDER BY place"
        ):
            request: JsonObject = todays(json.loads(text))
            try:
                settings = Settings.from_request(request)
            except TrellisError as error:  # written by a version that knew other fields
                log.error("Task %s is given up: %s", uuid, error)
                self.forget_task(uuid)
                continue
            slots = [Slot() for _ in range(settings.value("number_results"))]
            for number, item, failure in self._read("SELECT number, item, error FROM results WHERE task = ?", uuid):
                slots[number] = Slot(item=item and json.loads(item), error=failure and json.loads(failure))
            records.append(
                TaskRecord(
                    uuid=uuid,
                    settings=settings,
                    model=model,
                    request=request,
                    seed=seed,
                    base_url=base_url,
                    slots=slots,
                    picture=pictures / picture if picture else None,
                    image_url=image_url,
                    latents=pictures / latents if latents else None,
                    views={
                        view: pictures / file if file else url
                        for view, file, url in self._read(
                            "SELECT view, file, url FROM views WHERE task = ? ORDER BY rowid", uuid
                        )
                    },
                    starts=starts,
                    finished=finished,
                )
            )
        return records

    def deliveries(self) -> list[tuple[str, int, str]]:
        """The news still to deliver: taskUUID, number of the result, field that holds the address."""
        return self._read("SELECT task, number, field FROM deliveries ORDER BY rowid")

    # Files

    def add_file(self, stored: StoredFile) -> None:
        row = (stored.uuid, stored.name, stored.secret, stored.media_type, stored.ttl, stored.expires)
        columns = "uuid, name, secret, media_type, ttl, expires"
        self._write((f"INSERT OR REPLACE INTO files ({columns}) VALUES (?, ?, ?, ?, ?, ?)", row))

    def forget_file(self, uuid: str) -> None:
        self._tidy(("DELETE FROM files WHERE uuid = ?", (uuid,)))

    def files(self, folder: Path) -> list[StoredFile]:
        rows = self._read("SELECT uuid, name, secret, media_type, ttl, expires FROM files")
        return [
            StoredFile(uuid, name, secret, folder / name, media_type, ttl, expires)
            for uuid, name, secret, media_type, ttl, expires in rows
        ]

    def _read(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    def _write(self, *statements: tuple[str, tuple[Any, ...]]) -> None:
        """All of it or nothing."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                for statement, values in statements:
                    self._database.execute(statement, values)
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # on a full disk SQLite may have taken it back itself
                    self._database.execute("ROLLBACK")
                raise

    def _tidy(self, *statements: tuple[str, tuple[Any, ...]]) -> None:
        """What may stay as it is: a full disk has no room to take anything out, and nothing must fail by that."""
        try:
            self._write(*statements)
        except sqlite3.OperationalError as error:
            log.warning("The journal keeps what it need not: %s", error)


def _choose_log(database: sqlite3.Connection, path: str) -> None:
    """A log beside the database where its file system can share memory, which those of networks cannot, as SQLite's
    documentation on WAL says; else its usual journal, which is slower and as safe."""
    wanted = "DELETE" if path != ":memory:" and is_on_network(Path(path)) else "WAL"
    try:
        chosen = str(database.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0])
    except sqlite3.OperationalError as error:
        chosen = str(error)
    if chosen.upper() not in ("WAL", "MEMORY"):
        log.info("The journal is kept without a log beside it (%s).", chosen)
