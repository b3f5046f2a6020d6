"""Whether the wheels in a built zip run where it is meant to run: read here, for systems that are not at hand.

    python tools/wheel_check.py dist/*.zip

For each of Blender's Pythons: each package once, in a wheel whose tags that system takes (PEP 425); its compiled files
for that processor, and signed where Apple demands it; its requirements there (`Requires-Dist`, by their markers); and
every module that is imported while a bundled package loads, from those that the extension imports on: none is missing.
"""

from __future__ import annotations

import ast
import functools
import struct
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from packaging import tags
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

PYTHONS = ("3.11", "3.13")
# What each of Blender's own Pythons has, from 4.2 on.
BLENDERS = {"numpy", "certifi", "idna", "requests", "urllib3", "charset_normalizer"}
_NEW = frozenset({"_interpchannels", "_interpqueues", "_interpreters"})  # since 3.13
_WITH_GONE = ("3.11",)
# PEP 594, and what went in 3.12
_GONE = frozenset(
    (
        "aifc",
        "asynchat",
        "asyncore",
        "audioop",
        "cgi",
        "cgitb",
        "chunk",
        "crypt",
        "distutils",
        "imghdr",
        "imp",
        "mailcap",
    )
    + (
        "msilib",
        "nis",
        "nntplib",
        "ossaudiodev",
        "pipes",
        "smtpd",
        "sndhdr",
        "spwd",
        "sunau",
        "telnetlib",
        "uu",
        "xdrlib",
    )
)
# What the extension asks for only where it is complete, and what it then needs.
OPTIONAL = {"uvicorn.protocols.websockets.websockets_sansio_impl": "websockets"}
_COMPILED = (".so", ".pyd", ".dylib", ".dll", ".exe")
_FORGIVING = {"ImportError", "ModuleNotFoundError", "Exception", "AttributeError"}


@dataclass(frozen=True)
class System:
    """A platform as Blender names it: what `sys.platform` and others say there, and the wheels that it takes.

    The oldest of its kind that Blender runs on: macOS 11, glibc 2.28.
    """

    name: str
    platform: str
    machine: str
    os_name: str
    platforms: tuple[str, ...]

    def supported(self, python: str) -> set[tags.Tag]:
        version = tuple(int(part) for part in python.split("."))
        interpreter = f"cp{version[0]}{version[1]}"
        found = {*tags.cpython_tags(version, [interpreter], self.platforms)}
        return found | {*tags.compatible_tags(version, interpreter, self.platforms)}

    def markers(self, python: str) -> dict[str, str]:
        """The values of PEP 508's markers, in Blender."""
        system = {"linux": "Linux", "win32": "Windows", "darwin": "Darwin"}[self.platform]
        told = {"sys_platform": self.platform, "os_name": self.os_name, "platform_machine": self.machine}
        told |= {"platform_system": system, "python_version": python, "python_full_version": f"{python}.0", "extra": ""}
        return told | {"platform_python_implementation": "CPython", "implementation_name": "cpython"}


def _linux(arch: str) -> tuple[str, ...]:
    return (*(f"manylinux_2_{minor}_{arch}" for minor in range(28, 4, -1)), f"manylinux2014_{arch}", f"linux_{arch}")


SYSTEMS = {
    system.name: system
    for system in (
        System("linux-x64", "linux", "x86_64", "posix", _linux("x86_64")),
        System("windows-x64", "win32", "AMD64", "nt", ("win_amd64",)),
        System("windows-arm64", "win32", "ARM64", "nt", ("win_arm64",)),
        System("macos-arm64", "darwin", "arm64", "posix", tuple(tags.mac_platforms((11, 0), "arm64"))),
        System("macos-x64", "darwin", "x86_64", "posix", tuple(tags.mac_platforms((11, 0), "x86_64"))),
    )
}


def wheel_faults(archive: Path, pythons: Sequence[str] = PYTHONS) -> list[str]:
    """Every fault of the zip's wheels, a sentence each."""
    with zipfile.ZipFile(archive) as opened:
        manifest = tomllib.loads(opened.read("blender_manifest.toml").decode())
        wheels = [Wheel.read(opened, name) for name in sorted(opened.namelist()) if name.endswith(".whl")]
        sources = {name: opened.read(name) for name in opened.namelist() if name.endswith(".py")}
    found: list[str] = []
    for name in manifest.get("platforms", []):
        system = SYSTEMS[name]
        for wheel in wheels:
            found += wheel.faults(system)
        used: set[str] = set()
        for python in pythons:
            supported = system.supported(python)
            fitting = [wheel for wheel in wheels if wheel.tags & supported]
            used |= {wheel.file for wheel in fitting}
            found += _requirement_faults(fitting, system, python)
            found += Modules(fitting, system, python).faults(sources)
        found += [f"{wheel.file} is for no Python of {name}" for wheel in wheels if wheel.file not in used]
    return list(dict.fromkeys(found))


