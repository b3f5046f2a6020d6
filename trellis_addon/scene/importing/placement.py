"""Making one tidy object of what the importer left, and standing it where it is wanted."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ...core.errors import DamagedFileError
from ..rules.guards import mesh_as_it_is
from .joining import join


def clean_mesh_object(scene: bpy.types.Scene, name: str) -> bpy.types.Object:
    """One mesh object with its transforms applied; the empties, cameras and lights around it are removed.

    Works in the context's scene, which must be `scene`.
    """
    bpy.context.view_layer.update()
    objects = list(scene.collection.all_objects)
    meshes = [obj for obj in objects if obj.type == "MESH" and len(obj.data.polygons)]
    if not meshes:
        raise DamagedFileError("The GLB holds no surface: nothing was imported.")
    for obj in meshes:
        obj.shape_key_clear()  # they would hold the mesh where it is
        world = obj.matrix_world.copy()
        if obj.data.users > 1:
            obj.data = obj.data.copy()  # an instance: each gets its own place
        if not obj.data.materials:
            obj.data.materials.append(None)  # joined to others, it must not come to show one of theirs
        obj.data.transform(world)
        if world.is_negative:
            obj.data.flip_normals()
        obj.parent = None
        obj.matrix_world = Matrix.Identity(4)
    main = meshes[0]
    if len(meshes) > 1:
        join(meshes)
    for obj in list(scene.collection.all_objects):
        if obj != main:
            _remove_object(obj)
    main.animation_data_clear()
    main.rotation_mode = "XYZ"  # the importer's quaternions are not what people type into the sidebar
    main.name = name
    main.data.name = name
    if main.name not in scene.collection.objects:
        scene.collection.objects.link(main)
    for collection in list(main.users_collection):
        if collection != scene.collection:
            bpy.data.collections.remove(collection)
    return main


def place(obj: bpy.types.Object, height: float | None, location: Sequence[float] | None, metres: float = 1.0) -> None:
    """Origin at the bottom centre, `height` metres tall, standing at `location`; scale and rotation stay 1 and 0.

    `metres` is what one unit of the scene is; None as the height takes the mesh's own numbers as metres, None as the
    location leaves it where it is.
    """
    mesh = obj.data
    low, high = bounds(mesh)
    centre = Vector(((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]))
    extent = high - low
    # Nested transforms may leave what single precision can hold, or shrink everything to a point.
    if not 1e-15 < extent.max() < 1e15:
        raise DamagedFileError("The GLB's surface has no size that can be shown: nothing was imported.")
    scale = 1.0 / metres
    if height is not None:
        # something that lies flat has no height to speak of: then its longest side is what is meant
        tall = extent[2] if extent[2] > 1e-4 * extent.max() else extent.max()
        scale = height / metres / float(tall) if tall > 0 else scale
    mesh.transform(Matrix.Scale(scale, 4) @ Matrix.Translation(-centre))
    mesh.update()
    obj.matrix_world = Matrix.Translation(centre * scale if location is None else Vector(location))


def bounds(mesh: bpy.types.Mesh) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest corner (3,) of a mesh, in its own space."""
    axes = positions(mesh).T
    # an axis at a time: over all three at once NumPy takes ten times as long
    return np.array([axis.min() for axis in axes]), np.array([axis.max() for axis in axes])


def positions(mesh: bpy.types.Mesh) -> np.ndarray:
    """The vertices (V, 3) of a mesh, in its own space."""
    points = np.empty((len(mesh.vertices), 3), dtype=np.float32)
    if len(points):
        # ten times as fast as `vertices`, which asks for one after the other
        mesh.attributes["position"].data.foreach_get("vector", points.reshape(-1))
    return points


def world_bounds(obj: bpy.types.Object) -> tuple[Vector, Vector]:
    """The lowest and the highest corner of a mesh object's box along the world's axes, without its modifiers.

    From the vertices: Blender's own `bound_box` is out of date until the next redraw, and the box about one that is
    turned is too large.
    """
    with mesh_as_it_is(obj) as mesh:
        return bounds_of(_mixed(obj, mesh), obj.matrix_world)


def bounds_of(points: np.ndarray, world: Matrix) -> tuple[Vector, Vector]:
    """The lowest and the highest corner of points (N, 3) once they are moved by a matrix."""
    rows = np.array(world)[:3]
    axes = [points @ row[:3].astype(np.float32) for row in rows]
    low = Vector([float(axis.min()) + row[3] for axis, row in zip(axes, rows, strict=True)])
    return low, Vector([float(axis.max()) + row[3] for axis, row in zip(axes, rows, strict=True)])


def _mixed(obj: bpy.types.Object, mesh: bpy.types.Mesh) -> np.ndarray:
    """The vertices (V, 3) with the shape keys as they are set."""
    keys = mesh.shape_keys
    if keys is None or not keys.use_relative or obj.mode == "EDIT":
        return positions(mesh)
    points = _points_of(keys.reference_key)
    for key in keys.key_blocks[1:]:
        if key.value and not key.mute and len(key.data) == len(mesh.vertices):
            points = points + key.value * (_points_of(key) - _points_of(key.relative_key))
    return points


def _points_of(key: bpy.types.ShapeKey) -> np.ndarray:
    points = np.empty((len(key.points), 3), np.float32)
    key.points.foreach_get("co", points.reshape(-1))
    return points


def _remove_object(obj: bpy.types.Object) -> None:
    data = obj.data
    bpy.data.objects.remove(obj)
    if data is not None and data.users == 0:
        bpy.data.batch_remove([data])
