"""Generations that run while the artist works: threads that never touch `bpy`, and the pump that does.

A thread takes each generation to its finished GLBs and tells the pump what happens, which runs on Blender's main thread
and redraws what changed. What has to be done then, the final import
above all, is done by those who listen to the events below. What outlives Blender is the store of jobs; this module only
knows what goes on in this session.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_rpt

from ..core.errors import (
    BackendError,
    BackgroundError,
    Cancelled,
    DamagedFileError,
    FieldError,
    Interrupted,
    TakenError,
    TrellisError,
    unforeseen,
)
from ..core.event import Event
from ..core.machine.parallel import IN_FLIGHT
from ..core.messages import sentences
from ..core.progress import Progress
from ..formats.glb.check import check_glb_file, known_sound
from ..jobs.job import Asset, Job, notes_in
from ..stages import is_rough
from .background import Work, perform
from .place import placeholder, waiting
from .pump import attempt, every_round, later, run_pump, stop_pump
from .target import Target

log = logging.getLogger(__name__)

_IN_FLIGHT = threading.Semaphore(IN_FLIGHT)

# The states of a generation that is not over: it works, or waits for the artist's hands to be free, or for a choice.
WAITS = ("running", "ready", "choose")


@dataclass(eq=False)
class Generation(Work):
    """One line of the queue in the panel.

    `kind` is that of its job, as `Job.kind` has it: it says what is done to what its name says.
    `state`: "running"; "ready", its files here, to be imported as soon as the artist's hands are free; "choose",
    several results of which the artist takes some; "kept", finished, but the place it was meant for is not there,
    so that it waits for the artist's word; "done", "failed" or "cancelled".
    `said` is what the picture gave rise to warn of, `picture` the file of what its card shows.
    `early` is the newest picture of what is being made, and `earlies` counts them.
    `source` is the picture's file, where it was made of one, and `is_unmarked` that its subject cannot be told from its
    background, so that it has to be marked.
    `is_left` says that Blender ends, and it does not.
    `refused_field` is the path of the setting that the service does not take, `details` its raw reply, for a report.
    `picked` are the numbers of the results that the artist has ticked, `previews` their pictures as they get ready.
    `turns` are their pictures from all around, `triangles` how many they have; `shown` is the one that is looked at
    closely, from its view number `view`.
    `has_news` says that its message, now that it is done, is more than the name of what has made it.
    `made` are the names that its objects came into the scene with, `has_card` says whether a card stood for it.
    """

    name: str
    target: Target
    stage: str = field(default="Waiting", kw_only=True)
    kind: str = field(default="", kw_only=True)
    refused_field: str = ""
    details: str = ""
    said: str = ""
    picture: Path | None = None
    early: Path | None = None
    earlies: int = 0
    assets: tuple[Asset, ...] = ()
    picked: set[int] = field(default_factory=set)
    previews: dict[int, Path] = field(default_factory=dict)
    turns: dict[int, tuple[Path, ...]] = field(default_factory=dict)
    triangles: dict[int, int] = field(default_factory=dict)
    shown: int | None = None
    view: int = 0
    made: tuple[str, ...] = ()
    has_news: bool = False
    has_card: bool = False
    source: Path | None = None
    is_unmarked: bool = False
    is_left: bool = False

    @property
    def is_rough(self) -> bool:
        """Whether its results are rough shapes, to choose from which of them go on."""
        return bool(self.assets) and is_rough(self.assets[0].provenance)

    @property
    def is_choice(self) -> bool:
        """Whether there is something to choose."""
        return len(self.assets) > 1 or self.is_rough


Report = Callable[..., None]  # sentences for the artist to read, while it goes on
Make = Callable[[Progress, Report], Asset]

# What happens to a generation, for those whom it concerns (`session` names them): it begins; its results are here; its
# turn has come to be imported; it has ended, well or not; the artist does not want what was made.
on_begin: Event[[Generation]] = Event()
on_results: Event[[Generation]] = Event()
on_turn: Event[[Generation]] = Event()
on_end: Event[[Generation]] = Event()
on_dismissed: Event[[Generation]] = Event()

_generations: list[Generation] = []
_forgotten: set[str] = set()  # the cards of lines that were taken off the list in this session


def generations() -> list[Generation]:
    return list(_generations)


def find(id: str) -> Generation | None:
    return next((g for g in _generations if g.id == id), None)


def free_name(name: str) -> str:
    """The name, or with a number where another in the list has it already: of one picture there are often several."""
    taken, free, number = {generation.name for generation in _generations}, name, 1
    while free in taken:
        number += 1
        free = f"{name} {number}"
    return free


def of_card(card: str) -> Generation | None:
    """The newest generation whose asset belongs where this card stands."""
    return next((g for g in _generations if card and g.target.card == card), None)


def start(
    name: str,
    make: Make,
    target: Target,
    *,
    source: Path | None = None,
    is_resumed: bool = False,
    kind: str = "",
) -> Generation:
    """Begin a generation and return at once. `make` runs in a thread: no `bpy` in it.

    One of a former session that another program has taken up meanwhile goes off the list without a word.
    """
    generation = Generation(name, target, has_card=bool(placeholder.find(target.card)), source=source, kind=kind)
    _generations.insert(0, generation)
    attempt(partial(on_begin.tell, generation))
    threading.Thread(target=_work, args=(generation, make, is_resumed), daemon=True).start()
    run_pump()
    return generation


def offer(job: Job, target: Target) -> Generation:
    """List a job that is finished: it is imported where it belongs, or waits for the artist's word."""
    generation = Generation(job.name, target, share=1.0, assets=job.assets, kind=job.kind)
    _generations.append(generation)
    guarded(generation, on_results.tell)
    run_pump()
    return generation


