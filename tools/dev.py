"""Everything a fresh machine with Python 3.11 needs, in one command each.

    python3 tools/dev.py demo      install, then make a .blend and a rendered picture of the example, in demo/
    python3 tools/dev.py test      install, then lint, type-check and test
    python3 tools/dev.py matrix    the tests under Blender 4.2, 4.5, 5.0 and, where Python 3.13 is found, 5.2

Inside an active virtual environment everything is installed into it; otherwise into .venv in the checkout.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "lantern.png"

# Blender's release -> (the bpy module, the Python it is made for)
RELEASES = {
    "4.2": ("bpy==4.2.23", (3, 11)),
    "4.5": ("bpy==4.5.15", (3, 11)),
    "5.0": ("bpy==5.0.1", (3, 11)),
    "5.2": ("bpy==5.2.3", (3, 13)),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    commands.add_parser("demo").set_defaults(run=demo)
    test_parser = commands.add_parser("test")
    test_parser.add_argument("arguments", nargs=argparse.REMAINDER, help="handed to pytest")
    test_parser.set_defaults(run=test)
    matrix_parser = commands.add_parser("matrix")
    matrix_parser.add_argument("releases", nargs="*", choices=[[], *RELEASES], help="which (default: all)")
    matrix_parser.set_defaults(run=matrix)
    options = parser.parse_args()
    os.chdir(ROOT)
    try:
        options.run(options)
    except subprocess.CalledProcessError as error:
        return error.returncode or 1
    return 0


def demo(options: argparse.Namespace) -> None:
    python = environment()
    install(python, ".[blender]")
    say("Making an asset of examples/lantern.png")
    results = ["--output", "demo/lantern.blend", "--render", "demo/lantern.png"]
    run(python, "-m", "trellis_addon", "generate", str(EXAMPLE), *results)
    say("Done: demo/lantern.blend, and a picture of it in demo/lantern.png")


def test(options: argparse.Namespace) -> None:
    python = environment()
    install(python, ".[blender,dev]")
    say("ruff and mypy")
    run(python, "-m", "ruff", "check", ".")
    run(python, "-m", "ruff", "format", "--check", ".")
    run(python, "-m", "mypy")
    say("pytest")
    run(python, "-m", "pytest", *options.arguments)


def matrix(options: argparse.Namespace) -> None:
    """The suite once per release, each in an environment of its own; goes on after a failure."""
    outcome: dict[str, str] = {}
    for release in options.releases or RELEASES:
        package, version = RELEASES[release]
        base = find_python(version)
        if base is None:
            outcome[release] = f"not run: no Python {version[0]}.{version[1]} found"
            continue
        python = make_environment(ROOT / f".venv-{release}", base)
        install(python, ".", package, "pytest")
        say(f"pytest with {package}")
        started = time.monotonic()
        code = subprocess.run([python, "-m", "pytest", "-q"]).returncode
        outcome[release] = f"{'passed' if code == 0 else f'failed ({code})'} in {time.monotonic() - started:.0f} s"
    for release, result in outcome.items():
        print(f"Blender {release}: {result}")
    if any(result.startswith("failed") for result in outcome.values()):
        raise subprocess.CalledProcessError(1, "matrix")


def environment() -> str:
    """The Python to install into: the active environment's, or that of .venv in the checkout."""
    if sys.prefix != sys.base_prefix:
        return sys.executable
    if sys.version_info[:2] not in {version for _, version in RELEASES.values()}:
        sys.exit(f"This needs Python 3.11 or 3.13, as Blender does; this is {sys.version.split()[0]}.")
    return make_environment(ROOT / ".venv", sys.executable)


def make_environment(folder: Path, base: str) -> str:
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        say(f"Making the virtual environment {folder.name}")
        if base == sys.executable and has_ensurepip():
            venv.create(folder, with_pip=True)
        else:
            # Debian's Python comes without ensurepip: its pip can still fill an environment from outside.
            without_pip = subprocess.run([base, "-c", "import ensurepip"], capture_output=True).returncode != 0
            run(base, "-m", "venv", *(["--without-pip"] if without_pip else []), str(folder))
            if without_pip:
                run(base, "-m", "pip", "--python", str(python), "install", "--quiet", "pip")
    return str(python)


def has_ensurepip() -> bool:
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        return False
    return True


def install(python: str, *packages: str) -> None:
    """With pip's own progress bar; quick when everything is there already."""
    say("Installing " + ", ".join(packages))
    editable = [item for package in packages for item in (("--editable", package) if package[0] == "." else (package,))]
    run(python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "on", *editable)


def find_python(version: tuple[int, int]) -> str | None:
    """A Python of this version: this one, one on the path, or one of pyenv's."""
    if sys.version_info[:2] == version:
        return sys.executable
    name = f"python{version[0]}.{version[1]}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(name), *map(str, sorted(pyenv.glob(f"{version[0]}.{version[1]}.*/bin/python")))]
    for candidate in filter(None, found):
        # pyenv leaves shims on the path that only say that they are not set up
        if subprocess.run([candidate, "--version"], capture_output=True).returncode == 0:
            return candidate
    return None


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def say(text: str) -> None:
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
