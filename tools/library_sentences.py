"""The library's sentences that an artist may get to see, read from its sources.

An error is raised as an f-string, with values in it; here it becomes a template, "The image is {0} x {1} pixels", by
which the interface finds the sentence again and says it in another language (`trellis_addon/core/templates.py`). So the
library itself stays free of Blender, and English. A clause that goes into a sentence as a value has a template of its
own; where one of two literals is chosen within a sentence, each makes a template that is whole.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

# What no artist sees, and why; a name that ends in a slash is a folder.
LEFT_OUT = {
    "cli/": "the command line is English",
    "task/presets.py": "writes scripts",
    "service/edge/openapi.py": "describes the service to programs",
    "local/doctor/selftest.py": "lines of the doctor's report",
}
# Of these only what goes into such calls: the report itself, which is copied for a support thread, is English.
PARTLY = {"local/doctor/report.py": {"problem", "update"}}
# Words that come into a sentence as a value, and are too short to be known for words of a sentence by their looks.
WORDS = (
    "Cancelled.",
    "not told",
    "left",
    "right",
    "top",
    "bottom",
    "older",
    "newer",
    "here",
    "there",
    "once",
    "twice",
    "{0} times",
    "{0} seconds",
    "{0} minutes",
    "pixels",
    "seconds",
    "shape",
    "texture",
    "a number",
    "a text",
    "allowed: {0}",
    "Examining",
    "Examining: {0}",
    "Examining: self-test",
    "Devices",
    "Network",
    "Self-test",
    "Variables",
    "Versions",
    "Weights",
    "Worker",
    "Local backend",
    "Last jobs that failed",
)
# What the system says of a file or a connection, which stands in many sentences.
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
# Texts with the looks of words that go to programs, come from them, are names, or are written into a file.
NOT_SAID = {
    "(not kept)",
    "(the token)",
    "/files/{{secret}}/{{name}}",
    "AMD graphics",
    "Apple silicon",
    "Built with DINOv3",
    "Intel graphics",
    "Made from {0} by {1}",
    "Made with TRELLIS.2 (weights: MIT licence); the rights in the picture stay with their holder",
    "Made without a model; the rights in the picture stay with their holder",
    "Pages free",
    "Pages inactive",
    "Pages purgeable",
    "Pages speculative",
    "Peng Zheng et al.",
    "TRELLIS.2 for Blender",
    "TRELLIS.2 for Blender {0}",
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01",
    "bad allocation",
    "can't allocate memory",
    "cannot allocate memory",
    "comment TRELLIS.2 for Blender",
    "element face {0}",
    "element vertex {0}",
    "format binary_little_endian 1.0",
    "hip error",
    "not enough memory",
    "out of memory",
    "paging file is too small",
    "property float {0}",
    "property list uchar int vertex_indices",
    "property uchar {0}",
    "{0}: shape_slat_normalization",
    "{0}: tex_slat_normalization",
}
# Calls whose texts are not for the artist: logs, the terminal, programs, and words that are looked for in others.
_LOGS = {"debug", "info", "warning", "error", "exception", "print", "print_help", "write"}
_PROGRAMS = {"compile", "getLogger", "execute", "executescript", "startswith", "endswith", "removeprefix", "Field"}
_PARSERS = {"add_argument", "add_parser", "add_subparsers", "ArgumentParser"}
_OF_BLENDER = {f"pgettext{kind}" for kind in ("", "_iface", "_tip", "_rpt", "_data", "_n")}
# Caught again within the library.
_INNER_ERRORS = {
    "AssertionError", "AttributeError", "ConnectError", "HTTPException", "KeyError", "MemoryError", "Mismatch",
    "NotImplementedError", "OSError", "ReadTimeout", "RuntimeError", "TypeError", "ValueError",
}  # fmt: skip
_NOT_SAID = _LOGS | _PROGRAMS | _PARSERS | _OF_BLENDER | _INNER_ERRORS
_DATABASE = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|PRAGMA|WHERE|ORDER BY)\b")
_MOST_CHOICES = 8

Parts = tuple[str | None, ...]  # literals, and None for a value


def sentences(root: Path) -> list[str]:
    """Every sentence as a template with {0}, {1} ... for its values, sorted, each once."""
    library = root / "trellis_addon"
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(library.rglob("*.py"))}
    constants = dict(pair for tree in trees.values() for pair in _constants(tree))
    found = {*WORDS, *SYSTEM}
    for path, tree in trees.items():
        place = path.relative_to(library).as_posix()
        reader = _Reader(tree, constants)
        if place in PARTLY:
            calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and _name(n.func) in PARTLY[place]]
            for part in itertools.chain.from_iterable(call.args for call in calls):
                found.update(reader.read(part))
        elif not _is_left_out(place):
            found.update(reader.read(tree))
    for folder in ("addon", "operators", "ui"):  # their own words are looked up as they are; their errors are not
        for path in sorted((root / folder).glob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            reader = _Reader(tree, constants)
            for node in ast.walk(tree):
                if isinstance(node, ast.Raise) and node.exc is not None:
                    found.update(reader.read(node.exc))
    return sorted(found - NOT_SAID)


def _is_left_out(place: str) -> bool:
    return any(place == name or (name.endswith("/") and place.startswith(name)) for name in LEFT_OUT)


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The module's names for pieces of sentences."""
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant | ast.JoinedStr):
            continue
        if isinstance(target := node.targets[0], ast.Name) and _has_words(ast.unparse(node.value)):
            yield target.id, node.value


