"""Generations that run while the artist works: threads that never touch `bpy`, and one pump that does.

A thread takes each generation to its finished GLBs and puts what happens into one queue. The pump, a
timer on Blender's main thread, takes it out, redraws what changed and does the final import.
"""

from __future__ import annotations

import logging
import queue
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import bpy

from ..errors import Cancelled, TrellisError
from ..images import PreparedImage
from ..jobs.job import Asset
from ..progress import Progress
from .importer import import_asset

log = logging.getLogger(__name__)

INTERVAL = 0.1
IN_FLIGHT = threading.Semaphore(3)  # what the platform likes to see from one user at most


@dataclass
class Target:
    """Where a finished asset belongs: told at the start, because the artist goes on working."""

    scene_name: str
    file: str
    location: tuple[float, float, float]
    height: float | None


@dataclass(eq=False)
class Generation:
    """One line of the queue in the panel. `state`: "running", "done", "failed", "cancelled" or "kept".

    "kept" is a finished asset whose scene is not there any more: it waits for the artist's word.
    """

    name: str
    target: Target
    state: str = "running"
    stage: str = "Waiting"
    share: float = 0.0
    message: str = ""
    assets: tuple[Asset, ...] = ()
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    stop: threading.Event = field(default_factory=threading.Event)


Make = Callable[[PreparedImage, Progress], Asset]

_generations: list[Generation] = []
_events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()


def generations() -> list[Generation]:
    return list(_generations)


def find(id: str) -> Generation | None:
    return next((g for g in _generations if g.id == id), None)


def start(name: str, load: Callable[[], PreparedImage], make: Make, target: Target) -> Generation:
    """Begin a generation and return at once. `load` and `make` run in a thread: no `bpy` in them."""
    generation = Generation(name, target)
    _generations.insert(0, generation)
    threading.Thread(target=_work, args=(generation, load, make), daemon=True).start()
    if not bpy.app.timers.is_registered(_pump):
        bpy.app.timers.register(_pump, first_interval=INTERVAL, persistent=True)
    return generation


def cancel(generation: Generation) -> None:
    generation.stop.set()
    generation.stage = "Cancelling"


def forget(generation: Generation) -> None:
    """Take a line that is over off the list; its files stay."""
    if generation.state != "running" and generation in _generations:
        _generations.remove(generation)


def place_kept(generation: Generation, target: Target) -> list[bpy.types.Object]:
    """Import a finished generation into another scene than it was meant for."""
    generation.target = target
    return _import(generation)


def stop_all() -> None:
    """For unregistering and exit: no thread goes on with work, no timer stays."""
    for generation in _generations:
        generation.stop.set()
    _generations.clear()
    while not _events.empty():
        _events.get_nowait()
    if bpy.app.timers.is_registered(_pump):
        bpy.app.timers.unregister(_pump)


def _work(generation: Generation, load: Callable[[], PreparedImage], make: Make) -> None:
    def report(stage: str, share: float) -> None:
        _events.put(lambda: _update(generation, stage=stage, share=share))

    progress = Progress(report, generation.stop.is_set)
    try:
        with IN_FLIGHT:
            progress.update("Preparing", 0.0)
            picture = load()
            warning = " ".join(picture.warnings)
            _events.put(lambda: _update(generation, message=warning))
            asset = make(picture, progress)
        _events.put(lambda: _finish(generation, asset))
    except Cancelled:
        _events.put(lambda: _update(generation, state="cancelled", message="Cancelled."))
    except TrellisError as error:
        message = str(error)
        _events.put(lambda: _update(generation, state="failed", message=message))
    except Exception as error:
        # The artist gets a sentence; the log has the rest for a report.
        log.exception("A generation failed")
        message = f"Unexpected problem ({type(error).__name__}: {error}); the console has the details."
        _events.put(lambda: _update(generation, state="failed", message=message))


def _pump() -> float | None:
    """Everything that threads have reported, on the main thread."""
    changed = False
    while not _events.empty():
        _events.get_nowait()()
        changed = True
    if changed:
        _redraw()
    return INTERVAL if any(g.state == "running" for g in _generations) else None


def _update(generation: Generation, **changes: object) -> None:
    for name, value in changes.items():
        setattr(generation, name, value)


def _finish(generation: Generation, asset: Asset) -> None:
    generation.assets = asset.variations or (asset,)
    target = generation.target
    if bpy.data.filepath != target.file or target.scene_name not in bpy.data.scenes:
        _update(generation, state="kept", message="Its scene is not open any more: choose Import to place it here.")
        return
    try:
        _import(generation)
        bpy.ops.ed.undo_push(message=f"Generate {generation.name}")
    except TrellisError as error:
        _update(generation, state="failed", message=str(error))


def _import(generation: Generation) -> list[bpy.types.Object]:
    target = generation.target
    scene = bpy.data.scenes[target.scene_name]
    made: list[bpy.types.Object] = []
    for asset in generation.assets:
        x, y, z = target.location
        # variations stand side by side, each where the one before ends
        x += sum(obj.dimensions.x for obj in made) * 1.15
        made.append(import_asset(asset, height=target.height, location=(x, y, z), scene=scene))
    engine = generation.assets[0].engine
    _update(generation, state="done", share=1.0, message=f"engine: {engine}. {generation.message}".strip())
    return made


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()
