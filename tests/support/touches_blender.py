"""Which tests touch Blender: what `tools/matrix.py` runs in every release; all others run once for each Python.

Nobody marks them. A test touches Blender if anything that it reaches names Blender: its own code, its fixtures, and
the helpers, constants and scripts of the tests that these use. So one too many runs in a release rather than one too
few. Where a test hides it (a program that imports bpy where no name tells), it is marked `blender`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parents[1]
# Names, attributes and texts that stand for Blender in the tests
_WORDS = re.compile(r"\bbpy\b|\.blend\b|\bblender\b(?!\.svg)|bl_ext|\bscene\b|TRELLIS2_OT_", re.I)
_HAS_DOCSTRING = 0x4000000  # of a code's flags, from Python 3.13 on
_FIXTURES = {"clean", "extension_zip"}


def touches_blender(item: pytest.Item) -> bool:
    """Whether the test must run in each release of Blender."""
    if item.get_closest_marker("blender") or _FIXTURES & set(getattr(item, "fixturenames", ())):
        return True
    seen: set[int] = set()
    return any(_reaches(thing, seen) for thing in _code_of(item))


def _code_of(item: pytest.Item) -> Iterator[Any]:
    """The test's function, and those of its fixtures."""
    yield getattr(item, "function", None)
    for name, definitions in item._fixtureinfo.name2fixturedefs.items():
        if name in item.fixturenames:  # type: ignore[attr-defined]
            yield from (definition.func for definition in definitions)


def _reaches(thing: Any, seen: set[int]) -> bool:
    """Whether it is Blender's, or one of the tests' own things that reaches Blender's."""
    if id(thing) in seen:
        return False
    seen.add(id(thing))
    if isinstance(thing, str):
        return bool(_WORDS.search(thing))
    if isinstance(thing, (tuple, list, frozenset)):
        return any(_reaches(one, seen) for one in thing)
    if isinstance(thing, ModuleType):
        return thing.__name__.partition(".")[0] == "bpy" or ".scene" in thing.__name__
    if isinstance(thing, FunctionType):
        if not _is_ours(thing):
            return ".scene" in (thing.__module__ or "")
        return _code_reaches(inspect.unwrap(thing).__code__, thing.__globals__, seen)
    if inspect.isclass(thing) and _is_ours(thing):
        return any(_reaches(inspect.unwrap(part), seen) for part in vars(thing).values() if callable(part))
    return False


def _code_reaches(code: CodeType, names: dict[str, Any], seen: set[int]) -> bool:
    for name in code.co_names:
        if _reaches(names[name], seen) if name in names else _WORDS.fullmatch(name):
            return True
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    constants = code.co_consts[1:] if _has_docstring(code) else code.co_consts
    texts = [part for part in constants if isinstance(part, (str, tuple, frozenset))]
    return any(_reaches(text, seen) for text in texts) or any(_code_reaches(part, names, seen) for part in inner)


def _has_docstring(code: CodeType) -> bool:
    """Whether its first constant only tells about it. Before Python 3.13 a function without has None there."""
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & _HAS_DOCSTRING)
    return bool(code.co_consts) and isinstance(code.co_consts[0], str)


def _is_ours(thing: Any) -> bool:
    """Whether it is defined in the tests."""
    try:
        return Path(inspect.getfile(thing)).is_relative_to(TESTS)
    except TypeError:
        return False
