"""Write the entries of lists that are new, with the numbers that they have in the code, into data/enumerations.json.

    python tests/by_hand/keep_numbers.py

Nothing that stands there is changed or taken out: an entry whose number is another one now, or one that another entry
had, is an error. Needs `bpy`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
FILE = TESTS / "data" / "enumerations.json"


def main() -> int:
    sys.path[:0] = [str(TESTS), str(TESTS / "addon")]
    import conftest  # noqa: F401  before bpy, which reads its folders when it is imported

    import bpy  # isort: skip
    from test_extension import load
    from write_release import enumerations

    load().register()
    known = json.loads(FILE.read_text(encoding="utf-8"))
    wrong = 0
    for name, entries in enumerations(bpy).items():
        had = known.setdefault(name, {})
        for entry, number in entries.items():
            if had.get(entry, number) != number or (entry not in had and number in had.values()):
                print(f"{name}: {entry} has {number}; {had}", file=sys.stderr)
                wrong += 1
            else:
                had[entry] = number
    ordered = {name: dict(sorted(entries.items(), key=lambda entry: entry[1])) for name, entries in known.items()}
    FILE.write_text(json.dumps(dict(sorted(ordered.items())), indent=1) + "\n", encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a module of Blender whose extension is still there ends badly by itself
