"""Write trellis_addon/local/environment/wheels.json: the wheels of the local backend, by version, size and hash.

    python tools/make_lock.py                            newest versions that pyproject.toml allows
    python tools/make_lock.py --torch-wheels DIR         also the hashes of PyTorch's other builds that lie there
    python tools/make_lock.py --check                    whether the file still answers pyproject.toml

uv resolves for all systems at once; it must be installed (`pip install uv`), and is locked along, because it installs.
No addresses are written: a wheel is found by its name in whatever package index a machine uses.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "trellis_addon" / "local" / "environment" / "wheels.json"
sys.path.insert(0, str(ROOT))

from trellis_addon.local.environment.builds import TORCH_VERSION  # noqa: E402

PYTHONS = ("cp311", "cp312", "cp313", "cp314")
# Wheels for other systems and other kinds of Python are left out.
PLATFORM = re.compile(r"any$|win_amd64$|macosx_\d+_\d+_(arm64|universal2)$|manylinux\w*_(x86_64|aarch64)$")
# What only PyTorch's CUDA build for Linux, the default index's, asks for.
OF_CUDA = re.compile(r"nvidia-|cuda-|triton$")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-wheels", type=Path, metavar="DIR", help="a folder with torch-...+cpu-....whl and such")
    parser.add_argument("--check", action="store_true", help="change nothing, fail where something is missing")
    options = parser.parse_args()
    if options.check:
        sys.exit("\n".join(missing()) or None)
    packages = [kept for package in resolve() if (kept := slim(package))["wheels"]]
    packages += known_torch(options.torch_wheels)
    packages.sort(key=lambda package: (package["name"], package["version"]))
    TARGET.write_text(written({"torch": TORCH_VERSION, "packages": packages}), encoding="utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {len(packages)} packages, {TARGET.stat().st_size / 1e3:.0f} kB")


def requirements() -> list[str]:
    """What the environment needs: the library itself, and its `local` extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["local"]]


def resolve() -> list[dict[str, Any]]:
    """The packages as uv resolves them for every system, in the form of PEP 751."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        sys.exit("This needs uv: pip install uv")
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text("\n".join([*requirements(), f"torch=={TORCH_VERSION}", "uv"]), encoding="utf-8")
        command = [uv, "pip", "compile", "--quiet", "--no-config", "--universal", "--python-version", "3.11"]
        command += ["--format", "pylock.toml", "--no-header", "-o", str(Path(folder) / "pylock.toml"), str(wanted)]
        subprocess.run(command, check=True)
        found = tomllib.loads((Path(folder) / "pylock.toml").read_text(encoding="utf-8"))
    packages: list[dict[str, Any]] = found["packages"]
    return packages


def slim(package: dict[str, Any]) -> dict[str, Any]:
    """A package with what is needed to choose and check its wheels."""
    wheels = [
        [wheel["url"].rpartition("/")[2].replace("%2B", "+"), wheel["size"], wheel["hashes"]["sha256"]]
        for wheel in package.get("wheels", ())
    ]
    kept = {"name": package["name"], "version": package["version"]}
    # every Python that comes into question is one
    marker = re.sub(r"^python_full_version >= '3\.11'( and )?", "", package.get("marker", ""))
    if marker:
        kept["marker"] = marker
    if package["name"] == "torch" or OF_CUDA.match(package["name"]):
        kept["with"] = TORCH_VERSION
    return kept | {"wheels": sorted(wheel for wheel in wheels if serves(wheel[0]))}


def serves(wheel: str) -> bool:
    """Whether some machine that the backend runs on can use the wheel."""
    _, python, abi, platforms = wheel.removesuffix(".whl").rsplit("-", 3)
    is_for_python = python in PYTHONS and abi == python
    is_stable = abi == "abi3" and any(int(tag[3:] or 0) <= 11 for tag in python.split(".") if tag.startswith("cp3"))
    is_pure = abi == "none" and "py3" in python.split(".")
    return (is_for_python or is_stable or is_pure) and any(PLATFORM.match(tag) for tag in platforms.split("."))


def known_torch(folder: Path | None) -> list[dict[str, Any]]:
    """PyTorch's other builds, as far as they are known: those in `folder`, and those that the file names already."""
    by_version: dict[str, dict[str, list[Any]]] = {}
    if TARGET.is_file():
        for package in json.loads(TARGET.read_text(encoding="utf-8"))["packages"]:
            if package["name"] == "torch" and package["version"].startswith(TORCH_VERSION + "+"):
                by_version[package["version"]] = {wheel[0]: wheel for wheel in package["wheels"]}
    for path in sorted(folder.glob(f"torch-{TORCH_VERSION}+*.whl") if folder else ()):
        wheel = [path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()]
        by_version.setdefault(path.name.split("-")[1], {})[path.name] = wheel
    return [
        {"name": "torch", "version": version, "with": version, "wheels": sorted(wheels.values())}
        for version, wheels in by_version.items()
    ]


def missing() -> list[str]:
    """What pyproject.toml asks for and the file does not have, a line each."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    locked: dict[str, list[str]] = {}
    for package in json.loads(TARGET.read_text(encoding="utf-8"))["packages"]:
        locked.setdefault(package["name"], []).append(package["version"])
    found = []
    for text in requirements():
        wanted = Requirement(text)
        versions = locked.get(canonicalize_name(wanted.name), [])
        if not versions or not all(wanted.specifier.contains(version) for version in versions):
            found.append(f"{TARGET.name} has {wanted.name} {', '.join(versions) or 'not at all'}; wanted is {text}.")
    return found


def written(lock: dict[str, Any]) -> str:
    """JSON with a line for every package and every wheel, so that changes can be read."""
    lines = []
    for package in lock["packages"]:
        head = json.dumps({name: value for name, value in package.items() if name != "wheels"})
        wheels = ",\n".join("  " + json.dumps(wheel, separators=(",", ":")) for wheel in package["wheels"])
        lines.append(f'{head[:-1]}, "wheels": [\n{wheels}]}}')
    return f'{{"torch": "{lock["torch"]}", "packages": [\n' + ",\n".join(lines) + "\n]}\n"


if __name__ == "__main__":
    main()
