"""The commands about jobs that are there already, and about money: jobs, resume, fetch, price, account, limit."""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path
from typing import Any

from ..core.streams import printable
from .options import picture_given


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to argparse's sub-parsers."""
    jobs = commands.add_parser("jobs", parents=[common], help="list the newest jobs")
    jobs.add_argument("--limit", type=int, default=20, metavar="N", help="how many (default 20)")
    jobs.set_defaults(run=_jobs)

    resume = commands.add_parser("resume", parents=[common], help="go on with everything that was begun")
    resume.set_defaults(run=_resume)

    fetch = commands.add_parser("fetch", parents=[common], help="fetch the asset of a task by its taskUUID")
    fetch.add_argument("uuid", metavar="UUID")
    fetch.add_argument("--output", type=Path, required=True, metavar="FILE.glb")
    fetch.add_argument("--backend", default="remote", help="where the task was sent (default remote)")
    fetch.set_defaults(run=_fetch)

    price = commands.add_parser("price", parents=[common], help="what an asset would cost; makes nothing")
    price.add_argument("image")
    price.add_argument("--backend", default="remote", help="where it would be made (default remote)")
    price.set_defaults(run=_price)

    account = commands.add_parser("account", parents=[common], help="the balance, and what was spent")
    account.set_defaults(run=_account)

    limit = commands.add_parser("limit", parents=[common], help="show or set the most to spend on the remote API")
    for period in ("day", "month"):
        limit.add_argument(f"--{period}", metavar="USD|none", help=f"US dollars a {period}; none takes the limit away")
    limit.set_defaults(run=_limit)


def _jobs(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..jobs.money import cost_of
    from ..jobs.store import JobStore

    store = JobStore()
    for foreign in store.foreign(options.limit):
        made = _when(foreign.created)
        cost = f"{foreign.cost:.4f} US dollars" if foreign.cost else ""
        print(f"{foreign.uuid}  {made}  {foreign.state:<9.9} {foreign.backend:<8.8} {foreign.name}  {cost}".rstrip())
        by = f"version {foreign.written_by}" if foreign.is_of_other_version else "another version, or is damaged"
        print(f"    It was made by {by}: {foreign.reason}")
    for job in store.recent(options.limit):
        made = _when(job.created)
        print(f"{job.uuid}  {made}  {job.state:<9} {job.backend:<8.8} {job.name}  {cost_of(job)}".rstrip())
        if job.error:
            print(f"    {printable(job.error)}")
    return 0


def _when(created: float) -> str:
    return datetime.datetime.fromtimestamp(created).strftime("%Y-%m-%d %H:%M")


def _resume(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..api import resume
    from ..core.errors import TakenError

    failed, job = 0, None
    for job, outcome in resume(key=key, allow_network=allow_network):
        if isinstance(outcome, TakenError):
            print(f"{job.name}: {outcome}")
        elif isinstance(outcome, Exception):
            failed += 1
            print(f"{job.name}: {printable(outcome)}", file=sys.stderr)
        else:
            print(f"{job.name}: {outcome.path}")
    if job is None:
        print("Nothing was broken off.")
    return 1 if failed else 0


def _fetch(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..api import copy_out, fetch
    from .telling import tell

    # Its file may expire where it is: it is brought home whatever can be said of the place that it is copied to.
    asset = copy_out(fetch(options.uuid, backend=options.backend, key=key), options.output)
    tell(asset)
    return 0


def _price(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..api import price

    print(price(picture_given(options.image), backend=options.backend, key=key))
    return 0


def _account(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..api import account

    print(f"Balance: {account(key=key)}")
    _print_spending()
    return 0


def _limit(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..core.errors import FieldError
    from ..jobs.money import PERIODS, set_limit
    from ..jobs.store import JobStore

    for period in PERIODS:
        text = getattr(options, period)
        if text is None:
            continue
        try:
            amount = None if text.lower() == "none" else float(text)
        except ValueError:
            raise FieldError(period, text, "give an amount in US dollars, or none") from None
        set_limit(JobStore(), period, amount)
    _print_spending()
    return 0


def _print_spending() -> None:
    from ..jobs.money import PERIODS, limits, spent
    from ..jobs.store import JobStore

    store = JobStore()
    allowed = limits(store)
    for period in PERIODS:
        limit = f" of {allowed[period]:.2f} allowed" if period in allowed else ", no limit set"
        print(f"Spent this {period}: {spent(store, period):.4f} US dollars{limit}")