class _Reader:
    """Reads one module; `constants` are the library's names for pieces of sentences."""

    def __init__(self, tree: ast.Module, constants: dict[str, ast.expr]) -> None:
        self._constants = constants | dict(_constants(tree))
        self._names: dict[str, ast.expr | None] = {}  # of the function that is read; None: assigned more than once
        self._used: set[int] = set()  # pieces that have become part of whole sentences
        self._docs = set(map(id, _docstrings(tree)))

    def read(self, tree: ast.AST) -> Iterator[str]:
        found = [(node, template) for node, templates in self._texts(tree) for template in templates]
        for node, template in found:
            if id(node) not in self._used and _is_sentence(template):
                yield template

    def _texts(self, node: ast.AST) -> Iterator[tuple[ast.AST, list[str]]]:
        """Each text below a node, with the templates that are made of it."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            outer, self._names = self._names, self._names | _assigned(node)
            yield from self._below(node)
            self._names = outer
            return
        if isinstance(node, ast.Call):
            name = _name(node.func)
            is_stage = name == "update" and node.args and isinstance(node.args[0], ast.Constant)
            if name in _NOT_SAID or is_stage:  # the stages' names are in a table of the interface
                return
            if name == "format" and isinstance(template := getattr(node.func, "value", None), ast.Constant):
                yield node, [_numbered(_parts_of_format(template.value))]
                self._used.add(id(template))
        if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
            if isinstance(node, ast.Constant) and (not isinstance(node.value, str) or id(node) in self._docs):
                return
            if isinstance(node, ast.BinOp) and not (isinstance(node.op, ast.Add) and _has_text(node)):
                yield from self._below(node)
                return
            yield node, [_numbered(parts) for parts in self._choices(node, True)]
            for value in _values(node):
                if not self._is_inlined(value):
                    yield from self._texts(value)
            return
        yield from self._below(node)

    def _below(self, node: ast.AST) -> Iterator[tuple[ast.AST, list[str]]]:
        skipped: tuple[ast.AST | None, ...] = ()
        if isinstance(node, ast.Dict):
            skipped = tuple(node.keys)
        elif isinstance(node, ast.Compare):  # words that are looked for
            skipped = (node.left, *node.comparators)
        elif isinstance(node, ast.Subscript):
            skipped = (node.slice,)
        for child in ast.iter_child_nodes(node):
            if child not in skipped:
                yield from self._texts(child)

    def _choices(self, node: ast.expr, is_whole: bool = False) -> list[Parts]:
        """What a text may be made of, in each way that it can come out."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [(node.value,)]
        if isinstance(node, ast.JoinedStr):
            return _product([self._choices(value) for value in node.values])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return _product([self._choices(node.left), self._choices(node.right)])
        if isinstance(node, ast.FormattedValue):
            return self._choices(node.value)
        if not is_whole and self._is_inlined(node):
            if isinstance(node, ast.IfExp):
                return [*self._choices(node.body), *self._choices(node.orelse)]
            literal = self._literal_of(node)
            assert literal is not None
            if not _numbered(self._choices(literal)[0]).endswith("."):
                self._used.update(id(part) for part in ast.walk(literal))
            return self._choices(literal)
        return [(None,)]

    def _is_inlined(self, node: ast.expr) -> bool:
        """Whether a value is one of some literals, so that each makes a sentence of its own."""
        if isinstance(node, ast.FormattedValue):
            return self._is_inlined(node.value)
        if isinstance(node, ast.IfExp):
            branches = (node.body, node.orelse)
            is_open = any(not isinstance(b, ast.Constant | ast.JoinedStr | ast.IfExp) for b in branches)
            return not is_open and any(_has_text(b) and re.search("[a-z]", ast.unparse(b)) for b in branches)
        literal = self._literal_of(node)
        return literal is not None and (isinstance(literal, ast.Constant | ast.JoinedStr) or self._is_inlined(literal))

    def _literal_of(self, node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.Name):
            return None
        if node.id in self._names:
            found = self._names[node.id]
            return found if isinstance(found, ast.Constant | ast.JoinedStr | ast.IfExp) and _has_text(found) else None
        return self._constants.get(node.id)


