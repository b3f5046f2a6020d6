"""Where a process of ours begins: `python entry.py JSON`, started by `child`, and imported by nobody.

Or `blender --python entry.py -- JSON`.

A file and not a piece of code in the arguments, which virus scanners take for an attack. It runs before it is known
where the package lies, and knows only Python itself.
"""

from __future__ import annotations

import importlib
import json
import sys


def main(told: str) -> int:
    """Run `main(arguments)` of a module; `told` are the folders to import from, the module, its arguments, whether it
    runs from a folder of ours, and the folders that come before Python's own.

    Blender's Python runs isolated and ignores PYTHONPATH: the folders come by the arguments. `trellis_addon` is found
    in its own folder's parent, however the package is called in the program that starts it.
    """
    paths, module, arguments, is_installed, first = json.loads(told)
    sys.path[:0] = first
    sys.path.extend(path for path in paths if path not in sys.path)
    # kept as long as this runs: it says so
    held = importlib.import_module("trellis_addon.runtime.running").hold() if is_installed else None
    code: int = importlib.import_module(module, "trellis_addon").main(arguments)
    del held
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1]))
