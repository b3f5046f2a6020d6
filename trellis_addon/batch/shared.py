"""The folder in which the processes of a farm leave what they have made: `trellis2-batch` beside the pictures.

    runs/ID.json            settings that were asked for
    leases/FINGERPRINT.N    who works on a picture with some settings (`lease`)
    tasks/FINGERPRINT.N/    the N-th attempt at it: its taskUUID, and how it failed, if it did
    results/FINGERPRINT/    what was made of it

What must be one for all is a folder that is filled beside its place and renamed into it: of several machines one can,
on every file system, and what is there is whole. So an attempt has one taskUUID, whoever goes on with it, and it is
written down before anything is sent: a service knows a task that it was sent by another machine, and nothing is paid
twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import FieldError, OutputError, TrellisError
from ..core.files import discard, discard_folder, read_text, rename
from ..core.messages import message, reason_of
from ..core.output import put_in_place
from ..images import WHOLE
from ..jobs.job import Asset, latents_path
from ..task.former import kept_settings
from ..task.settings import Settings

NAME = "trellis2-batch"
_RESULT, _TASK, _FAILURE = "result.json", "task.json", "failed.json"
_THUMBNAIL = "thumbnail.png"
_DIGITS = 32  # of a fingerprint, in names


@dataclass(frozen=True)
class Run:
    """What was asked for of every picture of the folder."""

    settings: Settings
    model: str
    whole: bool = False

    @property
    def id(self) -> str:
        work = json.dumps([self.settings.to_request(), self.model, WHOLE if self.whole else ""], sort_keys=True)
        return hashlib.sha256(work.encode()).hexdigest()[:_DIGITS]

    @property
    def words(self) -> str:
        """As it stands on a command line."""
        given = [f"--{name.replace('_', '-')} {value}" for name, value in self.settings.items()]
        return " ".join([*given, *(["--whole"] if self.whole else []), f"--model {self.model}"])


@dataclass(frozen=True)
class Failure:
    """How an attempt ended. `is_final`: another one would end so too, or be paid. `is_void`: it was none."""

    message: str
    is_final: bool = False
    is_void: bool = False


@dataclass(frozen=True)
class Attempt:
    """One try at a picture, under one taskUUID. `is_ours`: nobody else can have sent it."""

    number: int
    uuid: str
    is_ours: bool = False
    failure: Failure | None = None


@dataclass(frozen=True)
class Made:
    """What is told of a result: by which process, of which machine's, in how many seconds."""

    name: str
    assets: tuple[Asset, ...]
    worker: str = ""
    seconds: float = 0.0
    triangles: int = 0
    uuid: str = ""
    thumbnail: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class SharedFolder:
    """See the module's docstring. Every method raises `OutputError` where the folder cannot be used."""

    def __init__(self, pictures: Path) -> None:
        self.pictures = pictures
        self.root = pictures / NAME
        self.leases = self.root / "leases"
        self._results, self._tasks, self._runs = (self.root / name for name in ("results", "tasks", "runs"))

    def prepare(self) -> None:
        """Make what is missing of it."""
        with self._usable():
            for folder in (self.leases, self._results, self._tasks, self._runs):
                folder.mkdir(parents=True, exist_ok=True)

    # --- what was asked for ---

    def keep_run(self, run: Run) -> None:
        told = {"settings": run.settings.to_request(), "model": run.model, "whole": run.whole}
        with self._usable():
            put_in_place({self._runs / f"{run.id}.json": json.dumps(told, indent=2).encode()})

    def runs(self) -> list[Run]:
        """What was asked for until now, the oldest first."""
        found: list[Run] = []
        for path in sorted(self._runs.glob("*.json"), key=lambda path: path.stat().st_mtime):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, TrellisError):
                told = json.loads(read_text(path))
                found.append(Run(kept_settings(told["settings"])[0], str(told["model"]), bool(told["whole"])))
        return found

    # --- attempts ---

    def attempts(self, fingerprint: str) -> list[Attempt]:
        """Those that were begun, the last of which may be under way."""
        found: list[Attempt] = []
        for number in itertools.count(1):
            folder = self._task(fingerprint, number)
            task = _read(folder / _TASK)
            if task is None:
                return found
            told = _read(folder / _FAILURE)
            failure = None
            if told is not None:
                text = str(told.get("message") or "It failed.")
                failure = Failure(text, bool(told.get("is_final")), bool(told.get("is_void")))
            found.append(Attempt(number, str(task.get("uuid", "")), failure=failure))
        return found

    def begin(self, fingerprint: str, number: int, uuid: str, worker: str) -> Attempt:
        """The attempt of this number: with this taskUUID, or that of whoever was quicker."""
        target = self._task(fingerprint, number)
        content = {_TASK: json.dumps({"uuid": uuid, "worker": worker}).encode()}
        with self._usable(), self._part() as part:
            for name, data in content.items():
                _write(part / name, data)
            _put(part, target)
        task = _read(target / _TASK)
        if task is None:
            raise OutputError("{folder} cannot be read; see that this machine may read there.", folder=target)
        return Attempt(number, str(task.get("uuid", "")), is_ours=task.get("uuid") == uuid)

    def end(self, fingerprint: str, attempt: Attempt, failure: Failure) -> None:
        told = {"message": str(failure.message), "is_final": failure.is_final, "is_void": failure.is_void}
        with self._usable():
            put_in_place({self._task(fingerprint, attempt.number) / _FAILURE: json.dumps(told, indent=2).encode()})

    def age_of(self, fingerprint: str, attempt: Attempt) -> float:
        """Seconds since it was begun, both times told by the machine that has the folder."""
        probe = self.root / f".now-{secrets.token_hex(4)}"
        with self._usable():
            try:
                probe.write_bytes(b"")
                return probe.stat().st_mtime - (self._task(fingerprint, attempt.number) / _TASK).stat().st_mtime
            finally:
                discard(probe)

    # --- results ---

    def done(self) -> set[str]:
        """The names of all results, which `has` compares with, in one look."""
        with self._usable():
            return {entry.name for entry in os.scandir(self._results)}

    def has(self, fingerprint: str, done: set[str] | None = None) -> bool:
        """Whether it was made; `done`: as far as that look tells."""
        name = fingerprint[:_DIGITS]
        return (done is None or name in done) and (self._results / name / _RESULT).is_file()

    def result(self, fingerprint: str) -> Made | None:
        """What was made; None where nothing was, or it cannot be read any more."""
        folder = self._results / fingerprint[:_DIGITS]
        told = _read(folder / _RESULT)
        if told is None:
            return None
        try:
            assets = tuple(Asset.from_file(folder / Path(str(name)).name) for name in told["assets"])
            thumbnail = folder / _THUMBNAIL
            return Made(
                str(told["name"]),
                assets,
                str(told.get("worker", "")),
                float(told.get("seconds", 0.0)),
                int(told.get("triangles", 0)),
                str(told.get("uuid", "")),
                thumbnail if thumbnail.is_file() else None,
                told,
            )
        except (KeyError, TypeError, ValueError, TrellisError):
            return None

    def put_result(
        self, fingerprint: str, assets: tuple[Asset, ...], thumbnail: Path, facts: Mapping[str, Any]
    ) -> bool:
        """Put what was made in its place, whole; False where another process had done so before, and it counts."""
        target = self._results / fingerprint[:_DIGITS]
        with self._usable(), self._part() as part:
            for asset in assets:
                _copy(asset.path, part / asset.path.name)
                provenance = {"name": asset.name, **asset.provenance, "fingerprint": fingerprint}
                _write(part / asset.sidecar.name, json.dumps(provenance, indent=2).encode())
                if asset.latents is not None:
                    _copy(asset.latents, part / latents_path(asset.path).name)
            if thumbnail.is_file():
                _copy(thumbnail, part / _THUMBNAIL)
            told = {"name": assets[0].name, "fingerprint": fingerprint, **facts}
            _write(part / _RESULT, json.dumps({**told, "assets": [a.path.name for a in assets]}, indent=2).encode())
            if _put(part, target):
                return True
            if (target / _RESULT).is_file():
                return False
            # of a folder that somebody has emptied by half
            rename(target, self.root / f"damaged-{target.name}-{secrets.token_hex(4)}")
            return _put(part, target)

    def _task(self, fingerprint: str, number: int) -> Path:
        return self._tasks / f"{fingerprint[:_DIGITS]}.{number}"

    @contextmanager
    def _part(self) -> Iterator[Path]:
        """A folder to fill; what is not put in place is deleted."""
        part = self.root / f".{secrets.token_hex(8)}.part"
        part.mkdir()
        try:
            yield part
        finally:
            discard_folder(part)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                "{folder} cannot be used ({reason}); see that this machine may write there, and that there is room.",
                folder=self.root,
                reason=reason_of(error),
            ) from error


