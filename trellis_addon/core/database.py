"""SQLite files that several versions of this library share: the steps from one shape of their tables to the next.

Such a file has two numbers. Its `user_version` is the oldest version of the tables whose reader still understands it,
and all that a reader compares its own with, from 0.1.0 on: a column with a default locks nobody out. The version that
the tables really have is in a table of its own, which is missing where both are the same.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .files import move, unlink

_TABLE = "shape"


@dataclass(frozen=True)
class Step:
    """What makes a file's tables those of `version`; done again it does nothing.

    `oldest_reader` is the oldest version of the tables whose reader may go on with the file then.
    """

    version: int
    oldest_reader: int
    apply: Callable[[sqlite3.Connection], None]


def is_too_new(connection: sqlite3.Connection, steps: Sequence[Step]) -> bool:
    """Whether a reader that knows these steps must leave the file alone."""
    return _number(connection, "PRAGMA user_version") > steps[-1].version


def version_of(connection: sqlite3.Connection) -> int:
    """The version that the tables have; 0 where there are none."""
    known = _number(connection, f"SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '{_TABLE}'")
    told = _number(connection, f"SELECT max(version) FROM {_TABLE}") if known else 0
    return max(told, _number(connection, "PRAGMA user_version"))


def is_current(connection: sqlite3.Connection, steps: Sequence[Step]) -> bool:
    """Whether no step is left to take."""
    return version_of(connection) >= steps[-1].version


def take_steps(
    connection: sqlite3.Connection,
    steps: Sequence[Step],
    path: Path | None = None,
    *,
    fill: Callable[[sqlite3.Connection], int] = lambda connection: 0,
    is_whole: Callable[[sqlite3.Connection], bool] = lambda connection: True,
) -> int:
    """Take the steps that are left; of several programs one does. `connection` is in no transaction.

    Tables that are there take each step as a whole, after a copy of the file at `path` (None: it is on no disk). Where
    there are none, or `is_whole` says that some are lost, they are made and given to `fill`, all at once; returns what
    `fill` does. Raises `sqlite3.Error`, `OSError`; then the file is as the last step left it.
    """

    def found() -> int:
        return version_of(connection) if is_whole(connection) else 0

    if not found():
        with _as_a_whole(connection):
            if found():
                return 0  # another program was there first
            connection.execute(f"DROP TABLE IF EXISTS {_TABLE}")
            for step in steps:
                _take(connection, step)
            return fill(connection)
    for step in steps:
        if step.version > (version := version_of(connection)):
            if path is not None:
                keep_copy(connection, path, version)
            with _as_a_whole(connection):
                if step.version > version_of(connection):
                    _take(connection, step)
    return 0


def keep_copy(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    """Keep the file as it is now beside itself, under a name that says the version; one that is there is replaced."""
    copy = path.with_name(f"{path.stem}.version-{version}{path.suffix}")
    part = copy.with_name(f"{copy.name}.part")
    unlink(part)
    with contextlib.closing(sqlite3.connect(part)) as target:
        connection.backup(target)
    move(part, copy)
    return copy


def add_column(connection: sqlite3.Connection, table: str, column: str, kind: str) -> None:
    """Add a column where it is missing; `kind` is its type, and for rows that are there its default."""
    known = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}
    if column not in known:
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")


def run_script(script: str) -> Callable[[sqlite3.Connection], None]:
    """A step that is SQL alone; unlike `executescript` it stays within the transaction."""

    def apply(connection: sqlite3.Connection) -> None:
        for statement in script.split(";"):
            connection.execute(statement)

    return apply


def _take(connection: sqlite3.Connection, step: Step) -> None:
    step.apply(connection)
    oldest = max(step.oldest_reader, _number(connection, "PRAGMA user_version"))
    connection.execute(f"PRAGMA user_version = {oldest}")
    if step.version > oldest:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {_TABLE} (version INTEGER PRIMARY KEY)")
        connection.execute(f"INSERT OR IGNORE INTO {_TABLE} VALUES ({step.version})")


@contextlib.contextmanager
def _as_a_whole(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # on a full disk SQLite may have taken it back itself
            connection.execute("ROLLBACK")
        raise


def _number(connection: sqlite3.Connection, query: str) -> int:
    (found,) = connection.execute(query).fetchone()
    return found or 0
