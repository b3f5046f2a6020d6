"""Every package's `__init__` is a map of it: one line a module."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.checkout

PACKAGES = sorted(
    init.parent
    for top in ("trellis_addon", "addon", "operators", "ui", "devtools")
    for init in (ROOT / top).rglob("__init__.py")
)
# "name   what it is", or "name, name   what they are", perhaps numbered
LINE = re.compile(r"^\s*(?:\d+\. )?(\w+(?:, \w+)*) {2,}\S", re.M)


def modules(package: Path) -> set[str]:
    inside = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    return {name for name in inside if not name.startswith("__")}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_package_names_its_modules(package: Path) -> None:
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    named = {name for line in LINE.findall(text) for name in line.split(", ")}
    here = modules(package)
    assert not here - named, f"without a line in {package.name}/__init__.py"
    below = {name for path in package.rglob("__init__.py") for name in modules(path.parent)}
    assert not named - below, f"in {package.name}/__init__.py, and gone"
