"""What an installation would do: which build, which Python, how much to fetch, and what stands in the way."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import EngineError
from ...core.folders import EXTENSION, store_package
from ...core.machine.places import is_flatpak, is_on_network, is_open_to_others, is_removable, synced_by
from ...core.messages import message
from ...core.sizes import size_words
from ...runtime.layout import LocalFolder, chosen_folder, local_folder
from ...runtime.running import running
from ...transfer.part import part_of
from ..machine.hardware import Machine, free_disk
from .builds import TorchBuild, builds_for, choose_build
from .lock import Wanted, Wheel, installer, load_lock, lock_id, select
from .pip_settings import pip_settings
from .python import VERSIONS, Python, find_python, is_blenders, look_at, managed_python, minor_of

# Wheels unpack to about so many times their size. Measured: 1.1 to 1.5 the large ones of NVIDIA, 2.1 PyTorch with CUDA,
# 2.6 Warp, 2.5 to 4.2 all others; of PyTorch with ROCm only the result is known, 15 GB.
_UNPACKED, _UNPACKED_NVIDIA, _UNPACKED_CUDA, _UNPACKED_ROCM, _UNPACKED_WARP = 3.7, 1.5, 2.2, 2.8, 2.7
SPARE = 200 * 2**20  # bytes that stay free
_LONGEST_ROOT = 100  # characters; PyTorch's longest path in it has 150, Windows' limit is 260


@dataclass(frozen=True)
class Plan:
    """What `install` is to do.

    `python` is an interpreter's path, "" where a managed one is fetched; `target` is what is known of it. `download` is
    what is still to be fetched and `disk` what is needed while installing, both in bytes and both estimates where
    PyTorch's own index has the wheels. With `obstacles`, sentences, it cannot begin; `notes` are worth knowing.
    `wheels` is the folder to take all wheels from, None for the package index. `is_done`: exactly this is installed.
    `keeps_packages`: it is, but the Python that its environment was made from is gone: another takes them over.
    """

    folder: LocalFolder
    build: TorchBuild
    python: str
    target: Python
    download: int
    disk: int
    obstacles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    wheels: Path | None = None
    is_done: bool = False
    keeps_packages: bool = False


def make_plan(
    folder: Path | None,
    machine: Machine,
    *,
    build: str = "auto",
    wheels: Path | None = None,
    python: str = "",
    again: bool = False,
) -> Plan:
    """The plan for a folder (None for the one in use) on a machine.

    `build` is "auto" or a key of `builds.BUILDS` for the machine. With `again` it is also done where exactly that is
    installed already. Asks the Pythons of this machine for their versions,
    which takes up to seconds; needs no network and writes nothing.
    """
    place = local_folder() if folder is None else chosen_folder(folder)
    chosen, about_build = _build(machine, build)
    state = place.state()
    lost = place.lost_python if state is not None and state.complete else ""
    found, about_python = _python(machine, python, wheels, minor_of(state.python) if state and lost else "")
    if not (again or about_build or about_python) and _is_installed(place, chosen, found if python else None):
        return Plan(
            place, chosen, found.executable, found, 0, 0, (), (message("It is installed already."),), wheels, True
        )
    obstacles = [*about_folder(place, machine), *about_build, *about_python]
    notes = _about_place(place.root)
    keeps_packages = bool(lost) and not again and _has_packages(place, chosen, found)
    if lost:
        notes.append(
            message(
                "The Python that it was made from is gone ({folder}): only the environment is made anew.", folder=lost
            )
            if keeps_packages
            else message("The Python that it was made from is gone ({folder}).", folder=lost)
        )
    if not found.executable and not about_python:
        notes.append(
            message(
                "No Python {first} to {last} was found: one of its own is downloaded.",
                first=VERSIONS[0],
                last=VERSIONS[-1],
            )
        )
    if wheels is not None and not wheels.is_dir():
        obstacles.append(message("There is no folder {folder}; choose the one with the wheels.", folder=wheels))
    download = disk = 0
    try:
        wanted = [] if keeps_packages else select(load_lock(), found, chosen)
        tool = installer(load_lock(), found)
        tools = [tool] if tool and not (keeps_packages and found.executable) else []
        there, download = sizes([*wanted, *tools], chosen, place)
        download = 0 if wheels is not None else download
        disk = download + unpacked_bytes(wanted, chosen) + SPARE
        if there:
            notes.append(
                message("An installation was broken off here: {done} are downloaded already.", done=size_words(there))
            )
    except EngineError as error:
        if not obstacles:
            obstacles.append(error.message)
    free = free_disk(place.root)
    if free and disk > free:
        obstacles.append(
            message(
                "The installation needs {needed} and {free} are free on the disk of {folder}; free some "
                "space, or choose another folder.",
                needed=size_words(disk),
                free=size_words(free),
                folder=place.root,
            )
        )
    if place.is_installed:
        notes.append(message("What is installed there is replaced; weights stay."))
    folder_of_wheels = wheels.absolute() if wheels is not None else None
    return Plan(
        place,
        chosen,
        found.executable,
        found,
        download,
        disk,
        tuple(obstacles),
        tuple(notes),
        folder_of_wheels,
        keeps_packages=keeps_packages,
    )


def _is_installed(folder: LocalFolder, build: TorchBuild, python: Python | None) -> bool:
    state = folder.state()
    if state is None or not folder.is_installed or (state.build, state.lock) != (build.key, lock_id()):
        return False
    return python is None or python.version == state.python


def _has_packages(folder: LocalFolder, build: TorchBuild, python: Python) -> bool:
    """Whether the packages that are there are those of this plan, and its Python takes them."""
    state, version = folder.state(), minor_of(python.version)
    if state is None or (state.build, state.lock, minor_of(state.python)) != (build.key, lock_id(), version):
        return False
    return folder.packages(folder.env, version).is_dir()


def unpacked_bytes(wanted: Sequence[Wanted], build: TorchBuild) -> int:
    """About how much disk an environment of these takes."""
    return round(sum(_size(one, build) * _factor(one, build) for one in wanted))


def _factor(one: Wanted, build: TorchBuild) -> float:
    if one.name.startswith("nvidia-"):
        return _UNPACKED_NVIDIA
    if one.name == "warp-lang":
        return _UNPACKED_WARP
    if one.name == "torch" and build.device == "cuda":
        return _UNPACKED_ROCM if build.key == "rocm" else _UNPACKED_CUDA
    return _UNPACKED


def downloaded_bytes(folder: LocalFolder, wheel: Wheel) -> int:
    """The bytes of a wheel that an earlier attempt has downloaded."""
    target = folder.downloads / wheel.file
    return sum(path.stat().st_size for path in (target, part_of(target)) if path.is_file())


def about_folder(folder: LocalFolder, machine: Machine) -> list[str]:
    """What stands in the way of installing into a folder, as sentences."""
    root = folder.root
    if is_blenders(str(root)):
        return [
            message("{folder} lies in Blender's own folder, which stays as it is; choose another one.", folder=root)
        ]
    if __name__.startswith("bl_ext.") and root.is_relative_to(EXTENSION):
        return [
            message(
                "{folder} lies in the extension's own folder, which Blender replaces; choose another one.", folder=root
            )
        ]
    if machine.system == "windows" and len(str(root)) > _LONGEST_ROOT:
        return [
            message(
                "{folder} is too long a path for Windows and PyTorch; choose a folder nearer to the drive's top.",
                folder=root,
            )
        ]
    if root.exists() and not root.is_dir():
        return [message("{folder} is a file; choose a folder.", folder=root)]
    if folder.state() is None and root.is_dir() and any(root.iterdir()):
        return [message("{folder} has other things in it; choose another folder.", folder=root)]
    nearest = next((place for place in (root, *root.parents) if place.exists()), root)
    if not os.access(nearest, os.W_OK):
        return [message("{folder} cannot be written to; choose another folder.", folder=nearest)]
    if found := running(folder):
        return [message("The worker is running (process {process}); stop it, then install.", process=found[0].pid)]
    return []


def _about_place(root: Path) -> list[str]:
    """What is worth knowing of where a folder lies: it can be installed there all the same."""
    notes: list[str] = []
    service = synced_by(root)
    if service:
        notes.append(
            message(
                "{service} would upload what is installed in {folder}, 25 GB with the weights; a folder outside of it "
                "is better.",
                service=service,
                folder=root,
            )
        )
    if is_on_network(root):
        notes.append(
            message("{folder} lies on another machine: everything starts slowly, and not without it.", folder=root)
        )
    elif is_removable(root):
        notes.append(message("{folder} lies on a drive that can be taken out: nothing starts without it.", folder=root))
    if not service and is_open_to_others(root):
        notes.append(
            message(
                "Other users of this machine may be able to change what lies in {folder}, which runs as you; choose a "
                "folder in your own where you do not trust them.",
                folder=root,
            )
        )
    if store_package() and "AppData" in root.parts:
        notes.append(
            message(
                "{folder} is one that only this Blender of the Microsoft Store sees, and that goes with it; a folder "
                "outside of AppData is better.",
                folder=root,
            )
        )
    if is_flatpak():
        notes.append(
            message(
                "In Flatpak's sandbox there are no tools of NVIDIA's and no Pythons of this system's: what a card has "
                "free is not known, and the machine may fall asleep meanwhile."
            )
        )
    return notes


def _build(machine: Machine, key: str) -> tuple[TorchBuild, list[str]]:
    builds = builds_for(machine)
    automatic = choose_build(machine)
    if not builds:
        return automatic, [automatic.reason]
    if key in ("auto", automatic.key):
        return automatic, []
    if key in builds:
        return builds[key], []
    return automatic, [
        message(
            "There is no build {build} for this system; choose one of {builds}, or auto.",
            build=key,
            builds=list(builds),
        )
    ]


def _python(machine: Machine, executable: str, wheels: Path | None, wanted: str) -> tuple[Python, list[str]]:
    fallback = managed_python(machine)
    if executable:
        found: Python | str | None = look_at(executable)
        return (found, []) if isinstance(found, Python) else (fallback, [str(found)])
    found = find_python(wanted)
    if found is not None:
        return found, []
    if wheels is not None:
        return fallback, [
            message(
                "No Python {first} to {last} was found; install one from python.org.",
                first=VERSIONS[0],
                last=VERSIONS[-1],
            )
        ]
    return fallback, []


def sizes(wanted: Sequence[Wanted], build: TorchBuild, folder: LocalFolder) -> tuple[int, int]:
    """The bytes of the wheels that are downloaded already, and those that are still to come."""
    near = [Path(place) for place in pip_settings().find_links if Path(place).is_dir()]
    there = to_come = 0
    for one in wanted:
        size = _size(one, build)
        if one.wheel is not None and any((place / one.wheel.file).is_file() for place in near):
            continue
        have = min(downloaded_bytes(folder, one.wheel), size) if one.wheel is not None else 0
        there += have
        to_come += size - have
    return there, to_come


def _size(one: Wanted, build: TorchBuild) -> int:
    if one.wheel is not None and one.wheel.size:
        return one.wheel.size
    return build.download if one.name == "torch" else 0
