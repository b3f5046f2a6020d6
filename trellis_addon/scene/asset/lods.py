"""Levels of detail: the same object with fewer triangles, as a chain that game engines and exporters take."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import bpy
from mathutils import Matrix

from ...core.errors import FieldError, InputError
from ...core.messages import message
from ...core.progress import Progress
from ..importing.placement import world_bounds
from ..importing.staging import staging_scene
from ..rules.guards import is_edited, require_own, require_surface, write_back
from .decimate import applied, decimated
from .statistics import PROPERTY

RATIOS = (1.0, 0.25, 0.05)
ARRANGEMENTS = ("SIDE_BY_SIDE", "HIDDEN", "IN_PLACE")
LEVEL, TRIANGLES, ORIGINAL = "trellis2_lod_level", "trellis2_lod_triangles", "trellis2_lods_of"
GAP = 0.15  # between levels that stand side by side, as a share of their width


@dataclass(frozen=True)
class Level:
    """One level of a chain: 0 is the finest. `ratio` is the share of triangles that was asked for."""

    level: int
    ratio: float
    triangles: int
    object: bpy.types.Object


def make_lods(
    obj: bpy.types.Object,
    ratios: Sequence[float] = RATIOS,
    *,
    arrange: str = "SIDE_BY_SIDE",
    progress: Progress | None = None,
) -> list[Level]:
    """Make a chain of levels of detail of a mesh object, in a collection "<name> LODs" beside it.

    `ratios`: share of the triangles of each level, (0, 1], from the finest to the coarsest. `arrange`:
    "SIDE_BY_SIDE" to the original's right, "HIDDEN" in its place and out of sight, "IN_PLACE" in its place and
    seen. The object stays as it is, its modifiers are applied in the levels; a chain made before is replaced.
    Level 0 at 1.0 shares the original's mesh where it has no modifiers. UVs, materials and custom normals are
    kept. Raises `InputError`, `FieldError`; then, and on `Cancelled`, nothing has changed.
    """
    _check(obj, ratios, arrange)
    progress = progress or Progress()
    write_back(obj)
    with staging_scene() as staging:
        plain = _plain(obj, staging)
        meshes: list[bpy.types.Mesh] = []
        finer, share = plain.data, 1.0
        for number, ratio in enumerate(ratios):
            progress.update(f"Level {number}", number / len(ratios))
            if ratio < share:
                # from the level before: faster than from the beginning, and by trial no worse
                finer, share = decimated(finer, ratio / share, plain), ratio
            meshes.append(finer)
        progress.check()
        remove_lods(obj)
        collection = bpy.data.collections.new(f"{obj.name} LODs")
        collection[ORIGINAL] = obj
        if plain != obj:
            bpy.data.objects.remove(plain)
        levels = [_level(obj, mesh, *entry) for mesh, entry in zip(meshes, enumerate(ratios), strict=True)]
        for entry in levels:
            collection.objects.link(entry.object)
        _home_of(obj).children.link(collection)
    bpy.context.view_layer.update()
    for entry in levels:  # a copy of what is selected is selected
        if entry.object.name in bpy.context.view_layer.objects:
            entry.object.select_set(False)
    if arrange == "SIDE_BY_SIDE":
        _stand_beside(obj, [entry.object for entry in levels])
    collection.hide_viewport = collection.hide_render = arrange == "HIDDEN"
    return levels


def lods_of(obj: bpy.types.Object) -> bpy.types.Collection | None:
    """The collection that holds an object's chain."""
    return next((found for found in bpy.data.collections if found.get(ORIGINAL) == obj), None)


def remove_lods(obj: bpy.types.Object) -> None:
    """Remove the chain that was made of an object, with whatever only the chain used."""
    collection = lods_of(obj)
    if collection is None:
        return
    require_own(collection)
    levels = [found for found in collection.objects if LEVEL in found]
    meshes = {found.data for found in levels} - {obj.data}
    others = [found for found in collection.objects if LEVEL not in found]
    for found in others:  # the artist's own, put there since
        if len(found.users_collection) == 1:
            _home_of(obj).objects.link(found)
    bpy.data.batch_remove([collection, *levels])
    bpy.data.batch_remove([mesh for mesh in meshes if mesh.users == 0])


def is_level(obj: bpy.types.Object) -> bool:
    return LEVEL in obj


def _home_of(obj: bpy.types.Object) -> bpy.types.Collection:
    home = next((found for found in obj.users_collection if found.is_editable), None)
    if home is None:
        raise InputError('"{name}" is in no collection of this file; link it to a scene first.', name=obj.name)
    return home


def _check(obj: bpy.types.Object, ratios: Sequence[float], arrange: str) -> None:
    require_surface(obj)
    if is_level(obj):
        raise InputError('"{name}" is a level of detail itself; choose the object that it was made of.', name=obj.name)
    _home_of(obj)
    require_own(lods_of(obj))
    falling = all(a > b for a, b in itertools.pairwise(ratios))
    if not ratios or not falling or not all(0 < ratio <= 1 for ratio in ratios):
        raise FieldError("ratios", list(ratios), "give shares above 0 and up to 1, each smaller than the one before")
    if arrange not in ARRANGEMENTS:
        raise FieldError("arrange", arrange, message("allowed: {allowed}", allowed=list(ARRANGEMENTS)))


def _plain(obj: bpy.types.Object, staging: bpy.types.Scene) -> bpy.types.Object:
    """The object, or where it has modifiers or shape keys, or is edited, a stand-in that wears what they make of its
    mesh."""
    if not obj.modifiers and obj.data.shape_keys is None and not is_edited(obj):
        return obj
    helper = obj.copy()
    helper.animation_data_clear()
    helper.constraints.clear()
    helper.parent = None
    if is_edited(obj):
        helper.data = obj.data.copy()  # as it is by now, with everything that belongs to it
    staging.collection.objects.link(helper)
    mesh = applied(helper)
    helper.modifiers.clear()
    helper.data = mesh
    return helper


def _level(obj: bpy.types.Object, mesh: bpy.types.Mesh, number: int, ratio: float) -> Level:
    copy = obj.copy()
    copy.modifiers.clear()
    if mesh != obj.data:
        copy.data = mesh
        mesh.name = f"{obj.name}_LOD{number}"
        copy.pop(PROPERTY, None)
    copy.name = f"{obj.name}_LOD{number}"
    triangles = len(mesh.loops) - 2 * len(mesh.polygons)
    copy[LEVEL], copy[TRIANGLES] = number, triangles
    return Level(number, ratio, triangles, copy)


def _stand_beside(obj: bpy.types.Object, levels: Sequence[bpy.types.Object]) -> None:
    low, high = world_bounds(obj)
    step = (high - low).x * (1 + GAP)
    for number, level in enumerate(levels, start=1):
        level.matrix_world = Matrix.Translation((number * step, 0, 0)) @ obj.matrix_world