def list_failed(job: Job, target: Target) -> None:
    """List a job of a former session that did not come to a good end, and whose card still stands."""
    state = "cancelled" if job.state == "cancelled" else "failed"
    message = job.error or pgettext_rpt("Cancelled")
    _generations.append(Generation(job.name, target, state=state, message=message, kind=job.kind))


def show_picture(card: str, picture: Path) -> None:
    """Have a job's picture put onto its card; for threads."""

    def show() -> None:
        if generation := of_card(card):
            generation.picture = picture
        placeholder.show_picture(card, picture)

    later(show)


def cancel(generation: Generation) -> None:
    generation.stop.set()
    generation.stage = "Cancelling"


def forget(generation: Generation) -> None:
    """Take a line off the list that is over, or that the artist does not want; its files stay, its cards go."""
    if generation.state == "running" or generation not in _generations:
        return
    _generations.remove(generation)
    _forgotten.add(generation.target.card)
    placeholder.remove(placeholder.find(generation.target.card))
    waiting.unmark(generation.target.card)
    on_dismissed.tell(generation)


def forget_line(generation: Generation, *, is_over: bool = False) -> None:
    """Take a line off the list and leave everything else as it is. `is_over`: a card that an undo brings back, goes."""
    if generation in _generations:
        _generations.remove(generation)
    if is_over:
        _forgotten.add(generation.target.card)


def after_undo() -> None:
    """After an undo or a redo: no card stays of what is over, and what is under way has its card all the same.

    Beginning is no step of its own, so an undo of what was done before takes the card along.
    """
    over = _forgotten | {line.target.card for line in _generations if line.state in ("done", "cancelled")}
    # looked for once: a file may have very many objects
    placeholder.remove([card for card in placeholder.all_cards() if card[placeholder.PROPERTY] in over])
    for generation in _generations:
        target = generation.target
        if generation.state in WAITS and generation.has_card and target.has_scene and not target.is_open:
            attempt(partial(target.stand_card, generation.name))
    look_again()


def look_again() -> None:
    """After an undo, a redo, or another file: what waited for its place may have it again."""
    # looked for once: a file may have very many objects, and the list very many lines
    places = {str(card[placeholder.PROPERTY]) for card in placeholder.all_cards()} | waiting.ids()
    for generation in generations():
        id = generation.target.card
        if id and id not in places:
            if generation.state in ("ready", "choose"):
                guarded(generation, on_results.tell)  # it has lost its place
            continue
        if generation.picture is not None:
            attempt(partial(placeholder.show_picture, generation.target.card, generation.picture))
        if generation.early is not None:
            attempt(partial(placeholder.show_early, generation.target.card, generation.early))
        has_lost_its_place = not id and generation.state in ("ready", "choose") and not generation.target.is_open
        if generation.state == "kept" or has_lost_its_place:
            guarded(generation, on_results.tell)
    if any(g.state == "ready" for g in _generations):
        run_pump()


