"""What the service must not forget when its process ends: tasks, results, files, news still to deliver.

One SQLite database. Every change is written before anybody is told of it. It is the only place that knows everything:
of ten thousand tasks that wait, and of more that are done, memory holds no more than their names.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...core import database
from ...core.errors import TrellisError
from ...core.files import move
from ...core.machine.places import is_on_network
from ...task.former import todays
from ...task.settings import Settings
from ..people.caller import HOUSE, INTERACTIVE
from ..people.tokens import day
from ..protocol import JsonObject
from ..records import Slot, StoredFile, TaskRecord, Waiting

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


# What is known of tasks and files beyond the tables that 0.1.0 writes, whose tasks and files have no rows here
# (`Journal.complete`): whose they are, and `forget`, the time at which a finished task goes. What each person had
# made on each day; what holds for the service as a whole; and what finds one among ten thousands.
_PEOPLE = """
CREATE TABLE IF NOT EXISTS origins (
    task TEXT PRIMARY KEY, person TEXT NOT NULL, client TEXT NOT NULL, priority TEXT NOT NULL, results INTEGER NOT NULL,
    accepted REAL NOT NULL, forget REAL
);
CREATE TABLE IF NOT EXISTS owners (
    uuid TEXT PRIMARY KEY, person TEXT NOT NULL, size INTEGER NOT NULL, added REAL NOT NULL, upload INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS used (
    person TEXT NOT NULL, day TEXT NOT NULL, results INTEGER NOT NULL, PRIMARY KEY (person, day)
);
CREATE TABLE IF NOT EXISTS states (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS tasks_uuid ON tasks (uuid COLLATE NOCASE);
CREATE INDEX IF NOT EXISTS tasks_place ON tasks (place);
CREATE INDEX IF NOT EXISTS tasks_unfinished ON tasks (place) WHERE finished IS NULL;
CREATE INDEX IF NOT EXISTS origins_forget ON origins (forget) WHERE forget IS NOT NULL;
CREATE INDEX IF NOT EXISTS files_secret ON files (secret);
CREATE INDEX IF NOT EXISTS files_expires ON files (expires);
CREATE INDEX IF NOT EXISTS owners_added ON owners (added) WHERE upload = 0;
CREATE INDEX IF NOT EXISTS owners_upload ON owners (size) WHERE upload = 1
"""
# The meshes that tasks texture: the file's name.
_MESHES = """
CREATE TABLE IF NOT EXISTS meshes (task TEXT PRIMARY KEY, file TEXT NOT NULL);
"""
_PAGE = 500  # rows that are in memory at a time


# A change is a step more, and what stands here stays as it is. 0.1.0 reads the tables of 2, and names no columns when
# it writes: with one more in any table it would fail.
_STEPS = (
    database.Step(1, 1, database.run_script(_FIRST)),
    database.Step(2, 2, _add_latents),
    database.Step(3, 2, database.run_script(_VIEWS)),
    database.Step(4, 2, database.run_script(_PEOPLE)),
    database.Step(5, 2, database.run_script(_MESHES)),
)


class _TooNewError(TrellisError):
    """The tables are of a version that this one does not understand."""


def _open(path: str, lasting: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        if database.is_too_new(connection, _STEPS):
            raise _TooNewError("The folder was written by another version of the service; choose a new folder.")
        if lasting:
            _choose_log(connection, path)
        else:
            connection.execute("PRAGMA journal_mode = MEMORY")
        # A task that was acknowledged is a promise: it is on the disk before.
        connection.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'OFF'}")
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
    """The database at `path`. May be used by all threads.

    One that is not `lasting` goes with the process: it is a file only to keep thousands of tasks out of memory.

    `replaceable`: whether one that cannot be read, because a newer version wrote it or it is damaged, is put aside and
    begun anew. So it is with the worker's, whose folder is nobody's choice and whose clients send again what it does
    not know. Otherwise it raises `TrellisError`, or `sqlite3.DatabaseError` for a damaged one.
    """

    def __init__(self, path: str, *, replaceable: bool = False, lasting: bool = True) -> None:
        self._lock = threading.Lock()
        try:
            self._database = _open(path, lasting)
        except (sqlite3.DatabaseError, _TooNewError) as error:
            is_of_disk = isinstance(error, sqlite3.OperationalError)  # a full one, or rights that are missing
            if is_of_disk or not replaceable:
                raise
            _put_aside(Path(path), error)
            self._database = _open(path, lasting)

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
            (
                "INSERT OR REPLACE INTO origins (task, person, client, priority, results, accepted)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (record.uuid, record.person, record.client, record.priority, len(record.slots), record.accepted),
            ),
            _count(record.person, day(record.accepted), len(record.slots)),
            *(
                (
                    "INSERT INTO views (task, view, file, url) VALUES (?, ?, ?, ?)",
                    (record.uuid, view, "", kept) if isinstance(kept, str) else (record.uuid, view, kept.name, ""),
                )
                for view, kept in record.views.items()
            ),
            *(
                [("INSERT INTO meshes (task, file) VALUES (?, ?)", (record.uuid, record.mesh.name))]
                if record.mesh is not None
                else ()
            ),
        )

    def begin(self, uuid: str) -> None:
        """Count that the work on a task begins, until `clear_starts`."""
        self._write(("UPDATE tasks SET starts = starts + 1 WHERE uuid = ?", (uuid,)))

    def clear_starts(self, uuid: str | None = None, *, but: str = "") -> None:
        """Forget how often the work on a task, or on all of them `but` one, has begun: it did not end the process."""
        if uuid is not None:
            self._tidy(("UPDATE tasks SET starts = 0 WHERE finished IS NULL AND uuid = ?", (uuid,)))
        else:
            self._tidy(("UPDATE tasks SET starts = 0 WHERE finished IS NULL AND starts > 0 AND uuid != ?", (but,)))

    def settle(self, record: TaskRecord, number: int, deliveries: list[str], forget: float | None = None) -> None:
        """Write result `number` down, whether the task is finished with it, and the news about it still to deliver.

        `forget` is the time at which a finished task goes.
        """
        slot = record.slots[number]
        texts = (None if part is None else json.dumps(part) for part in (slot.item, slot.error))
        self._write(
            (
                "INSERT OR REPLACE INTO results (task, number, item, error) VALUES (?, ?, ?, ?)",
                (record.uuid, number, *texts),
            ),
            ("UPDATE tasks SET finished = ? WHERE uuid = ?", (record.finished, record.uuid)),
            ("UPDATE origins SET forget = ? WHERE task = ?", (forget if record.done else None, record.uuid)),
            *(
                (
                    "INSERT OR IGNORE INTO deliveries (task, number, field) VALUES (?, ?, ?)",
                    (record.uuid, number, field),
                )
                for field in deliveries
            ),
        )

    def delivered(self, uuid: str, number: int, field: str) -> None:
        self._tidy(("DELETE FROM deliveries WHERE task = ? AND number = ? AND field = ?", (uuid, number, field)))

    def forget_task(self, uuid: str) -> bool:
        """Whether that could be written."""
        return self._tidy(
            ("DELETE FROM tasks WHERE uuid = ?", (uuid,)),
            *(
                (f"DELETE FROM {table} WHERE task = ?", (uuid,))
                for table in ("results", "deliveries", "views", "meshes", "origins")
            ),
        )

    def complete(self, rest: Callable[[JsonObject, float | None], tuple[int, float | None]], now: float) -> None:
        """Have rows for the tasks that 0.1.0 wrote; `rest` tells of a request, and of when it was finished, how many
        results it has, and the time at which it goes."""
        self._tidy(("DELETE FROM origins WHERE task NOT IN (SELECT uuid FROM tasks)", ()))
        missing = "SELECT uuid, request, finished FROM tasks WHERE uuid NOT IN (SELECT task FROM origins) LIMIT ?"
        while rows := self._read(missing, _PAGE):
            self._write(
                *(
                    (
                        "INSERT INTO origins (task, person, client, priority, results, accepted, forget)"
                        " VALUES (?, ?, '', ?, ?, ?, ?)",
                        (uuid, HOUSE, INTERACTIVE, results, now, forget),
                    )
                    for uuid, text, finished in rows
                    for results, forget in [rest(json.loads(text), finished)]
                )
            )

    def waiting(self) -> Iterator[Waiting]:
        """All tasks that are not finished, in the order in which they came in; read in pages."""
        last = 0
        query = (
            "SELECT place, uuid, person, client, priority, results, starts,"
            " (SELECT group_concat(number) FROM results WHERE task = uuid)"
            " FROM tasks JOIN origins ON task = uuid WHERE finished IS NULL AND place > ? ORDER BY place LIMIT ?"
        )
        while rows := self._read(query, last, _PAGE):
            for last, uuid, person, client, priority, results, starts, made in rows:  # noqa: B007
                there = set(map(int, made.split(","))) if made else set()
                left = tuple(number for number in range(results) if number not in there)
                yield Waiting(uuid, person, client, priority, left, starts)

    def kept_names(self) -> set[str]:
        """The names of the files that unfinished tasks need."""
        names: set[str] = set()
        for column in ("picture", "latents"):
            names.update(name for (name,) in self._read(f"SELECT {column} FROM tasks WHERE finished IS NULL"))
        for table in ("views", "meshes"):
            query = f"SELECT file FROM {table} WHERE task IN (SELECT uuid FROM tasks WHERE finished IS NULL)"
            names.update(name for (name,) in self._read(query))
        return names - {""}

    def has_task(self, uuid: str) -> bool:
        return bool(self._read("SELECT 1 FROM tasks WHERE uuid = ? COLLATE NOCASE", uuid))

    def count_tasks(self) -> tuple[dict[str, int], int]:
        """The unfinished tasks by person, and how many are finished."""
        by_person = dict(
            self._read(
                "SELECT person, count(*) FROM tasks JOIN origins ON task = uuid WHERE finished IS NULL GROUP BY person"
            )
        )
        ((finished,),) = self._read("SELECT count(*) FROM tasks WHERE finished IS NOT NULL")
        return by_person, finished

    def too_old(self, now: float) -> list[str]:
        """Finished tasks that are to be forgotten, a page of them."""
        rows = self._read("SELECT task FROM origins WHERE forget IS NOT NULL AND forget < ? LIMIT ?", now, _PAGE)
        return [uuid for (uuid,) in rows]

    def first_finished(self, count: int) -> list[str]:
        """The finished tasks that came in first."""
        query = "SELECT uuid FROM tasks WHERE finished IS NOT NULL ORDER BY place LIMIT ?"
        return [uuid for (uuid,) in self._read(query, count)]

    def task(self, uuid: str, pictures: Path) -> TaskRecord | None:
        """What is known of a task, whose pictures lie in `pictures`; its UUID may be written in either case.

        Raises `TrellisError` for one of fields that this version does not know.
        """
        columns = "uuid, request, model, seed, base_url, picture, image_url, starts, finished, latents"
        origin = "person, client, priority, accepted"
        rows = self._read(
            f"SELECT {columns}, {origin} FROM tasks LEFT JOIN origins ON task = uuid WHERE uuid = ? COLLATE NOCASE",
            uuid,
        )
        if not rows:
            return None
        ((uuid, text, model, seed, base_url, picture, image_url, starts, finished, latents, *whose),) = rows
        person, client, priority, accepted = whose if whose[0] is not None else (HOUSE, "", INTERACTIVE, 0.0)
        request: JsonObject = todays(json.loads(text))
        settings = Settings.from_request(request)
        slots = [Slot() for _ in range(settings.value("number_results"))]
        for number, item, failure in self._read("SELECT number, item, error FROM results WHERE task = ?", uuid):
            slots[number] = Slot(item=item and json.loads(item), error=failure and json.loads(failure))
        return TaskRecord(
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
            mesh=next(
                (pictures / file for (file,) in self._read("SELECT file FROM meshes WHERE task = ?", uuid)), None
            ),
            views={
                view: pictures / file if file else url
                for view, file, url in self._read(
                    "SELECT view, file, url FROM views WHERE task = ? ORDER BY rowid", uuid
                )
            },
            client=client,
            person=person,
            priority=priority,
            accepted=accepted,
            starts=starts,
            finished=finished,
        )

    def tasks(self, pictures: Path) -> list[TaskRecord]:
        """All tasks in the order in which they came in; raises as `task`."""
        found = (self.task(uuid, pictures) for (uuid,) in self._read("SELECT uuid FROM tasks ORDER BY place"))
        return [record for record in found if record is not None]

    def page(self, before: int | None, limit: int, person: str | None, unfinished: bool) -> list[tuple[int, str]]:
        """Places and UUIDs of tasks, the last that came in first: of one person, or all; those before a place."""
        conditions: list[str] = ["1"]
        values: list[Any] = []
        if before is not None:
            conditions.append("place < ?")
            values.append(before)
        if person is not None:
            conditions.append("person = ?")
            values.append(person)
        if unfinished:
            conditions.append("finished IS NULL")
        where = " AND ".join(conditions)
        return self._read(
            f"SELECT place, uuid FROM tasks JOIN origins ON task = uuid WHERE {where} ORDER BY place DESC LIMIT ?",
            *values,
            limit,
        )

    def deliveries(self) -> list[tuple[str, int, str]]:
        """The news still to deliver: taskUUID, number of the result, field that holds the address."""
        return self._read("SELECT task, number, field FROM deliveries ORDER BY rowid")

    # People, and the service as a whole

    def used(self, person: str, today: str) -> int:
        """How many results a person has had made, or has waiting, of those that were asked for on a day."""
        rows = self._read("SELECT results FROM used WHERE person = ? AND day = ?", person, today)
        return rows[0][0] if rows else 0

    def used_by_all(self, today: str) -> dict[str, int]:
        return dict(self._read("SELECT person, results FROM used WHERE day = ?", today))

    def give_back(self, person: str, when: str, results: int) -> None:
        """Results that were asked for on a day, and then not made."""
        self._tidy(_count(person, when, -results))

    def state(self, name: str) -> str:
        rows = self._read("SELECT value FROM states WHERE name = ?", name)
        return rows[0][0] if rows else ""

    def set_state(self, name: str, value: str) -> None:
        self._write(("INSERT OR REPLACE INTO states (name, value) VALUES (?, ?)", (name, value)))

    # Files

    def add_file(self, stored: StoredFile, added: float, *, upload: bool) -> None:
        """Keep what is known of a file that came at a time: an upload, or part of a result."""
        row = (stored.uuid, stored.name, stored.secret, stored.media_type, stored.ttl, stored.expires)
        columns = "uuid, name, secret, media_type, ttl, expires"
        self._write(
            (f"INSERT OR REPLACE INTO files ({columns}) VALUES (?, ?, ?, ?, ?, ?)", row),
            (
                "INSERT OR REPLACE INTO owners (uuid, person, size, added, upload) VALUES (?, ?, ?, ?, ?)",
                (stored.uuid, stored.person, stored.size, added, int(upload)),
            ),
        )

    def renew_file(self, uuid: str, expires: float) -> None:
        self._tidy(("UPDATE files SET expires = ? WHERE uuid = ?", (expires, uuid)))

    def forget_files(self, uuids: Sequence[str]) -> bool:
        """Whether that could be written."""
        return self._tidy(
            *((f"DELETE FROM {table} WHERE uuid = ?", (uuid,)) for uuid in uuids for table in ("files", "owners"))
        )

    def file(self, folder: Path, *, uuid: str = "", secret: str = "") -> StoredFile | None:
        """A file in `folder`, by one of these."""
        column, value = ("secret", secret) if secret else ("uuid", uuid)
        return next(iter(self._files(folder, f"WHERE files.{column} = ?", value)), None)

    def expired_files(self, folder: Path, now: float) -> list[StoredFile]:
        """A page of the files whose time is over."""
        return self._files(folder, "WHERE expires <= ? LIMIT ?", now, _PAGE)

    def oldest_results(self, folder: Path, limit: int) -> list[StoredFile]:
        """What was made first; uploads, which tasks to come may name, are no results."""
        return self._files(folder, "WHERE upload = 0 ORDER BY added LIMIT ?", limit)

    def uploads(self) -> tuple[int, int]:
        """How many are kept, and their bytes."""
        ((count, size),) = self._read("SELECT count(*), coalesce(sum(size), 0) FROM owners WHERE upload = 1")
        return count, size

    def complete_files(self, folder: Path) -> None:
        """Have rows for the files that 0.1.0 wrote; `added` in the order of their rows."""
        self._tidy(("DELETE FROM owners WHERE uuid NOT IN (SELECT uuid FROM files)", ()))
        for number, stored in enumerate(self._files(folder, "WHERE owners.uuid IS NULL ORDER BY files.rowid")):
            size = stored.path.stat().st_size if stored.path.is_file() else 0
            row = (stored.uuid, HOUSE, size, float(number), stored.media_type.startswith("image/"))
            self._write(("INSERT INTO owners (uuid, person, size, added, upload) VALUES (?, ?, ?, ?, ?)", row))

    def all_sizes(self) -> dict[str, int]:
        """Bytes of each file by its name."""
        return dict(self._read("SELECT name, size FROM files JOIN owners USING (uuid)"))

    def _files(self, folder: Path, where: str, *values: Any) -> list[StoredFile]:
        columns = "files.uuid, name, secret, media_type, ttl, expires, coalesce(person, ?), coalesce(size, 0)"
        rows = self._read(f"SELECT {columns} FROM files LEFT JOIN owners USING (uuid) {where}", HOUSE, *values)
        return [
            StoredFile(uuid, name, secret, folder / name, media_type, ttl, expires, person, size)
            for uuid, name, secret, media_type, ttl, expires, person, size in rows
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

    def _tidy(self, *statements: tuple[str, tuple[Any, ...]]) -> bool:
        """What may stay as it is: a full disk has no room to take anything out, and nothing must fail by that."""
        try:
            self._write(*statements)
        except sqlite3.OperationalError as error:
            log.warning("The journal keeps what it need not: %s", error)
            return False
        return True


def _count(person: str, when: str, results: int) -> tuple[str, tuple[Any, ...]]:
    """Count results for, or against, what a person may have made on a day."""
    statement = (
        "INSERT INTO used (person, day, results) VALUES (?, ?, max(?, 0))"
        " ON CONFLICT (person, day) DO UPDATE SET results = max(results + ?, 0)"
    )
    return statement, (person, when, results, results)


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
