"""What the preferences show of the local backend, and what their buttons do: plain data, found and changed by threads.

`look_later` asks the library (the machine, the folder, the weights) in a thread; what was found is swapped in on the
main thread, so that drawing reads finished things only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from ...core.configuration import configuration
from ...core.errors import TrellisError
from ...core.progress import Progress
from .. import pump
from . import local_work

if TYPE_CHECKING:
    from ...local.doctor.report import Report
    from ...local.environment.install import Plan
    from ...local.machine.hardware import Machine
    from ...runtime.layout import Installation, LocalFolder


@dataclass(frozen=True)
class Choices:
    """What the preferences say: `source` is empty for the hub, else a mirror's address or a folder."""

    build: str = "auto"
    wheels: Path | None = None
    resolutions: tuple[int, ...] = (512, 1024)
    mask: bool = False
    source: str = ""
    is_accepted: bool = False
    allow_network: bool = False


@dataclass(frozen=True)
class WeightsGroup:
    """One line of the list of weights; sizes in bytes, of which `here` is on the disk.

    `state` is "missing", "part", "complete" or "damaged", with the `problem` in words. `address` is that of the
    licence's text.
    """

    group: str
    label: str
    purpose: str
    licence: str
    address: str
    state: str
    size: int
    here: int
    is_needed: bool
    problem: str = ""


@dataclass(frozen=True)
class Setup:
    """What a look has found; sizes in bytes.

    `is_ready`: there is a Python that has what is needed, ours or the user's own, which is `own_python`. `free` is of
    the disk, `used` all that is ours in the folder. `terms` is the address of the licence that is still to be
    accepted, `origins` says whose files the weights are, `credits` what their licences want to be shown, `problem` why
    there is no plan. `is_outdated`: another build or version of the packages is due.
    """

    folder: LocalFolder
    machine: Machine
    state: Installation | None
    is_ready: bool
    plan: Plan | None
    weights: tuple[WeightsGroup, ...]
    own_python: str
    own_weights: str
    free: int
    used: int
    terms: str = ""
    origins: tuple[str, ...] = ()
    credits: tuple[str, ...] = ()
    problem: str = ""
    is_outdated: bool = False

    @property
    def to_fetch(self) -> int:
        """Bytes of the weights that the chosen resolutions still lack."""
        return sum(max(line.size - line.here, 0) for line in self.weights if line.is_needed)

    @property
    def has_weights(self) -> bool:
        return all(line.state == "complete" for line in self.weights if line.is_needed)


@dataclass
class _Kept:
    found: Setup | None = None
    wanted: int = 0  # number of the newest look: what an older one finds is out of date
    is_looking: bool = False
    report: Report | None = None
    freed: int = 0  # bytes, by the last removal


_kept = _Kept()


def known() -> Setup | None:
    """What was found the last time; None where nobody has looked."""
    return _kept.found


def report() -> Report | None:
    """The doctor's last report in this session."""
    return _kept.report


def freed() -> int:
    """Bytes that the last removal has freed."""
    return _kept.freed


def is_looking() -> bool:
    return _kept.is_looking


def look_later(choices: Choices) -> None:
    """Look in a thread; the preferences show what was found as soon as it is there. Without a window: at once."""
    if bpy.app.background:
        _kept.found = look(choices)
        return
    _kept.wanted += 1
    number = _kept.wanted

    def work() -> Callable[[], None]:
        found = look(choices)

        def show() -> None:
            if number == _kept.wanted:
                _kept.found, _kept.is_looking = found, False

        return show

    _kept.is_looking = True
    pump.in_thread(work)


def look(choices: Choices) -> Setup:
    """The machine, the folder and the weights, as they are now; takes up to seconds."""
    from ...local.environment.install import make_plan
    from ...local.environment.remove import size_of
    from ...local.machine.hardware import find_machine, free_disk
    from ...runtime.layout import local_folder
    from ...weights.fetching import origins

    folder, machine = local_folder(), find_machine()
    state = folder.state()
    plan, problem = None, ""
    try:
        plan = make_plan(None, machine, build=choices.build, wheels=choices.wheels)
    except TrellisError as error:
        problem = error.message
    return Setup(
        folder=folder,
        machine=machine,
        state=state,
        is_ready=_is_ready(folder),
        plan=plan,
        weights=_weights(folder, choices),
        own_python=configuration().python,
        own_weights=configuration().weights,
        terms=_terms(folder, choices),
        origins=origins(folder.weights),
        credits=_credits(folder),
        is_outdated=folder.is_installed and plan is not None and not plan.is_done,
        free=free_disk(folder.root),
        used=size_of(folder),
        problem=problem,
    )


