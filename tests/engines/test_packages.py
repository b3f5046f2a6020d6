"""What the engine of the model imports is what it asks for before it begins."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from trellis_addon.core.errors import EngineError
from trellis_addon.engines.trellis2 import PACKAGES, check_packages

BROUGHT = {"numpy", "PIL", "trellis_addon"}  # by Blender, and by the extension
# each is asked for where it is used, with a sentence of its own or another way
OPTIONAL = {"onnxruntime", "pynanoinstantmeshes", "triton"}


def imported(folder: Path) -> set[str]:
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names)


@pytest.mark.checkout
def test_every_package_that_the_engine_imports_is_asked_for() -> None:
    found = {name for part in ("pipeline", "geometry") for name in imported(ROOT / "trellis_addon" / part)}
    assert found - BROUGHT - OPTIONAL - {"devtools"} == set(PACKAGES)


def test_what_is_missing_is_named_with_the_cure() -> None:
    with pytest.raises(EngineError, match="no_such_package, neither_this is not installed here; install"):
        check_packages("json", "no_such_package", "neither_this")
