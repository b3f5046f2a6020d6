"""The one piece of work on the local backend that goes on at a time: installing, fetching, removing, testing.

It runs in a thread that never touches `bpy`; what is drawn of it is changed on the main thread only.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import bpy

from ...core.errors import Cancelled, TrellisError
from ...core.messages import message
from ...core.progress import Progress
from .. import queue

log = logging.getLogger(__name__)

_STOP_WAIT = 8.0  # seconds that the extension's going waits for the work to put down its tools


@dataclass(eq=False)
class Work:
    """`kind` is "install", "weights", "remove_weights", "worker", "remove" or "doctor".

    `state` is "running", "done", "failed" or "cancelled"; `message` is the sentence of a failure. `stage` says in the
    library's words what is done, of a download also its size, speed and the time left.
    """

    kind: str
    state: str = "running"
    stage: str = ""
    share: float = 0.0
    message: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def is_stopping(self) -> bool:
        return self.state == "running" and self.stop.is_set()


@dataclass
class _Current:
    work: Work | None = None


_current = _Current()


def current(*kinds: str) -> Work | None:
    """What goes on, or went on last, if it is of one of these kinds."""
    work = _current.work
    return work if work is not None and (not kinds or work.kind in kinds) else None


def is_running(*kinds: str) -> bool:
    """Whether work of these kinds goes on; of any kind where none is named."""
    work = current(*kinds)
    return work is not None and work.state == "running"


def start(
    kind: str,
    do: Callable[[Progress], Any],
    then: Callable[[Any], None] | None = None,
    *,
    ended: Callable[[], None] | None = None,
) -> None:
    """Have `do` done in a thread; on the main thread `then` is called with its result, and `ended` however it ended.

    Without a window, where timers do not run, it is done before this returns, and its errors are raised.
    """
    if bpy.app.background:
        try:
            result = do(Progress())
            if then is not None:
                then(result)
        finally:
            if ended is not None:
                ended()
        return
    work = _current.work = Work(kind)

    def run() -> Callable[[], None]:
        finish = _do(work, do, then)

        def on_main() -> None:
            finish()
            if ended is not None:
                ended()

        return on_main

    queue.in_thread(run)


def cancel() -> None:
    """Ask the work to stop; what can be gone on with stays where it is."""
    if _current.work is not None:
        _current.work.stop.set()


def forget() -> None:
    """Show no more of what went on last."""
    if not is_running():
        _current.work = None


def stop_all() -> None:
    """For unregistering and exit: the work is cancelled, and has a moment to end what it started."""
    work, _current.work = _current.work, None
    if work is not None and work.state == "running":
        work.stop.set()
        work.ended.wait(_STOP_WAIT)


def _do(work: Work, do: Callable[[Progress], Any], then: Callable[[Any], None] | None) -> Callable[[], None]:
    """In a thread: the work itself; returns what the main thread is to do afterwards."""
    told: list[tuple[str, float]] = []  # what the main thread has not shown yet: a download reports more than that

    def show() -> None:
        work.stage, work.share = told[-1]
        told.clear()

    def on_update(stage: str, share: float) -> None:
        told.append((stage, share))
        if len(told) == 1:
            queue.later(show)

    def finish(state: str, message: str = "") -> Callable[[], None]:
        def end() -> None:
            work.state, work.message = state, message

        return end

    try:
        result = do(Progress(on_update, work.stop.is_set))
    except Cancelled:
        return finish("cancelled")
    except TrellisError as error:
        return finish("failed", error.message)
    except Exception as error:
        log.exception("The work on the local backend failed")
        return finish(
            "failed", message("Unexpected problem ({kind}); the console has the details.", kind=type(error).__name__)
        )
    finally:
        work.ended.set()

    def succeed() -> None:
        work.state, work.share = "done", 1.0
        if then is not None:
            then(result)

    return succeed
