"""Two results at a time on one device: while one is finished on the processor, the next is made on the device.

A turn begins with a seat at the device. When its work says that it needs the device no more (`Progress.leave_device`),
the seat goes to the next turn, and the work goes on with the other seat, that of finishing. There is one of each: at
most one asset is waiting to be finished, and memory is bounded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...core.progress import Place

if TYPE_CHECKING:
    from ...engines.engine import Engine

_LOOK = 0.1  # seconds between two looks at whether whoever waits is to stop


class Station:
    """What the turns of one device share: its engines, and the seats. `is_holding`: an engine may hold memory of it.
    `make` makes its engines, where the device is not this machine's; a station that `is_closed` takes no turn."""

    def __init__(self, on_left: Callable[[], None] = lambda: None, make: Callable[[str], Engine] | None = None) -> None:
        """`on_left` is called each time that the device's seat is given up for the seat of finishing."""
        self.engines: dict[str, Engine] = {}  # made at the first task for each model, then kept
        self.make = make
        self.is_closed = False
        self.is_holding = False
        self.at_device = threading.Lock()
        self.at_finishing = threading.Lock()
        self.on_left = on_left

    def sit(self) -> Seat:
        """A seat at the device, once it is free; to be closed."""
        while not self.at_device.acquire(timeout=1.0):
            pass
        return Seat(self)


class Seat(Place):
    """Where one turn sits: at the device first. Never in two places: nobody waits in a circle."""

    def __init__(self, station: Station) -> None:
        self.waited = 0.0
        """Seconds that went by without a seat: they are nobody's work."""
        self._station = station
        self._held: threading.Lock | None = station.at_device

    def leave(self, check: Callable[[], None]) -> None:
        if self._held is self._station.at_device:
            self._move(self._station.at_finishing, check, self._station.on_left)

    def take(self, check: Callable[[], None]) -> None:
        if self._held is not self._station.at_device:
            self._move(self._station.at_device, check)

    def close(self) -> None:
        """The turn is over, wherever it sat."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def _move(self, other: threading.Lock, check: Callable[[], None], moved: Callable[[], None] = lambda: None) -> None:
        self.close()
        moved()
        began = time.monotonic()
        while not other.acquire(timeout=_LOOK):
            check()
        self._held = other
        self.waited += time.monotonic() - began
