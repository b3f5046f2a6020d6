"""Another Python process that finds this package, whatever it is called in this one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

# Blender's Python runs isolated and ignores PYTHONPATH: the child takes its paths from its arguments.
# `trellis_addon` is found in its own folder's parent, however the package is named here.
_BOOTSTRAP = """
import importlib, json, sys
paths, module, arguments = json.loads(sys.argv[1])
sys.path.extend(path for path in paths if path not in sys.path)
sys.exit(importlib.import_module("trellis_addon" + module).main(arguments))
"""


def start_child(module: str, arguments: list[str], **streams: Any) -> subprocess.Popen[str]:
    """Start `main(arguments)` of a module of this package (".cli") in a process of its own; text streams."""
    paths = [*filter(None, sys.path), str(Path(__file__).resolve().parents[1])]
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _BOOTSTRAP, json.dumps([paths, module, arguments])],
        text=True,
        encoding="utf-8",
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        **streams,
    )
