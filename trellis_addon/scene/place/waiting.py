"""Objects whose asset is being made again, until the new one comes in their place.

Each carries the new job's taskUUID, as a card does: so it may be moved, scaled, renamed and saved meanwhile, and is
still found.
"""

from __future__ import annotations

import bpy

from ..asset.lods import is_level

MARK = "trellis2_rework"


def mark(obj: bpy.types.Object, id: str) -> None:
    """Say that the job's result belongs in this object's place."""
    obj[MARK] = id


def find(id: str) -> list[bpy.types.Object]:
    """The objects that the job's result belongs in the place of: one, several where the artist copied it, or none."""
    return [obj for obj in _marked() if obj[MARK] == id] if id else []


def ids() -> set[str]:
    """Of every job that an object of the open file waits for."""
    return {str(obj[MARK]) for obj in _marked()}


def _marked() -> list[bpy.types.Object]:
    marked = [obj for obj in bpy.data.objects if MARK in obj and obj.type == "MESH" and not is_level(obj)]
    return [obj for obj in marked if obj.users_scene and obj.is_editable]


def unmark(id: str) -> None:
    """The job's result does not come any more."""
    for obj in find(id):
        del obj[MARK]


def rename(old: str, new: str) -> None:
    """Give what waits for a job to another one."""
    for obj in find(old):
        obj[MARK] = new
