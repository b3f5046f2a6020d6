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
from ..importing.placement import bounds_of, positions, world_bounds
from ..rules.guards import require_not_edited, require_own, require_surface
from .lod_switch import as_themselves, is_switch
from .lods import lods_of

_ABOUT = {"X": 0, "Y": 1, "Z": 2}
# Modifiers that give the same form wherever the mesh has its origin and its axes.
_ANYWHERE = frozenset(
    ("CORRECTIVE_SMOOTH", "DECIMATE", "EDGE_SPLIT", "LAPLACIANSMOOTH", "MULTIRES", "SMOOTH", "SUBSURF", "TRIANGULATE")
    + ("UV_PROJECT", "UV_WARP", "VERTEX_WEIGHT_EDIT", "VERTEX_WEIGHT_MIX", "WEIGHTED_NORMAL", "WELD")
)


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
    require_movable(obj)
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
    low, _ = _seen_bounds(obj)
    world = obj.matrix_world.copy()
    world.translation.z += height - low.z
    _stand_at(obj, world)


def apply_transform(obj: bpy.types.Object) -> None:
    """Put an object's rotation and scale into its mesh: it looks as before, and stands unturned at scale 1."""
    together = _together(obj)
    bpy.context.view_layer.update()
    world = obj.matrix_world.copy()
    place = Matrix.Translation(world.translation)
    own = place.inverted() @ world
    if own == Matrix.Identity(4):
        return
    require_movable(obj)
    levels = {level: level.matrix_world.copy() for level in together if level != obj}
    with _children_stay(obj):
        _stand_at(obj, place)
        transform_meshes(together, own)
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
    require_movable(obj)
    shift = obj.matrix_world.inverted() @ wanted
    levels = {level: level.matrix_world.copy() for level in together if level != obj}
    with _children_stay(obj):
        _stand_at(obj, obj.matrix_world @ Matrix.Translation(shift))
        transform_meshes(together, Matrix.Translation(-shift))
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


def require_movable(obj: bpy.types.Object) -> None:
    """Raise `InputError` where another origin, or other axes, would make another form of what is seen."""
    if abs(obj.matrix_world.to_3x3().determinant()) < 1e-20:
        raise InputError('"{name}" is scaled to nothing along an axis; give it a scale first.', name=obj.name)
    for modifier in obj.modifiers:
        if modifier.show_viewport and modifier.type not in _ANYWHERE and not is_switch(modifier):
            raise InputError(
                '"{name}" has the modifier "{modifier}", which goes by its origin and axes; apply it first.',
                name=obj.name,
                modifier=modifier.name,
            )


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


def _seen_bounds(obj: bpy.types.Object) -> tuple[Vector, Vector]:
    """As `world_bounds`, with its modifiers."""
    if all(is_switch(modifier) for modifier in obj.modifiers):
        return world_bounds(obj)
    with as_themselves([obj]):
        evaluated = obj.evaluated_get(bpy.context.evaluated_depsgraph_get())
        mesh = evaluated.to_mesh()
        try:
            return bounds_of(positions(mesh), obj.matrix_world) if len(mesh.vertices) else world_bounds(obj)
        finally:
            evaluated.to_mesh_clear()


def _stand_at(obj: bpy.types.Object, world: Matrix) -> None:
    """Put an object exactly there. Raises `InputError` where something holds it, and leaves it as it was."""
    former = obj.matrix_basis.copy(), obj.matrix_parent_inverse.copy()
    above = obj.matrix_world @ (former[1] @ former[0]).inverted_safe()
    obj.matrix_world = world
    bpy.context.view_layer.update()
    if not _is_at(obj, world) and obj.parent is not None and abs(above.determinant()) > 1e-20:
        # location, rotation and scale alone cannot undo a parent that is turned and scaled unevenly
        obj.matrix_parent_inverse = above.inverted()
        obj.matrix_basis = world
        bpy.context.view_layer.update()
    if not _is_at(obj, world):
        obj.matrix_parent_inverse = former[1]
        obj.matrix_basis = former[0]
        bpy.context.view_layer.update()
        raise InputError(
            '"{name}" is held where it is by a constraint, a driver or an animation; mute that first.', name=obj.name
        )


def _is_at(obj: bpy.types.Object, world: Matrix) -> bool:
    wanted = np.array(world)
    return bool(np.allclose(np.array(obj.matrix_world), wanted, rtol=0.0, atol=1e-4 * np.abs(wanted[:3]).max()))


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
