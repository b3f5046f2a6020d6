"""What is done when a device runs out of memory: once more after clearing it, then a step lower, then a sentence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..core.errors import DeviceMemoryError, MainMemoryError
from ..core.machine.device_faults import is_out_of_memory
from ..core.messages import message
from ..core.progress import Progress
from ..task.settings import Settings

log = logging.getLogger(__name__)

RESOLUTIONS = (512, 1024, 1536)
THRIFT = 0.75  # of the memory that is free, to plan with once it has not sufficed

T = TypeVar("T")


@dataclass(frozen=True)
class Attempt:
    """One try at an asset.

    `share` (0..1) of the device's free memory may be planned with. `notes` are sentences about what `settings` change
    of what was asked, for whoever gets the asset.
    """

    settings: Settings
    progress: Progress
    share: float = 1.0
    notes: tuple[str, ...] = ()

    @property
    def is_again(self) -> bool:
        """Whether one before it has failed."""
        return self.share < 1.0

    @property
    def is_lowered(self) -> bool:
        """Whether it makes another resolution than was asked for."""
        return bool(self.notes)


def make_within_memory(
    make: Callable[[Attempt], T],
    settings: Settings,
    progress: Progress,
    release: Callable[[], None],
    *,
    may_lower: bool = True,
) -> T:
    """What `make` makes; where the memory does not suffice, once more with less, then a step of resolution lower.

    `release` drops everything from the device after every attempt that failed so. The attempts' progress is one: it
    never falls, and its stage says what is tried. Without `may_lower` the resolution is not ours to change. Raises
    `DeviceMemoryError` where nothing of this suffices, and at once whatever else `make` raises, such as a
    `MainMemoryError`.
    """
    asked = settings.value("resolution")
    lower = max((resolution for resolution in RESOLUTIONS if resolution < asked), default=None) if may_lower else None
    course = _Course(progress)

    plan: list[tuple[Settings, float, str, tuple[str, ...]]] = [
        (settings, 1.0, "", ()),
        (settings, THRIFT, message("Not enough memory: trying {resolution} again", resolution=asked), ()),
    ]
    if lower is not None:
        note = message("Made at {lower} instead of {asked}: the device ran out of memory.", lower=lower, asked=asked)
        words = message("Not enough memory: trying {resolution}", resolution=lower)
        plan.append((settings.replace(resolution=lower), THRIFT, words, (note,)))
    for chosen, share, stage, notes in plan:
        attempt = Attempt(chosen, course.attempt(stage), share, notes)
        try:
            return make(attempt)
        except Exception as error:
            if isinstance(error, MainMemoryError) or not is_out_of_memory(error):
                raise  # what the device has makes no difference there
            log.warning("Out of memory at %s: %s", chosen.value("resolution"), error)
        # Outside of the handler, whose error holds on to everything that the attempt had on the device.
        release()
    if lower is None:
        raise DeviceMemoryError(
            "The device ran out of memory at {asked}, twice; close other programs that use it, such as a Cycles "
            "render, or use another device.",
            asked=asked,
        )
    if lower == RESOLUTIONS[0]:
        raise DeviceMemoryError(
            "The device ran out of memory at {asked}, and again at {lower}; close other programs that use it, such as "
            "a Cycles render, or use another device.",
            asked=asked,
            lower=lower,
        )
    raise DeviceMemoryError(
        "The device ran out of memory at {asked}, and again at {lower}; close other programs that use it, such as a "
        "Cycles render, choose a lower resolution, or use another device.",
        asked=asked,
        lower=lower,
    )


class _Course:
    """The progress of all attempts as one that never falls: a later attempt fills what the earlier ones left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._reached = 0.0  # of the whole
        self._furthest = 0.0  # of an attempt, at which memory was short

    def attempt(self, stage: str) -> Progress:
        """A handle for the next attempt. `stage`, unless it is empty, stands until the work is where the last one
        failed: what is done before that is known already, and why it is done again is not."""
        start, known = self._reached, self._furthest

        def on_update(name: str, fraction: float) -> None:
            self._furthest = max(self._furthest, fraction)
            self._reached = max(self._reached, start + (1.0 - start) * fraction)
            self._progress.update(stage if stage and fraction <= known else name, self._reached)

        if stage:
            self._progress.update(stage, start)
        return Progress(
            on_update, self._progress.is_cancelled, self._progress.place, on_picture=self._progress.on_picture
        )
