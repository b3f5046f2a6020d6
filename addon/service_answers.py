"""What came of asking services of one's own whether they are there, in this session."""

from __future__ import annotations

_answers: dict[str, tuple[str, str]] = {}


def answer_of(url: str) -> tuple[str, str]:
    """(text, icon) of what came of asking the service at this address; empty text where nobody asked."""
    return _answers.get(url, ("", "QUESTION"))


def remember(url: str, text: str, icon: str) -> None:
    _answers[url] = (text, icon)


def forget_all() -> None:
    _answers.clear()
