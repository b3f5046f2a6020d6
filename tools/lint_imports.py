"""Check that imports point one way: the floors of the house, as `pyproject.toml` names them under `importlinter`.

    python tools/lint_imports.py

The extension is one package whose name is Blender's to choose, so the linter is given a folder in which it is called
`trellis2`: a copy of this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from as_package import copy_extension
from environments import ROOT


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        copy_extension(Path(folder))
        command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
        command += [str(ROOT / "pyproject.toml"), "--no-cache", "--no-logo"]
        return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": folder}).returncode


if __name__ == "__main__":
    sys.exit(main())
