"""Run a program with folders to import from: `beside.py PATHS PROGRAM ARGUMENT...`, where PATHS is a list in JSON."""

import json
import runpy
import sys

if __name__ == "__main__":
    paths, program = json.loads(sys.argv[1]), sys.argv[2]
    sys.path[:0] = paths
    del sys.argv[:2]
    runpy.run_path(program, run_name="__main__")
