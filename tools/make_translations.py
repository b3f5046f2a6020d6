"""Every English string of the interface and of the library, and which of them a language lacks.

    python tools/make_translations.py                   check each file of translations/; exit code 1 for a fault
    python tools/make_translations.py --update de_DE    add the missing ones to the files, with an empty translation

A file is whole when it has a translation for every string, with the same {values} in it, and for no others; and the
sources when no string of theirs is put together of parts, which cannot be looked up. The strings are read from the
sources. Of the interface: labels, tooltips, names and descriptions of properties, texts of layouts, what goes through
`pgettext`, the tables that it looks words up in, and what a function `why_not...` returns. Of the library,
in a file of their own in sentences/: the templates that errors and `message(...)` are given. Nothing of Blender is
needed.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from string import Formatter

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "translations"
sys.path.insert(0, str(ROOT))

_KEYWORDS = {"text", "name", "description", "title", "message", "confirm_text", "heading", "placeholder"}
_PGETTEXT = {f"pgettext{kind}" for kind in ("", "_iface", "_tip", "_rpt", "_data", "_n")}
_CALLS = _PGETTEXT | {"poll_message_set", "report"}
_ATTRIBUTES = {"bl_label", "bl_description"}
# Where the text stands among the arguments, of what is not given it first.
_TEXT_AT = {"FieldError": 2, "RequestError": 1}
_TEXT_NAMES = {"FieldError": {"rule", "message"}, "RequestError": {"message"}}
_ENGLISH = "trellis_addon/cli/"  # whose sentences go to a terminal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", metavar="LANGUAGE")
    options = parser.parse_args()
    faults = [
        f"{place}: put together of parts, so that it cannot be looked up" for place in put_together() + unreadable()
    ]
    for folder, find in ((FOLDER, messages), (FOLDER / "sentences", sentences)):
        wanted = find()
        if options.update:
            update(folder / f"{options.update}.json", wanted)
        for path in sorted(folder.glob("*.json")):
            found = faults_of(json.loads(path.read_text(encoding="utf-8")), wanted)
            print(f"{path.relative_to(FOLDER).as_posix()}: {len(wanted)} strings, {len(found)} faults")
            faults += found
    for fault in faults:
        print(f"  {fault}")
    return 1 if faults else 0


def update(path: Path, wanted: list[str]) -> None:
    """Give the file every string, sorted, keep the translations that it has, and drop what is not used any more."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept = {text: known.get(text, "") for text in wanted}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def faults_of(known: dict[str, str], wanted: list[str]) -> list[str]:
    """What is wrong with a language's words, a line each."""
    found = [f"missing: {text}" for text in wanted if not known.get(text)]
    found += [f"not used any more: {text}" for text in sorted(set(known) - set(wanted))]
    translated = [(text, known[text]) for text in wanted if known.get(text)]
    return found + [f"other values: {text}" for text, other in translated if _values(text) != _values(other)]


def _values(text: str) -> list[str]:
    """The names of what is put in; of a text that cannot be read as a template, the text itself."""
    try:
        return sorted({field for _, field, _, _ in Formatter().parse(text) if field is not None})
    except ValueError:
        return [text]


def messages() -> list[str]:
    """Every string that an artist may read in the interface, sorted, each once."""
    found: set[str] = set()
    for path in _interface():
        found.update(_in_source(_tree(path)))
    for path in sorted((ROOT / "trellis_addon" / "scene").rglob("*.py")):
        found.update(_looked_up(_tree(path)))
    found.update(_of_settings())
    found.update(path.stem.replace("_", " ") for path in (ROOT / "presets").rglob("*.py"))
    return sorted(text for text in found if _is_words(text))


def put_together() -> list[str]:
    """FILE:LINE of every text for people that is no literal: words in an f-string."""
    return [
        f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"
        for path in _interface()
        for call in ast.walk(_tree(path))
        if isinstance(call, ast.Call)
        for argument in _texts(call)
        for node in ast.walk(argument)
        if isinstance(node, ast.JoinedStr)
        and any(_is_words(part) for value in node.values for part in _literals(value))
    ]


def sentences(root: Path = ROOT) -> list[str]:
    """The library's templates, and what the buttons raise themselves, sorted, each once."""
    from trellis_addon.core.messages import SEPARATOR, SYSTEM

    found = {SEPARATOR, *SYSTEM}
    for _, argument in _templates(root):
        found.update(_literals(argument))
    return sorted(found)


def unreadable(root: Path = ROOT) -> list[str]:
    """FILE:LINE of every error or message whose template is an f-string, or otherwise made of parts."""
    return [
        f"{path.relative_to(root).as_posix()}:{argument.lineno}"
        for path, argument in _templates(root)
        if any(isinstance(part, ast.JoinedStr | ast.BinOp) or _is_format(part) for part in _branches(argument))
    ]


