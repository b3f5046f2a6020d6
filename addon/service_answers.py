"""What came of asking services of one's own whether they are there, in this session."""

from __future__ import annotations

from collections.abc import Sequence

_answers: dict[str, tuple[str, str]] = {}
_cut_out: dict[str, bool] = {}
_machines: dict[str, list[str]] = {}


def answer_of(url: str) -> tuple[str, str]:
    """(text, icon) of what came of asking the service at this address; empty text where nobody asked."""
    return _answers.get(url, ("", "QUESTION"))


def cuts_out(url: str) -> bool | None:
    """Whether the service at this address has a mask model; None where nobody asked."""
    return _cut_out.get(url)


def machines_of(url: str) -> list[str]:
    """A line for each machine behind the service at this address, where it has several."""
    return _machines.get(url, [])


def remember(url: str, text: str, icon: str, cuts_out: bool | None = None, machines: Sequence[str] = ()) -> None:
    _answers[url] = (text, icon)
    _machines[url] = list(machines)
    if cuts_out is not None:
        _cut_out[url] = cuts_out


def forget_all() -> None:
    _answers.clear()
    _cut_out.clear()
    _machines.clear()
