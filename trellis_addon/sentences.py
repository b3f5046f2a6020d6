"""Sentences for people that an interface can say in its own language."""

from __future__ import annotations


class Sentence(str):
    """A sentence in English that remembers what it was made of: its template, to be looked up, and the values in it.

    A value that is a tuple of words is an enumeration: "left, right and top".
    """

    template: str
    values: dict[str, object]

    def __new__(cls, template: str, **values: object) -> Sentence:
        words = {key: _enumerated(value) if isinstance(value, tuple) else value for key, value in values.items()}
        made = super().__new__(cls, template.format(**words))
        made.template, made.values = template, values
        return made


def _enumerated(words: tuple[object, ...]) -> str:
    texts = [str(word) for word in words]
    return " and ".join(filter(None, (", ".join(texts[:-1]), *texts[-1:])))
