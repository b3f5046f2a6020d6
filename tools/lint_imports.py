"""Check that imports point one way: the floors of the house, as `pyproject.toml` names them under `importlinter`.

    python tools/lint_imports.py

The extension is one package whose name is Blender's to choose, so the linter is given a folder in which it is called
`trellis2`: a copy of this one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from environments import ROOT

PACKAGES = ("trellis_addon", "addon", "operators", "ui")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        extension = Path(folder, "trellis2")
        extension.mkdir()
        shutil.copyfile(ROOT / "__init__.py", extension / "__init__.py")
        for name in PACKAGES:
            shutil.copytree(ROOT / name, extension / name, ignore=shutil.ignore_patterns("__pycache__"))
        command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
        command += [str(ROOT / "pyproject.toml"), "--no-cache", "--no-logo"]
        return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": folder}).returncode


if __name__ == "__main__":
    sys.exit(main())
