"""Evaluated copies of objects: what is seen of them, modifiers, poses and instances and all, in a .blend of its own.

The file that is open is not changed, and what is slow, baking and exporting, is done by another Blender on the copies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import bpy
import numpy as np
from mathutils import Matrix

from ...core.errors import InputError
from ..asset.lod_switch import as_themselves
from ..rules.guards import write_back
from ..rules.units import metres_per_unit
from .nodes import nodes_of

# Of these Blender lists the mesh that they evaluate to besides, as an instance of themselves.
MADE_OF_CURVES = ("CURVE", "SURFACE", "FONT", "META")
_KINDS = ("MESH", *MADE_OF_CURVES)
# Properties of what is in the file, for `process`.
MATRIX = "trellis2_matrix"  # of an object: 16 numbers, row by row, to metres; Blender's own would lose a shear
PIXELS = "trellis2_pixels"  # of the scene: {image: file beside it} in JSON, of images painted on and not saved
FRAME = "trellis2_frame"  # of the scene: what is animated is seen at this one
ENGINE = "trellis2_engine"  # of the scene: the one that its materials are looked at with
GENERATED = "trellis2_generated"  # attribute of a mesh: its coordinates before it was deformed


def save_copies(objects: Sequence[bpy.types.Object], path: Path) -> None:
    """Write what is seen of these objects into a .blend, in metres; images that nobody has saved lie beside it.

    Main thread only; takes as long as copying the meshes does. Raises `InputError` where there is no surface among
    them.
    """
    scene = bpy.context.scene
    for obj in objects:
        write_back(obj)
    staging = bpy.data.scenes.new("TRELLIS.2 Copies")
    made: list[bpy.types.ID] = [staging]
    try:
        staging[FRAME] = scene.frame_current_final
        staging[ENGINE] = scene.render.engine
        metres = Matrix.Scale(metres_per_unit(scene), 4)
        with as_themselves(objects):
            copies = list(copies_of(objects, made))
        for copy in copies:
            copy.object[MATRIX] = [value for row in metres @ copy.matrix for value in row]
            copy.object.matrix_world = copy.matrix
            staging.collection.objects.link(copy.object)
        if not len(staging.collection.objects):
            raise InputError("There is no mesh with faces among the objects; select at least one.")
        staging[PIXELS] = json.dumps(_painted_images_beside(path.parent, _images_of(staging)))
        staging.view_layers[0].update()  # Blender 5.2 comes down when it writes one that does not know its objects yet
        bpy.data.libraries.write(str(path), {staging}, path_remap="ABSOLUTE")
    finally:
        bpy.data.batch_remove(made)


class Copy(NamedTuple):
    """A mesh `object`, in no scene yet, of what is seen of `owner` at `matrix`, where it is called `name`."""

    owner: bpy.types.Object
    name: str
    object: bpy.types.Object
    matrix: Matrix


def copies_of(objects: Sequence[bpy.types.Object], made: list[bpy.types.ID]) -> Iterator[Copy]:
    """A new object for each that is seen of these; whatever is made is in `made` first."""
    wanted, seen = set(objects), set()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    shared: dict[int, bpy.types.Mesh] = {}  # by the address of the evaluated mesh that is instanced
    for instance in depsgraph.object_instances:
        obj = instance.object
        owner = instance.parent.original if instance.is_instance else obj.original
        if owner not in wanted or obj.type not in _KINDS:
            continue
        seen.add(owner)
        if not instance.is_instance and (obj.type in MADE_OF_CURVES or not instance.show_self):
            continue
        key = obj.data.as_pointer() if instance.is_instance and _is_plain(obj) else 0
        mesh = shared.get(key) if key else None
        if mesh is None:
            mesh = _copy_mesh(obj, made)
            if mesh is None:
                continue
            if key:
                shared[key] = mesh
        yield Copy(owner, obj.name, _copy_object(obj, mesh, made), instance.matrix_world.copy())
    for obj in wanted - seen:  # hidden, or of another scene: as it was seen last
        if obj.type in _KINDS and (mesh := _copy_mesh(obj.evaluated_get(depsgraph), made)) is not None:
            yield Copy(obj, obj.name, _copy_object(obj, mesh, made), obj.matrix_world.copy())


def _copy_object(obj: bpy.types.Object, mesh: bpy.types.Mesh, made: list[bpy.types.ID]) -> bpy.types.Object:
    copy = bpy.data.objects.new(obj.name, mesh)
    made.append(copy)
    copy.color, copy.pass_index = obj.color, obj.pass_index  # which materials may ask for
    return copy


def _copy_mesh(obj: bpy.types.Object, made: list[bpy.types.ID]) -> bpy.types.Mesh | None:
    """The evaluated object's mesh with the materials that it is seen in; None where it has no faces."""
    try:
        mesh = bpy.data.meshes.new_from_object(obj)
    except RuntimeError:  # nothing that has a surface
        return None
    made.append(mesh)
    if not len(mesh.polygons):
        return None
    for number, slot in enumerate(obj.material_slots):
        material = slot.material.original if slot.material is not None else None
        if number < len(mesh.materials):
            mesh.materials[number] = material
        else:
            mesh.materials.append(material)
    _keep_generated(mesh, obj.original)
    return mesh


