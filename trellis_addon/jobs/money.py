"""What jobs cost: before, after, in total, and how much the user allows."""

from __future__ import annotations

import datetime
import functools
from dataclasses import dataclass

from ..client.replies import as_cost
from ..core.errors import FieldError, LimitError
from ..core.messages import message
from ..task.settings import Settings
from ..task.task import examples
from .job import REMOTE, Job, State
from .store import JobStore, Ledger

PERIODS = ("day", "month")
AHEAD = 31 * 86400.0  # seconds: what is dated further ahead of now was sent while the clock was wrong


@dataclass(frozen=True)
class Price:
    """A range in US dollars: nobody can say more before the work is done."""

    low: float
    high: float

    def __str__(self) -> str:
        return str(self.words)

    @property
    def words(self) -> str:
        """As `str`, for the interface."""
        if self.low == self.high:
            return message("{amount:.4f} US dollars", amount=self.low)
        return message("{low:.2f} to {high:.2f} US dollars", low=self.low, high=self.high)


def expected_price(results: int = 1) -> Price:
    """The range of the published examples, for so many results. The platform bills by processing time."""
    costs = [example["response"]["cost"] for example in examples()]
    return Price(results * min(costs), results * max(costs))


def spent(store: JobStore, period: str) -> float:
    """US dollars spent in the current day or month, by local time.

    A job that was sent and whose cost is not known counts with the most that the examples cost.
    """
    with store.ledger() as ledger:
        return _spent(ledger, period, store.clock())


def _spent(ledger: Ledger, period: str, now: float) -> float:
    total = 0.0
    # What a clock that was set back has put a little ahead counts: a limit cannot be got round that way.
    for charge in ledger.charges(REMOTE, _start_of(period, now), now + AHEAD):
        if cost := as_cost(charge.cost):  # nought is not free: it may not be told yet
            total += cost
        elif charge.state != State.FAILED:  # what was refused is not billed
            total += expected_price(charge.results).high
    return total


def set_limit(store: JobStore, period: str, amount: float | None) -> None:
    """Spend at most `amount` US dollars per "day" or "month"; None takes the limit away."""
    if period not in PERIODS:
        raise FieldError("period", period, message("allowed: {allowed}", allowed=list(PERIODS)))
    is_number = isinstance(amount, (int, float)) and not isinstance(amount, bool)
    if amount is not None and not (is_number and 0 <= amount < 1e9):
        raise FieldError("limit", amount, "give an amount in US dollars, 0 or more")
    store.set_limit(period, amount)


def limits(store: JobStore) -> dict[str, float]:
    """The limits that are set, by period."""
    with store.ledger() as ledger:
        return _limits(ledger)


def _limits(ledger: Ledger) -> dict[str, float]:
    return {period: amount for period, amount in ledger.limits().items() if period in PERIODS}


def check_limits(store: JobStore, settings: Settings) -> None:
    """Raise `LimitError` when a job with these settings could go beyond a limit; asked before sending."""
    with store.ledger() as ledger:
        _check_limits(ledger, settings, store.clock())


def move_to_sending(store: JobStore, job: Job) -> Job:
    """The job as one that is being sent; a paid one only within the limits, else `LimitError`.

    From here on it counts as spent. Check and count are one step: of two programs that ask at once,
    the second sees what the first is about to spend.
    """
    if not job.is_paid:
        return store.move(job, State.SENDING)
    check = functools.partial(_check_limits, settings=job.settings, now=store.clock())
    return store.move(job, State.SENDING, check=check)


def _check_limits(ledger: Ledger, settings: Settings, now: float) -> None:
    price = expected_price(settings.value("number_results")).high
    for period, amount in _limits(ledger).items():
        already = _spent(ledger, period, now)
        if already + price > amount + 1e-9:
            raise LimitError(
                "The spending limit of {amount:.2f} US dollars a day would be passed: {already:.2f} are spent or "
                "under way, and this may cost {price:.2f}. Raise the limit, or wait until it begins anew."
                if period == "day"
                else "The spending limit of {amount:.2f} US dollars a month would be passed: {already:.2f} are spent "
                "or under way, and this may cost {price:.2f}. Raise the limit, or wait until it begins anew.",
                amount=amount,
                already=already,
                price=price,
                field="limit",
            )


def cost_of(job: Job) -> str:
    """The job's cost in words; empty where nothing is known. Nought is never read as free: it may not be told yet."""
    cost = as_cost(job.cost)
    return message("{amount:.4f} US dollars", amount=cost) if job.is_paid and cost else ""


def _start_of(period: str, now: float) -> float:
    day = datetime.datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    return (day.replace(day=1) if period == "month" else day).timestamp()
