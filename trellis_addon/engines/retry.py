"""One more attempt at a lower resolution, when the device has run out of memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from ..core.errors import DeviceMemoryError
from ..core.messages import message
from ..task.settings import Settings
from .faults import is_out_of_memory

log = logging.getLogger(__name__)

RESOLUTIONS = (512, 1024, 1536)

T = TypeVar("T")
Make = Callable[[Settings, tuple[str, ...]], T]


def at_lower_resolution(make: Make[T], settings: Settings, release: Callable[[], None]) -> T:
    """What `make(settings, notes)` makes; where its memory does not suffice, once more, a step of resolution lower.

    `release` drops everything from the device before that. `notes` are sentences about the change, for whoever gets the
    asset. Raises `DeviceMemoryError` where that does not suffice either, and whatever else `make` raises.
    """
    asked = settings.value("resolution")
    lower = max((resolution for resolution in RESOLUTIONS if resolution < asked), default=None)
    try:
        return make(settings, ())
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        log.warning("Out of memory at %s: %s", asked, error)
        said = error.message if isinstance(error, DeviceMemoryError) else ""
    # Outside of the handler, whose error holds on to everything that the attempt had on the device.
    release()
    if lower is None:
        raise DeviceMemoryError(said) if said else _shortage(message("at {asked}", asked=asked))
    note = message("Made at {lower} instead of {asked}: the device ran out of memory.", lower=lower, asked=asked)
    try:
        return make(settings.replace(resolution=lower), (note,))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        log.warning("Out of memory at %s as well: %s", lower, error)
    release()
    raise _shortage(message("at {asked}, and again at {lower}", asked=asked, lower=lower))


def _shortage(where: str) -> DeviceMemoryError:
    return DeviceMemoryError(
        "The device ran out of memory {where}; close other programs that use it, such as a Cycles render, choose "
        "a lower resolution, or use another device.",
        where=where,
    )
