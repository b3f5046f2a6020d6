"""Having objects textured, from a script: the work is waited for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import bpy

from ...api import PreparedTask, Source, finish
from ...client.backends import Backend
from ...core.progress import ProgressLike, as_progress
from ...jobs.job import Asset
from ...jobs.store import JobStore
from ...meshes import prepare_texture
from ...task.settings import Settings
from ...task.task import no_mesh_there
from ..place import waiting
from ..rules.guards import require_not_edited, several
from .giving import NUMBER, give
from .taking import Taken, take

if TYPE_CHECKING:
    from ...images.preparing import Subject


def texture(
    objects: bpy.types.Object | Sequence[bpy.types.Object],
    image: Source,
    *,
    facing: str | float = "front",
    uvs: str = "auto",
    only_selected: bool = False,
    views: Mapping[Any, Source] | None = None,
    backend: str | Backend = "draft",
    subject: Subject | None = None,
    key: str = "",
    settings: Settings | Mapping[str, Any] | None = None,
    progress: ProgressLike | None = None,
    store: JobStore | None = None,
    **named_settings: Any,
) -> Asset:
    """Give one mesh object, or several as one, the look of a picture; blocks until it is there.

    They are textured as they look, modifiers and all, and stay as they are: name, transform, slots, modifiers, vertex
    groups, and the active UV map where it can hold a texture. The new material is the first of the slots, the former
    ones follow it. With `only_selected` the selected faces alone are textured. The rest is as for
    `trellis_addon.texture`.
    """
    wished = Settings(settings or {}).replace(**named_settings)
    where = Backend.of(backend, key, bpy.app.online_access)
    if where.is_remote:
        raise no_mesh_there()
    chosen = several(objects)
    require_not_edited(*chosen)  # before anything is made: the result could not be put onto it
    taken = take(chosen, uvs=uvs, only_selected=only_selected)
    prepared = prepare(taken, image, where, wished, facing=facing, subject=subject, views=views)
    store = store or JobStore()
    asset = finish(prepared.write_down(store, where), where, store, as_progress(progress))
    for number, obj in enumerate(taken.objects):
        obj[NUMBER] = number
    try:
        give(taken.objects, asset)
    finally:
        for obj in taken.objects:
            obj.pop(NUMBER, None)
    return asset


def prepare(
    taken: Taken,
    image: Source,
    backend: Backend,
    settings: Settings,
    *,
    facing: str | float = "front",
    uuid: str = "",
    subject: Subject | None = None,
    views: Mapping[Any, Source] | None = None,
) -> PreparedTask:
    """The task, all checked; may be called in any thread. The file's coordinates were chosen when it was taken."""
    wished = settings.replace(uvs="keep", facing=os.fspath(facing) if isinstance(facing, str) else f"{facing:g}")
    return prepare_texture(taken.glb, image, backend, wished, name=taken.name, uuid=uuid, subject=subject, views=views)


def wait_for(taken: Taken, uuid: str) -> None:
    """Have the objects wait for a job's result."""
    for number, obj in enumerate(taken.objects):
        obj[NUMBER] = number
        waiting.mark(obj, uuid)
