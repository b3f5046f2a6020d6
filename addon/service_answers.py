"""What came of asking services of one's own whether they are there, in this session."""

from __future__ import annotations

_answers: dict[str, tuple[str, str]] = {}
_cut_out: dict[str, bool] = {}


def answer_of(url: str) -> tuple[str, str]:
    """(text, icon) of what came of asking the service at this address; empty text where nobody asked."""
    return _answers.get(url, ("", "QUESTION"))


def cuts_out(url: str) -> bool | None:
    """Whether the service at this address has a mask model; None where nobody asked."""
    return _cut_out.get(url)


def remember(url: str, text: str, icon: str, cuts_out: bool | None = None) -> None:
    _answers[url] = (text, icon)
    if cuts_out is not None:
        _cut_out[url] = cuts_out


def forget_all() -> None:
    _answers.clear()
    _cut_out.clear()
