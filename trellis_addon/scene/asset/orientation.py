"""Which way an asset stands: turned, its front, its origin, on the ground, its transforms applied.

What stands in the scene moves no more than it has to. Levels of detail follow; others that share the mesh do not.
"""

from __future__ import annotations

import math

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ...contract.contract import ORIGINS
from ...contract.facts import AXES, FRONT, OWN_FRONT
from ...core.errors import FieldError, InputError
from ...core.given import whole
from ...core.messages import message
from ..importing.placement import world_bounds
from ..rules.guards import require_not_edited, require_own, require_surface
from .lods import lods_of

_ABOUT = {"X": 0, "Y": 1, "Z": 2}


def turn(obj: bpy.types.Object, axis: str = "Z", quarters: int = 1) -> None:
    """Turn an object's mesh by quarter turns about an axis of the world ("X", "Y", "Z") through its origin,
    counter-clockwise as seen from the axis's end; its own rotation stays as it is.

    This and all below raise `InputError` for an object without a surface or of another file, and `TrellisError` for
    what is being edited; then nothing has changed.
    """
    if axis not in _ABOUT:
        raise FieldError("axis", axis, message("allowed: {allowed}", allowed=list(_ABOUT)))
    quarters = whole(quarters, "quarters", -1000, 1000, message("give a whole number of quarter turns")) % 4
    together = _together(obj)
    if not quarters:
        return
    about = Vector([0.0, 0.0, 0.0])
    about[_ABOUT[axis]] = 1.0
    # the world's axis among the mesh's own, which may be scaled unevenly: there a quarter turn is another shear
    world = obj.matrix_world.to_3x3()
    turned = world.inverted_safe() @ Matrix.Rotation(quarters * math.pi / 2, 3, about) @ world
    transform_meshes(together, _clean(turned).to_4x4())


def set_front(obj: bpy.types.Object, is_now: str, front: str = OWN_FRONT) -> None:
    """Say which way an asset's front looks now, one of "+X", "-X", "+Y", "-Y" in the world, and turn it about the
    vertical so that it looks along `front`. What is said is kept on the object, and goes along in an export."""
    for name, value in (("is_now", is_now), ("front", front)):
        if value not in AXES:
            raise FieldError(name, value, message("allowed: {allowed}", allowed=list(AXES)))
    require_own(obj)
    turn(obj, "Z", round((_angle(front) - _angle(is_now)) / (math.pi / 2)))
    _say_front(obj, obj.matrix_world.to_quaternion().inverted() @ Vector(AXES[front]))


def drop_to_ground(obj: bpy.types.Object, height: float = 0.0) -> None:
    """Move an object straight up or down until its lowest point is at `height` on the scene's vertical axis."""
    require_surface(obj)
    require_own(obj, overrides=True)
    bpy.context.view_layer.update()
    low, _ = world_bounds(obj)
    world = obj.matrix_world.copy()
    world.translation.z += height - low.z
    obj.matrix_world = world


def apply_transform(obj: bpy.types.Object) -> None:
    """Put an object's rotation and scale into its mesh: it looks as before, and stands unturned at scale 1."""
    together = _together(obj)
    bpy.context.view_layer.update()
    world = obj.matrix_world.copy()
    place = Matrix.Translation(world.translation)
    own = place.inverted() @ world
    if own == Matrix.Identity(4):
        return
    if abs(own.determinant()) < 1e-20:
        raise InputError('"{name}" is scaled to nothing along an axis; give it a scale first.', name=obj.name)
    levels = {level: level.matrix_world.copy() for level in together if level != obj}
    with _children_stay(obj):
        transform_meshes(together, own)
        obj.matrix_world = place
        for level, before in levels.items():
            level.matrix_world = before @ own.inverted()
    # where it really goes: of a mirrored matrix Blender's rotation is another one
    _say_front(obj, own.to_3x3() @ Vector(AXES.get(obj.get(FRONT), AXES[OWN_FRONT])))


def set_origin(obj: bpy.types.Object, origin: str = "bottom") -> None:
    """Put an object's origin to its "bottom", the centre of it, or its "centre"; it stays where it stands."""
    if origin not in ORIGINS:
        raise FieldError("origin", origin, message("allowed: {allowed}", allowed=list(ORIGINS)))
    together = _together(obj)
    bpy.context.view_layer.update()
    low, high = world_bounds(obj)
    wanted = (low + high) / 2
    if origin == "bottom":
        wanted.z = low.z
    shift = obj.matrix_world.inverted_safe() @ wanted
    levels = {level: level.matrix_world.copy() for level in together if level != obj}
    with _children_stay(obj):
        transform_meshes(together, Matrix.Translation(-shift))
        obj.matrix_world = obj.matrix_world @ Matrix.Translation(shift)
        for level, before in levels.items():
            level.matrix_world = before @ Matrix.Translation(shift)


def transform_meshes(together: list[bpy.types.Object], matrix: Matrix) -> None:
    """Transform each mesh of these objects once, in its own space; others that share it keep theirs."""
    for mesh in dict.fromkeys(member.data for member in together):
        mine = _own(mesh, together)
        mine.transform(matrix, shape_keys=True)
        if matrix.is_negative:
            mine.flip_normals()
        mine.update()


def with_levels(obj: bpy.types.Object) -> list[bpy.types.Object]:
    """The object and the levels of detail that were made of it, all of them meshes of this file that nobody edits.

    Raises `InputError`, `TrellisError` where they are not.
    """
    chain = lods_of(obj)
    together = [member for member in (obj, *(chain.objects if chain else ())) if member.type == "MESH"]
    require_own(*together, *(member.data for member in together))
    require_not_edited(*together)
    return together


def _together(obj: bpy.types.Object) -> list[bpy.types.Object]:
    require_surface(obj)
    return with_levels(obj)


def _say_front(obj: bpy.types.Object, direction: Vector) -> None:
    """Keep which of its own axes an object's front is, by the nearest; the usual one needs no word."""
    own = max(AXES, key=lambda axis: direction.dot(Vector(AXES[axis])))
    if own != OWN_FRONT:
        obj[FRONT] = own
    elif FRONT in obj:
        del obj[FRONT]


class _children_stay:
    """While an object is moved about its children, they stand where they stood."""

    def __init__(self, obj: bpy.types.Object) -> None:
        self._obj = obj

    def __enter__(self) -> None:
        self._places = {child: child.matrix_world.copy() for child in self._obj.children}

    def __exit__(self, *error: object) -> None:
        bpy.context.view_layer.update()
        for child, place in self._places.items():
            child.matrix_world = place


def _angle(axis: str) -> float:
    x, y, _ = AXES[axis]
    return math.atan2(y, x)


def _clean(matrix: Matrix) -> Matrix:
    """Without the rounding that would make an upright mesh lean by a millionth."""
    return Matrix([[round(value, 9) if abs(value - round(value)) < 1e-6 else value for value in row] for row in matrix])


def _own(mesh: bpy.types.Mesh, together: list[bpy.types.Object]) -> bpy.types.Mesh:
    """The mesh, or where objects outside show it as well, a copy for those inside."""
    if not any(other.data == mesh for other in bpy.data.objects if other not in together):
        return mesh
    copy = mesh.copy()
    for member in together:
        if member.data == mesh:
            member.data = copy
    return copy


def box_about_origin(obj: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    """The corners (3,) of an object's box along the world's axes, about its origin, in the scene's units."""
    low, high = world_bounds(obj)
    origin = obj.matrix_world.translation
    return np.array(low - origin), np.array(high - origin)
