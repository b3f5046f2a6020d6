"""A contract: what a production asks of an asset, as a JSON file beside the project, or one of the presets.

    {"triangles": 20000, "texture_size": 2048, "height": [0.2, 3], "front": "-Y", "origin": "bottom", "names": "SM_*"}

What is not named is not asked for.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import FieldError, InputError
from ..core.messages import message, reason_of
from .facts import AXES, MAPS
from .presets import PRESETS

ORIGINS = ("bottom", "centre")
# Other spellings of a rule, as it may stand in a file.
_ALIASES = {"base_color": "base_colour", "center": "centre"}
_LARGEST = 2**20  # bytes of a file: a contract has a dozen lines
LARGEST_SIDE = 16384  # pixels of a texture
_LONGEST_NAME = 60  # of a rule that is none, as it is told
_MOST = 1e12  # of anything that is counted or measured


@dataclass(frozen=True)
class Range:
    """From `least` to `most`, both included."""

    least: float
    most: float

    def holds(self, value: float) -> bool:
        return self.least <= value <= self.most

    def nearest(self, value: float) -> float:
        return min(max(value, self.least), self.most)


@dataclass(frozen=True)
class Contract:
    """The rules; None for what is not asked.

    `height` in metres; `triangles`, `materials` and `parts` in numbers; `front` of `AXES`, the axis of Blender's that
    the asset looks along; `origin` of `ORIGINS`; `names` a pattern with * and ?, or several, one of which every
    object's name fits; `texture_size` the most pixels a side; `power_of_two` whether the sides have to be; `maps` of
    `MAPS` that every material has; `watertight`, `uvs` and `applied` (no rotation and no scale left on an object)
    whether it has to be so; `wall` the least thickness of a wall in metres, for what is printed.
    """

    name: str = ""
    height: Range | None = None
    front: str | None = None
    origin: str | None = None
    names: tuple[str, ...] | None = None
    triangles: Range | None = None
    parts: Range | None = None
    materials: Range | None = None
    texture_size: int | None = None
    power_of_two: bool | None = None
    maps: frozenset[str] | None = None
    watertight: bool | None = None
    uvs: bool | None = None
    applied: bool | None = None
    wall: float | None = None


def find_contract(source: str | os.PathLike[str] | Mapping[str, Any] | Contract) -> Contract:
    """The contract of a preset's name, a JSON file's path, or its content.

    Raises `InputError` for a file that cannot be read, `FieldError` for a rule that is none or that nothing can keep.
    """
    if isinstance(source, Contract):
        return source
    if isinstance(source, Mapping):
        return parse(source)
    text = os.fspath(source) if isinstance(source, (str, os.PathLike)) else ""
    if not text or not isinstance(text, str):
        raise FieldError("contract", source, _known())
    if text.strip().lower() in PRESETS:
        return parse(PRESETS[text.strip().lower()])
    return parse(_read(Path(text).expanduser()))


def parse(rules: Mapping[str, Any]) -> Contract:
    """The contract of a file's content; raises `FieldError`."""
    known = {field.name for field in dataclasses.fields(Contract)}
    found: dict[str, Any] = {}
    for name, value in rules.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), sorted(known), 1)
            advice = message("a contract has {known}", known=", ".join(sorted(known)))
            if near:
                advice = message("there is no such rule, but there is {near}", near=near[0])
            raise FieldError(str(name)[:_LONGEST_NAME] or '""', value, advice)
        if value is not None:
            found[name] = _PARSERS[name](name, value)
    return Contract(**found)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError("{path} is too large for a contract; give a JSON file of rules.", path=path)
        # UTF-8 or UTF-16, with a mark or without
        rules = json.loads(path.read_bytes(), object_pairs_hook=_once_each)
    except FileNotFoundError:
        raise FieldError("contract", f"{path}", _known()) from None
    except OSError as error:
        raise InputError("{path} cannot be read: {reason}.", path=path, reason=reason_of(error)) from error
    except json.JSONDecodeError as error:
        raise InputError(
            "{path} is no JSON file from line {line}, column {column} on; a contract looks like {example}.",
            path=path,
            line=error.lineno,
            column=error.colno,
            example=_EXAMPLE,
        ) from None
    except (ValueError, RecursionError):
        raise InputError(
            "{path} is no JSON file; a contract looks like {example}.", path=path, example=_EXAMPLE
        ) from None
    if not isinstance(rules, dict) or not set(rules) - {"name"}:
        raise InputError("{path} holds no rules; a contract looks like {example}.", path=path, example=_EXAMPLE)
    return rules


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """What stands twice is wrong once, and JSON's readers take the last."""
    names = [name for name, _ in pairs]
    for name, value in pairs:
        if names.count(name) > 1:
            raise FieldError(name, value, message("the rule stands there twice; leave one"))
    return dict(pairs)


