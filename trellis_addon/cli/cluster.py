"""The commands about several machines behind one service: cluster status, doctor, drain."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `cluster` with its own commands to argparse's sub-parsers."""
    cluster = commands.add_parser("cluster", help="the machines behind a service: status, doctor, drain")
    inner = cluster.add_subparsers(required=True, metavar="COMMAND")

    status = inner.add_parser("status", parents=[common], help="a table of the machines, and what they work on")
    status.add_argument("--json", action="store_true", help="the same as JSON")
    status.set_defaults(run=_status, go_on="")

    doctor = inner.add_parser(
        "doctor", parents=[common], help="ask every machine whether it fits; 1 where one does not"
    )
    doctor.set_defaults(run=_doctor, go_on="")

    drain = inner.add_parser("drain", parents=[common], help="begin nothing new on a machine")
    drain.add_argument("node", metavar="NODE", help="its name, its address, or the digits in brackets")
    drain.add_argument("--now", action="store_true", help="hand over what it works on, in place of finishing it")
    drain.add_argument("--undo", action="store_true", help="use it again")
    drain.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait until it is idle")
    drain.set_defaults(run=_drain, go_on="")

    for command in (status, doctor, drain):
        command.add_argument(
            "--address", default="auto", metavar="HOST:PORT", help="the cluster's head (default: found on this machine)"
        )


@contextmanager
def _joined(address: str) -> Iterator[None]:
    from ..cluster import joining

    joining.join(address, may_start=False)
    try:
        yield
    finally:
        joining.leave()


def _status(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..cluster import report

    with _joined(options.address):
        found = report.status()
    print(json.dumps(found, indent=2) if options.json else "\n".join(report.table(found)))
    return 0


def _doctor(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..cluster import report

    with _joined(options.address):
        well, faults = report.doctor()
    print("\n".join(well))
    for fault in faults:
        print(f"! {fault}", file=sys.stderr)
    return 1 if faults else 0


def _drain(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..cluster import report

    with _joined(options.address):
        print(report.drain(options.node, now=options.now, undo=options.undo, wait=options.wait))
    return 0
