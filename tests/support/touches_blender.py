"""Which tests touch Blender, and which are about it: `tools/matrix.py` runs them in several releases, or in each.

Those about it lie in the folders of what Blender shows and keeps. Those that touch it nobody marks: a test does if
anything that it reaches names Blender, be it its own code, its fixtures, or the helpers, constants and scripts of the
tests that these use. So one too many runs in a release rather than one too few. A test that hides it (a program that
imports bpy where no name tells), or is about Blender in another folder, is marked `blender`.
"""

from __future__ import annotations

import functools
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
_ABOUT = (TESTS / "addon", TESTS / "scene")
_FIXTURES = {"clean", "extension_zip"}
# What is known already, by identity; each thing is held, so that no other one gets its identity.
_answers: dict[int, tuple[Any, bool]] = {}
_clean: dict[int, Any] = {}


def is_about_blender(item: pytest.Item) -> bool:
    """Whether the test must run in each release of Blender."""
    return bool(item.get_closest_marker("blender")) or any(item.path.is_relative_to(folder) for folder in _ABOUT)


def may_be_about_blender(file: Path) -> bool:
    """Whether a file of tests can have such tests at all, told without importing it."""
    return any(file.is_relative_to(folder) for folder in _ABOUT) or b"mark.blender" in file.read_bytes()


def touches_blender(item: pytest.Item) -> bool:
    """Whether the test needs a Blender; the oldest and the newest have all of these."""
    if item.get_closest_marker("blender") or _FIXTURES & set(getattr(item, "fixturenames", ())):
        return True
    return any(_root_reaches(thing) for thing in _code_of(item))


def _root_reaches(thing: Any) -> bool:
    """Whether a test's function or fixture does; told once for all the tests that share it."""
    if id(thing) not in _answers:
        seen: dict[int, Any] = {}
        _answers[id(thing)] = thing, _reaches(thing, seen)
        if not _answers[id(thing)][1]:
            _clean.update(seen)  # none of all that was gone through reaches Blender
    return _answers[id(thing)][1]


def _code_of(item: pytest.Item) -> Iterator[Any]:
    """The test's function, and those of its fixtures."""
    yield getattr(item, "function", None)
    for name, definitions in item._fixtureinfo.name2fixturedefs.items():
        if name in item.fixturenames:  # type: ignore[attr-defined]
            yield from (definition.func for definition in definitions)


def _reaches(thing: Any, seen: dict[int, Any]) -> bool:
    """Whether it is Blender's, or one of the tests' own things that reaches Blender's."""
    if id(thing) in seen or id(thing) in _clean:
        return False
    seen[id(thing)] = thing
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


def _code_reaches(code: CodeType, names: dict[str, Any], seen: dict[int, Any]) -> bool:
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
        return _lies_here(inspect.getfile(thing))
    except TypeError:
        return False


@functools.cache
def _lies_here(file: str) -> bool:
    return Path(file).is_relative_to(TESTS)