@dataclass
class Wheel:
    """A wheel's name, tags and files."""

    file: str
    name: str
    tags: frozenset[tags.Tag]
    requires: tuple[Requirement, ...]
    files: dict[str, bytes] = field(repr=False)

    @classmethod
    def read(cls, archive: zipfile.ZipFile, path: str) -> Wheel:
        file = path.rpartition("/")[2]
        name, _, _, found = parse_wheel_filename(file)
        with archive.open(path) as stored, zipfile.ZipFile(stored) as wheel:
            files = {each: wheel.read(each) for each in wheel.namelist()}
        about = next(data for each, data in files.items() if each.endswith(".dist-info/METADATA"))
        requires = message_from_bytes(about).get_all("Requires-Dist", [])
        return cls(file, name, found, tuple(map(Requirement, requires)), files)

    def faults(self, system: System) -> Iterator[str]:
        """What of its compiled files another system needs."""
        for name, data in self.files.items():
            if not name.endswith(_COMPILED):
                continue
            if all(tag.platform == "any" for tag in self.tags):
                yield f"{self.file} says that it runs anywhere, and has {name}"
            elif f"{system.platform} {system.machine.lower()}" not in (made := made_for(data)):
                yield f"{self.file} has {name} for {', '.join(made) or 'no system known'}, not for {system.name}"
            elif system.name == "macos-arm64" and not is_signed(data):
                yield f"{self.file} has {name} without a signature, which Apple silicon does not load"


def _requirement_faults(wheels: Iterable[Wheel], system: System, python: str) -> Iterator[str]:
    where = f"on {system.name} with Python {python}"
    there: dict[str, str] = {}
    for wheel in wheels:
        if wheel.name in there:
            yield f"{wheel.file} and {there[wheel.name]} are both taken {where}"
        there[wheel.name] = wheel.file
    known = {*there, *map(canonicalize_name, BLENDERS)}
    for wheel in wheels:
        for wanted in wheel.requires:
            is_wanted = wanted.marker is None or wanted.marker.evaluate(system.markers(python))
            if is_wanted and canonicalize_name(wanted.name) not in known:
                yield f"{wheel.file} needs {wanted.name} {where}"


