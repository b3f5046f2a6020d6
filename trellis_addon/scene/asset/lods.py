"""Levels of detail: the same object with fewer triangles, as a chain that game engines and exporters take."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import bpy
from mathutils import Matrix

from ...core.errors import FieldError, InputError
from ...core.messages import message
from ...core.progress import Progress
from ..importing.placement import world_bounds
from ..importing.staging import staging_scene
from ..rules.guards import is_edited, require_own, require_surface, write_back
from ..rules.units import metres_per_unit, scene_of
from .decimate import applied, decimated
from .lod_switch import (
    MOST_LEVELS,
    as_themselves,
    deviation,
    distance_for,
    is_switch,
    screen_share,
    switch_by_distance,
    unswitch,
)
from .statistics import PROPERTY

RATIOS = (1.0, 0.25, 0.05)
BY_DISTANCE = "BY_DISTANCE"
ARRANGEMENTS = ("SIDE_BY_SIDE", "HIDDEN", "IN_PLACE", BY_DISTANCE)
LEVEL, TRIANGLES, ORIGINAL = "trellis2_lod_level", "trellis2_lod_triangles", "trellis2_lods_of"
ERROR, DISTANCE = "trellis2_lod_error", "trellis2_lod_distance"
SCREEN = "trellis2_lod_screen"
GAP = 0.15  # between levels that stand side by side, as a share of their width


@dataclass(frozen=True)
class Level:
    """One level of a chain: 0 is the finest. `ratio` is the share of triangles that was asked for.

    `error` is how far its form is from the object's, in metres, and `distance` from where on, in metres from the
    scene's camera, that is less than a pixel; `screen` is the share of the picture's height that the object then has.
    """

    level: int
    ratio: float
    triangles: int
    object: bpy.types.Object
    error: float = 0.0
    distance: float = 0.0
    screen: float = 1.0


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
    seen; "BY_DISTANCE" makes the object itself the finest level, and has it show each of the others, which are out of
    sight, from its distance on. Else the object stays as it is. Its modifiers are applied in the levels; a chain made
    before is replaced.
    Level 0 at 1.0 shares the original's mesh where it has no modifiers. UVs, materials and custom normals are
    kept. Raises `InputError`, `FieldError`; then, and on `Cancelled`, nothing has changed.
    """
    check_chain(obj, ratios, arrange)
    progress = progress or Progress()
    write_back(obj)
    is_switched = arrange == BY_DISTANCE
    ratios = [1.0, *(ratio for ratio in ratios if ratio < 1.0)] if is_switched else ratios
    with as_themselves([obj]), staging_scene() as staging:
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
        errors = [deviation(plain.data, mesh) if mesh != plain.data else 0.0 for mesh in meshes]
        levels: list[Level] = []
        remove_lods(obj)
        collection = bpy.data.collections.new(f"{obj.name} LODs")
        collection[ORIGINAL] = obj
        if plain != obj:
            bpy.data.objects.remove(plain)
        if is_switched:
            levels.append(Level(0, 1.0, _triangles(meshes[0]), obj))
        for number, ratio in list(enumerate(ratios))[len(levels) :]:
            levels.append(_level(obj, meshes[number], number, ratio, errors[number], levels))
        for entry in levels[is_switched:]:
            collection.objects.link(entry.object)
        home_of(obj).children.link(collection)
    bpy.context.view_layer.update()
    for entry in levels[is_switched:]:  # a copy of what is selected is selected
        if entry.object.name in bpy.context.view_layer.objects:
            entry.object.select_set(False)
    if arrange == "SIDE_BY_SIDE":
        _stand_beside(obj, [entry.object for entry in levels])
    collection.hide_viewport = collection.hide_render = arrange in ("HIDDEN", BY_DISTANCE)
    if is_switched:
        switch_by_distance(obj, [entry.object for entry in levels[1:]], [entry.distance for entry in levels[1:]])
    return levels


def take_levels(obj: bpy.types.Object, coarser: Sequence[bpy.types.Object], arrange: str = BY_DISTANCE) -> list[Level]:
    """Objects that are there as the levels of another, the finest first; `arrange` as in `make_lods`.

    They lose their own place in the scene, and collections that held nothing else. Raises `InputError`, `FieldError`.
    """
    shares = [_triangles(level.data) / _triangles(obj.data) for level in coarser]
    check_chain(obj, [1.0, *shares], arrange)
    remove_lods(obj)
    bpy.context.view_layer.update()
    collection = bpy.data.collections.new(f"{obj.name} LODs")
    collection[ORIGINAL] = obj
    levels = [Level(0, 1.0, _triangles(obj.data), obj)]
    for number, (level, share) in enumerate(zip(coarser, shares, strict=True), start=1):
        level.data.transform(obj.matrix_world.inverted() @ level.matrix_world)
        level.matrix_world = obj.matrix_world
        for home in list(level.users_collection):
            home.objects.unlink(level)
            if not home.is_embedded_data and not home.all_objects and not home.children:
                bpy.data.collections.remove(home)
        collection.objects.link(level)
        error = deviation(obj.data, level.data)
        levels.append(_described(obj, level, number, share, error, levels))
    home_of(obj).children.link(collection)
    bpy.context.view_layer.update()
    if arrange == "SIDE_BY_SIDE":
        _stand_beside(obj, list(coarser))
    collection.hide_viewport = collection.hide_render = arrange in ("HIDDEN", BY_DISTANCE)
    if arrange == BY_DISTANCE:
        switch_by_distance(obj, list(coarser), [level.distance for level in levels[1:]])
    return levels


