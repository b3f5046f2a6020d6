"""Game ready: an asset within a budget, its maps baked from the dense surface, in one call."""

from __future__ import annotations

from typing import Any

import bpy

from ...contract.budgets import BUDGETS
from ...core.errors import FieldError
from ...core.messages import message
from ..asset.lod_switch import is_switch
from ..asset.statistics import measure_surface, read_mesh
from ..rules.guards import require_surface
from .rebuilding import rebake

# Voxels along the longest side: what shows through a normal map of such a size.
_RESOLUTIONS = {512: 128, 1024: 256, 2048: 512}
_FINEST = 512


def game_ready(
    obj: bpy.types.Object,
    *,
    preset: str = "",
    faces: int | None = None,
    texture_size: int | None = None,
    hide_source: bool = True,
    **options: Any,
) -> bpy.types.Object:
    """The asset within a budget, as an object of its own in its place; waits for it.

    `preset`: "hero", "prop", "mobile" (the default) or "background" (see `contract.budgets`); `faces`, the most
    triangles, and `texture_size` in texels a side go before it. `options` as in `rebake`. Raises `FieldError` for a
    preset that is none, and as `rebake` does.
    """
    return rebake([obj], hide_sources=hide_source, **game_options(obj, preset, faces, texture_size, **options))


def game_options(
    obj: bpy.types.Object, preset: str = "", faces: int | None = None, texture_size: int | None = None, **options: Any
) -> dict[str, Any]:
    """What `rebake` is to be given: a sound surface is kept and only simplified, any other is remeshed first."""
    budget = BUDGETS.get(preset or "mobile")
    if budget is None:
        raise FieldError("preset", preset, message("allowed: {allowed}", allowed=list(BUDGETS)))
    require_surface(obj)
    size = budget.texture_size if texture_size is None else texture_size
    chosen: dict[str, Any] = {
        "faces": budget.faces if faces is None else faces,
        "texture_size": size,
        "resolution": _RESOLUTIONS.get(size, _FINEST),
        "remesh": not _is_sound(obj),
    }
    return {**chosen, **options}


def _is_sound(obj: bpy.types.Object) -> bool:
    """Whether it is a closed surface already, so that remeshing could only take something away."""
    if any(not is_switch(modifier) for modifier in obj.modifiers):
        return False
    return measure_surface(read_mesh(obj)).is_closed
