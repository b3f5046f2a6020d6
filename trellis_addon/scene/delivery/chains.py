"""Levels of detail and convex parts as exports carry them: in one place, under the names that engines look for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import bpy

from ..asset.collision import collision_of, named_for
from ..asset.lod_switch import is_switch, unswitch
from ..asset.lods import DISTANCE, LEVEL, lods_of

# Unity makes an LOD group of siblings with these endings; Unreal of what hangs on a group of its own in an FBX.
_NAME = "{name}_LOD{number}"
_KEPT = " (kept)"  # the end of a name that another object has meanwhile
_GROUP = ("fbx_type", "LodGroup")  # what Blender's FBX exporter makes such a group of


@contextmanager
def with_chains(
    objects: Sequence[bpy.types.Object], *, has_levels: bool = True, engine: str = "", is_grouped: bool = False
) -> Iterator[tuple[bpy.types.Object, ...]]:
    """While it lasts, what to export: the objects, of those with a chain copies of all levels in the same place, named
    NAME_LOD0, NAME_LOD1 ... `is_grouped` hangs each chain on an empty of its own, which is among them.

    The convex parts of an object go along by the names that the `engine` knows (`collision.NAMES`). Without
    `has_levels` neither does, and an object that shows its levels by distance is a copy that shows itself.
    """
    chains = {obj: _levels(obj) for obj in objects}
    parts = {obj: collision_of(obj) for obj in objects}
    further = [part for several in (chains, parts) for found in several.values() for part in found]
    members = set(further) if has_levels else set()
    owners = [obj for obj in objects if obj not in members]
    with ExitStack() as stack:
        found: list[bpy.types.Object] = []
        for obj in owners:
            levels = chains[obj] if has_levels else []
            if levels or any(map(is_switch, obj.modifiers)):
                found += stack.enter_context(_copies(obj, levels, is_grouped))
            else:
                found.append(obj)
            if has_levels and parts[obj]:
                shown = _NAME.format(name=obj.name.removesuffix(_KEPT), number=0) if levels else obj.name
                found += stack.enter_context(named_for(obj, engine, shown))
        bpy.context.view_layer.update()
        yield tuple(found)


def distances_of(
    objects: Sequence[bpy.types.Object],
) -> dict[str, list[tuple[str, float]]]:
    """Of each object with a chain, its levels as exports name them, and from which distance on each is to be seen."""
    found = {}
    for obj in objects:
        if levels := _levels(obj):
            coarser = [
                (_NAME.format(name=obj.name, number=number), float(level.get(DISTANCE, 0.0)))
                for number, level in enumerate(levels, start=1)
            ]
            found[obj.name] = [(_NAME.format(name=obj.name, number=0), 0.0), *coarser]
    return found


def _levels(obj: bpy.types.Object) -> list[bpy.types.Object]:
    """The levels beside the object itself, the finest first."""
    chain = lods_of(obj)
    found = [level for level in (chain.objects if chain else ()) if LEVEL in level and level.data != obj.data]
    return sorted(found, key=lambda level: int(level[LEVEL]))


@contextmanager
def _copies(
    obj: bpy.types.Object, levels: Sequence[bpy.types.Object], is_grouped: bool
) -> Iterator[list[bpy.types.Object]]:
    base, chain = obj.name, lods_of(obj)
    # meshes as well, which is what a USD's reader may go by
    blocks = {obj, *(chain.objects if chain else ())} | {one.data for one in (obj, *levels)}
    kept: dict[bpy.types.ID, str] = {one: one.name for one in blocks if one.is_editable}
    made: list[bpy.types.Object] = []
    try:
        for one, name in kept.items():
            one.name = f"{name}{_KEPT}"
        for number, level in enumerate((obj, *levels)):
            copy = level.copy()
            made.append(copy)
            copy.parent = None
            unswitch(copy)
            copy.name = _NAME.format(name=base, number=number) if levels else base
            if copy.data in kept:
                copy.data.name = copy.name
            bpy.context.scene.collection.objects.link(copy)
            copy.matrix_world = obj.matrix_world
        if levels and is_grouped:
            group = bpy.data.objects.new(base, None)
            made.append(group)
            group[_GROUP[0]] = _GROUP[1]
            bpy.context.scene.collection.objects.link(group)
            for copy in made[:-1]:
                copy.parent = group
        yield made
    finally:
        bpy.data.batch_remove(made)
        for one, name in kept.items():
            one.name = name
