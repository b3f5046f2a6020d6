"""Type-check everything that is ours: the library, Blender's buttons and panels over it, and the developers' tools.

    python tools/check_types.py

`mypy` alone checks the library and devtools/. Buttons and panels reach the library by relative imports out of their own
folder, which mypy follows only inside of one package: it is given a copy in which the extension is one.
"""

from __future__ import annotations

import os
import subprocess
import sys

from as_package import NAME, copy_extension
from environments import ROOT

WHERE = ROOT / "build" / "typing"


def main() -> int:
    copy_extension(WHERE)
    tools = ROOT / "tools"
    packages = ["trellis_addon", "devtools", *(f"{NAME}.{part}" for part in ("addon", "operators", "ui"))]
    command = [sys.executable, "-m", "mypy", *(argument for name in packages for argument in ("-p", name))]
    command += [argument for path in sorted(tools.glob("*.py")) for argument in ("-m", path.stem)]
    environment = {**os.environ, "MYPYPATH": os.pathsep.join(map(str, (tools, WHERE, ROOT)))}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, encoding="utf-8")
    print(done.stdout.replace(f"{(WHERE / NAME).relative_to(ROOT)}{os.sep}", ""), end="", flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
