"""A job and its states, as plain data."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import DamagedFileError
from ..core.files import move, read_text
from ..core.messages import Message, all_from_wire
from ..task.settings import Settings
from ..task.task import Task

REMOTE = "remote"  # the name of the one backend that costs money
NOT_KEPT = "(not kept)"  # stands for the picture of a job that was made elsewhere
SOURCE_FILE = "source.json"  # in the folder of a job that was derived from another one's result
PICTURE_FILE = "picture.txt"  # the same, where its task sends no picture
REGION_FILE = "region.json"  # the part of an asset that the task makes anew
MESH_FILE = "mesh.txt"  # the mesh that is textured, as its task sends it
VIEWS_FILE = "views.json"  # further pictures of the same object
UNCORRECTED_FILE = "uncorrected.json"  # the pictures of those that were corrected, before that
CHOSEN_FILE = "chosen.json"  # how its pictures were cut out and corrected, where that was chosen by hand


class State(enum.StrEnum):
    """Where a job is on its way."""

    WAITING = "waiting"  # written down, not sent
    SENDING = "sending"  # the request is on its way
    UNCERTAIN = "uncertain"  # no answer came: it may have been accepted, and paid
    RUNNING = "running"  # accepted; results are asked for and fetched
    READY = "ready"  # every file is here, checked
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in (State.READY, State.FAILED, State.CANCELLED)


# What may follow what. A job that was sent never goes back to waiting: it might be paid twice.
# A job given up, or reported as failed, may be asked for once more under its own taskUUID.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.WAITING: frozenset({State.SENDING, State.FAILED, State.CANCELLED}),
    State.SENDING: frozenset({State.UNCERTAIN, State.RUNNING, State.FAILED, State.CANCELLED}),
    State.UNCERTAIN: frozenset({State.RUNNING, State.FAILED, State.CANCELLED}),
    State.RUNNING: frozenset({State.READY, State.FAILED, State.CANCELLED}),
    State.READY: frozenset(),
    State.FAILED: frozenset({State.RUNNING}),
    State.CANCELLED: frozenset({State.RUNNING}),
}


@dataclass(frozen=True)
class Asset:
    """A finished GLB and where it came from.

    `provenance` is plain data: task, settings, seed, model, engine, cost, image hash, date.
    `variations` are all the results of the same task, this one included.
    """

    path: Path
    name: str
    provenance: Mapping[str, Any] = field(default_factory=dict, hash=False)
    variations: tuple[Asset, ...] = field(default=(), repr=False, compare=False)

    @property
    def seed(self) -> int | None:
        return self.provenance.get("seed")

    @property
    def engine(self) -> str:
        """The model id that really made it, such as `draft:relief@1`."""
        return str(self.provenance.get("engine") or self.provenance.get("model") or "")

    @property
    def latents(self) -> Path | None:
        """What it was decoded from, beside it in its job's folder; None where nothing was kept."""
        if not self.path.stem.startswith("asset"):
            return None
        path = latents_path(self.path)
        return path if path.is_file() else None

    @property
    def sidecar(self) -> Path:
        """Where the provenance lies beside the GLB."""
        return self.path.with_suffix(".json")

    @property
    def provenance_text(self) -> str:
        """The provenance as it lies beside the GLB."""
        return json.dumps({"name": self.name, **self.provenance}, indent=2)

    def save_provenance(self) -> None:
        part = self.sidecar.with_name(self.sidecar.name + ".part")
        part.write_text(self.provenance_text, encoding="utf-8")
        move(part, self.sidecar)

    @classmethod
    def from_file(cls, path: Path) -> Asset:
        """The asset of a GLB, with its provenance where that lies beside it."""
        provenance: Any = {}
        if not path.name:
            raise DamagedFileError('"{path}" is not the path of a GLB file.', path=path)
        sidecar = path.with_suffix(".json")
        if sidecar.exists():
            problem = DamagedFileError(
                "The provenance in {sidecar} cannot be read; delete it to go without.", sidecar=sidecar
            )
            try:
                provenance = json.loads(read_text(sidecar))
            except (OSError, ValueError, RecursionError) as error:
                raise problem from error
            if not isinstance(provenance, dict):
                raise problem
        name = str(provenance.pop("name", "") or path.stem)
        return cls(path, name, provenance)


