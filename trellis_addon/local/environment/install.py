"""Installing the local backend into its folder, and going on with an installation that was broken off.

Order: uv, a Python, the wheels (checked against the lock), the environment under a temporary name, a trial of it, the
library's code; only then is it called installed. What was downloaded stays when the user cancels or the line breaks.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import Cancelled, EngineError, OfflineError
from ...core.files import discard, rename
from ...core.folders import file_of
from ...core.machine.awake import awake
from ...core.machine.backups import leave_out
from ...core.messages import reason_of
from ...core.progress import Progress
from ...core.version import VERSION
from ...runtime.code import ensure_code
from ...runtime.layout import Installation, LocalFolder, python_of
from ...runtime.running import demand_idle, exclusive
from ...transfer.download import DownloadError
from ...transfer.errors import BrokenOff
from ..machine.hardware import free_disk
from . import virtual
from .fetching import demand_room, fetch, open_finder
from .index import Finder
from .lock import installer, load_lock, lock_id, select, wanted_by
from .pip_settings import pip_settings
from .plan import Plan, make_plan
from .python import VERSIONS, Python, look_at, minor_of
from .remove import delete, give_folder_up, holds_anything

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

__all__ = ["Plan", "ensure_code", "install", "is_outdated", "make_plan"]

_FULL = 50 * 2**20  # bytes free on a disk that calls itself full
# What an installation makes that is of no use when it fails.
_OURS = ("env.new", "downloads", "tools", "python", "code", "cache", "logs")
_TRIAL = file_of(".local.environment.inside.trial")
_COMPILATION = file_of(".local.environment.inside.compilation")


def install(plan: Plan, progress: Progress | None = None, *, allow_network: bool = True) -> Installation:
    """Do what a plan says; returns what is installed then, with the device that the trial ran on.

    Raises `EngineError` with the first obstacle, and for what goes wrong. `Cancelled`, a download that broke off and
    the end of this process leave what was downloaded, and the same call goes on with it; any other failure leaves the
    folder as it was, which is nothing where it was not there. Where nothing is to be done, only the library's code is
    brought up to date. Raises `OfflineError` where the network is needed and
    not allowed. Never on Blender's main thread.
    """
    progress = progress or Progress()
    if plan.obstacles:
        raise EngineError(plan.obstacles[0])
    before = plan.folder.state()
    if plan.is_done and before is not None:
        ensure_code(plan.folder)
        state = replace(before, version=VERSION)
        plan.folder.write_state(state)
        progress.update("Installed", 1.0)
        return state
    if not allow_network and plan.wheels is None and not (plan.keeps_packages and plan.python):
        raise OfflineError("Online access is off; switch it on in Preferences > System to install the local backend.")
    return carry_out(plan, lambda: _install(plan, progress))


def carry_out(plan: Plan, do: Callable[[], Installation]) -> Installation:
    """Install as the only one at it; what fails leaves of the folder what `install` says."""
    before = plan.folder.state()
    demand_idle(plan.folder, "install")
    plan.folder.claim()
    leave_out(plan.folder.root)
    with exclusive(plan.folder), awake("installing"):
        try:
            return do()
        except BaseException as error:
            _clear_up(plan.folder, before, _can_go_on(plan.folder, error))
            raise


def is_outdated(folder: LocalFolder) -> bool:
    """Whether what is installed is made of other wheels than this version would take: installing again updates it."""
    state = folder.state()
    return state is not None and state.complete and state.lock != lock_id()


def _install(plan: Plan, progress: Progress) -> Installation:
    folder = plan.folder
    was = folder.claim()
    if not was.complete:
        folder.write_state(replace(was, version=VERSION, build=plan.build.key))
    with open_finder(plan) as finder:
        progress.update("Looking for the packages", 0.0)
        uv = None if plan.keeps_packages and plan.python else _uv(plan, finder, progress.part(0.0, 0.03))
        python = _python(plan, uv, progress.part(0.03, 0.06))
        wheels = [] if plan.keeps_packages else _wheels(plan, finder, python, progress.part(0.06, 0.72))
    new = folder.root / "env.new"
    progress.update("Making the environment", 0.72)
    virtual.make_environment(new, python, uv, folder, progress)
    if plan.keeps_packages:
        version = minor_of(python.version)
        virtual.take_over(folder.packages(folder.env, version), folder.packages(new, version), progress)
    else:
        virtual.fill_environment(new, wheels, python, uv, folder, progress.part(0.73, 0.92))
    progress.update("Trying it", 0.92)
    tried = _try(new, folder, progress.part(0.92, 0.95))
    progress.update("Copying the library", 0.95)
    code = ensure_code(folder)
    progress.update("Compiling for this computer", 0.96)
    compile_kernels(str(python_of(new)), code, folder, progress.part(0.96, 0.99))
    swap(new, folder)
    state = Installation(
        version=VERSION,
        build=plan.build.key,
        python=tried["python"],
        torch=tried["torch"],
        complete=True,
        installed=time.time(),
        made_root=was.made_root,
        made_above=was.made_above,
        device=tried["device"],
        lock=lock_id(),
    )
    folder.write_state(state)
    for _ in delete(folder.downloads):
        pass
    progress.update("Installed", 1.0)
    return state


# --- what is fetched ---


def _uv(plan: Plan, finder: Finder, progress: Progress) -> Path | None:
    """uv, ready to run; None where it cannot be had and the Python's own pip has to do."""
    wanted = installer(load_lock(), plan.target)
    if wanted is None:
        return None
    try:
        found = finder.find(wanted, plan.target, plan.build)
    except DownloadError:
        raise
    except EngineError:  # this machine's index or folder has none
        if plan.python:
            return None
        raise
    return virtual.unpack_uv(fetch([found], plan.folder, finder.client, progress)[0], plan.folder)


