"""A job and its states, as plain data."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DamagedFileError
from ..settings import Settings
from ..task import Task


class State(enum.StrEnum):
    """Where a job is on its way."""

    WAITING = "waiting"  # written down, not sent
    SENDING = "sending"  # the request is on its way: if the answer is lost, it may have been accepted
    RUNNING = "running"  # accepted; results are asked for
    READY = "ready"  # every file is here, checked
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in (State.READY, State.FAILED, State.CANCELLED)


# What may follow what. A job that was sent never goes back to waiting: it might be paid twice.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.WAITING: frozenset({State.SENDING, State.FAILED, State.CANCELLED}),
    State.SENDING: frozenset({State.RUNNING, State.READY, State.FAILED, State.CANCELLED}),
    State.RUNNING: frozenset({State.READY, State.FAILED, State.CANCELLED}),
    State.READY: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}


@dataclass(frozen=True)
class Asset:
    """A finished GLB and where it came from.

    `provenance` is plain data: task, settings, seed, model, engine, cost, image hash, date.
    `variations` are all the results of the same task, this one included.
    """

    path: Path
    name: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    variations: tuple[Asset, ...] = field(default=(), repr=False, compare=False)

    @property
    def seed(self) -> int | None:
        return self.provenance.get("seed")

    @property
    def engine(self) -> str:
        """The model id that really made it, such as `draft:relief@1`."""
        return str(self.provenance.get("engine") or self.provenance.get("model") or "")

    @property
    def sidecar(self) -> Path:
        """Where the provenance lies beside the GLB."""
        return self.path.with_suffix(".json")

    def save_provenance(self) -> None:
        text = json.dumps({"name": self.name, **self.provenance}, indent=2)
        self.sidecar.write_text(text, encoding="utf-8")

    @classmethod
    def from_file(cls, path: Path) -> Asset:
        """The asset of a GLB, with its provenance where that lies beside it."""
        provenance: Any = {}
        if not path.name:
            raise DamagedFileError(f'"{path}" is not the path of a GLB file.')
        sidecar = path.with_suffix(".json")
        if sidecar.exists():
            problem = DamagedFileError(f"The provenance in {sidecar} cannot be read; delete it to go without.")
            try:
                provenance = json.loads(sidecar.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise problem from error
            if not isinstance(provenance, dict):
                raise problem
        name = str(provenance.pop("name", "") or path.stem)
        return cls(path, name, provenance)


@dataclass(frozen=True)
class Job:
    """One row of the store.

    `batch` and `fingerprint` let a scripted batch find what it has done already. Times are Unix
    seconds; `cost` is in US dollars, None where the service has not told.
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
    error: str = ""
    cost: float | None = None
    assets: tuple[Asset, ...] = ()

    @property
    def uuid(self) -> str:
        return self.task.uuid

    @property
    def settings(self) -> Settings:
        return self.task.settings
