"""What is written out of the scene and takes long: in a thread, with a line in the queue's panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..core.errors import Cancelled, TrellisError
from ..core.progress import Progress
from . import pump
from .background import Work, perform

T = TypeVar("T")

_STOP_WAIT = 3.0  # seconds that the extension's going waits for a process to end


@dataclass(eq=False)
class Export(Work):
    """One line of the panel; of an end that was good, `message` says where the file is."""

    name: str = ""


_exports: list[Export] = []


def exports() -> list[Export]:
    """The newest first."""
    return list(_exports)


def find(id: str) -> Export | None:
    return next((export for export in _exports if export.id == id), None)


def start(name: str, do: Callable[[Progress], T], words: Callable[[T], str]) -> Export:
    """Begin and return at once. `do` runs in a thread, without `bpy`; `words` are said of what it returns, on the main
    thread."""
    export = Export(name=name)
    _exports.insert(0, export)

    def work() -> Callable[[], None]:
        outcome = perform(export, do, pump.later)

        def end() -> None:
            if isinstance(outcome, Cancelled):
                forget(export, at_once=True)
            elif isinstance(outcome, TrellisError):
                export.state, export.message = "failed", outcome.message
            else:
                export.state, export.share, export.message = "done", 1.0, words(outcome)

        return end

    pump.in_thread(work)
    return export


def cancel(export: Export) -> None:
    """Ask it to stop; its line goes when it has."""
    export.stop.set()
    export.stage = "Cancelling"


def forget(export: Export, *, at_once: bool = False) -> None:
    """Take a line off the list that is over."""
    if export in _exports and (at_once or export.state != "running"):
        _exports.remove(export)


def stop_all() -> None:
    """For unregistering and exit: nothing half is left, and nothing shown."""
    running = [export for export in _exports if export.state == "running"]
    _exports.clear()
    for export in running:
        export.stop.set()
    for export in running:
        export.ended.wait(_STOP_WAIT)
