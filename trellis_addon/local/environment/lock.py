"""The lock: which wheels the environment is made of, and which of them a Python takes.

`wheels.json` beside this file is written by tools/make_lock.py. It names every wheel with its size and SHA-256 for all
systems; where it lies is for `index` to find. PyTorch's builds that only its own index has are locked by version,
and by hash as far as that was known; what else their wheels ask for is `wanted_by` them.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...core.errors import EngineError
from .builds import TorchBuild
from .python import Python

# Installs the others, and is not installed itself.
INSTALLER = "uv"
LOCK_FILE = Path(__file__).with_name("wheels.json")
# The smaller set: what takes voxels and meshes to finished assets, beside what the extension brings along.
FINISHING = ("array-api-compat", "numpy", "scipy", "warp-lang")


@dataclass(frozen=True)
class Wheel:
    """`size` in bytes and `sha256` in hex; 0 and "" where only the index can tell."""

    file: str
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Package:
    """`tied` is the version of PyTorch without which it is not wanted, "" where it always is."""

    name: str
    version: str
    marker: str
    tied: str
    wheels: tuple[Wheel, ...]


@dataclass(frozen=True)
class Wanted:
    """One package to install; `wheel` is None where its file's name is for the index to find."""

    name: str
    version: str
    wheel: Wheel | None


def load_lock() -> tuple[Package, ...]:
    """All packages, for all systems."""
    return _load(LOCK_FILE)


@cache
def _load(path: Path) -> tuple[Package, ...]:
    told = json.loads(path.read_text(encoding="utf-8"))
    return tuple(
        Package(
            entry["name"],
            entry["version"],
            entry.get("marker", ""),
            entry.get("with", ""),
            tuple(Wheel(*wheel) for wheel in entry["wheels"]),
        )
        for entry in told["packages"]
    )


def set_id(wanted: Iterable[Wanted]) -> str:
    """What tells these wheels from others."""
    text = "\n".join(f"{one.name} {one.version} {one.wheel.sha256 if one.wheel else ''}" for one in wanted)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def lock_id() -> str:
    """What tells this lock from another."""
    return hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()[:16]


def select(packages: Iterable[Package], python: Python, build: TorchBuild) -> list[Wanted]:
    """What is to be installed for a Python and a build of PyTorch, without the installer.

    Raises `EngineError` for a package that has no wheel for that Python.
    """
    chosen: list[Wanted] = []
    for package in packages:
        if package.name == INSTALLER or (package.tied and package.tied != build.version):
            continue
        if _applies(package, python):
            chosen.append(_wanted(package, python))
    if not any(wanted.name == "torch" for wanted in chosen):
        chosen.append(Wanted("torch", build.version, None))
    return chosen


def select_finishing(packages: Iterable[Package], python: Python, without: Collection[str] = ()) -> list[Wanted]:
    """What is to be installed for finishing alone, `without` what that Python has already.

    Raises `EngineError` for a package that has no wheel for that Python.
    """
    names = set(FINISHING).difference(without)
    return [_wanted(package, python) for package in packages if package.name in names and _applies(package, python)]


def installer(packages: Iterable[Package], python: Python) -> Wanted | None:
    """The wheel that brings uv; None where there is none for this machine."""
    for package in packages:
        if package.name == INSTALLER and (wheel := best_wheel(package.wheels, python)) is not None:
            return Wanted(package.name, package.version, wheel)
    return None


def best_wheel(wheels: Iterable[Wheel], python: Python) -> Wheel | None:
    """The wheel that a Python would take first; None where it takes none."""
    ranks = {tag: rank for rank, tag in enumerate(python.tags)}
    ranked = [(min(ranks.get(tag, len(ranks)) for tag in tags_of(wheel.file)), wheel) for wheel in wheels]
    rank, wheel = min(ranked, key=lambda pair: pair[0], default=(len(ranks), None))
    return wheel if rank < len(ranks) else None


def tags_of(file: str) -> set[str]:
    """The tags of a wheel's name; none for what is no wheel's name."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        return {str(tag) for tag in parse_wheel_filename(file)[3]} or {""}
    except InvalidWheelFilename:
        return {""}


def wanted_by(wheel: Path, python: Python, chosen: Sequence[Wanted]) -> list[Wanted]:
    """What a wheel asks for beyond `chosen`: the CUDA or ROCm libraries of a build from PyTorch's own index.

    Raises `EngineError` where it does not name them by an exact version: then nobody knows whether they go together.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    known = {canonicalize_name(wanted.name) for wanted in chosen}
    found: list[Wanted] = []
    for text in _requirements(wheel):
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name in known or (requirement.marker and not requirement.marker.evaluate(dict(python.markers))):
            continue
        exact = [specifier.version for specifier in requirement.specifier if specifier.operator == "=="]
        if len(exact) != 1 or "*" in exact[0]:
            raise EngineError(
                "{name} asks for {text}, which this version does not know; update the add-on.",
                name=wheel.name,
                text=text,
            )
        known.add(name)
        found.append(Wanted(name, exact[0], None))
    return found


def unpacked_size(wheel: Path) -> int:
    """The bytes of what is in a wheel; raises `EngineError` for a file that is no wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile):
        raise EngineError("{wheel} is no wheel; take it away and install again.", wheel=wheel) from None


def _requirements(wheel: Path) -> list[str]:
    from email.parser import BytesParser

    try:
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            return BytesParser().parsebytes(archive.read(name)).get_all("Requires-Dist") or []
    except (OSError, StopIteration, zipfile.BadZipFile):
        raise EngineError("{wheel} is no wheel; take it away and install again.", wheel=wheel) from None


def _wanted(package: Package, python: Python) -> Wanted:
    """The package in the wheel that the Python takes; PyTorch also where only its own index has one."""
    wheel = best_wheel(package.wheels, python)
    if wheel is None and package.name == "torch":
        return Wanted(package.name, package.version, None)
    if wheel is None:
        raise EngineError(
            "There is no {name} {version} for Python {python} on this machine; choose another Python.",
            name=package.name,
            version=package.version,
            python=python.version,
        )
    return Wanted(package.name, package.version, wheel)


def _applies(package: Package, python: Python) -> bool:
    from packaging.markers import Marker

    return not package.marker or Marker(package.marker).evaluate(dict(python.markers))
