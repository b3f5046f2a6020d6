"""Saying an English sentence in another language, by the template that it was made of and the values in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from string import Formatter

LONGEST = 4000  # characters; a longer text is none of ours
_MOST_PIECES = 24
_MOST_STEPS = 1500  # of looking for templates, for one text
_DEEPEST = 4  # values within values
_END = re.compile(r"(?<=[.!?:;]) ")  # of a sentence within a text
_ITEMS = re.compile(r", | and ")
_ASIDE = re.compile(r"(.+) \((.+)\)")
_STOPS = {".": "。", ":": "：", ";": "；"}
_WIDE = ("。", "：", "；", "！", "？")  # after these no space stands

Parts = tuple[str, ...]  # the literals of a template: between each two stands a value
Lookup = Callable[[str], str]


class Templates:
    """Templates such as "The image is {0} x {1} pixels.", numbered as their values stand in the sentence.

    A text is taken apart by a template's literals alone, so that nothing in a value (braces, a pattern's signs,
    another sentence) can do harm.
    """

    def __init__(self, templates: Iterable[str]) -> None:
        known = [(template, literals_of(template)) for template in templates]
        # those with the most words of their own first, so that the first that fits is the best
        self._templates = sorted((each for each in known if any(each[1])), key=lambda each: -size_of(each[1]))

    def find(self, text: str) -> tuple[str, Parts, Parts] | None:
        """The template with the most words that the sentence can be made of, its literals, and the values."""
        for template, literals in self._templates:
            if (values := values_in(text, literals)) is not None:
                return template, literals, values
        return None

    def said(self, text: str, lookup: Lookup) -> str:
        """The text in another language, as far as it is known; `lookup` has the other words for a template.

        A text may be several sentences, and a value a sentence itself: it is divided so that as much of it as
        possible is known.
        """
        return _Saying(self, lookup).text(text, 0)[0] if text and len(text) <= LONGEST else text


class _Saying:
    """One text being said. Each method returns the other words, and how many letters of the English were known."""

    def __init__(self, templates: Templates, lookup: Lookup) -> None:
        self._templates, self._lookup = templates, lookup
        self._steps = 0
        self._said: dict[str, tuple[str, int]] = {}

    def text(self, text: str, depth: int) -> tuple[str, int]:
        """One sentence or several."""
        starts = [0, *(found.end() for found in _END.finditer(text))][:_MOST_PIECES]
        ends = [start - 1 for start in starts[1:]] + [len(text)]
        rests = [("", 0)]  # the best for what follows each end, the text's own end first
        for number, start in reversed(list(enumerate(starts))):
            best = ("", -1)
            for end, (rest, rest_known) in zip(reversed(ends[number:]), rests, strict=True):
                said, known = self.sentence(text[start:end], depth)
                if known + rest_known > best[1]:
                    space = "" if not rest or said.endswith(_WIDE) else " "
                    best = (said + space + rest, known + rest_known)
            rests.append(best)
        return rests[-1]

    def sentence(self, text: str, depth: int) -> tuple[str, int]:
        """One sentence, or a clause with the stop of a sentence; as it is where it is not known."""
        if text not in self._said:
            self._said[text] = self._sentence(text, "", depth)
            if not self._said[text][1] and text[-1:] in _STOPS:
                said, known = self._sentence(text[:-1], _STOPS[text[-1]], depth)
                self._said[text] = (said, known) if known else (text, 0)
        return self._said[text]

    def _sentence(self, text: str, stop: str, depth: int) -> tuple[str, int]:
        self._steps += 1
        found = self._templates.find(text) if self._steps <= _MOST_STEPS and depth <= _DEEPEST else None
        words = self._lookup(found[0]) if found else ""
        if found is None or words == found[0]:
            return text, 0
        _, literals, texts = found
        values = [
            (text, 0) if _is_name(before, text, after) else self._value(text, depth + 1)
            for before, text, after in zip(literals, texts, literals[1:], strict=False)
        ]
        return words.format(*(said for said, _ in values)) + stop, size_of(literals) + sum(known for _, known in values)

    def _value(self, text: str, depth: int) -> tuple[str, int]:
        """A value: words that are known, an enumeration of such, one with an aside in brackets, or anything."""
        items = _ITEMS.split(text)
        if 1 < len(items) <= _MOST_PIECES:
            each = [self.sentence(item, depth) for item in items]
            if all(known for _, known in each):
                return "、".join(said for said, _ in each), len(text)
        aside = _ASIDE.fullmatch(text)
        first, known = self.sentence(aside[1], depth) if aside else ("", 0)
        if aside and known:
            second, known_too = self.text(aside[2], depth)
            return f"{first}（{second}）", known + known_too
        return self.text(text, depth)


def _is_name(before: str, text: str, after: str) -> bool:
    """Whether a value is what somebody has called something, and stays as it is, though it may read like a word."""
    return before.endswith('"') and after.startswith('"') and " " not in text


def literals_of(template: str) -> Parts:
    """What stands before, between and after a template's values."""
    literals, text = [], ""
    for literal, field, _, _ in Formatter().parse(template):
        text += literal
        if field is not None:
            literals.append(text)
            text = ""
    return (*literals, text)


def values_in(text: str, literals: Parts) -> Parts | None:
    """What stands between the literals in a text; None where they are not in it in this order.

    Each literal is taken where it comes first: if the text can be made of them at all, it can be so.
    """
    first, last = literals[0], literals[-1]
    if len(literals) == 1:
        return () if text == first else None
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return None
    values, start, end = [], len(first), len(text) - len(last)
    for literal in literals[1:-1]:
        here = text.find(literal, start, end)
        if here < 0:
            return None
        values.append(text[start:here])
        start = here + len(literal)
    return (*values, text[start:end])


def size_of(literals: Parts) -> int:
    """How many letters of a sentence are the template's own."""
    return sum(map(len, literals))