@functools.cache
def _templates(root: Path) -> list[tuple[Path, ast.expr]]:
    """Each expression that is given to an error of ours, or to `message(...)`, as the text."""
    return list(_found_templates(root))


def _found_templates(root: Path) -> Iterator[tuple[Path, ast.expr]]:
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for folder in ("trellis_addon", "addon", "operators", "ui")
        for path in sorted((root / folder).rglob("*.py"))
        if not path.relative_to(root).as_posix().startswith(_ENGLISH)
    }
    errors = _error_classes(trees.values())
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (kind := _name(node.func)) in errors | {"message"}:
                yield from ((path, text) for text in _given(node, kind))
            elif isinstance(node, ast.ClassDef) and node.name in errors:
                calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
                calls = [call for call in calls if ast.unparse(call.func) == "super().__init__"]
                yield from ((path, text) for call in calls for text in _given(call, _name(node.bases[0])))


def _given(call: ast.Call, kind: str) -> list[ast.expr]:
    """What is the text among a call's arguments."""
    at, names = _TEXT_AT.get(kind, 0), _TEXT_NAMES.get(kind, set())
    return call.args[at : at + 1] + [keyword.value for keyword in call.keywords if keyword.arg in names]


def _error_classes(trees: Iterable[ast.AST]) -> set[str]:
    """`TrellisError`, and all that are made of it."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found: set[str] = set()
    more = {"TrellisError"}
    while more:
        found |= more
        more = {node.name for node in classes if found & {_name(base) for base in node.bases}} - found
    return found


def _branches(node: ast.expr) -> list[ast.expr]:
    """The text itself, or those that it is chosen from."""
    if isinstance(node, ast.IfExp):
        return [*_branches(node.body), *_branches(node.orelse)]
    return [part for value in node.values for part in _branches(value)] if isinstance(node, ast.BoolOp) else [node]


def _is_format(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "join")


def _interface() -> list[Path]:
    return [path for folder in ("addon", "operators", "ui") for path in sorted((ROOT / folder).glob("*.py"))]


def _tree(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


def _is_words(text: str) -> bool:
    return any(letter.isalpha() for letter in text) and not text.startswith(("http://", "https://"))


def _of_settings() -> Iterator[str]:
    """The properties that are made of the settings' fields, and the headings over them."""
    from trellis_addon.task.settings import OWN_IN_PANEL, SAMPLERS, SETTABLE

    yield from SAMPLERS.values()
    for field in (*SETTABLE, *OWN_IN_PANEL):
        yield field.label
        yield field.description


def _in_source(tree: ast.AST) -> Iterator[str]:
    yield from _looked_up(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and "_OT_" in node.name and (tooltip := ast.get_docstring(node)):
            yield tooltip
        elif isinstance(node, ast.Call):
            for argument in _texts(node):
                yield from _literals(argument)
            for keyword in node.keywords:
                if keyword.arg == "items":
                    yield from _of_items(keyword.value)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in _ATTRIBUTES:
                yield from _literals(node.value)
            elif name.isupper():
                yield from _of_items(node.value)
        elif isinstance(node, ast.FunctionDef) and node.name.endswith("_items"):
            for part in ast.walk(node):
                yield from _of_item(part)
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("why_not"):
            for part in ast.walk(node):
                if isinstance(part, ast.Return) and part.value is not None:
                    yield from _literals(part.value)


def _texts(call: ast.Call) -> Iterator[ast.expr]:
    """The arguments of a call that are for people to read."""
    if _name(call.func) in _CALLS:
        yield from call.args
    is_untranslated = any(k.arg == "translate" and getattr(k.value, "value", True) is False for k in call.keywords)
    for keyword in call.keywords:
        if keyword.arg in _KEYWORDS and not is_untranslated:
            yield keyword.value


def _looked_up(tree: ast.AST) -> Iterator[str]:
    """What `pgettext` is called with, and the values of the dictionaries whose entries it is called with."""
    tables: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in _PGETTEXT and node.args:
            yield from _literals(node.args[0])
            tables.update(part.id for part in ast.walk(node.args[0]) if isinstance(part, ast.Name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and _name(node.targets[0]) in tables:
            for value in node.value.values:
                yield from _literals(value)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _of_items(node: ast.AST) -> Iterator[str]:
    for item in getattr(node, "elts", []):
        yield from _of_item(item)


def _of_item(node: ast.AST) -> Iterator[str]:
    """Name and description of an enum's item: (identifier, name, description, ...)."""
    parts = node.elts if isinstance(node, ast.Tuple) else []
    if len(parts) >= 3:
        yield from _literals(parts[1])
        yield from _literals(parts[2])


def _literals(node: ast.AST) -> Iterator[str]:
    """Strings, also where one of two is chosen."""
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
