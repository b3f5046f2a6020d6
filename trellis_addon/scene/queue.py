"""Generations that run while the artist works: threads that never touch `bpy`, and one pump that does.

A thread takes each generation to its finished GLBs and puts what happens into one queue. The pump, a
timer on Blender's main thread, takes it out, redraws what changed and does the final import.
What outlives Blender is the store of jobs; this module only knows what goes on in this session.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import bpy

from ..errors import BackendError, Cancelled, FieldError, Interrupted, JobError, TrellisError
from ..jobs.job import Asset, Job
from ..jobs.store import JobStore
from ..parallel import IN_FLIGHT
from ..progress import Progress
from .importer import import_asset

log = logging.getLogger(__name__)

INTERVAL = 0.1
_IN_FLIGHT = threading.Semaphore(IN_FLIGHT)


@dataclass(frozen=True)
class Target:
    """Where a finished asset belongs: told at the start, because the artist goes on working.

    `session` is this run of Blender: an unsaved file has no other name, and the next one is another file.
    """

    scene_name: str
    file: str
    location: tuple[float, float, float]
    height: float | None
    session: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Target | None:
        try:
            values = json.loads(text)
            return cls(**{**values, "location": tuple(values["location"])})
        except (ValueError, TypeError, KeyError):
            return None

    @property
    def is_open(self) -> bool:
        same_file = self.session == SESSION if not self.file else True
        return same_file and bpy.data.filepath == self.file and self.scene_name in bpy.data.scenes


SESSION = uuid.uuid4().hex


@dataclass(eq=False)
class Generation:
    """One line of the queue in the panel. `state`: "running", "done", "failed", "cancelled" or "kept".

    "kept" is a finished asset whose scene is not there any more: it waits for the artist's word.
    `stop` is the artist's word to give it up; `is_left` says that Blender ends, and it does not.
    `minds` is the path of the setting that the service does not take, `details` its raw reply, for a report.
    """

    name: str
    target: Target
    state: str = "running"
    stage: str = "Waiting"
    share: float = 0.0
    message: str = ""
    minds: str = ""
    details: str = ""
    assets: tuple[Asset, ...] = ()
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    stop: threading.Event = field(default_factory=threading.Event)
    is_left: bool = False


Report = Callable[[str], None]  # something for the artist to read, while it goes on
Make = Callable[[Progress, Report], Asset]

_generations: list[Generation] = []
_events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()


def generations() -> list[Generation]:
    return list(_generations)


def find(id: str) -> Generation | None:
    return next((g for g in _generations if g.id == id), None)


def start(name: str, make: Make, target: Target, *, is_resumed: bool = False) -> Generation:
    """Begin a generation and return at once. `make` runs in a thread: no `bpy` in it.

    One of a former session that another program has taken up meanwhile goes off the list without a word.
    """
    generation = Generation(name, target)
    _generations.insert(0, generation)
    threading.Thread(target=_work, args=(generation, make, is_resumed), daemon=True).start()
    run_pump()
    return generation


def keep(job: Job, target: Target) -> None:
    """List a finished job whose scene is not open, for the artist to place."""
    generation = Generation(job.name, target, assets=job.assets)
    _keep(generation)
    _generations.append(generation)


def later(work: Callable[[], None]) -> None:
    """Have the pump call `work` on the main thread; for threads."""
    _events.put(work)


def run_pump() -> None:
    """See that the pump runs; main thread only."""
    if not bpy.app.timers.is_registered(_pump):
        bpy.app.timers.register(_pump, first_interval=INTERVAL, persistent=True)


def cancel(generation: Generation) -> None:
    generation.stop.set()
    generation.stage = "Cancelling"


def forget(generation: Generation) -> None:
    """Take a line that is over off the list; its files stay."""
    if generation.state != "running" and generation in _generations:
        _generations.remove(generation)


def place(generation: Generation, target: Target) -> list[bpy.types.Object]:
    """Import a finished generation into another scene than it was meant for."""
    generation.target = target
    return _import(generation)


def run(name: str, make: Make, target: Target) -> None:
    """In a window: begin and return. Without one, where timers do not run: wait, and import."""
    if bpy.app.background:
        deliver(make(Progress(), lambda message: None).variations, target)
    else:
        start(name, make, target)


def deliver(assets: Sequence[Asset], target: Target) -> list[bpy.types.Object]:
    """Import the results of a job side by side, each where the one before ends; the store knows of it afterwards."""
    scene = bpy.data.scenes[target.scene_name]
    made: list[bpy.types.Object] = []
    for asset in assets:
        x, y, z = target.location
        x += sum(obj.dimensions.x for obj in made) * 1.15
        made.append(import_asset(asset, height=target.height, location=(x, y, z), scene=scene))
    store = JobStore()
    if job := store.get(str(assets[0].provenance.get("task_uuid", ""))):
        store.deliver(job)
    return made


def stop_all() -> None:
    """For unregistering and exit: no thread goes on with work, no timer stays. Jobs go on another day."""
    for generation in _generations:
        generation.is_left = True
    _generations.clear()
    while not _events.empty():
        _events.get_nowait()
    if bpy.app.timers.is_registered(_pump):
        bpy.app.timers.unregister(_pump)


def _work(generation: Generation, make: Make, is_resumed: bool) -> None:
    def on_update(stage: str, share: float) -> None:
        later(lambda: _update(generation, stage=stage, share=share))

    def report(message: str) -> None:
        later(lambda: _update(generation, message=message))

    def is_cancelled() -> bool:
        if generation.is_left:
            raise Interrupted(f"{generation.name}: goes on with the next session.")
        return generation.stop.is_set()

    progress = Progress(on_update, is_cancelled)
    try:
        with _IN_FLIGHT:
            progress.update("Preparing", 0.0)
            asset = make(progress, report)
        later(lambda: _finish(generation, asset))
    except Interrupted as pause:
        log.info("%s", pause)
    except Cancelled:
        later(lambda: _update(generation, state="cancelled", message="Cancelled."))
    except TrellisError as error:
        _fail(generation, error)
        if is_resumed and isinstance(error, JobError):
            later(lambda: forget(generation))
    except Exception as error:
        # The artist gets a sentence; the log has the rest for a report.
        log.exception("A generation failed")
        _fail(generation, JobError(f"Unexpected problem ({type(error).__name__}); the console has the details."))


def _fail(generation: Generation, error: TrellisError) -> None:
    field_path = error.field if isinstance(error, (FieldError, BackendError)) else ""
    details = json.dumps(
        {"error": type(error).__name__, "code": error.code, "message": str(error), "reply": error.raw}, indent=2
    )
    later(lambda: _update(generation, state="failed", message=str(error), minds=field_path, details=details))


def _pump() -> float | None:
    """Everything that threads have reported, on the main thread."""
    changed = False
    while not _events.empty():
        _events.get_nowait()()
        changed = True
    if changed:
        _redraw()
    return INTERVAL if any(g.state == "running" for g in _generations) or threads_at_work() else None


def threads_at_work() -> int:
    """How many helpers (asking for a balance, looking into the store) will still report."""
    return _helpers.count


class _Helpers:
    count = 0


_helpers = _Helpers()


def in_thread(work: Callable[[], Callable[[], None]]) -> None:
    """Run `work` in a thread, and what it returns on the main thread afterwards; main thread only."""

    def run() -> None:
        try:
            then = work()
        except Exception:
            log.exception("A background task failed")
            then = None

        def finish() -> None:
            _helpers.count -= 1
            if then is not None:
                then()

        later(finish)

    _helpers.count += 1
    threading.Thread(target=run, daemon=True).start()
    run_pump()


def _update(generation: Generation, **changes: object) -> None:
    for name, value in changes.items():
        setattr(generation, name, value)
    if generation.state != "running" and "state" in changes:
        from . import history  # which needs this module itself

        history.read_store()


def _finish(generation: Generation, asset: Asset) -> None:
    generation.assets = asset.variations or (asset,)
    if not generation.target.is_open:
        _keep(generation)
        return
    try:
        _import(generation)
        bpy.ops.ed.undo_push(message=f"Generate {generation.name}")
    except TrellisError as error:
        _update(generation, state="failed", message=str(error))


def _keep(generation: Generation) -> None:
    message = "Its scene is not open: choose Import to place it at the 3D cursor of this one."
    _update(generation, state="kept", share=1.0, message=message)


def _import(generation: Generation) -> list[bpy.types.Object]:
    made = deliver(generation.assets, generation.target)
    said = generation.message if generation.state == "running" else ""
    message = f"engine: {generation.assets[0].engine}. {said}".strip()
    _update(generation, state="done", share=1.0, message=message)
    return made


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "PREFERENCES"):
                area.tag_redraw()
