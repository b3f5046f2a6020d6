"""A service with faults, a store, and a client between them whose waits pass at once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import disc, encoded, sentence  # first: it is what finds the package

# isort: split
import pytest
from fault_server import SUBMIT, FaultServer

from trellis_addon.api import prepare_task
from trellis_addon.client.backends import Backend
from trellis_addon.client.client import Client
from trellis_addon.core.errors import (
    TrellisError,
)
from trellis_addon.core.progress import Progress
from trellis_addon.jobs.job import Job, State
from trellis_addon.jobs.runner import run_job
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.settings import Settings

PICTURE = encoded(disc(64))


class Time:
    """The client's time: what it would sleep through passes at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)
        if len(self.waits) < 200:
            time.sleep(0.002)  # the service works in real time

    def clock(self) -> float:
        return self.now


@dataclass
class World:
    """A service with faults, a store, and a client between them."""

    server: FaultServer
    store: JobStore
    token: str = ""
    time: Time = field(default_factory=Time)

    def job(self, picture: bytes = PICTURE, **settings: Any) -> Job:
        backend = Backend("remote", "not used here")
        return prepare_task(picture, backend, Settings({"seed": 7, **settings})).write_down(self.store, backend)

    def run(self, job: Job, progress: Progress | None = None, **options: Any) -> Job:
        with Client(self.server.url, self.token or self.server.token, sleep=self.time.sleep) as client:
            return run_job(job, self.store, client, progress, clock=self.time.clock, **options)

    def fail(self, job: Job, error: type[TrellisError], **options: Any) -> str:
        with pytest.raises(error) as caught:
            self.run(job, **options)
        assert type(caught.value) is error
        return sentence(caught.value)

    def state(self, job: Job) -> State:
        found = self.store.get(job.uuid)
        assert found is not None
        return found.state

    @property
    def submissions(self) -> list[str]:
        return [task["taskUUID"] for task in self.server.asked(SUBMIT)]

    @property
    def paid(self) -> int:
        """How many results were made."""
        return len(self.server.engine.calls)

    def end_faults(self) -> None:
        self.server._faults.clear()


@pytest.fixture
def world(tmp_path: Path) -> Iterable[World]:
    with FaultServer() as server:
        yield World(server, JobStore(tmp_path))