class Modules:
    """The modules of wheels as one Python of one system would find them."""

    def __init__(self, wheels: Iterable[Wheel], system: System, python: str) -> None:
        self._python = python
        self._where = f"on {system.name} with Python {python}"
        self._facts = {
            "sys": SimpleNamespace(platform=system.platform, version_info=tuple(map(int, python.split(".")))),
            "os": SimpleNamespace(name=system.os_name),
            "TYPE_CHECKING": False,
            "typing": SimpleNamespace(TYPE_CHECKING=False),
        }
        self._files: dict[str, tuple[str, bytes]] = {}  # dotted name -> its file and what is in it
        self._packages: set[str] = set()  # also those without a file of their own
        suffix = (f".cpython-{python.replace('.', '')}-", f".cp{python.replace('.', '')}-", ".abi3.")
        for wheel in wheels:
            for path, data in wheel.files.items():
                *folders, file = path.split("/")
                stem, dot, kind = file.partition(".")
                if not (kind == "py" or (kind.endswith(("so", "pyd")) and f"{dot}{kind}".startswith(suffix))):
                    continue
                self._packages |= {".".join(folders[:end]) for end in range(1, len(folders) + 1)}
                name = ".".join(folders if stem == "__init__" else [*folders, stem])
                self._files[name] = (path, data if kind == "py" else b"")

    def faults(self, sources: dict[str, bytes]) -> Iterator[str]:
        """What is missing of all that loads when the extension's sources import what they do.

        A module that is only tried is not needed, nor what it imports.
        """
        waiting = [name for data in sources.values() for name in self._named(data) if name not in OPTIONAL]
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            parents = name.split(".")
            waiting += [above for end in range(1, len(parents)) if (above := ".".join(parents[:end])) in self._files]
            path, data = self._files[name]
            for wanted in self._loading(name, path, data):
                if wanted in self._files:
                    waiting.append(wanted)
                elif not self._is_there(wanted):
                    yield f"{path} imports {wanted}, which is not there {self._where}"

    def _named(self, source: bytes) -> Iterator[str]:
        """The bundled modules that a file of the extension imports, wherever it does."""
        return (name for name in _imported(source) if name in self._files)

    def _loading(self, name: str, path: str, data: bytes) -> Iterator[str]:
        """What a module cannot do without while it loads."""
        package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
        for node in self._statements(_parse(data).body):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
                continue
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            # each is a module below, or a name in it
            yield from (below for alias in node.names if (below := f"{base}.{alias.name}") in self._files)

    def _statements(self, body: Iterable[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
        """The imports that run with a module: not those in functions, nor those that may fail."""
        for node in body:
            match node:
                case ast.Import() | ast.ImportFrom():
                    yield node
                case ast.If():
                    holds = self._holds(node.test)
                    if holds is not None:
                        yield from self._statements(node.body if holds else node.orelse)
                case ast.Try():
                    caught = {name.id for handler in node.handlers for name in _names(handler.type)}
                    if not caught & _FORGIVING and all(handler.type for handler in node.handlers):
                        yield from self._statements([*node.body, *node.orelse])
                    yield from self._statements(node.finalbody)
                case ast.With():
                    if not any(name.id in _FORGIVING for item in node.items for name in _names(item.context_expr)):
                        yield from self._statements(node.body)
                case ast.ClassDef():
                    yield from self._statements(node.body)
                case _:
                    pass

    def _holds(self, test: ast.expr) -> bool | None:
        """Whether a condition about the system or the version holds; None for any other."""
        if {name.id for name in _names(test)} <= self._facts.keys():
            try:
                return bool(eval(compile(ast.Expression(test), "", "eval"), {"__builtins__": {}}, dict(self._facts)))
            except Exception:
                pass
        return None

    def _is_there(self, name: str) -> bool:
        top = name.partition(".")[0]
        return name in self._packages or top in BLENDERS or top in _standard_library(self._python)


def _standard_library(python: str) -> frozenset[str]:
    """The tops of a Python's own modules, from what this one knows of its own."""
    return (sys.stdlib_module_names | _NEW) - (_GONE if python not in _WITH_GONE else frozenset())


@functools.cache
def _parse(source: bytes) -> ast.Module:
    return ast.parse(source)


@functools.cache  # the same for every system and Python
def _imported(source: bytes) -> tuple[str, ...]:
    """What a file imports by whole names, wherever it does; of what is imported from a module, each may be one."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _names(node: ast.AST | None) -> Iterator[ast.Name]:
    return (each for each in ast.walk(node) if isinstance(each, ast.Name)) if node is not None else iter(())


# --- compiled files ---

_ELF = {0x3E: "linux x86_64", 0xB7: "linux aarch64"}
_PE = {0x8664: "win32 amd64", 0xAA64: "win32 arm64", 0x14C: "win32 x86"}
_MACH = {0x01000007: "darwin x86_64", 0x0100000C: "darwin arm64"}
_CODE_SIGNATURE = 0x1D  # LC_CODE_SIGNATURE


def made_for(data: bytes) -> tuple[str, ...]:
    """The systems and processors that a compiled file is for; () for one of a kind that nobody knows."""
    if data[:4] == b"\x7fELF":
        return _known(_ELF, struct.unpack_from("<H", data, 18)[0])
    if data[:2] == b"MZ":
        place = struct.unpack_from("<I", data, 0x3C)[0]
        return _known(_PE, struct.unpack_from("<H", data, place + 4)[0]) if data[place : place + 4] == b"PE\0\0" else ()
    return tuple(name for kind, _ in _slices(data) for name in _known(_MACH, kind))


def is_signed(data: bytes) -> bool:
    """Whether a Mach-O file's part for Apple silicon has a signature, be it nobody's in particular."""
    for kind, part in _slices(data):
        if _MACH.get(kind) == "darwin arm64":
            count, place = struct.unpack_from("<I", part, 16)[0], 32
            for _ in range(count):
                command, size = struct.unpack_from("<II", part, place)
                if command == _CODE_SIGNATURE:
                    return True
                place += size
    return False


def _slices(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(processor, content) of each part of a Mach-O file: one, or several where it is a universal one."""
    if data[:4] == b"\xcf\xfa\xed\xfe":
        yield struct.unpack_from("<I", data, 4)[0], data
    elif data[:4] == b"\xca\xfe\xba\xbe":
        for number in range(struct.unpack_from(">I", data, 4)[0]):
            kind, _, start, size = struct.unpack_from(">4I", data, 8 + 20 * number)
            yield kind, data[start : start + size]


def _known(names: dict[int, str], number: Any) -> tuple[str, ...]:
    return (names[number],) if number in names else ()


def main() -> int:
    found = [f"{path}: {fault}" for path in map(Path, sys.argv[1:]) for fault in wheel_faults(path)]
    print("\n".join(found) or "No fault was found.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
