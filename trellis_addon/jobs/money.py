"""What jobs cost: before, after, in total, and how much the user allows."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from ..errors import FieldError, LimitError
from ..settings import Settings
from ..task import examples
from .job import REMOTE, Job, State
from .store import JobStore

PERIODS = ("day", "month")


@dataclass(frozen=True)
class Price:
    """A range in US dollars: nobody can say more before the work is done."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.2f} to {self.high:.2f} US dollars"


def expected_price(results: int = 1) -> Price:
    """The range of the published examples, for so many results. The platform bills by processing time."""
    costs = [example["response"]["cost"] for example in examples()]
    return Price(results * min(costs), results * max(costs))


def spent(store: JobStore, period: str) -> float:
    """US dollars spent in the current day or month, by local time.

    A job that was sent and whose cost is not known counts with the most that the examples cost.
    """
    since = _start_of(period, store.clock())
    total = 0.0
    with store.connection() as connection:
        rows = connection.execute(
            "SELECT uuid, cost, state FROM jobs WHERE backend = ? AND sent >= ?", (REMOTE, since)
        ).fetchall()
    for row in rows:
        if row["cost"] is not None:
            total += row["cost"]
        elif row["state"] != State.FAILED:  # what was refused is not billed
            job = store.get(row["uuid"])
            total += expected_price(job.settings.value("number_results")).high if job else 0.0
    return total


def set_limit(store: JobStore, period: str, amount: float | None) -> None:
    """Spend at most `amount` US dollars per "day" or "month"; None takes the limit away."""
    if period not in PERIODS:
        raise FieldError("period", period, "allowed: " + ", ".join(PERIODS))
    if amount is not None and not 0 <= amount < 1e9:
        raise FieldError("limit", amount, "give an amount in US dollars, 0 or more")
    with store.connection() as connection:
        connection.execute("DELETE FROM limits WHERE period = ?", (period,))
        if amount is not None:
            connection.execute("INSERT INTO limits (period, amount) VALUES (?, ?)", (period, amount))


def limits(store: JobStore) -> dict[str, float]:
    """The limits that are set, by period."""
    with store.connection() as connection:
        return {row["period"]: row["amount"] for row in connection.execute("SELECT * FROM limits")}


def check_limits(store: JobStore, settings: Settings) -> None:
    """Raise `LimitError` when a job with these settings could go beyond a limit; asked before sending."""
    price = expected_price(settings.value("number_results")).high
    for period, amount in limits(store).items():
        already = spent(store, period)
        if already + price > amount + 1e-9:
            raise LimitError(
                f"The spending limit of {amount:.2f} US dollars a {period} would be passed: {already:.2f} are spent or "
                f"under way, and this may cost {price:.2f}. Raise the limit, or wait until the {period} is over.",
                field="limit",
            )


def cost_of(job: Job) -> str:
    """The job's cost in words; empty where nothing is known. Nought is never read as free: it may not be told yet."""
    return f"{job.cost:.4f} US dollars" if job.is_paid and job.cost else ""


def _start_of(period: str, now: float) -> float:
    day = datetime.datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    return (day.replace(day=1) if period == "month" else day).timestamp()
