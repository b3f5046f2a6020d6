"""A Python for the environment: one on this machine that PyTorch has wheels for, and what is true of it.

Never Blender's own, which would end with Blender's next version; never the Windows Store's, whose files are not where
they seem to be; never a shim that only says that it is not set up.
"""

from __future__ import annotations

import glob
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...core.folders import file_of
from ...core.messages import message
from ...core.processes import ask, find_program, path_folders
from ..machine.hardware import Machine

# In the order of preference: the one that the project is tested with most comes first.
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
_PASSING = {"Cellar", "homebrew", "linuxbrew", ".linuxbrew", ".pyenv", "pyenv-win", ".asdf", "mise"}
_TIMEOUT = 20.0  # seconds, to start a Python: a virus scanner may look at it first

_PROBE = file_of(".local.environment.inside.probe")


@dataclass(frozen=True)
class Python:
    """An interpreter that can be used. `executable` is "" for one that is still to be fetched.

    `markers` are the values of PEP 508's environment markers, `tags` the wheels it takes, the best first (PEP 425).
    """

    executable: str
    version: str
    markers: tuple[tuple[str, str], ...]
    tags: tuple[str, ...]


def find_python(wanted: str = "") -> Python | None:
    """The best Python of this machine, or None; `wanted` is a version ("3.12") that counts more than all others."""
    best: Python | None = None
    for candidate in _candidates():
        found = look_at(candidate)
        if not isinstance(found, Python):
            continue
        rank = _rank(found, wanted)
        if rank == (False, False, 0):
            return found
        if best is None or rank < _rank(best, wanted):
            best = found
    return best