def _keep_generated(mesh: bpy.types.Mesh, obj: bpy.types.Object | None) -> None:
    """What "Generated" coordinates go by is the mesh as it is without modifiers: its box, and its own vertices."""
    own = obj.data if obj is not None and obj.type == "MESH" else None
    if own is None or not len(own.vertices):
        return
    location, size = own.texspace_location.copy(), own.texspace_size.copy()  # asking computes them
    mesh.use_auto_texspace = False
    mesh.texspace_location, mesh.texspace_size = location, size
    if len(own.vertices) != len(mesh.vertices):
        return
    before, after = (np.empty(3 * len(mesh.vertices), np.float32) for _ in range(2))
    source = own.shape_keys.reference_key.points if own.shape_keys is not None else own.vertices
    source.foreach_get("co", before)
    mesh.vertices.foreach_get("co", after)
    if np.allclose(before, after, atol=1e-6 * max(*size, 1e-9)):
        return
    span = np.where(np.abs(size) > 1e-12, size, 1.0)
    placed = (before.reshape(-1, 3) - np.array(location)) / span / 2 + 0.5
    attribute = mesh.attributes.new(GENERATED, "FLOAT_VECTOR", "POINT")
    attribute.data.foreach_set("vector", placed.astype(np.float32).reshape(-1))


def _is_plain(obj: bpy.types.Object) -> bool:
    """Whether all that share the object's mesh look the same: their materials belong to the mesh."""
    return obj.type == "MESH" and all(slot.link == "DATA" for slot in obj.material_slots)


def _images_of(scene: bpy.types.Scene) -> set[bpy.types.Image]:
    """The images in the materials of a scene's objects, in groups as well."""
    materials = {material for obj in scene.objects for material in obj.data.materials if material is not None}
    images = (getattr(node, "image", None) for material in materials for node in nodes_of(material))
    return {image for image in images if image is not None}


def _painted_images_beside(folder: Path, images: set[bpy.types.Image]) -> dict[str, str]:
    """Images that were painted on since they were saved keep that in memory only: write their pixels down."""
    files: dict[str, str] = {}
    for image in images:
        is_still = image.source in ("FILE", "GENERATED") and image.library is None
        if not (is_still and image.is_dirty and image.has_data and image.size[0]):
            continue
        pixels = np.empty(image.size[0] * image.size[1] * image.channels, np.float32)
        image.pixels.foreach_get(pixels)
        if not image.is_float:
            pixels = np.rint(pixels * 255).astype(np.uint8)
        files[image.name] = f"pixels{len(files)}.npy"
        np.save(folder / files[image.name], pixels.reshape(image.size[1], image.size[0], image.channels))
    return files