def levels_of(obj: bpy.types.Object) -> list[Level]:
    """The levels beside the object itself, the finest first, with what was kept of them."""
    chain = lods_of(obj)
    found = sorted((one for one in (chain.objects if chain else ()) if LEVEL in one), key=lambda one: int(one[LEVEL]))
    return [
        Level(
            int(one[LEVEL]),
            0.0,
            int(one.get(TRIANGLES, 0)),
            one,
            float(one.get(ERROR, 0.0)),
            float(one.get(DISTANCE, 0.0)),
            float(one.get(SCREEN, 1.0)),
        )
        for one in found
    ]


def lods_of(obj: bpy.types.Object) -> bpy.types.Collection | None:
    """The collection that holds an object's chain."""
    return next((found for found in bpy.data.collections if found.get(ORIGINAL) == obj), None)


def remove_lods(obj: bpy.types.Object) -> None:
    """Remove the chain that was made of an object, with whatever only the chain used."""
    collection = lods_of(obj)
    if collection is None:
        return
    require_own(collection)
    unswitch(obj)
    levels = [found for found in collection.objects if LEVEL in found]
    meshes = {found.data for found in levels} - {obj.data}
    others = [found for found in collection.objects if LEVEL not in found]
    for found in others:  # the artist's own, put there since
        if len(found.users_collection) == 1:
            home_of(obj).objects.link(found)
    bpy.data.batch_remove([collection, *levels])
    bpy.data.batch_remove([mesh for mesh in meshes if mesh.users == 0])


def is_level(obj: bpy.types.Object) -> bool:
    return LEVEL in obj


def home_of(obj: bpy.types.Object) -> bpy.types.Collection:
    """The collection of this file that it is in. Raises `InputError` where there is none, or it is another file's."""
    home = next((found for found in obj.users_collection if found.is_editable and not found.override_library), None)
    if home is None:
        require_own(*obj.users_collection)
        raise InputError('"{name}" is in no collection of this file; link it to a scene first.', name=obj.name)
    return home


def check_chain(obj: bpy.types.Object, ratios: Any, arrange: str) -> None:
    """Raises `InputError` for an object that can have no levels, `FieldError` for what is none of `make_lods`."""
    require_surface(obj)
    if is_level(obj):
        raise InputError('"{name}" is a level of detail itself; choose the object that it was made of.', name=obj.name)
    home_of(obj)
    require_own(lods_of(obj))
    if isinstance(ratios, str) or not all(isinstance(ratio, Real) for ratio in ratios):
        raise FieldError("ratios", ratios, message("give shares of the triangles, such as (0.5, 0.25)"))
    falling = all(a > b for a, b in itertools.pairwise(ratios))
    if not ratios or not falling or not all(0 < ratio <= 1 for ratio in ratios):
        raise FieldError("ratios", list(ratios), "give shares above 0 and up to 1, each smaller than the one before")
    if arrange == BY_DISTANCE and not 1 <= sum(ratio < 1 for ratio in ratios) <= MOST_LEVELS:
        raise FieldError("ratios", list(ratios), message("give 1 to {most} shares below 1", most=MOST_LEVELS))
    if arrange not in ARRANGEMENTS:
        raise FieldError("arrange", arrange, message("allowed: {allowed}", allowed=list(ARRANGEMENTS)))


def _plain(obj: bpy.types.Object, staging: bpy.types.Scene) -> bpy.types.Object:
    """The object, or where it has modifiers or shape keys, or is edited, a stand-in that wears what they make of its
    mesh."""
    if all(map(is_switch, obj.modifiers)) and obj.data.shape_keys is None and not is_edited(obj):
        return obj
    helper = obj.copy()
    helper.animation_data_clear()
    helper.constraints.clear()
    helper.parent = None
    unswitch(helper)
    if is_edited(obj):
        helper.data = obj.data.copy()  # as it is by now, with everything that belongs to it
    staging.collection.objects.link(helper)
    mesh = applied(helper)
    helper.modifiers.clear()
    helper.data = mesh
    return helper


def _level(
    obj: bpy.types.Object, mesh: bpy.types.Mesh, number: int, ratio: float, error: float, finer: Sequence[Level]
) -> Level:
    copy = obj.copy()
    copy.modifiers.clear()
    if mesh != obj.data:
        copy.data = mesh
        copy.pop(PROPERTY, None)
    return _described(obj, copy, number, ratio, error, finer)


def _described(
    obj: bpy.types.Object, copy: bpy.types.Object, number: int, ratio: float, error: float, finer: Sequence[Level]
) -> Level:
    """A level with its name, and what is known of it kept on it."""
    copy.name = f"{obj.name}_LOD{number}"
    if copy.data != obj.data:
        copy.data.name = f"{obj.name}_LOD{number}"
    triangles = _triangles(copy.data)
    scene, unit = scene_of(obj), metres_per_unit(scene_of(obj))
    metres = error * max(map(abs, obj.matrix_world.to_scale())) * unit
    # each takes over later than the one before
    distance = max(distance_for(metres, scene), *(1.25 * level.distance for level in finer), 0.0)
    low, high = world_bounds(obj)
    screen = screen_share(max(high - low) * unit, distance, scene) if distance else 1.0
    copy[LEVEL], copy[TRIANGLES], copy[ERROR], copy[DISTANCE] = number, triangles, metres, distance
    copy[SCREEN] = screen
    return Level(number, ratio, triangles, copy, metres, distance, screen)


def _triangles(mesh: bpy.types.Mesh) -> int:
    return len(mesh.loops) - 2 * len(mesh.polygons)


def _stand_beside(obj: bpy.types.Object, levels: Sequence[bpy.types.Object]) -> None:
    low, high = world_bounds(obj)
    step = (high - low).x * (1 + GAP)
    for number, level in enumerate(levels, start=1):
        level.matrix_world = Matrix.Translation((number * step, 0, 0)) @ obj.matrix_world
