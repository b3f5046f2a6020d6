"""Progress and cancelling, handed in to whatever takes long; never global."""

from __future__ import annotations

from collections.abc import Callable

from .errors import Cancelled


class Progress:
    """A handle on one piece of work: it is told how far the work is, and says when to stop.

    `on_update(stage, fraction)` receives a stage's name and the share of the *whole* work done,
    in [0, 1]. `is_cancelled()` is asked at every update.
    """

    def __init__(
        self,
        on_update: Callable[[str, float], None] = lambda stage, fraction: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._on_update = on_update
        self._is_cancelled = is_cancelled
        self._share = 0.0

    def update(self, stage: str, fraction: float) -> None:
        """Report; raises `Cancelled` when the work should stop here."""
        self.check()
        self._share = min(max(float(fraction), 0.0), 1.0)
        self._on_update(stage, self._share)

    def say(self, stage: str) -> None:
        """Report what is done now, where that gets nothing further; raises `Cancelled` as `update` does."""
        self.update(stage, self._share)

    def check(self) -> None:
        """Raise `Cancelled` when the work should stop here."""
        if self.is_cancelled():
            raise Cancelled("Cancelled.")

    def is_cancelled(self) -> bool:
        """Whether the work should stop here, where it is not to be broken off by an error."""
        return self._is_cancelled()

    def part(self, start: float, end: float) -> Progress:
        """A handle whose 0..1 is the span `start`..`end` of this one: for a step that reports on its own."""
        return Progress(
            lambda stage, fraction: self._on_update(stage, start + (end - start) * fraction),
            self._is_cancelled,
        )