def _python(plan: Plan, uv: Path | None, progress: Progress) -> Python:
    executable = plan.python
    if not executable:
        if uv is None:
            raise EngineError(
                "No Python {first} to {last} was found; install one from python.org.",
                first=VERSIONS[0],
                last=VERSIONS[-1],
            )
        progress.update("Downloading Python", 0.0)
        executable = virtual.fetch_python(uv, plan.target.version, plan.folder, pip_settings(), progress)
    found = look_at(executable)
    if isinstance(found, str):
        raise EngineError(found)
    return found


def _wheels(plan: Plan, finder: Finder, python: Python, progress: Progress) -> list[Path]:
    """All wheels, on this machine and checked."""
    wanted = select(load_lock(), python, plan.build)
    found = finder.find_all(wanted, python, plan.build, progress.part(0.0, 0.05))
    demand_room(plan, wanted, found)
    end = 0.6 if plan.build.tag and plan.build.device != "cpu" else 1.0
    paths = fetch(found, plan.folder, finder.client, progress.part(0.05, end))
    torch = next(path for path, one in zip(paths, wanted, strict=True) if one.name == "torch")
    more = wanted_by(torch, python, wanted)
    if more:
        places = finder.find_all(more, python, plan.build, progress.part(end, end))
        demand_room(plan, more, places)
        paths += fetch(places, plan.folder, finder.client, progress.part(end, 1.0))
    return paths


# --- the end ---


def _try(env: Path, folder: LocalFolder, progress: Progress) -> dict[str, str]:
    """Import everything and compute something: what is there, and on which device it ran."""
    answer = folder.cache / "tmp" / "trial.json"
    virtual.run_in(str(python_of(env)), _TRIAL, [str(answer)], folder, progress)
    try:
        tried = json.loads(answer.read_text(encoding="utf-8"))
        return {name: str(tried[name]) for name in ("python", "torch", "device")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError("The new environment gave no answer when it was tried; install again.") from error
    finally:
        discard(answer)


def compile_kernels(
    python: str, code: Path, folder: LocalFolder, progress: Progress, paths: Sequence[str] = ()
) -> None:
    """Finish something small, while there is a wait anyway: else the first asset has to wait for what it compiles.

    Whatever goes wrong there is told with that asset, and does not undo an installation.
    """
    try:
        virtual.run_in(python, _COMPILATION, [str(code)], folder, progress, paths)
    except EngineError as error:
        log.warning("Nothing was compiled beforehand: %s", error)


def swap(new: Path, folder: LocalFolder) -> None:
    """Put the new environment in the place of the old one."""
    old = folder.root / "env.old"
    for _ in delete(old):
        pass
    if folder.env.exists():
        _rename(folder.env, old)
    try:
        _rename(new, folder.env)
    except EngineError:
        if old.exists():
            _rename(old, folder.env)
        raise
    for _ in delete(old):
        pass


def _rename(source: Path, target: Path) -> None:
    try:
        rename(source, target)
    except OSError as error:
        raise EngineError(
            "{source} cannot be renamed ({reason}); close what uses it, and install again.",
            source=source,
            reason=reason_of(error),
        ) from error


def _can_go_on(folder: LocalFolder, error: BaseException) -> bool:
    """Whether the same call may succeed another time, and has something to go on with."""
    is_break = isinstance(error, Cancelled | KeyboardInterrupt | BrokenOff | virtual.Unready)
    is_full = free_disk(folder.root) < _FULL
    return (is_break or is_full) and folder.downloads.is_dir() and any(folder.downloads.iterdir())


def _clear_up(folder: LocalFolder, before: Installation | None, can_go_on: bool) -> None:
    """After a failure: keep the downloads where they are of use, else what was there before and nothing else."""
    if can_go_on:
        parts: tuple[str, ...] = ("env.new",)
    elif before is not None and before.complete:
        parts = ("env.new", "downloads")
    else:
        parts = _OURS
    for part in parts:
        with contextlib.suppress(EngineError):  # the first failure is the one to be told
            for _ in delete(folder.root / part):
                pass
    with contextlib.suppress(EngineError):
        if before is not None and before.complete:
            folder.write_state(before)
        elif not holds_anything(folder):
            give_folder_up(folder)
