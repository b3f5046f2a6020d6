"""Progress and cancelling, handed in to whatever takes long; never global."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from .errors import Cancelled, FieldError
from .messages import message

log = logging.getLogger(__name__)


class Place:
    """A place at the device, which one piece of work has at a time. This one is shared with nobody."""

    def leave(self, check: Callable[[], None]) -> None:
        """Let others at the device: what follows is the processor's. May wait, and calls `check` meanwhile, which may
        raise to end the wait."""

    def take(self, check: Callable[[], None]) -> None:
        """Have the device again, where it was left; waits as `leave` does."""


class Progress:
    """A handle on one piece of work: it is told how far the work is, and says when to stop.

    `on_update(stage, fraction)` receives a stage's name and the share of the *whole* work done,
    in [0, 1]. `is_cancelled()` is asked at every update. `place` is what the work has of a device that others wait for.
    `on_picture(png, number)` receives early pictures of what is being made, where anybody looks; `number` is which of
    several results it is of. `siblings` are the handles of work that will be asked for next, by what tells it apart:
    who does something for all of it at once says so there.
    """

    def __init__(
        self,
        on_update: Callable[[str, float], object] | None = None,
        is_cancelled: Callable[[], object] | None = None,
        place: Place | None = None,
        siblings: Mapping[int, Progress] | None = None,
        on_picture: Callable[[bytes, int], object] | None = None,
    ) -> None:
        self.place = place or Place()
        self.on_picture = on_picture
        self.siblings = siblings or {}
        self._on_update = on_update or (lambda stage, fraction: None)
        self._is_cancelled = is_cancelled or (lambda: False)
        self._share = 0.0

    def update(self, stage: str, fraction: float) -> None:
        """Report; raises `Cancelled` when the work should stop here."""
        self.check()
        self._share = min(max(float(fraction), 0.0), 1.0)
        self._on_update(stage, self._share)

    def say(self, stage: str) -> None:
        """Report what is done now, where that gets nothing further; raises `Cancelled` as `update` does."""
        self.update(stage, self._share)

    def picture(self, make: Callable[[], bytes], number: int = 0) -> None:
        """Show what it looks like by now: a small PNG, made only where anybody looks. No work fails for a picture."""
        if self.on_picture is None:
            return
        try:
            if png := make():
                self.on_picture(png, number)
        except Exception:
            log.warning("An early picture could not be made", exc_info=True)

    def check(self) -> None:
        """Raise `Cancelled` when the work should stop here."""
        if self.is_cancelled():
            raise Cancelled("Cancelled.")

    def is_cancelled(self) -> bool:
        """Whether the work should stop here, where it is not to be broken off by an error."""
        return bool(self._is_cancelled())

    def leave_device(self) -> None:
        """The device is not needed any more for this work; raises `Cancelled` while it waits to go on without."""
        self.place.leave(self.check)

    def take_device(self) -> None:
        """The device is needed again; raises `Cancelled` while it waits for it."""
        self.place.take(self.check)

    def part(self, start: float, end: float) -> Progress:
        """A handle whose 0..1 is the span `start`..`end` of this one: for a step that reports on its own."""
        return Progress(
            lambda stage, fraction: self._on_update(stage, start + (end - start) * fraction),
            self._is_cancelled,
            self.place,
            on_picture=self.on_picture,
        )


ProgressLike = Progress | Callable[[str, float], object]  # what a script may give: see `as_progress`


def as_progress(given: Any) -> Progress:
    """The handle of what a script gave: one, a function of stage and share, or nothing. Raises `FieldError`."""
    if given is None:
        return Progress()
    if isinstance(given, Progress):
        return given
    if not callable(given):
        raise FieldError("progress", given, message("give a Progress, or a function of the stage and the share done"))
    return Progress(given)
