"""Sentences for the artist: English text that still knows the template and the values it was made of.

A language is looked up by the template ("The image is {width} x {height} pixels."), and the values go into the words
that it has for that. So the library speaks English alone, and whoever shows a sentence says it in any language. What
stands between the items of a list, or between two sentences, is a template too, and so the language's own.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from string import Formatter
from typing import Any

SEPARATOR = ", "  # of a list in English; a language has its own under this name

# What the system says of a file or a connection; it stands in many sentences.
SYSTEM = (
    "Connection refused",
    "File exists",
    "File name too long",
    "Input/output error",
    "Is a directory",
    "No space left on device",
    "No such file or directory",
    "Not a directory",
    "Operation not permitted",
    "Permission denied",
    "Read-only file system",
    "Too many open files",
)
_DEEPEST = 5  # messages within messages, of those that come over the wire
_MOST_VALUES = 50
_LONGEST = 4000  # characters
_PLAIN_FIELD = re.compile(r"[a-z_][a-z0-9_]*", re.IGNORECASE)
_PLAIN_FORMAT = re.compile(r"[+,]?(\.\d)?[a-z%]?")

Lookup = Callable[[str], str]


class Message(str):
    """The English text, with the `template` and the `values` that it was made of.

    Values are texts, numbers, other messages, and tuples of such; whatever else was given is kept as its text. A
    template without values is the text itself, braces and all.
    """

    template: str
    values: dict[str, Any]

    def __new__(cls, text: str, template: str, values: Mapping[str, Any] | None = None) -> Message:
        made = super().__new__(cls, text)
        made.template = str(template)
        made.values = {name: _kept(value) for name, value in (values or {}).items()}
        return made

    def __getnewargs__(self) -> tuple[str, str, dict[str, Any]]:  # type: ignore[override]
        return str(self), self.template, self.values


def message(template: str, /, **values: Any) -> Message:
    """A sentence, or a part of one, made of a template and its values: `message("{count} jobs", count=3)`.

    A value may be a message or an error of ours, which keeps its own template, or a list, whose items a language
    separates as it does. Formats as `{size:.1f}` are `str.format`'s. A template is a literal, so that it is found in
    the sources; a text that is none of ours (a service's words) is taken as it is, where there are no values.
    """
    if values:
        text = template.format(**{name: _in_english(value) for name, value in values.items()})
        return Message(text, template, values)
    return template if isinstance(template, Message) else Message(template, template)


def sentences(*parts: object) -> Message:
    """Sentences one after another; what is empty is left out."""
    whole = Message("", "")
    for part in filter(None, parts):
        whole = message("{first} {second}", first=whole, second=part) if whole else message(_as_text(part))
    return whole


def enumeration(items: Iterable[object]) -> Message:
    """The items as in "left, right and top"."""
    *others, last = items
    return message("{others} and {last}", others=others, last=last) if others else message(_as_text(last))


def reason_of(error: BaseException) -> Message:
    """What the system says of a file or a connection, such as "No space left on device"."""
    said = getattr(error, "strerror", None) or error
    return said if isinstance(said, Message) else message(str(said) or type(error).__name__)


def message_of(error: BaseException) -> Message:
    """The message that an error was raised with, or its text as one."""
    said = error.args[0] if error.args else None
    return said if isinstance(said, Message) else message(str(error))


def translated(text: object, lookup: Lookup) -> str:
    """A message, an error of ours, or a text in another language; `lookup` has the other words for a template.

    What a language does not know stays as it is.
    """
    said = _kept(text)
    if not isinstance(said, Message):
        return lookup(str(said)) if said else ""
    words = lookup(said.template) if said.template else ""
    if not said.values:
        return words
    return _filled(words, said, lookup)


def _filled(words: str, said: Message, lookup: Lookup) -> str:
    values = {name: _in_other_words(value, lookup) for name, value in said.values.items()}
    try:
        return words.format(**values)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError):  # a fault in a language's file
        return str(said)


def _in_other_words(value: Any, lookup: Lookup) -> Any:
    if isinstance(value, Message):
        return translated(value, lookup)
    if isinstance(value, tuple):
        return lookup(SEPARATOR).join(str(_in_other_words(item, lookup)) for item in value)
    return value


def _in_english(value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return SEPARATOR.join(str(item) for item in value)
    return value


def _kept(value: Any) -> Any:
    """A value as a message keeps it: plain, so that it can be pickled and sent."""
    said = message_of(value) if isinstance(value, BaseException) else value
    if isinstance(said, Message | bool):
        return said
    if isinstance(said, Integral):
        return int(said)
    if isinstance(said, Real):
        return float(said)
    if isinstance(said, list | tuple | set | frozenset):
        return tuple(_kept(item) for item in said)
    return str(said)


def _as_text(part: object) -> str:
    kept = _kept(part)
    return kept if isinstance(kept, str) else str(kept)


def to_wire(said: str) -> dict[str, Any]:
    """What goes beside a text over HTTP or into a file, so that it can be translated there: `from_wire` reads it."""
    if not isinstance(said, Message) or not said.values:
        return {}
    return {"template": said.template, "values": {name: _wired(value) for name, value in said.values.items()}}


def _wired(value: Any) -> Any:
    if isinstance(value, Message):
        return {"message": str(value), **to_wire(value)}
    return [_wired(item) for item in value] if isinstance(value, tuple) else value


def from_wire(text: str, fields: Mapping[str, Any]) -> Message:
    """The message of a text and what came beside it.

    Only what makes that very text is believed; of anything else the text alone is taken.
    """
    return _from_wire(text, fields, 0) or message(text)


def all_to_wire(said: Iterable[str]) -> list[dict[str, Any]]:
    """The same of several."""
    return [to_wire(each) for each in said]


def all_from_wire(texts: Sequence[str], fields: Any) -> tuple[Message, ...]:
    """The messages of texts and of the list that came beside them, if one did."""
    told = fields if isinstance(fields, list) and len(fields) == len(texts) else [{}] * len(texts)
    return tuple(
        from_wire(text, each if isinstance(each, Mapping) else {}) for text, each in zip(texts, told, strict=True)
    )


def to_store(said: str) -> str:
    """A text to be kept where there is room for one only; `from_store` makes the message of it again."""
    fields = to_wire(said)
    return json.dumps({"message": str(said), **fields}) if fields else str(said)


def from_store(text: str) -> Message:
    """A message as `to_store` wrote it; any other text as it is."""
    if text.startswith('{"message": '):
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(text)
            if isinstance(found.get("message"), str) and "template" in found:
                return from_wire(found["message"], found)
    return message(text)


def _from_wire(text: str, fields: Mapping[str, Any], depth: int) -> Message | None:
    template, values = fields.get("template"), fields.get("values")
    if not isinstance(template, str) or not isinstance(values, Mapping) or not 0 < len(values) <= _MOST_VALUES:
        return None
    if len(text) > _LONGEST or len(template) > _LONGEST or not _is_plain(template, values):
        return None
    try:
        found = message(template, **{name: _unwired(value, depth + 1) for name, value in values.items()})
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found == text else None


def _unwired(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError("messages within messages without end")
    if isinstance(value, Mapping):
        text = str(value.get("message") or "")
        return _from_wire(text, value, depth) or message(text)
    if isinstance(value, list):
        return [_unwired(item, depth + 1) for item in value[:_MOST_VALUES]]
    return value if isinstance(value, str | int | float) else str(value)


def _is_plain(template: str, values: Mapping[str, Any]) -> bool:
    """Whether a template from elsewhere only puts its values in, and none as a width or by their attributes."""
    try:
        fields = [(name, how, kind) for _, name, how, kind in Formatter().parse(template) if name is not None]
    except ValueError:
        return False
    return all(
        name in values and _PLAIN_FIELD.fullmatch(name) and _PLAIN_FORMAT.fullmatch(how or "") and not kind
        for name, how, kind in fields
    )
