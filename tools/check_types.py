"""Type-check everything that is ours: the library, Blender's buttons and panels over it, and the developers' tools.

    python tools/check_types.py                  on this system, and what differs between systems on the others
    python tools/check_types.py --everywhere     everything on every system

`mypy` alone checks the library and devtools/. Buttons and panels reach the library by relative imports out of their own
folder, which mypy follows only inside of one package: it is given a copy in which the extension is one.

What a system does not have (`os.getuid` on Windows) is found only by a run that is told of that system. For those runs,
of a few seconds each, the modules are chosen that import something of the standard library whose types depend on the
system, without reading what they import of ours and of others.
"""

from __future__ import annotations

import argparse
import ast
import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from as_package import FOLDERS, NAME, copy_extension
from environments import ROOT

WHERE = ROOT / "build" / "typing"
TOOLS = ROOT / "tools"
PLATFORMS = ("linux", "win32", "darwin")
# What is unreachable on one system is there for another one.
_FOREIGN = ("--no-warn-unreachable", "--no-warn-unused-ignores")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--everywhere", action="store_true", help="everything on every system")
    options = parser.parse_args()
    copy_extension(WHERE)
    packages = ["trellis_addon", "devtools", *(f"{NAME}.{part}" for part in ("addon", "operators", "ui"))]
    whole = [argument for name in packages for argument in ("-p", name)]
    whole += [argument for path in sorted(TOOLS.glob("*.py")) for argument in ("-m", path.stem)]
    part = [argument for name in depending() for argument in ("-m", name)]
    codes = [check(whole)]
    for platform in PLATFORMS:
        if platform != sys.platform:
            # a cache of its own: one for several systems would be written anew at every turn
            flags = ["--platform", platform, *_FOREIGN, "--cache-dir", str(ROOT / ".mypy_cache" / platform)]
            codes.append(
                check([*flags, *(whole if options.everywhere else ["--follow-imports=skip", *part])], platform)
            )
    return max(codes)


def check(arguments: list[str], platform: str = sys.platform) -> int:
    """Mypy's answer, printed with the paths of the checkout; its exit code."""
    environment = {**os.environ, "MYPYPATH": os.pathsep.join(map(str, (TOOLS, WHERE, ROOT)))}
    command = [sys.executable, "-m", "mypy", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, encoding="utf-8")
    said = done.stdout.replace(f"{(WHERE / NAME).relative_to(ROOT)}{os.sep}", "")
    print("".join(f"{platform}: {line}\n" for line in said.splitlines()), end="", flush=True)
    return done.returncode


def depending() -> list[str]:
    """The modules that may be right on one system and wrong on another.

    Those with arrays are left to a run of everything: what they import cannot be left unread.
    """
    found: list[str] = []
    for root, name in [*((ROOT / folder, f"{NAME}.{folder}") for folder in FOLDERS), (TOOLS, "")]:
        for path in sorted(root.rglob("*.py")):
            imported = set(imports(path))
            if imported & by_system() and "numpy" not in imported:
                parts = path.relative_to(root).with_suffix("").parts
                found.append(".".join(filter(None, (name, *(part for part in parts if part != "__init__")))))
    return found


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, at the top or inside, by the first word of their names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@functools.cache
def by_system() -> frozenset[str]:
    """The modules of the standard library whose types depend on the system: mypy brings them along."""
    import mypy

    stubs = Path(str(mypy.__file__)).parent / "typeshed" / "stdlib"
    found = (path for path in stubs.rglob("*.pyi") if re.search(r"\bsys\.platform\b", path.read_text(encoding="utf-8")))
    return frozenset(path.relative_to(stubs).with_suffix("").parts[0] for path in found) - {"builtins"}


if __name__ == "__main__":
    sys.exit(main())
