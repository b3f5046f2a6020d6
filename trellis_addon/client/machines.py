"""The machines behind a service, in words, as it tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.messages import message

_MOST = 32  # lines
_LONGEST = 120  # characters of what a service says


def machines_of(about: Mapping[str, Any]) -> list[str]:
    """A line for each machine of the cluster behind the service that says this of itself; none where there is none."""
    told = about.get("cluster")
    rows = [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []
    return [_line(row) for row in rows[:_MOST]]


def _line(row: Mapping[str, Any]) -> str:
    def text(key: str) -> str:
        return str(row.get(key) or "")[:_LONGEST]

    if text("state") == "unfit":
        return message("{name} is not used: {why}", name=text("name"), why=text("why"))
    if text("state") != "used":
        return message("{name}: {state}", name=text("name"), state=_STATES.get(text("state"), text("state")))
    running = row.get("running")
    return message(
        "{name}: {working} of {workers} working, {made} made",
        name=text("name"),
        working=len(running) if isinstance(running, list) else 0,
        workers=_number(row.get("workers")),
        made=_number(row.get("made")),
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


_STATES = {
    "joins": message("joining"),
    "empty": message("has nothing to work with"),
    "drains": message("finishing, gets nothing new"),
    "drained": message("drained"),
    "gone": message("gone"),
}