def stop_all() -> None:
    """For unregistering and exit: no thread goes on with work, no timer stays. Jobs go on another day."""
    for generation in _generations:
        generation.is_left = True
    _generations.clear()
    stop_pump()


def _work(generation: Generation, make: Make, is_resumed: bool) -> None:
    def report(*told: str) -> None:
        def tell() -> None:
            words = sentences(*told)
            _update(generation, said=words, message=words)

        later(tell)

    def is_cancelled() -> bool:
        if generation.is_left:
            raise Interrupted("{name}: goes on with the next session.", name=generation.name)
        return generation.stop.is_set()

    def do(progress: Progress) -> Asset:
        with _IN_FLIGHT:
            progress.update("Preparing", 0.0)
            asset = make(progress, report)
        _check_beforehand(asset)
        return asset

    def on_picture(png: bytes, _: int) -> None:
        later(partial(_show_early, generation, png))

    outcome = perform(generation, do, later, is_cancelled, on_picture)
    if isinstance(outcome, Interrupted):
        log.info("%s", outcome)
    elif isinstance(outcome, Cancelled):
        later(lambda: _cancelled(generation))
    elif isinstance(outcome, TrellisError):
        _fail(generation, outcome)
        if is_resumed and isinstance(outcome, TakenError):
            later(lambda: forget_line(generation))
    else:
        later(lambda: _finish(generation, outcome))


def _check_beforehand(asset: Asset) -> None:
    """Look into the files here, so that the import, for which the artist waits, need not; it says what is wrong."""
    for each in asset.variations or (asset,):
        with contextlib.suppress(DamagedFileError):
            if known_sound(each.path) is None:
                check_glb_file(each.path)


def _fail(generation: Generation, error: TrellisError) -> None:
    field_path = error.field if isinstance(error, (FieldError, BackendError)) else ""
    details = json.dumps(
        {"error": type(error).__name__, "code": error.code, "message": str(error), "reply": error.raw}, indent=2
    )
    told = {"message": error.message, "refused_field": field_path, "details": details}
    later(lambda: update(generation, state="failed", is_unmarked=isinstance(error, BackgroundError), **told))


def _show_early(generation: Generation, png: bytes) -> None:
    """Put what is being made onto the line and the card; the file lasts as long as this session."""
    if generation.state != "running":
        return
    generation.earlies += 1
    # a name of its own: icons and images are kept by their path
    path = Path(bpy.app.tempdir) / f"early-{generation.id}-{generation.earlies}.png"
    path.write_bytes(png)
    generation.early = path
    placeholder.show_early(generation.target.card, path)


def _cancelled(generation: Generation) -> None:
    update(generation, state="cancelled", message=pgettext_rpt("Cancelled"))
    waiting.unmark(generation.target.card)
    placeholder.remove(placeholder.find(generation.target.card))


@every_round
def _import_next() -> tuple[bool, bool]:
    """Import what is ready, one at a time: between two imports Blender draws, and takes what the artist does."""
    is_changed = False
    ready = next((g for g in _generations if g.state == "ready"), None)
    if ready is not None:
        before = (ready.state, ready.message)
        guarded(ready, on_turn.tell)
        is_changed = (ready.state, ready.message) != before
    return is_changed, any(g.state in ("running", "ready") for g in _generations)


def guarded(generation: Generation, work: Callable[[Generation], object]) -> None:
    """Have `work` done; where it goes wrong in a way that nobody foresaw, the generation's line says so."""
    try:
        work(generation)
    except Exception as error:
        problem = unforeseen(error)
        if generation.state != "done":  # else it has arrived, and only what comes afterwards went wrong
            update(generation, state="failed", message=problem.message)


def update(generation: Generation, **changes: object) -> None:
    """Change what the line says; main thread only."""
    for name, value in changes.items():
        setattr(generation, name, value)
    if generation.state not in WAITS and "state" in changes:
        attempt(partial(on_end.tell, generation))


def _update(generation: Generation, **changes: object) -> None:
    if generation.state == "running":  # what comes late says nothing any more
        update(generation, **changes)


def _finish(generation: Generation, asset: Asset) -> None:
    generation.assets = asset.variations or (asset,)
    generation.share = 1.0
    # such as that less came than was asked for
    generation.said = sentences(generation.said, *notes_in(asset.provenance))
    guarded(generation, on_results.tell)
