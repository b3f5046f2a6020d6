"""The frame of everything that goes on in a thread while the artist works: how far it is, its end, and a way to stop.

The thread never touches `bpy`: what is drawn of a work is changed on the main thread only, by the queue's pump.
Generations are such works (`queue`), and exports (`exports`), and what the local backend's wizard does
(`setup.local_work`).
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import bpy

from ..core.errors import TrellisError, unforeseen
from ..core.progress import Progress

T = TypeVar("T")
Later = Callable[[Callable[[], None]], None]  # has something called on the main thread


@dataclass(eq=False, kw_only=True)
class Work:
    """One piece of work, as a line of a panel shows it.

    `state` is "running", "done", "failed" or "cancelled"; `message` is the sentence of a failure. `stage` says in the
    library's words what is done, `share` (0..1) how much is. `stop` is the artist's word to give it up, `ended` says
    that the thread has put down its tools. `usual` is how many seconds such a work has taken before, where it is known.
    """

    state: str = "running"
    stage: str = ""
    share: float = 0.0
    message: str = ""
    usual: float | None = None
    begun: float | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def is_stopping(self) -> bool:
        return self.state == "running" and self.stop.is_set()

    @property
    def seconds_left(self) -> float | None:
        """How long it will still take, from its own pace, or from how long others took; None while nobody knows."""
        if self.state != "running" or self.begun is None:
            return None
        elapsed = time.monotonic() - self.begun
        if self.share >= 0.1:
            return elapsed * (1 - self.share) / self.share
        return max(self.usual - elapsed, 0.0) or None if self.usual else None

    def show(self, stage: str, share: float) -> None:
        """Take over how far it is; main thread only. What comes after the end says nothing any more."""
        if self.state == "running":
            if self.begun is None and share:
                self.begun = time.monotonic()
            self.stage, self.share = self.stage if self.stop.is_set() else stage, share


def perform(
    work: Work,
    do: Callable[[Progress], T],
    later: Later,
    is_cancelled: Callable[[], bool] | None = None,
    on_picture: Callable[[bytes, int], None] | None = None,
) -> T | TrellisError:
    """In a thread: what `do` returns, or why there is nothing, as an error with a sentence; `Cancelled` is one.

    `on_picture` gets early pictures, as `Progress` does, in the thread.
    """
    told = [("", 0.0)]
    is_due = threading.Event()  # a download reports more often than anybody looks

    def show() -> None:
        is_due.clear()  # first: what is told from here on has a call of its own
        work.show(*told[0])

    def on_update(stage: str, share: float) -> None:
        told[0] = (stage, share)
        if not is_due.is_set():
            is_due.set()
            later(show)

    try:
        return do(Progress(on_update, is_cancelled or work.stop.is_set, on_picture=on_picture))
    except TrellisError as error:
        return error
    except Exception as error:
        return unforeseen(error)
    finally:
        work.ended.set()


def redraw() -> None:
    """Draw anew what shows works and their results."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "PREFERENCES"):
                area.tag_redraw()
