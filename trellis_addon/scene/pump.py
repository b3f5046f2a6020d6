"""What threads have to say, heard on Blender's main thread: a timer that runs as long as anything is at work.

Threads never touch `bpy`: they put what is to be done there into one list. Nothing of jobs and services is loaded for
it, as whoever only looks at a picture needs none of them.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import TypeAlias

import bpy

from .background import redraw

log = logging.getLogger(__name__)

INTERVAL = 0.1

# One's own part in each round: returns whether it has changed what is shown, and whether there will be more to do.
Turn: TypeAlias = Callable[[], tuple[bool, bool]]

_turns: list[Turn] = []
_events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()


class _Helpers:
    count = 0


_helpers = _Helpers()


def every_round(turn: Turn) -> Turn:
    """Have a function called in each round, after what threads have said."""
    _turns.append(turn)
    return turn


def later(work: Callable[[], None]) -> None:
    """Have `work` called on the main thread; for threads."""
    _events.put(work)


def in_thread(work: Callable[[], Callable[[], None]]) -> None:
    """Run `work` in a thread, and what it returns on the main thread afterwards; main thread only."""

    def run() -> None:
        try:
            then = work()
        except Exception:
            log.exception("A background task failed")
            then = None

        def finish() -> None:
            _helpers.count -= 1
            if then is not None:
                then()

        later(finish)

    _helpers.count += 1
    threading.Thread(target=run, daemon=True).start()
    run_pump()


def threads_at_work() -> int:
    """How many helpers (asking for a balance, looking at a picture) will still report."""
    return _helpers.count


def run_pump() -> None:
    """See that the timer runs; main thread only."""
    if not bpy.app.timers.is_registered(pump):
        bpy.app.timers.register(pump, first_interval=INTERVAL, persistent=True)


def stop_pump() -> None:
    """For unregistering and exit: nothing that threads have said is heard any more."""
    while not _events.empty():
        _events.get_nowait()
    if bpy.app.timers.is_registered(pump):
        bpy.app.timers.unregister(pump)


def pump() -> float | None:
    """One round; Blender drops a timer that raises."""
    is_changed = is_at_work = False
    while not _events.empty():
        attempt(_events.get_nowait())
        is_changed = True
    for turn in _turns:
        has_changed, has_more = turn()
        is_changed, is_at_work = is_changed or has_changed, is_at_work or has_more
    if is_changed:
        attempt(redraw)
    return INTERVAL if is_at_work or threads_at_work() else None


def attempt(work: Callable[[], object]) -> None:
    """Whatever goes wrong is logged, and the next has its turn."""
    try:
        work()
    except Exception:
        log.exception("What a thread reported could not be taken in")