def json_in(file: Path) -> dict[str, Any]:
    """The object in a file of JSON; empty where there is none to be read."""
    try:
        found = json.loads(read_text(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def latents_path(asset: Path) -> Path:
    """Where the latents of a job's asset are kept: latents.safetensors beside asset.glb, latents-2 beside asset-2."""
    return asset.with_name(f"latents{asset.stem.removeprefix('asset')}.safetensors")


@dataclass(frozen=True)
class Job:
    """One row of the store.

    `batch` and `fingerprint` let a scripted batch find what it has done already. Times are Unix
    seconds, None where it has not happened: `sent` to the service, `finished` with all files
    here, `delivered` into a scene. `cost` is in US dollars, None where the service has not told.
    `error` is the last thing that went wrong, even where the job goes on, or is ready with less than was asked
    for. `target` is whatever the
    caller wants to find again: the add-on keeps there, as JSON, where the asset belongs.
    """

    task: Task
    name: str
    backend: str
    folder: Path
    state: State = State.WAITING
    image_sha256: str = ""
    batch: str = ""
    fingerprint: str = ""
    created: float = 0.0
    sent: float | None = None
    finished: float | None = None
    delivered: float | None = None
    error: str = ""
    cost: float | None = None
    assets: tuple[Asset, ...] = ()
    target: str = ""

    @property
    def uuid(self) -> str:
        return self.task.uuid

    @property
    def settings(self) -> Settings:
        return self.task.settings

    @property
    def is_paid(self) -> bool:
        return self.backend == REMOTE

    @property
    def duration(self) -> float | None:
        """Seconds from sending to the files' being here."""
        return None if self.sent is None or self.finished is None else self.finished - self.sent

    @property
    def source(self) -> Mapping[str, Any]:
        """What it was derived from, where that is another job's result; empty otherwise.

        `task_uuid` and `file_uuid` name the result, `seed` is its seed, `stage` says what was done again: "texture",
        "finish", "change" with its `region`, "vary" with its `strength`, "all" for a draft, or "rest" of a rough shape.
        """
        return json_in(self.folder / SOURCE_FILE)

    @property
    def picture(self) -> str:
        """The picture that it all began with, also where the task itself sends none; empty where it was not kept."""
        if self.task.image:
            return "" if self.task.image == NOT_KEPT else self.task.image
        try:
            return read_text(self.folder / PICTURE_FILE)
        except (OSError, ValueError):
            return ""

    @property
    def views(self) -> Mapping[str, str]:
        """The further pictures that it all began with, also where the task itself sends none."""
        return self.task.views or views_in(self.folder)

    @property
    def chosen(self) -> dict[str, Any]:
        """How its pictures were cut out and corrected by hand, by view; see `PreparedImage.facts`."""
        return json_in(self.folder / CHOSEN_FILE)

    @property
    def uncorrected(self) -> dict[str, str]:
        """Those of its pictures that were corrected, as they were before, by view."""
        return json_in(self.folder / UNCORRECTED_FILE)

    @property
    def kind(self) -> str:
        """What is made: "mesh" (a texture for one), "change" (of a part of an asset), "vary" (relatives of it),
        "texture" or "finish" (the same again), "rest" (of a rough shape); empty for an asset of a picture."""
        has_mesh = (self.folder / MESH_FILE).is_file()  # which lists do not read
        return kind_of(has_mesh, self.source)

    @property
    def thumbnail(self) -> Path:
        """A small PNG of the picture; it may not be there."""
        return self.folder / "thumbnail.png"


def kind_of(has_mesh: bool, source: Mapping[str, Any]) -> str:
    """See `Job.kind`; `has_mesh`: its task sends one."""
    if has_mesh:
        return "mesh"
    stage = str(source.get("stage") or "")
    return stage if stage in ("change", "vary", "texture", "finish", "rest") else ""


def views_in(folder: Path) -> dict[str, str]:
    """The further pictures that were written down with a job, by view."""
    try:
        found = json.loads(read_text(folder / VIEWS_FILE))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def notes_in(provenance: Mapping[str, Any]) -> tuple[Message, ...]:
    """The sentences that were kept with an asset about what was done otherwise than asked."""
    notes = provenance.get("notes")
    texts = [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []
    return all_from_wire(texts, provenance.get("note_templates"))
