"""Which module of the extension imports which, read from the sources: nothing is run.

Counted are imports wherever they stand, inside functions too, and modules that are named in a string: by a package that
loads its names late (".api"), for a process of its own (".engines.export"), or in a script that is handed to one.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

TOPS = ("trellis_addon", "addon", "operators", "ui")
# What Blender, a shell, and `python -m` begin with
ENTRIES = ("", "trellis_addon", "trellis_addon.__main__")
_IN_A_STRING = re.compile(r"(?:^|(?<=[\s\"']))(\.[a-z_]\w*(?:\.\w+)*|trellis_addon(?:\.\w+)+)(?=$|[\s\"';])")


def read_graph(root: Path, *, named: bool = True) -> dict[str, set[str]]:
    """The modules by their dotted names ("" is the extension's own `__init__`), each with those that it imports.

    `named` takes in those that are only named in a string.
    """
    files = {"": root / "__init__.py"}
    for top in TOPS:
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: set(_imports(name, path, files, named)) - {name} for name, path in files.items() if path.is_file()}


@functools.cache
def unreachable(root: Path) -> set[str]:
    """The modules that no entry of the product reaches."""
    graph = read_graph(root)
    found: set[str] = set()
    todo = [entry for entry in ENTRIES if entry in graph]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [*graph[name], *_packages_of(name, graph)]
    return set(graph) - found


def path_of(module: str, root: Path) -> str:
    """Where a module's file lies below the root."""
    place = module.replace(".", "/")
    return f"{place}/__init__.py" if (root / place).is_dir() else f"{place}.py"


def _packages_of(name: str, known: dict[str, set[str]]) -> list[str]:
    parts = name.split(".")
    return [above for end in range(1, len(parts)) if (above := ".".join(parts[:end])) in known]


def _imports(name: str, path: Path, known: dict[str, Path], named_too: bool) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    told = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings name, and load nothing
    for node in nodes:
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _from(package, node)
            candidates = [base, *(f"{base}.{alias.name}".removeprefix(".") for alias in node.names)]
        elif named_too and isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            named = [found.strip() for found in _IN_A_STRING.findall(node.value)]
            candidates = [one for one in named if one[0] != "."]
            candidates += [f"{above}{one}" for one in named if one[0] == "." for above in {package, "trellis_addon"}]
        else:
            continue
        yield from (candidate for candidate in candidates if candidate in known and candidate != "")


def _from(package: str, node: ast.ImportFrom) -> str:
    """The module that names are imported from, as a dotted name from the root of the extension."""
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    above = parts[: len(parts) - (node.level - 1)]
    return ".".join([*above, *([node.module] if node.module else [])])