def install(choices: Choices, *, weights: bool = True) -> None:
    """Put everything into the folder that is needed, and the weights as well; goes on where it broke off."""
    from ...local.environment.install import install as put
    from ...local.environment.install import make_plan
    from ...local.machine.hardware import find_machine
    from ...weights.fetching import missing_bytes

    def do(progress: Progress) -> None:
        plan = make_plan(None, find_machine(), build=choices.build, wheels=choices.wheels)
        missing = missing_bytes(plan.folder.weights, _wanted(choices)) if weights else 0
        # by what is to be downloaded, as far as it is known; unpacking takes its time as well
        share = min(max(plan.download / (plan.download + missing), 0.2), 0.9) if missing else 1.0
        put(plan, progress.part(0.0, share), allow_network=choices.allow_network)
        if missing:
            _fetch(choices, progress.part(share, 1.0))

    _start("install", do, choices)


def fetch_weights(choices: Choices) -> None:
    """Fetch the weights that the chosen resolutions lack; goes on where it broke off."""
    _start("weights", lambda progress: _fetch(choices, progress), choices)


def remove_weights(group: str, choices: Choices) -> None:
    """Take one group of the weights off the disk."""
    from ...runtime.layout import local_folder
    from ...weights.fetching import remove as take_away

    _start("remove_weights", lambda progress: take_away(local_folder().weights, group), choices)


def start_worker(choices: Choices) -> None:
    """Start the worker, which takes some seconds."""
    from ...client import local_service

    _start("worker", lambda progress: local_service.start_worker(), choices)


def stop_worker() -> None:
    """Stop the worker, in a thread where there is a window."""
    from ...client import local_service

    if bpy.app.background:
        local_service.stop_worker()
        return

    def work() -> Callable[[], None]:
        local_service.stop_worker()
        return lambda: None

    pump.in_thread(work)


def remove(choices: Choices, *, keep_weights: bool = False) -> None:
    """Take everything off the disk that is ours, after stopping the worker."""
    from ...client.local_service import stop_worker
    from ...local.environment.remove import remove as take_away
    from ...runtime.layout import local_folder

    def do(progress: Progress) -> int:
        stop_worker()
        return take_away(local_folder(), keep_weights=keep_weights, progress=progress)

    def then(freed: int) -> None:
        _kept.freed, _kept.report = freed, None

    _start("remove", do, choices, then)


def examine(choices: Choices, *, selftest: bool = True) -> None:
    """Have the doctor look at everything."""
    from ...local.doctor.report import report as examined

    def then(found: Report) -> None:
        _kept.report = found

    _start("doctor", lambda progress: examined(selftest=selftest, progress=progress), choices, then)


def _start(
    kind: str, do: Callable[[Progress], Any], choices: Choices, then: Callable[[Any], None] | None = None
) -> None:
    local_work.start(kind, do, then, ended=lambda: look_later(choices))


def _wanted(choices: Choices) -> tuple[str, ...]:
    """The groups of the weights that the choices need."""
    from ...weights.fetching import needed

    return needed(choices.resolutions, mask=choices.mask)


def _weights(folder: LocalFolder, choices: Choices) -> tuple[WeightsGroup, ...]:
    from ...weights.fetching import status
    from ...weights.licences import LICENCES

    wanted = _wanted(choices)
    return tuple(
        WeightsGroup(
            group=line.group.key,
            label=line.group.label,
            purpose=line.group.purpose,
            licence=LICENCES[line.group.licence].name,
            address=LICENCES[line.group.licence].text,
            state=line.state,
            size=line.size,
            here=line.have,
            is_needed=line.group.key in wanted,
            problem=line.problem,
        )
        for line in status(folder.weights)
    )


def _terms(folder: LocalFolder, choices: Choices) -> str:
    """The address of terms that still have to be accepted for what is wanted; empty where there are none."""
    from ...weights.licences import LICENCES, accepted

    known = accepted(folder.weights)
    return next((LICENCES[key].text for key in _to_accept(choices) if key not in known), "")


def _credits(folder: LocalFolder) -> tuple[str, ...]:
    from ...weights.fetching import status
    from ...weights.licences import LICENCES

    here = {line.group.licence for line in status(folder.weights) if line.state == "complete"}
    return tuple(licence.credit for licence in LICENCES.values() if licence.key in here and licence.credit)


def _to_accept(choices: Choices) -> list[str]:
    from ...weights.licences import LICENCES
    from ...weights.published import BY_KEY

    licences = dict.fromkeys(BY_KEY[key].licence for key in _wanted(choices))
    return [key for key in licences if LICENCES[key].must_accept]


def _fetch(choices: Choices, progress: Progress) -> None:
    from ...local.environment.remove import drop_root
    from ...runtime.layout import local_folder
    from ...weights.fetching import fetch

    folder = local_folder()
    folder.claim()
    try:
        fetch(
            folder.weights,
            _wanted(choices),
            source=choices.source,
            accepted=_to_accept(choices) if choices.is_accepted else (),
            progress=progress,
            allow_network=choices.allow_network,
        )
    finally:
        drop_root(folder)


def _is_ready(folder: LocalFolder) -> bool:
    """Whether there is a Python with all that is needed: ours, or one of the user's own."""
    return folder.is_installed or bool(configuration().python)
