"""How a service of our own is, as plain data."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class WorkerState(enum.StrEnum):
    """Where a service is between one start and its end."""

    STOPPED = "stopped"
    STARTING = "starting"  # also: again, after it has ended by itself
    RUNNING = "running"
    FAILED = "failed"  # it is not started again by itself


# What may follow what; each may be told anew as well.
TRANSITIONS: Mapping[WorkerState, frozenset[WorkerState]] = {
    WorkerState.STOPPED: frozenset({WorkerState.STARTING}),
    WorkerState.STARTING: frozenset({WorkerState.RUNNING, WorkerState.FAILED, WorkerState.STOPPED}),
    WorkerState.RUNNING: frozenset({WorkerState.STARTING, WorkerState.FAILED, WorkerState.STOPPED}),
    WorkerState.FAILED: frozenset({WorkerState.STARTING, WorkerState.STOPPED}),
}


@dataclass(frozen=True)
class WorkerStatus:
    """How a service is.

    `since` is in Unix seconds. `cause` says in words why it ended the last time, and where it has failed in a whole
    sentence; `restarts` is how often it was started again. `device` names what it computes on, once a task has needed
    it. `waiting` tasks are not finished.
    """

    state: WorkerState = WorkerState.STOPPED
    url: str = ""
    pid: int = 0
    version: str = ""
    device: str = ""
    since: float = 0.0
    cause: str = ""
    restarts: int = 0
    waiting: int = 0

    def may_become(self, other: WorkerStatus) -> bool:
        """Whether `other` may follow this."""
        return other.state is self.state or other.state in TRANSITIONS[self.state]
