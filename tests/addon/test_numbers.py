"""What Blender saves of a choice is a number: each entry keeps its own for ever, and none is given a second time."""

from __future__ import annotations

import ast
import json
import zipfile
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT
from releases import FOLDER, RELEASES
from test_extension import extension  # noqa: F401
from write_release import enumerations

bpy = pytest.importorskip("bpy")

# Every list of choices, and in it every entry that there ever was. A new entry comes in with a number that the list has
# not had; nothing is ever taken out.
KNOWN: dict[str, dict[str, int]] = json.loads((FOLDER.parent / "enumerations.json").read_text(encoding="utf-8"))


def test_every_entry_has_the_number_that_it_always_had(extension: ModuleType) -> None:  # noqa: F811
    now = enumerations(bpy)
    assert len(now) > 15
    for name, entries in now.items():
        for entry, number in entries.items():
            assert KNOWN.get(name, {}).get(entry) == number, f"{name}: {entry}; see tests/by_hand/keep_numbers.py"


def test_no_number_is_given_twice() -> None:
    for name, entries in KNOWN.items():
        assert len(set(entries.values())) == len(entries), name


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_that_a_release_has_saved_is_forgotten(release: str) -> None:
    with zipfile.ZipFile(FOLDER / f"{release}.zip") as packed:
        said = json.loads(packed.read("said.json"))["blender"]["enumerations"]
    for name, entries in said.items():
        assert entries.items() <= KNOWN[name].items(), name


@pytest.mark.checkout
def test_numbers_are_written_down_and_not_counted() -> None:
    """Blender counts where none is given, and an entry that is put in before others moves them."""
    found = list(_lists())
    assert len(found) > 15
    for place, items in found:
        if isinstance(items, ast.List):
            for entry in items.elts:
                assert isinstance(entry, ast.Tuple) and len(entry.elts) in (4, 5), f"{place}: {ast.unparse(entry)}"
                number = entry.elts[-1]
                assert isinstance(number, ast.Constant) and type(number.value) is int, f"{place}: {ast.unparse(entry)}"
        elif isinstance(items, ast.ListComp):
            assert isinstance(items.elt, ast.Tuple) and len(items.elt.elts) in (4, 5), f"{place}: {ast.unparse(items)}"
        else:  # made of something else, by these alone
            made = ast.unparse(items)
            assert made in ("logs.LEVELS", "_library_items") or made.startswith("items_of("), f"{place}: {made}"


def _lists() -> Iterator[tuple[str, ast.expr]]:
    for top in ("addon", "operators", "ui"):
        for path in (ROOT / top).glob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            named = {ast.unparse(line.targets[0]): line.value for line in tree.body if isinstance(line, ast.Assign)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "EnumProperty":
                    (items,) = [word.value for word in node.keywords if word.arg == "items"]
                    yield f"{path.name}:{node.lineno}", named.get(ast.unparse(items), items)


def test_a_library_keeps_its_number_wherever_it_stands(extension: ModuleType) -> None:  # noqa: F811
    from test_extension import part

    numbers: Any = part("addon.numbers")
    assert numbers.number_of("Studio") == numbers.number_of("Studio") != numbers.number_of("studio")
    assert not numbers.is_place(numbers.number_of("Studio")) and not numbers.is_place(None) and numbers.is_place(1)
    libraries = bpy.context.preferences.filepaths.asset_libraries
    preferences: Any = part("addon.preferences")
    made = [libraries.new(name=name, directory=str(ROOT)) for name in ("First", "Second")]
    before = {entry[0]: entry[-1] for entry in preferences._library_items(None, None)}
    libraries.remove(made[0])
    after = {entry[0]: entry[-1] for entry in preferences._library_items(None, None)}
    libraries.remove(libraries["Second"])
    assert after["Second"] == before["Second"] and "First" not in after and after["LOCAL"] == 0
