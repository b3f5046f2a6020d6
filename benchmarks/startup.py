"""What the extension adds to Blender's start: importing the library, and enabling the extension.

    python benchmarks/startup.py [--runs N]

Needs bpy. Each run is a fresh process; the peer is Blender's own start in the same run. Aim: under 0.15 s.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_SCRIPT = """
import importlib.util, json, sys, time
root = sys.argv[1]
times = {}
started = time.perf_counter()
import bpy
times["Blender's own start"] = time.perf_counter() - started
started = time.perf_counter()
spec = importlib.util.spec_from_file_location("trellis2", root + "/__init__.py", submodule_search_locations=[root])
module = importlib.util.module_from_spec(spec)
sys.modules["trellis2"] = module
spec.loader.exec_module(module)
module.register()
times["enabling the extension"] = time.perf_counter() - started
module.unregister()
sys.path.insert(0, root)
started = time.perf_counter()
import trellis_addon
times["import trellis_addon"] = time.perf_counter() - started
print(json.dumps(times))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = []
    for _ in range(parser.parse_args().runs):
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(ROOT)], check=True, capture_output=True, encoding="utf-8"
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{'seconds':<24} {'min':>7} {'median':>7} {'max':>7}")
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"{name:<24} {min(values):>7.4f} {statistics.median(values):>7.4f} {max(values):>7.4f}")


if __name__ == "__main__":
    main()
