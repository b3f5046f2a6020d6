"""What the documents name is there: functions, commands, options, variables; and their Python can be read."""

from __future__ import annotations

import argparse
import ast
import re
import textwrap
from collections.abc import Iterator

import pytest
from conftest import ROOT

import trellis_addon
from trellis_addon.cli import commands
from trellis_addon.core.configuration import VARIABLES

pytestmark = pytest.mark.checkout

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}


def blocks(language: str) -> list[tuple[str, str]]:
    """The code in a language, with the page that it stands on."""
    fence = re.compile(rf"^( *)```{language}\n(.*?)^\1```", re.M | re.S)
    return [(name, textwrap.dedent(found[2])) for name, text in PAGES.items() for found in fence.finditer(text)]


def test_python_can_be_read() -> None:
    assert len(blocks("python")) > 20
    for name, code in blocks("python"):
        try:
            ast.parse(code)
        except SyntaxError as error:
            raise AssertionError(f"{name}: {error}") from error


def test_functions_are_public() -> None:
    named = re.compile(r"\btrellis_addon\.(?:(scene)\.)?([a-z]\w*)\(")
    for page, text in PAGES.items():
        for scene, name in named.findall(text):
            known = trellis_addon.scene.__all__ if scene else trellis_addon.__all__
            assert name in known, f"{page}: {name}"


def parsers(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    if fill := getattr(parser, "fill", None):  # its options are added when they are needed
        fill(parser)
    yield path, {option for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from parsers(inner, (*path, name))


def test_commands_take_the_options_that_are_shown() -> None:
    known = dict(parsers(commands._parser("trellis_addon")))
    shown = 0
    for page, code in blocks("sh"):
        for line in code.replace("\\\n", " ").splitlines():
            found = re.search(r"(?:-m trellis_addon|--command trellis2) ([^#|>]+)", line)
            if found is None:
                continue
            words = found[1].split()
            path = max((path for path in known if tuple(words[: len(path)]) == path), key=len)
            assert path, f"{page}: {line}"
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert options <= known[path], f"{page}: {line}"
            shown += 1
    assert shown > 30


def test_every_variable_is_documented() -> None:
    told = "\n".join(PAGES.values())
    assert [variable for variable in VARIABLES.values() if f"`{variable}" not in told] == []
