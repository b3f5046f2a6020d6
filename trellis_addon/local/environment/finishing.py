"""What finishing needs, without PyTorch, for the Python that runs here, which is Blender's own.

The same lock, a smaller set of it: no interpreter and no virtual environment, so that a computer without any Python
but Blender's does; the wheels are unpacked into a folder that only the processes which finish have on their path.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from ...core.errors import EngineError, OfflineError
from ...core.folders import file_of
from ...core.messages import message
from ...core.progress import Progress
from ...core.sizes import size_words
from ...core.version import VERSION
from ...runtime.code import ensure_code
from ...runtime.layout import Installation, finishing_folder
from ..machine.hardware import find_machine, free_disk
from . import virtual
from .builds import NO_TORCH
from .fetching import demand_room, fetch, open_finder
from .install import carry_out, compile_kernels, swap
from .lock import Wanted, load_lock, select_finishing, set_id
from .plan import SPARE, Plan, about_folder, sizes, unpacked_bytes
from .python import Python
from .remove import delete

# Which NumPy the lock's SciPy works with (its `Requires-Dist`); of another one the lock's own is taken along.
_NUMPY = ">=1.26.4,<2.7" if sys.version_info < (3, 12) else ">=2.0,<2.8"

_TRIAL = file_of(".local.environment.inside.finishing_trial")


def this_python() -> Python:
    """The Python that runs here, and the wheels that it takes."""
    from packaging.markers import default_environment
    from packaging.tags import sys_tags

    markers = {**{name: str(value) for name, value in default_environment().items()}, "extra": ""}
    return Python(
        sys.executable, platform.python_version(), tuple(markers.items()), tuple(str(tag) for tag in sys_tags())
    )


def make_finishing_plan(*, again: bool = False) -> Plan:
    """What there is to do for finishing to work here, where `runtime.layout.finishing_folder` says.

    `again` does it also where exactly that is installed already. Needs no network and writes nothing.
    """
    folder, python = finishing_folder(), this_python()
    try:
        wanted = _wanted(python)
    except EngineError:
        sentence = message(
            "{system} with Python {python} has no packages for this; use the local backend's Python, or another "
            "computer.",
            system=f"{platform.system()} {platform.machine()}",
            python=python.version,
        )
        return Plan(folder, NO_TORCH, sys.executable, python, 0, 0, (sentence,))
    state = folder.state()
    if not again and state is not None and folder.is_installed and state.lock == set_id(wanted):
        note = message("It is installed already.")
        return Plan(folder, NO_TORCH, sys.executable, python, 0, 0, (), (note,), None, True)
    obstacles = about_folder(folder, find_machine())
    if not os.path.isfile(sys.executable):
        obstacles.append(message("This Blender has no Python of its own to work with; use an official build."))
    _, download = sizes(wanted, NO_TORCH, folder)
    disk = download + unpacked_bytes(wanted, NO_TORCH) + SPARE
    free = free_disk(folder.root)
    if free and disk > free:
        obstacles.append(
            message(
                "The packages need {needed} and {free} are free on the disk of {folder}; free some space.",
                needed=size_words(disk),
                free=size_words(free),
                folder=folder.root,
            )
        )
    return Plan(folder, NO_TORCH, sys.executable, python, download, disk, tuple(obstacles))


def install_finishing(
    plan: Plan, progress: Progress | None = None, *, allow_network: bool = True, is_compiled: bool = True
) -> Installation:
    """Do what a plan of `make_finishing_plan` says; returns what is installed then.

    Goes on with what was broken off, and fails as `install` does: with the folder as it was. `is_compiled` compiles
    what finishing computes with beforehand, which takes some 20 s. Raises `EngineError`, `Cancelled`,
    `OfflineError` where the network is needed and not allowed. Never on Blender's main thread.
    """
    progress = progress or Progress()
    if plan.obstacles:
        raise EngineError(plan.obstacles[0])
    state = plan.folder.state()
    if plan.is_done and state is not None:
        progress.update("Installed", 1.0)
        return state
    if not allow_network:
        raise OfflineError("Online access is off; switch it on in Preferences > System to get these packages.")
    return carry_out(plan, lambda: _install(plan, progress, is_compiled))


def _install(plan: Plan, progress: Progress, is_compiled: bool) -> Installation:
    folder = plan.folder
    was = folder.claim()
    if not was.complete:
        folder.write_state(replace(was, version=VERSION, build=plan.build.key))
    wanted = _wanted(plan.target)
    end = 0.8 if is_compiled else 0.95
    with open_finder(plan) as finder:
        progress.update("Looking for the packages", 0.0)
        found = finder.find_all(wanted, plan.target, plan.build, progress.part(0.0, 0.04))
        demand_room(plan, wanted, found)
        wheels = fetch(found, folder, finder.client, progress.part(0.04, 0.6))
    new = folder.root / "env.new"
    virtual.unpack(wheels, new, progress.part(0.6, end - 0.04))
    progress.update("Trying it", end - 0.04)
    paths = [str(new), *filter(None, sys.path)]
    virtual.run_in(plan.python, _TRIAL, [], folder, progress, paths)
    code = ensure_code(folder)
    if is_compiled:
        progress.update("Compiling for this computer", end)
        compile_kernels(plan.python, code, folder, progress.part(end, 0.99), paths)
    swap(new, folder)
    state = replace(
        was,
        version=VERSION,
        build=plan.build.key,
        python=plan.target.version,
        complete=True,
        installed=time.time(),
        device="cpu",
        lock=set_id(wanted),
    )
    folder.write_state(state)
    for _ in delete(folder.downloads):
        pass
    progress.update("Installed", 1.0)
    return state


def _wanted(python: Python) -> list[Wanted]:
    from packaging.specifiers import SpecifierSet

    try:
        is_fine = SpecifierSet(_NUMPY).contains(version("numpy"))
    except PackageNotFoundError:  # it lies there without saying what it is
        import numpy

        is_fine = SpecifierSet(_NUMPY).contains(numpy.__version__)
    return select_finishing(load_lock(), python, ("numpy",) if is_fine else ())
