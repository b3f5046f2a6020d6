"""What the panel shows of the store and the account, without asking a disk or a network while it draws."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from bpy.app.translations import pgettext_rpt

from ..client.backends import Backend
from ..core.errors import TrellisError
from ..jobs.job import Job
from ..jobs.money import limits, spent
from ..jobs.rows import ForeignJob
from ..jobs.store import JobStore, notices
from . import pump, queue

SHOWN = 12


@dataclass
class StoreFacts:
    """The last that was read: newest jobs, money in US dollars, what is wrong with the list, the account's answer.

    `kinds` are those of the jobs, by taskUUID: they lie in the jobs' folders.
    `foreign` are those of the newest jobs that only another version can read.
    `search` is the part of a name that the jobs were asked for by.
    """

    jobs: list[Job] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)
    foreign: list[ForeignJob] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    account: str = ""
    search: str = ""


known = StoreFacts()


def read_store() -> None:
    """Read the store in a thread; the panel shows it as soon as it is there."""

    search = known.search

    def work() -> Callable[[], None]:
        store = JobStore()
        jobs, foreign = store.recent(SHOWN, search), store.foreign(SHOWN, search)
        kinds = {job.uuid: job.kind for job in jobs}
        money = {period: spent(store, period) for period in ("day", "month")}
        allowed = limits(store)

        def show() -> None:
            known.spent, known.limits, known.notices = money, allowed, notices()
            if known.search == search:  # else a later question is under way
                known.jobs, known.kinds, known.foreign = jobs, kinds, foreign

        return show

    pump.in_thread(work)


def search(name: str) -> None:
    """Show the jobs whose names contain this; all of them for an empty text."""
    known.search = name.strip()
    read_store()


@queue.on_begin
def _expect(generation: queue.Generation) -> None:
    """It will take about as long as the last jobs took, as far as the history has been read."""
    times = [job.duration for job in known.jobs if job.duration]
    generation.usual = statistics.median(times) if times else None


@queue.on_dismissed
@queue.on_end
def _read_again(generation: queue.Generation) -> None:
    read_store()


def ask_account(backend: Backend) -> None:
    """Ask the service for the balance, in a thread: what "Test Key" does."""

    words = pgettext_rpt("The key works. Balance: {balance}")  # here, as a thread must not ask Blender for anything

    def work() -> Callable[[], None]:
        from ..client.backends import connect

        try:
            with connect(backend) as client:
                found = client.account()
            answer = words.format(balance=found)
        except TrellisError as error:
            answer = error.message

        def show() -> None:
            known.account = answer

        return show

    known.account = pgettext_rpt("Asking ...")
    pump.in_thread(work)
