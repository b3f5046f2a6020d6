"""The one piece of work on the local backend that goes on at a time: installing, fetching, removing, testing.

It runs in a thread that never touches `bpy`; what is drawn of it is changed on the main thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bpy

from ...core.errors import Cancelled, TrellisError
from ...core.progress import Progress
from .. import background, pump

_STOP_WAIT = 8.0  # seconds that the extension's going waits for the work to put down its tools


@dataclass(eq=False)
class Work(background.Work):
    """`kind` is "install", "weights", "remove_weights", "worker", "remove", "doctor", or one of `finishing_setup`.

    Of a download `stage` says its size, speed and the time left as well.
    """

    kind: str


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
        outcome = background.perform(work, do, pump.later)

        def on_main() -> None:
            if isinstance(outcome, Cancelled):
                work.state = "cancelled"
            elif isinstance(outcome, TrellisError):
                work.state, work.message = "failed", outcome.message
            else:
                work.state, work.share = "done", 1.0
                if then is not None:
                    then(outcome)
            if ended is not None:
                ended()

        return on_main

    pump.in_thread(run)


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
