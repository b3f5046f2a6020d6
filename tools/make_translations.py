"""Every English string of the interface, and which of them a language lacks.

    python tools/make_translations.py                   print what is missing in each file of translations/
    python tools/make_translations.py --update zh_HANS  add the missing ones to the file, with an empty translation

The strings are read from the sources: labels, tooltips, names and descriptions of properties, texts of layouts and
what goes through `pgettext`. Nothing of Blender is needed.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "translations"
sys.path.insert(0, str(ROOT))

_KEYWORDS = {"text", "name", "description", "title", "message", "confirm_text", "heading", "placeholder", "text_ctxt"}
_CALLS = {"pgettext", "pgettext_iface", "pgettext_tip", "pgettext_rpt", "pgettext_data", "poll_message_set", "report"}
_ATTRIBUTES = {"bl_label", "bl_description"}
_TABLES = {"STAGES", "STATES", "SAMPLERS"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", metavar="LANGUAGE")
    options = parser.parse_args()
    wanted = messages()
    for path in sorted(FOLDER.glob("*.json")):
        known = json.loads(path.read_text(encoding="utf-8"))
        missing = [text for text in wanted if not known.get(text)]
        unused = sorted(set(known) - set(wanted))
        print(f"{path.name}: {len(wanted)} strings, {len(missing)} missing, {len(unused)} not used any more")
        for text in missing:
            print(f"  {text}")
    if options.update:
        path = FOLDER / f"{options.update}.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        kept = {text: known.get(text, "") for text in wanted}
        path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def messages() -> list[str]:
    """Every string that an artist may read in the interface, sorted, each once."""
    found: set[str] = set()
    for folder in ("ui", "operators"):
        for path in sorted((ROOT / folder).glob("*.py")):
            found.update(_in_source(ast.parse(path.read_text(encoding="utf-8"))))
    found.update(_of_settings())
    return sorted(text for text in found if any(letter.isalpha() for letter in text))


def _of_settings() -> Iterator[str]:
    """The properties that are made of the settings' fields."""
    from trellis_addon.settings import SETTABLE

    for field in SETTABLE:
        yield field.label
        yield field.description


def _in_source(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from _of_class(node)
        elif isinstance(node, ast.Call):
            yield from _of_call(node)
        elif isinstance(node, ast.Assign):
            yield from _of_assignment(node)


def _of_class(node: ast.ClassDef) -> Iterator[str]:
    """An operator's docstring is its tooltip."""
    if "_OT_" in node.name and (text := ast.get_docstring(node)):
        yield text


def _of_call(node: ast.Call) -> Iterator[str]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in _CALLS:
        for argument in node.args:
            yield from _literals(argument)
    for keyword in node.keywords:
        if keyword.arg in _KEYWORDS:
            yield from _literals(keyword.value)
        if keyword.arg == "items":
            yield from _of_items(keyword.value)


def _of_assignment(node: ast.Assign) -> Iterator[str]:
    for target in node.targets:
        name = getattr(target, "id", "")
        if name in _ATTRIBUTES:
            yield from _literals(node.value)
        elif name in _TABLES and isinstance(node.value, ast.Dict):
            for value in node.value.values:
                yield from _literals(value)
        elif name.isupper() and isinstance(node.value, (ast.List, ast.Tuple)):
            yield from _of_items(node.value)


def _of_items(node: ast.AST) -> Iterator[str]:
    """(identifier, name, description, ...) of an enum's items."""
    for item in getattr(node, "elts", []):
        parts = getattr(item, "elts", [])
        if len(parts) >= 3 and all(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts[:3]):
            yield from (part.value for part in parts[1:3])


def _literals(node: ast.AST) -> Iterator[str]:
    """Strings, also where one of two is chosen; not those with values in them, which cannot be looked up."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _literals(value)


if __name__ == "__main__":
    sys.exit(main())
