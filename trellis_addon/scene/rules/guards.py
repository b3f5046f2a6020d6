"""What stands in the way of reading or changing an object: it belongs to another file, or somebody edits it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy

from ...core.errors import InputError, TrellisError

# Blender holds the mesh elsewhere while these last, and puts it back when they end.
_HELD_ELSEWHERE = ("EDIT", "SCULPT")


def require_own(*blocks: bpy.types.ID | None, overrides: bool = False) -> None:
    """Raise `InputError` where a change to one of these would be refused, or be gone when the file is opened again.

    `overrides`: a library override's own properties may be changed, which is so for where an object stands.
    """
    for block in blocks:
        if block is None:
            continue
        require_there(block)
        if not block.is_editable:
            raise InputError(
                '"{name}" is linked from another file: make it local first (Object > Relations).', name=block.name
            )
        if block.override_library is not None and not overrides:
            raise InputError(
                '"{name}" overrides what is linked from another file: make it local first (Object > Relations).',
                name=block.name,
            )


def require_main_thread(what: str) -> None:
    """Raise `TrellisError` in any other thread than Blender's own, where its data must not be touched."""
    if threading.current_thread() is not threading.main_thread():
        raise TrellisError(
            "{what} works in Blender's main thread alone; hand it to bpy.app.timers.register from another one.",
            what=what,
        )


def require_object(obj: Any) -> None:
    """Raise `InputError` for what is no object of Blender, or is gone from the file."""
    if not isinstance(obj, bpy.types.Object):
        raise InputError(
            "An object of Blender is needed, such as bpy.context.object, and {value} was given.", value=repr(obj)[:60]
        )
    require_there(obj)


def require_there(block: Any) -> None:
    """Raise `InputError` for what is no data of Blender's, or is gone from the file."""
    if not isinstance(block, bpy.types.ID):
        return require_object(block)
    try:
        block.name  # noqa: B018  # what was removed, by hand or by undo, says so when it is asked for anything
    except ReferenceError:
        raise InputError(
            "What was given is not in the file any more: it was deleted, undone, or another file was opened; look it "
            "up by its name again."
        ) from None


def several(objects: Any) -> list[bpy.types.Object]:
    """One object, or several, as a list; raises `InputError` as `require_object` does."""
    found = [objects] if isinstance(objects, (bpy.types.Object, str)) or objects is None else list(objects)
    for obj in found:
        require_object(obj)
    return found


def require_mesh(obj: bpy.types.Object) -> None:
    """Raise `InputError` for what is no mesh object."""
    require_object(obj)
    if obj.type != "MESH":
        raise InputError('"{name}" is no mesh; choose a mesh object.', name=obj.name)


def require_points(obj: bpy.types.Object) -> None:
    """Raise `InputError` for what has no vertices, and so no extent."""
    require_object(obj)
    if obj.type != "MESH" or not len(obj.data.vertices):
        raise InputError('"{name}" has no surface; choose a mesh object.', name=obj.name)


def require_surface(obj: bpy.types.Object) -> None:
    """Raise `InputError` for what has no faces."""
    require_object(obj)
    if obj.type != "MESH" or not len(obj.data.polygons):
        raise InputError('"{name}" has no surface; choose a mesh object.', name=obj.name)


def require_not_edited(*objects: bpy.types.Object) -> None:
    """Raise `TrellisError` where an object's mesh is being edited or sculpted, be it by way of another object."""
    for obj in objects:
        if obj.mode == "EDIT" or is_edited(obj):
            raise TrellisError('"{name}" is being edited; leave Edit Mode first.', name=obj.name)
        if obj.mode == "SCULPT":
            raise TrellisError('"{name}" is being sculpted; leave Sculpt Mode first.', name=obj.name)


def is_edited(obj: bpy.types.Object) -> bool:
    """Whether the object's mesh is in Edit Mode, which several objects may be at once, and all that share it are."""
    return obj.type == "MESH" and obj.data is not None and bool(obj.data.is_editmode)


def write_back(obj: bpy.types.Object) -> None:
    """Put into the object's mesh what its mode has made of it so far."""
    if is_edited(obj):
        obj.update_from_editmode()
    elif obj.mode in _HELD_ELSEWHERE:
        bpy.ops.ed.flush_edits()


@contextmanager
def mesh_as_it_is(obj: bpy.types.Object) -> Iterator[bpy.types.Mesh]:
    """The object's mesh, whole, with what its mode has made of it so far: to be read, not to be changed."""
    write_back(obj)
    if not is_edited(obj):
        yield obj.data
        return
    copy = obj.data.copy()  # of a mesh in Edit Mode only a copy has its attributes
    keys = copy.shape_keys
    try:
        yield copy
    finally:
        bpy.data.batch_remove([block for block in (copy, keys) if block is not None])
