"""Everything a fresh machine with Python 3.11 needs, in one command each.

    python3 tools/dev.py demo      install, then make a .blend and a rendered picture of the example, in demo/
    python3 tools/dev.py test      install, lint, type-check, build, and test: the checkout, and the zip in each Blender
    python3 tools/dev.py test -k cutout
                                   the same without the zip; what follows is handed to pytest
    python3 tools/dev.py matrix    the tests on the built zip only, under Blender 4.2, 4.5, 5.0 and, where Python 3.13
                                   is found, 5.2; `matrix 4.2` for one of them
    python3 tools/dev.py zips      the zip of every system, each checked against that system
    python3 tools/dev.py portable 4.5
                                   the built zip in a portable Blender from blender.org: installed, and an asset made

Inside an active virtual environment everything is installed into it; otherwise into .venv in the checkout.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import matrix as suites
from environments import ROOT, environment, install, install_fast, install_torch, install_uv, run, say

EXAMPLE = ROOT / "examples" / "lantern.png"
PYTHONS = {version for _, version in suites.RELEASES.values()}
FOR_BUILDING = ("markdown>=3.6", "packaging>=24", "pillow>=11")  # what tools/build.py needs besides pip
STARTED = time.monotonic()


def main() -> int:
    options = parse(sys.argv[1:])
    os.chdir(ROOT)
    try:
        options.run(options)
    except subprocess.CalledProcessError as error:
        return error.returncode or 1
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """`run` is what to do; `arguments` what `test` hands to pytest, whether options or files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    commands.add_parser("demo").set_defaults(run=demo)
    commands.add_parser("test", usage="%(prog)s [what is handed to pytest ...]").set_defaults(run=test)
    matrix_parser = commands.add_parser("matrix")
    matrix_parser.add_argument("releases", nargs="*", choices=[[], *suites.RELEASES], help="which (default: all)")
    matrix_parser.set_defaults(run=matrix)
    commands.add_parser("zips").set_defaults(run=zips)
    portable_parser = commands.add_parser("portable")
    portable_parser.add_argument("release", help="of Blender, such as 4.5")
    portable_parser.set_defaults(run=portable)
    # not argparse.REMAINDER, which refuses an option as the first of what remains
    options, rest = parser.parse_known_args(arguments)
    options.arguments = rest
    if options.arguments and options.run is not test:
        parser.error(f"unrecognized arguments: {' '.join(options.arguments)}")
    return options


def demo(options: argparse.Namespace) -> None:
    python = environment(PYTHONS)
    install(python, ".[blender]")
    say("Making an asset of examples/lantern.png")
    results = ["--output", "demo/lantern.blend", "--render", "demo/lantern.png"]
    run(python, "-m", "trellis_addon", "generate", str(EXAMPLE), *results)
    say("Done: demo/lantern.blend, and a picture of it in demo/lantern.png")


def test(options: argparse.Namespace) -> None:
    python = environment(PYTHONS)
    install_uv(python)
    install_torch(python)
    install_fast(python, ".[blender,dev,local]", helper=python)
    stage("ruff, the order of imports, mypy")
    run(python, "-m", "ruff", "check", ".")
    run(python, "-m", "ruff", "format", "--check", ".")
    run(python, "tools/lint_imports.py")
    run(python, "tools/check_types.py")
    if options.arguments:
        stage("pytest")
        run(python, "-m", "pytest", *options.arguments)
        return
    stage("the suite: the checkout, and the zip in each Blender")
    run_suites(python, list(suites.RELEASES), checkout=True)


def matrix(options: argparse.Namespace) -> None:
    python = environment(PYTHONS)
    install_uv(python)
    install(python, *FOR_BUILDING)
    run_suites(python, options.releases or list(suites.RELEASES), checkout=False)


def zips(options: argparse.Namespace) -> None:
    python = environment(PYTHONS)
    install(python, *FOR_BUILDING)
    run(python, "tools/build.py")


def portable(options: argparse.Namespace) -> None:
    python = environment(PYTHONS)
    install(python, *FOR_BUILDING)
    run(python, "tools/build.py", "--platform", "here")
    (archive,) = Path("dist").glob("*.zip")
    run(python, "tools/portable.py", options.release, str(archive))


def run_suites(python: str, releases: list[str], checkout: bool) -> None:
    run(python, "tools/build.py", "--platform", "here")
    (archive,) = Path("dist").glob("*.zip")
    good = suites.run_all(archive.resolve(), python, releases, checkout)
    stage("done")
    if not good:
        raise subprocess.CalledProcessError(1, "pytest")


def stage(text: str) -> None:
    say(f"{text} ({(time.monotonic() - STARTED) / 60:.1f} min since the start)")


if __name__ == "__main__":
    sys.exit(main())
