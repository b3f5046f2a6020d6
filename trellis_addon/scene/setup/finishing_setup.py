"""The packages that Remesh and Rebake needs: how large they are, getting them, and taking them away again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import bpy

from ...core.progress import Progress
from .. import pump
from . import local_work

INSTALL, REMOVE = "finishing", "remove_finishing"  # what goes on, as `local_work` has it


@dataclass(frozen=True)
class PackageSizes:
    """Sizes in bytes: `download` of what is still to come, `disk` that it will take, `used` of what is here.

    `obstacle` is a sentence why they cannot be had.
    """

    download: int
    disk: int
    used: int
    folder: str
    obstacle: str = ""


@dataclass
class _Kept:
    found: PackageSizes | None = None
    is_looking: bool = False


_kept = _Kept()


def known() -> PackageSizes | None:
    """What was found the last time; None where nobody has looked."""
    return _kept.found


def look_later() -> None:
    """Look in a thread, which panels show as soon as it is done; without a window at once."""
    if bpy.app.background:
        _kept.found = look()
    elif not _kept.is_looking:
        _kept.is_looking = True

        def work() -> Callable[[], None]:
            found = look()

            def show() -> None:
                _kept.found, _kept.is_looking = found, False

            return show

        pump.in_thread(work)


def look() -> PackageSizes:
    """How large they are, from the lock; takes a moment, and no network."""
    from ...local.environment.finishing import make_finishing_plan
    from ...local.environment.plan import SPARE
    from ...local.environment.remove import size_of

    plan = make_finishing_plan()
    obstacle = plan.obstacles[0] if plan.obstacles else ""
    lasting = max(plan.disk - plan.download - SPARE, 0)
    return PackageSizes(plan.download, lasting, size_of(plan.folder), str(plan.folder.root), obstacle)


def install(*, allow_network: bool) -> None:
    """Get them; goes on where it broke off. Without a window, raises what `install_finishing` raises."""
    from ...local.environment.finishing import install_finishing, make_finishing_plan

    def do(progress: Progress) -> None:
        install_finishing(make_finishing_plan(), progress, allow_network=allow_network)

    local_work.start(INSTALL, do, ended=look_later)


def remove() -> None:
    """Take them off the disk. Without a window, raises what `remove` raises."""
    from ...local.environment.remove import remove as take_away
    from ...runtime.layout import finishing_folder

    def do(progress: Progress) -> None:
        take_away(finishing_folder(), progress=progress)

    local_work.start(REMOVE, do, ended=look_later)