def _known() -> str:
    return message("give a JSON file of rules, or one of {names}", names=", ".join(PRESETS))


_EXAMPLE = '{"triangles": 20000, "height": [0.2, 3]}'


def _range(name: str, value: Any) -> Range:
    """One number is the most; a pair is the least and the most."""
    pair = value if isinstance(value, (list, tuple)) else [0, value]
    rule = message("give the most, or [least, most]")
    if len(pair) != 2 or not all(_is_number(number) for number in pair):
        raise FieldError(name, value, rule)
    least, most = (float(number) for number in pair)
    if not 0 <= least <= most or not most > 0:
        raise FieldError(name, value, rule)
    return Range(least, most)


def _count(name: str, value: Any) -> Range:
    """As `_range`, in whole numbers."""
    found = _range(name, value)
    if not (found.least.is_integer() and found.most.is_integer()):
        raise FieldError(name, value, message("give whole numbers"))
    return found


def _height(name: str, value: Any) -> Range:
    """One number is the height itself, within a hundredth; a pair is the least and the most."""
    if _is_number(value) and value > 0:
        return Range(0.99 * float(value), 1.01 * float(value))
    if isinstance(value, (list, tuple)):
        return _range(name, value)
    raise FieldError(name, value, message("give metres, or [least, most]"))


def _length(name: str, value: Any) -> float:
    if not _is_number(value) or not 0 < value <= 100:
        raise FieldError(name, value, message("give metres, such as 0.0008"))
    return float(value)


def _choice(allowed: tuple[str, ...]) -> Callable[[str, Any], str]:
    def parse_choice(name: str, value: Any) -> str:
        found = _ALIASES.get(value, value) if isinstance(value, str) else None
        for one in allowed:
            if found is not None and found.upper() == one.upper():
                return one
        raise FieldError(name, value, message("allowed: {allowed}", allowed=list(allowed)))

    return parse_choice


def _names(name: str, value: Any) -> tuple[str, ...]:
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, (list, tuple)) or not patterns or not all(isinstance(p, str) and p for p in patterns):
        raise FieldError(name, value, message("give a pattern such as SM_*, or a list of them"))
    return tuple(patterns)


def _maps(name: str, value: Any) -> frozenset[str]:
    given = value if isinstance(value, (list, tuple)) else [value]
    return frozenset(_choice(MAPS)(name, one) for one in given)


def _side(name: str, value: Any) -> int:
    if not _is_number(value) or value != int(value) or not 1 <= value <= LARGEST_SIDE:
        raise FieldError(name, value, message("give the most pixels a side, from 1 to 16384"))
    return int(value)


def _yes(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise FieldError(name, value, message("give true or false"))
    return value


def _text(name: str, value: Any) -> str:
    return str(value)[:200]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_MOST <= value <= _MOST


_PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "name": _text,
    "height": _height,
    "front": _choice(tuple(AXES)),
    "origin": _choice(ORIGINS),
    "names": _names,
    "triangles": _count,
    "parts": _count,
    "materials": _count,
    "texture_size": _side,
    "power_of_two": _yes,
    "maps": _maps,
    "watertight": _yes,
    "uvs": _yes,
    "applied": _yes,
    "wall": _length,
}
