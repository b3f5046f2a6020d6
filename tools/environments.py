"""Virtual environments, and how they are filled: by pip, or by uv where only speed counts."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The version that the tests are known with. Named, because the newest one may exist only with gigabytes of CUDA.
TORCH = "torch==2.13.0"
FETCHED = ROOT / "build" / "python"


def environment(pythons: set[tuple[int, int]]) -> str:
    """The Python to install into: the active environment's, or that of .venv in the checkout."""
    if sys.prefix != sys.base_prefix:
        return sys.executable
    if sys.version_info[:2] not in pythons:
        sys.exit(f"This needs Python 3.11 or 3.13, as Blender does; this is {sys.version.split()[0]}.")
    return make_environment(ROOT / ".venv", sys.executable)


def make_environment(folder: Path, base: str) -> str:
    """A virtual environment with pip; returns its Python."""
    python = environment_python(folder)
    if not Path(python).exists():
        say(f"Making the virtual environment {folder.name}")
        if base == sys.executable and importlib.util.find_spec("ensurepip"):
            venv.create(folder, with_pip=True)
        else:
            # Debian's Python comes without ensurepip: its pip can still fill an environment from outside.
            without_pip = subprocess.run([base, "-c", "import ensurepip"], capture_output=True).returncode != 0
            run(base, "-m", "venv", *(["--without-pip"] if without_pip else []), str(folder))
            if without_pip:
                run(base, "-m", "pip", "--python", python, "install", "--quiet", "pip")
    return python


def environment_python(folder: Path) -> str:
    """The Python of a virtual environment, whether it is there or not."""
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def make_bare_environment(folder: Path, base: str) -> None:
    """An empty virtual environment, for `install_fast`."""
    shutil.rmtree(folder, ignore_errors=True)
    run(base, "-m", "venv", "--without-pip", str(folder))


def install(python: str, *packages: str) -> None:
    """With pip and its own progress bar; quick when everything is there already."""
    say("Installing " + ", ".join(packages))
    run(python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "on", *_editable(packages))


def install_fast(python: str, *packages: str, helper: str, quiet: bool = False) -> None:
    """With the uv or else the pip of the environment of `helper`: uv takes seconds where pip takes a minute.

    uv does not read pip's configuration, so what a machine's own mirror or folder of wheels provides is pip's to fetch.
    """
    if not quiet:
        say("Installing " + ", ".join(packages))
    uv = Path(helper).with_name("uv.exe" if os.name == "nt" else "uv")
    if uv.exists():
        command = [str(uv), "pip", "install", "--quiet", "--python", python, *_editable(packages)]
        if subprocess.run(command, capture_output=quiet).returncode == 0:
            return
    pip = [helper, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", "--no-compile"]
    run(*pip, *(["-qq"] if quiet else []), *_editable(packages))


def install_uv(python: str) -> None:
    """uv, where it can be had."""
    subprocess.run([python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "uv"], check=False)


def install_torch(python: str) -> None:
    """torch, unless some version of it is there."""
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode != 0:
        install(python, TORCH)


def find_python(version: tuple[int, int]) -> str | None:
    """A Python of this version: this one, one on the path, one of pyenv's, or one that `fetch_python` got before."""
    if sys.version_info[:2] == version:
        return sys.executable
    number = f"{version[0]}.{version[1]}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{number}"), *map(str, sorted(pyenv.glob(f"{number}.*/bin/python")))]
    found += map(str, sorted(FETCHED.glob(f"cpython-{number}*/bin/python{number}")))
    found += map(str, sorted(FETCHED.glob(f"cpython-{number}*/python.exe")))
    for candidate in filter(None, found):
        # pyenv leaves shims on the path that only say that they are not set up
        if subprocess.run([candidate, "--version"], capture_output=True).returncode == 0:
            return candidate
    return None


def fetch_python(version: tuple[int, int], helper: str) -> str | None:
    """One from where uv has its Pythons (GitHub), into build/; None where that cannot be reached or there is no uv."""
    uv = Path(helper).with_name("uv.exe" if os.name == "nt" else "uv")
    if not uv.exists():
        return None
    command = [str(uv), "python", "install", f"{version[0]}.{version[1]}", "--install-dir", str(FETCHED), "--no-bin"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, capture_output=True, timeout=180)
    return find_python(version)


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def say(text: str) -> None:
    print(f"== {text}", flush=True)


def _editable(packages: tuple[str, ...]) -> list[str]:
    return [item for package in packages for item in (("--editable", package) if package[0] == "." else (package,))]
