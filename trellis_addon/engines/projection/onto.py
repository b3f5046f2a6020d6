"""The pictures of a task put onto what an engine makes of them, where the task asks for that."""

from __future__ import annotations

from dataclasses import replace

from ...core.messages import message
from ...core.progress import Progress
from ...formats.glb.check import split_glb
from ...formats.glb.images import with_extras
from ...images.frame import unmarked
from ...task.settings import DRAFT_MODEL
from ...task.views import FRONT, yaw_of
from ..engine import Engine, Made, Order

_MAKING = 0.85  # of the whole, usually


def generate_with_pictures(engine: Engine, order: Order, progress: Progress) -> Made:
    """What the engine makes, as `Engine.generate`, and where `project_picture` says so the pictures on it.

    A mesh has its texture from the pictures already, and what is outside of a region stays as it is.

    Where their cameras were found is in the file's `asset.extras.projection`; what could not be done is in the notes.
    An engine of another machine, which `projects_itself`, does that there.
    """
    image, settings, views = order.image, order.settings, order.views
    strength = float(settings.value("project_picture"))
    does_itself = getattr(engine, "projects_itself", False)
    is_kept = order.region or order.mesh or settings.value("rough") or not settings.value("texture")
    if is_kept or does_itself or strength <= 0.0:
        return engine.generate(order, progress)
    made = engine.generate(order, _first(progress))
    if image is None:
        return _noted(made, message("The picture was not projected again: it did not come along."))
    if engine.model == DRAFT_MODEL and settings.get("variation") == 0:
        return made  # the very file, with what was put onto it
    if engine.model == DRAFT_MODEL and not any(yaw_of(name) % 180.0 for name in views):
        told = message("The picture was not projected: the front of a draft of one picture is that picture already.")
        return _noted(made, told)
    from .project import project

    pictures = {name: unmarked(picture)[0] for name, picture in {FRONT: image, **views}.items()}
    done = project(made.glb, pictures, strength, progress.part(_MAKING, 1.0))
    glb = with_extras(done.glb, {"projection": list(done.cameras)})
    return _noted(replace(made, glb=glb), *done.notes)


def _first(progress: Progress) -> Progress:
    """The part of the work before, with all that the whole has."""
    part = progress.part(0.0, _MAKING)
    part.siblings = progress.siblings
    return part


def _noted(made: Made, *notes: str) -> Made:
    """What was made, with these sentences for the user besides, in the facts and in the file."""
    if not notes:
        return made
    before = split_glb(made.glb)[0]["asset"].get("extras", {}).get("notes", ())
    glb = with_extras(made.glb, {"notes": [*before, *(str(note) for note in notes)]})
    told = [*(made.facts.get("notes") or ()), *notes]
    return replace(made, glb=glb, facts={**made.facts, "notes": told})
