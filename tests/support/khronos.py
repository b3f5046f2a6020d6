"""The Khronos glTF validator for tests: an npm package, installed once into the user's cache folder."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from conftest import PATIENCE

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "validator"


def validate(glb: bytes, folder: Path) -> dict[str, Any]:
    """The validator's report on a file. Skips the test where there is no node or no npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("the Khronos validator needs node and npm")
    version = json.loads((TOOLS / "package.json").read_text())["dependencies"]["gltf-validator"]
    modules = Path(platformdirs.user_cache_dir("trellis2-blender")) / f"gltf-validator-{version}"
    if not (modules / "node_modules" / "gltf-validator" / "package.json").exists():
        modules.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(TOOLS / name, modules / name)
        install = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(install, cwd=modules, check=True, capture_output=True, timeout=PATIENCE)
    path = folder / "validate.glb"
    path.write_bytes(glb)
    command = [node, str(TOOLS / "validate_glb.mjs"), "--modules", str(modules), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def assert_valid(glb: bytes, folder: Path) -> None:
    """No error and no warning by the Khronos rules."""
    issues = validate(glb, folder)["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]
