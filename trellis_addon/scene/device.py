"""The device that a local generation would run on, what else holds its memory, and what past runs took there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..local.machine.gpu_memory import Holder, memory_holders
from ..local.machine.hardware import Card, Machine, find_machine
from . import pump, queue

if TYPE_CHECKING:
    from ..local.estimate import Estimate
    from ..local.runs import PastRun
    from ..task.settings import Settings


@dataclass(frozen=True)
class DeviceFacts:
    """What was asked for together; `machine` is None where nobody has asked yet."""

    machine: Machine | None = None
    holders: tuple[Holder, ...] = ()
    runs: tuple[PastRun, ...] = ()

    @property
    def card(self) -> Card | None:
        """The card with the most free memory of those that PyTorch has a build for; None is the processor."""
        cards = [card for card in self.machine.cards if card.kind != "intel"] if self.machine else []
        return max(cards, key=lambda card: card.free or card.total, default=None)


@dataclass
class _Kept:
    known: DeviceFacts = DeviceFacts()
    is_asking: bool = False


_kept = _Kept()


def known() -> DeviceFacts:
    """What was found the last time."""
    return _kept.known


def ask() -> DeviceFacts:
    """Ask the drivers, and read what past runs took; takes up to seconds."""
    from ..jobs.store import JobStore
    from ..local.runs import past_runs

    return DeviceFacts(find_machine(), memory_holders(), past_runs(JobStore()))


def ask_later() -> None:
    """Ask in a thread; the panel shows it as soon as it is there."""
    if _kept.is_asking:
        return

    def work() -> Callable[[], None]:
        try:
            found = ask()
        finally:
            _kept.is_asking = False

        def show() -> None:
            _kept.known = found

        return show

    _kept.is_asking = True
    pump.in_thread(work)


def ask_once() -> None:
    """Ask where nobody has yet."""
    if _kept.known.machine is None:
        ask_later()


@queue.on_end
def ask_again(generation: queue.Generation) -> None:
    """After a generation: what it took is learned, if anybody has ever asked."""
    if _kept.known.machine is not None:
        ask_later()


def expected(settings: Settings, workers: tuple[int, ...] = ()) -> Estimate:
    """What a generation with these settings will probably take; arithmetic only, so that the panel may ask.

    `workers` are the process ids of our own, whose share of the memory is as good as free.
    """
    return _expected(settings, _kept.known, workers)


@functools.lru_cache(maxsize=4)
def _expected(settings: Settings, found: DeviceFacts, workers: tuple[int, ...]) -> Estimate:
    from ..local.estimate import estimate

    return estimate(settings, found.card, found.runs, holders=found.holders, workers=workers)
