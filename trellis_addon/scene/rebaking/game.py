"""Game ready: an asset within a budget, its maps baked from the dense surface, in one call.

What the asset was decoded from is gone back to where it is kept; else its mesh is what there is.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy

from ...contract.budgets import BUDGETS
from ...core.errors import Cancelled, FieldError, TrellisError
from ...core.given import plain
from ...core.messages import message
from ...core.progress import Progress
from ...formats.glb.check import check_glb_file
from ...jobs.job import Asset
from ...jobs.store import JobStore
from ...runtime.child import has_finishing
from ...stages import rework as stages_rework
from ...stages import source_of
from ...task.settings import DRAFT_MODEL
from .. import rework
from ..asset.lod_import import import_in_place
from ..asset.lod_switch import is_switch
from ..asset.statistics import measure_surface, read_mesh
from ..place.succession import take_place_of
from ..rules.guards import require_surface
from .rebuilding import check_options, rebuilt_asset, save_objects

log = logging.getLogger(__name__)

# Voxels along the longest side, for textures of at most so many texels: what shows through a normal map of such a size.
_RESOLUTIONS = {512: 128, 1024: 256}
_FINEST = 512
_OF_A_HANDLE = 20  # triangles: with fewer for each, simplifying comes to its end
# Of the options of `rebake`, those that finishing anew has too.
_OF_FINISHING = ("faces", "texture_size", "texture_format", "quads")


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
    triangles, and `texture_size` in texels a side go before it. `options` as in `rebake`. Of an asset whose latents are
    kept, and whose mesh is as it came, it is finished anew of these, where it was made; of any other the mesh is
    rebaked. Raises `FieldError` for a preset that is none, and as `rebake` does.
    """
    chosen = game_options(obj, preset, faces, texture_size, **options)
    check_options(**chosen)
    sources = {obj.session_uid}
    with tempfile.TemporaryDirectory() as folder:
        make = lighter(obj, Path(folder), obj.name, chosen, is_kept=has_latents(obj) and not _beyond(options))
        asset = make(Progress())
        made = import_in_place(asset)
    rework.fit_to_source(made, asset, sources)
    take_place_of(bpy.context.scene, [made], sources, is_hiding=hide_source)
    return made


def lighter(
    obj: bpy.types.Object,
    folder: Path,
    name: str,
    options: dict[str, Any],
    *,
    is_kept: bool,
    key: str = "",
) -> Callable[[Progress], Asset]:
    """What makes the lighter asset, for a thread; `is_kept` goes back to the latents, and to the mesh where that fails.

    Main thread only; `folder` is to stay while it works. Raises as `save_objects` does.
    """
    copies: Path | None = None
    program, kept = bpy.app.binary_path, rework.asset_of(obj) if is_kept else None
    if kept is None or has_finishing():
        copies = save_objects([obj], folder)
    allow_network = bpy.app.online_access

    def make(progress: Progress) -> Asset:
        if kept is not None:
            chosen = {each: options[each] for each in _OF_FINISHING if options.get(each) is not None}
            try:
                return stages_rework(
                    kept, settings=chosen, name=name, key=key, progress=progress, allow_network=allow_network
                )
            except Cancelled:
                raise
            except TrellisError as error:  # a service that is not there now, or a model
                if copies is None:
                    raise
                log.warning("%s is made of its mesh, as its latents cannot be gone back to: %s", name, error)
        assert copies is not None
        return rebuilt_asset(copies, name, progress, program, **options)

    return make


def has_latents(obj: bpy.types.Object) -> bool:
    """Whether there is more to an object than its mesh: its latents are kept, and the mesh is as it came of them."""
    if obj.type != "MESH" or rework.why_not(obj) or any(not is_switch(modifier) for modifier in obj.modifiers):
        return False
    asset = rework.asset_of(obj)
    if asset.engine == DRAFT_MODEL:
        return False
    try:
        _, original = source_of(asset, JobStore())
        return original.latents is not None and check_glb_file(original.path).triangles == _triangles(obj)
    except TrellisError:
        return False


def game_options(
    obj: bpy.types.Object,
    preset: str = "",
    faces: int | Sequence[int] | None = None,
    texture_size: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """What `rebake` is to be given: a sound surface is kept and only simplified, any other is remeshed first."""
    budget = BUDGETS.get(preset or "mobile")
    if budget is None:
        raise FieldError("preset", preset, message("allowed: {allowed}", allowed=list(BUDGETS)))
    if obj.type == "MESH" and not obj.modifiers:
        require_surface(obj)  # of anything else copying tells whether there is one
    faces, texture_size = plain(faces), plain(texture_size)
    size = budget.texture_size if texture_size is None else texture_size
    chosen: dict[str, Any] = {
        "faces": budget.faces if faces is None else faces,
        "texture_size": size,
        "resolution": _resolution(size),
        "remesh": not _is_sound(obj, budget.faces if faces is None else faces),
    }
    return {**chosen, **{option: plain(value) for option, value in options.items()}}


def _resolution(texture_size: Any) -> int:
    """What is no number is refused by `check_options`."""
    fitting = (voxels for texels, voxels in _RESOLUTIONS.items() if texture_size <= texels)
    return next(fitting, _FINEST) if isinstance(texture_size, int) else _FINEST


def _beyond(options: dict[str, Any]) -> bool:
    """Whether something is asked for that only the mesh can be given."""
    return any(name not in _OF_FINISHING for name in options)


def _triangles(obj: bpy.types.Object) -> int:
    return len(obj.data.loops) - 2 * len(obj.data.polygons)


def _is_sound(obj: bpy.types.Object, faces: int | Sequence[int]) -> bool:
    """Whether it is a closed surface already, so that remeshing could only take something away, and one that so few
    triangles can go around: simplifying keeps every hole, remeshing closes those that are too small."""
    if obj.type != "MESH" or any(not is_switch(modifier) for modifier in obj.modifiers):
        return False
    if not all(obj.matrix_world.to_scale()):
        return False  # what is flattened lies within itself
    facts = measure_surface(read_mesh(obj))
    handles = facts.components - (facts.vertices - facts.triangles / 2) / 2  # by Euler's formula, where it is closed
    least = min(faces) if isinstance(faces, (list, tuple)) and faces else faces
    return facts.is_closed and isinstance(least, int) and handles * _OF_A_HANDLE <= least