def run_to_collect(folder: SharedFolder, wanted: Run | None) -> Run:
    """The run whose results are meant: one with these settings, of whichever model where that is "", or the only one.

    Raises `FieldError` where there is none, or more than one.
    """
    runs = folder.runs()
    if not runs:
        rule = message("nothing was made there yet: run `batch {folder} --shared` first", folder=folder.pictures)
        raise FieldError("collect", str(folder.root), rule)
    if wanted is None:
        found = runs if len(runs) == 1 else [run for run in runs if not run.settings and not run.whole]
    else:
        alike = [run for run in runs if (run.settings, run.whole) == (wanted.settings, wanted.whole)]
        found = [run for run in alike if wanted.model in ("", run.model)]
    if len(found) == 1:
        return found[0]
    rule = message(
        "say which settings' results are meant; there are those of {runs}", runs=[f"`{run.words}`" for run in runs]
    )
    raise FieldError("collect", str(folder.root), rule)


def _put(part: Path, target: Path) -> bool:
    """Give a folder its name; False where that is taken."""
    try:
        rename(part, target)
    except OSError:
        if not target.is_dir():
            raise
        return not part.exists()  # a server may have done it, and its first answer been lost
    return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(read_text(path))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as content, target.open("xb") as file:
        shutil.copyfileobj(content, file, 2**20)
        file.flush()
        os.fsync(file.fileno())
