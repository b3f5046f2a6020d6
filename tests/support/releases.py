"""What earlier releases have left, as `write_release.py` has kept it: unpacked, and at its new place."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import ROOT, build

FOLDER = Path(__file__).resolve().parents[1] / "data" / "releases"
RELEASES = sorted(path.stem for path in FOLDER.glob("*.zip"))


@dataclass(frozen=True)
class Left:
    """A machine on which that release has run; `said` is what it read itself of what it had written."""

    root: Path
    said: dict[str, Any]

    @property
    def home(self) -> Path:
        """The data folder."""
        return self.root / "home"

    def at_its_place(self, text: str) -> str:
        """A path that the release has written down, where it lies now."""
        return text.replace(self.said["root"], str(self.root))

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        """The jobs by their names, as the release saw them, but for those of the batch."""
        return {job["name"]: job for job in self.said["jobs"]}

    @property
    def all_jobs(self) -> list[dict[str, Any]]:
        return [*self.said["jobs"], *self.said["blender"]["batch"]["jobs"]]


def install(resources: Path, repository: str = "user_default") -> None:
    """Put the extension of today among those of a Blender whose own folder this is."""
    place = resources / "extensions" / repository / "trellis2"
    place.mkdir(parents=True)
    for name in build.CONTENTS:
        if (source := ROOT / name).is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, place)


def unpack(release: str, folder: Path) -> Left:
    """The release's machine in a folder of this test's. Absolute paths in the list of jobs name the new place."""
    root = folder / release
    with zipfile.ZipFile(FOLDER / f"{release}.zip") as packed:
        packed.extractall(root)
    left = Left(root, json.loads((root / "said.json").read_text(encoding="utf-8")))
    with closing(sqlite3.connect(left.home / "jobs.sqlite3")) as connection, connection:
        for column in ("batch", "target"):
            connection.execute(
                f"UPDATE jobs SET {column} = replace({column}, ?, ?)", (left.said["root"], str(root).replace("\\", "/"))
            )
    return left


def rows(database: Path, table: str) -> Iterator[dict[str, Any]]:
    """What is in a table, without any code of ours."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        yield from (dict(row) for row in connection.execute(f"SELECT * FROM {table}"))


def in_release(left: Left, script: str) -> list[str]:
    """The lines that that release's own code prints, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(left.root / "code"), "TRELLIS2_HOME": str(left.home)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=left.root,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