def look_at(executable: str) -> Python | str:
    """What can be known of an interpreter, or a sentence why it cannot be used."""
    if is_blenders(executable):
        return message("{python} is Blender's own Python, which stays as it is; choose another one.", python=executable)
    if "WindowsApps" in Path(executable).parts:
        return message(
            "{python} is the Windows Store's, which keeps its files elsewhere; install Python from python.org.",
            python=executable,
        )
    told = ask([executable, "-I", "-S", "-B", str(_PROBE)], _TIMEOUT)
    try:
        facts = json.loads(told or "")
        markers = {str(name): str(value) for name, value in facts["markers"].items()}
        version = markers["python_version"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return message("{python} does not start as a Python; choose another one.", python=executable)
    if is_blenders(str(facts["executable"])) or is_blenders(os.path.join(str(facts["base"]), "bin", "python")):
        return message("{python} is Blender's own Python, which stays as it is; choose another one.", python=executable)
    if version not in VERSIONS or markers["implementation_name"] != "cpython" or facts["threaded"]:
        return message(
            "{python} is {implementation} {version} without the global lock, which there are no wheels for; choose "
            "CPython {first} to {last}."
            if facts["threaded"]
            else "{python} is {implementation} {version}, which there are no wheels for; choose CPython {first} to "
            "{last}.",
            python=executable,
            implementation=markers["platform_python_implementation"],
            version=markers["python_full_version"],
            first=VERSIONS[0],
            last=VERSIONS[-1],
        )
    if facts["bits"] != 64:
        return message("{python} is a 32-bit Python; choose one of 64 bits.", python=executable)
    if facts["system"] == "win-arm64":
        return message(
            "{python} is a Python for ARM, which PyTorch is not made for; install the one for x64.", python=executable
        )
    return Python(
        executable, markers["python_full_version"], tuple(markers.items()), wheel_tags(version, facts["system"])
    )


def managed_python(machine: Machine) -> Python:
    """The one that would be fetched where none was found."""
    version = VERSIONS[0]
    names = {"linux": ("posix", "Linux", "linux"), "windows": ("nt", "Windows", "win32")}
    os_name, system, platform = names.get(machine.system, ("posix", "Darwin", "darwin"))
    arch = {"arm64": "aarch64" if system == "Linux" else "arm64"}.get(machine.arch, "x86_64")
    markers = {
        "implementation_name": "cpython",
        "implementation_version": f"{version}.0",
        "os_name": os_name,
        "platform_machine": "AMD64" if os_name == "nt" else arch,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": system,
        "platform_version": "",
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": platform,
        "extra": "",
    }
    return Python("", version, tuple(markers.items()), wheel_tags(version, "win-amd64" if os_name == "nt" else ""))


def wheel_tags(version: str, system: str) -> tuple[str, ...]:
    """The wheels that CPython of this version takes on this machine, the best first; `system` as sysconfig tells it."""
    from packaging import tags

    # what this process is and what the other Python is may differ on Windows only, where both run
    platforms = [system.replace("-", "_")] if system.startswith("win") else list(tags.platform_tags())
    major, minor = (int(part) for part in version.split("."))
    found = tags.cpython_tags((major, minor), [f"cp{major}{minor}"], platforms)
    more = tags.compatible_tags((major, minor), f"cp{major}{minor}", platforms)
    return tuple(dict.fromkeys(str(tag) for tag in (*found, *more)))


def is_blenders(path: str) -> bool:
    """Whether it lies in an installation of Blender: blender/5.0/python/bin/python3.11, with 5.0/scripts beside."""
    for place in {path, os.path.realpath(path)} if path else ():
        found = re.search(r"^(.*[/\\]\d+\.\d+)[/\\](python|scripts|datafiles)([/\\]|$)", place)
        if found and all(os.path.isdir(os.path.join(found[1], name)) for name in ("python", "scripts")):
            return True
    return False


def is_passing(executable: str) -> bool:
    """Whether it goes with the next upgrade of what installed it: Homebrew's, pyenv's."""
    return any(part in _PASSING for part in Path(os.path.realpath(executable)).parts)


def _rank(python: Python, wanted: str) -> tuple[bool, bool, int]:
    """The less, the better: what is wanted, what stays, and the order of the versions."""
    version = minor_of(python.version)
    return bool(wanted) and version != wanted, is_passing(python.executable), VERSIONS.index(version)


def minor_of(version: str) -> str:
    """3.12.4 -> 3.12: what packages are made for."""
    return ".".join(version.split(".")[:2])


def _candidates() -> Iterator[str]:
    """Where Pythons are found, each place once, the preferred versions first."""
    seen: set[str] = set()
    for path in _places():
        real = os.path.realpath(path)
        if real in seen or not os.path.isfile(path) or is_blenders(path) or "WindowsApps" in Path(path).parts:
            continue
        seen.add(real)
        yield path


def _places() -> Iterator[str]:
    own = str(getattr(sys, "_base_executable", "") or sys.executable)
    number = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for version in VERSIONS:
        if version == number and re.match(r"python", Path(own).name, re.I):
            yield own
        yield from _registered(version)
        yield from _on_path(f"python{version}")
        for pattern in _PATTERNS:
            yield from sorted(glob.glob(os.path.expanduser(pattern.format(version))), reverse=True)
    for name in ("python3", "python"):
        # Apple's own is only a door to a 5 GB installation of developer tools where these are not there
        yield from (path for path in _on_path(name) if path != "/usr/bin/python3" or sys.platform != "darwin")


_PATTERNS = (
    "/opt/homebrew/bin/python{}",
    "/usr/local/bin/python{}",
    "/Library/Frameworks/Python.framework/Versions/{0}/bin/python{0}",
    "~/.pyenv/versions/{0}.*/bin/python{0}",
    "~/.local/share/uv/python/cpython-{0}.*/bin/python{0}",
    "~/AppData/Roaming/uv/python/cpython-{}.*/python.exe",
    "~/.pyenv/pyenv-win/versions/{}.*/python.exe",
)


def _on_path(name: str) -> Iterator[str]:
    """All of this name on the path, not only the first: a shim may lie before a real one."""
    for folder in path_folders():
        if found := find_program(name, [folder]):
            yield found


def _registered(version: str) -> list[str]:
    """What Windows' registry knows (PEP 514)."""
    found: list[str] = []
    if sys.platform == "win32":
        import winreg

        for root in (winreg.HKEY_CURRENT_USER, winreg.HKEY_LOCAL_MACHINE):
            try:
                with winreg.OpenKey(root, rf"Software\Python\PythonCore\{version}\InstallPath") as key:
                    found.append(str(Path(str(winreg.QueryValueEx(key, "")[0])) / "python.exe"))
            except OSError:
                continue
    return found
