"""Whether the panel's picture can be used where it is to be used, as far as it is known without looking."""

from __future__ import annotations

import functools
import time
from typing import Any

import bpy

from ..trellis_addon.core.messages import Message, message
from .loaded import loaded
from .preferences import service_url
from .service_answers import cuts_out as service_cuts_out

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
    """Why the picture cannot be used with this backend, in a sentence; None where it can, or where nobody knows."""
    found = look_of(state.image)
    if found is None or not found.error:
        return None
    if found.is_for_model and cuts_out(state) is not False:
        return None
    return message(found.error)


@functools.lru_cache(maxsize=1)
def _has_mask_model(moment: int) -> bool:
    from ..trellis_addon.pipeline.mask import model_file

    return model_file() is not None