def _assigned(function: ast.AST) -> dict[str, ast.expr | None]:
    """The names that a function gives to values, None where it does so more than once, or by its parameters."""
    nodes = list(ast.walk(function))
    stored = Counter(node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    stored += Counter(node.arg for node in nodes if isinstance(node, ast.arg))
    found: dict[str, ast.expr | None] = dict.fromkeys(stored)
    for node in nodes:
        name = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(name, ast.Name) and stored[name.id] == 1:
            found[name.id] = node.value
    return found


def _docstrings(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def _values(node: ast.expr) -> Iterator[ast.expr]:
    """What is put into a text."""
    if isinstance(node, ast.JoinedStr):
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield part.value
    elif isinstance(node, ast.BinOp):
        for side in (node.left, node.right):
            is_text = isinstance(side, ast.JoinedStr | ast.BinOp)
            yield from _values(side) if is_text else () if isinstance(side, ast.Constant) else (side,)


def _has_text(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in ast.walk(node))


def _product(parts: list[list[Parts]]) -> list[Parts]:
    count = 1
    for choices in parts:
        count *= len(choices)
    if count > _MOST_CHOICES:
        parts = [choices if len(choices) == 1 else [(None,)] for choices in parts]
    return [tuple(itertools.chain(*way)) for way in itertools.product(*parts)]


def _parts_of_format(template: str) -> Parts:
    found: list[str | None] = []
    for literal, field, _, _ in Formatter().parse(template):
        found += [literal] if field is None else [literal, None]
    return tuple(found)


def _numbered(parts: Parts) -> str:
    """The template; values that touch each other are one."""
    text, count = "", 0
    for part in parts:
        if part is not None:
            text += part.replace("{", "{{").replace("}", "}}")
        elif not text.endswith(f"{{{count - 1}}}") or not count:
            text += f"{{{count}}}"
            count += 1
    return text


def _is_sentence(template: str) -> bool:
    """Whether a text has the looks of a sentence, or of a clause of one."""
    text = "".join(literal + (" " if field is None else "\0") for literal, field, _, _ in Formatter().parse(template))
    words = re.findall(r"[A-Za-z][A-Za-z'’-]+", text)
    is_long = len(words) > 1 and sum(map(len, words)) >= 7
    is_prose = any(word.islower() for word in words) and re.search(r"\S [a-z\0(]", text)
    return bool(is_long and is_prose) and "\n" not in text and not _DATABASE.search(text)


def _has_words(text: str) -> bool:
    return len(re.findall(r"[a-z]{2,}", text)) > 1 and " " in text


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
