"""Whether the panel's picture can be used where it is to be used, as far as it is known without looking."""

from __future__ import annotations

import functools
import time
from typing import Any

import bpy

from ..trellis_addon.core.messages import Message, message
from ..trellis_addon.task.views import BACK, FRONT, LEFT, RIGHT
from .loaded import loaded
from .preferences import service_url
from .service_answers import cuts_out as service_cuts_out

VIEWS = (RIGHT, BACK, LEFT)  # that the panel has a place for, besides the front
CORRECTIONS = ("grow", "margin", "right", "up")  # of an image's choices, in percent
# What was compared last, what came of it, and the pictures themselves, so that no other takes the place of one.
_compared: tuple[Any, tuple[str, ...], Any] = (None, (), None)
_FRESH = 5.0  # seconds for which what the disk said holds


def look_of(image: bpy.types.Image | None) -> Any:
    """What was found of a picture (`scene.cutout_preview.Look`), if anybody has looked: this loads nothing."""
    module = loaded("scene.cutout_preview")
    return module.known(image) if module and image is not None else None


def cuts_out(state: bpy.types.PropertyGroup) -> bool | None:
    """Whether the chosen backend cuts subjects out of photographs by itself; None where nobody has asked it."""
    if state.backend == "remote":
        return True
    if state.backend == "service":
        return service_cuts_out(service_url())
    return _has_mask_model(int(time.monotonic() / _FRESH))


def refusal(state: bpy.types.PropertyGroup) -> Message | None:
    """Why the pictures cannot be used with this backend, in a sentence; None where they can, or where nobody knows."""
    return _refusal_of(state, state.image) or why_no_views(state)


def _refusal_of(state: bpy.types.PropertyGroup, image: bpy.types.Image | None) -> Message | None:
    found = look_of(image)
    if found is None or not found.error:
        return None
    if found.is_for_model and cuts_out(state) is not False:
        return None
    return message(found.error)


def slot_of(view: str) -> str:
    """The property of the scene that holds a view."""
    return f"view_{view}"


def views_of(state: bpy.types.PropertyGroup) -> dict[str, bpy.types.Image]:
    """The further pictures of the panel's object, by view."""
    found = {view: getattr(state, slot_of(view)) for view in VIEWS}
    return {view: image for view, image in found.items() if image is not None}


def chosen_image(state: bpy.types.PropertyGroup) -> Any:
    """The picture that is looked at and corrected: that of the view that is shown, or else the front's; or None."""
    view = state.shown.lower()
    further = getattr(state, slot_of(view)) if view != FRONT else None
    return further or state.image


def is_corrected(image: bpy.types.Image) -> bool:
    """Whether its outline, its frame or the way it is cut out is not what it is by itself."""
    choice = image.trellis2
    return choice.cutout != "AUTO" or any(getattr(choice, name) for name in CORRECTIONS)


def why_no_views(state: bpy.types.PropertyGroup) -> Message | None:
    """Why the further pictures cannot be used, in a sentence; None where they can, or there are none."""
    given = views_of(state)
    if given and state.backend == "remote":
        return message("Remote makes an asset of one picture: clear the other views, or run it elsewhere.")
    for view, image in given.items():
        if problem := _refusal_of(state, image):
            return message("The {view} view: {problem}", view=view, problem=problem)
    return None


def differences_seen(state: bpy.types.PropertyGroup) -> tuple[str, ...]:
    """What speaks against the pictures being of one object, as far as they were looked at."""
    global _compared
    smalls = {FRONT: look_of(state.image)} | {view: look_of(image) for view, image in views_of(state).items()}
    found = {view: look.small for view, look in smalls.items() if look is not None and look.small is not None}
    if len(found) < 2:
        return ()
    key = tuple((view, id(small)) for view, small in found.items())
    if _compared[0] != key:
        from ..trellis_addon.images.consistency import differences

        _compared = (key, differences(found), found)
    return _compared[1]


@functools.lru_cache(maxsize=1)
def _has_mask_model(moment: int) -> bool:
    from ..trellis_addon.pipeline.mask import model_file

    return model_file() is not None
