"""What an exporter cannot take as it is, in a form that it can: meshes in place of curves, instances and the like.

Blender's exporters pass over curves, texts and instances, take a transform apart that has a shear, drop shape keys
where they apply modifiers, and drop the skeleton that is not selected; and say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import bpy
import numpy as np
from mathutils import Matrix

from ...core.messages import Message, message
from ..importing.placement import positions
from ..rebaking.copies import GENERATED, MADE_OF_CURVES, copies_of

_KEPT = " (kept)"  # the end of a name that a stand-in has meanwhile
_SHEAR = 1e-4  # of the cosine between two axes


def is_exportable(obj: bpy.types.Object) -> bool:
    """Whether there is a surface to it, or to what it shows, as far as can be told without evaluating it."""
    if obj.type == "MESH":
        return bool(len(obj.data.polygons)) or any(modifier.show_viewport for modifier in obj.modifiers)
    return obj.type in MADE_OF_CURVES or (obj.instance_type == "COLLECTION" and obj.instance_collection is not None)


def rig_of(obj: bpy.types.Object) -> bpy.types.Object | None:
    """The skeleton that poses an object."""
    return next((modifier.object for modifier in _skins(obj) if modifier.object is not None), None)


@contextmanager
def with_stand_ins(
    objects: Sequence[bpy.types.Object],
    *,
    has_skeletons: bool,
    has_matrices: bool,
    told: list[Message],
    scale: float = 1.0,
) -> Iterator[tuple[bpy.types.Object, ...]]:
    """While it lasts, what to export in their place: the objects, or what stands in for them, and their skeletons.

    `has_skeletons`: the format carries skeletons and shape keys, `has_matrices`: transforms with a shear. What of an
    object is lost is added to `told`. `scale` is what the file is to have in place of one unit. Everything has to be
    seen in the scene.
    """
    made: list[bpy.types.ID] = []
    names: dict[bpy.types.Object, str] = {}
    kept: dict[bpy.types.ID, str] = {}
    try:
        found: dict[bpy.types.Object, list[bpy.types.Object]] = {obj: [obj] for obj in objects}
        instancing = _instancing()
        as_seen, applied = [], []
        for obj in objects:
            if (
                obj.type not in ("MESH", "EMPTY")
                or obj in instancing
                or scale != 1.0
                or (not has_matrices and _is_sheared(obj.matrix_world))
            ):
                as_seen.append(obj)
            elif has_skeletons and (_keys(obj) or rig_of(obj)) and _others(obj):
                applied.append(obj)
        if as_seen:
            found |= {obj: [] for obj in as_seen}
            for copy in list(copies_of(as_seen, made)):
                _place(copy.object, Matrix.Scale(scale, 4) @ copy.matrix, has_matrices, made)
                found[copy.owner].append(copy.object)
                names[copy.object] = copy.name
            bpy.context.view_layer.update()
        for obj in applied:
            found[obj] = [_applied(obj, made, told)]
            names[found[obj][0]] = obj.name
        own: dict[bpy.types.Material, bpy.types.Material] = {}
        for obj, shown in found.items():
            found[obj] = [_with_own_materials(one, own, made) if _has_linked_materials(one) else one for one in shown]
            names |= {one: names.pop(old, old.name) for old, one in zip(shown, found[obj], strict=True) if one != old}
        for obj, copies in found.items():
            if has_skeletons and obj in as_seen and (_keys(obj) or rig_of(obj)):
                told.append(
                    message('"{name}" is written as it is seen, without skeleton and shape keys.', name=obj.name)
                )
            if not copies:
                told.append(message('"{name}" has no faces, and is not in the file.', name=obj.name))
        _take_names(names, kept)
        rigs = [rig for obj in objects if obj not in as_seen and (rig := rig_of(obj))] if has_skeletons else []
        yield tuple(dict.fromkeys([*(copy for copies in found.values() for copy in copies), *rigs]))
    finally:
        bpy.data.batch_remove(made)
        bpy.context.view_layer.update()  # which else lists what is gone
        for block, name in kept.items():
            block.name = name


def _instancing() -> set[bpy.types.Object]:
    """What shows other objects, or itself several times."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    return {instance.parent.original for instance in depsgraph.object_instances if instance.is_instance}


def _place(copy: bpy.types.Object, matrix: Matrix, has_matrices: bool, made: list[bpy.types.ID]) -> None:
    """A copy into the scene; with the shear of its matrix in its mesh where the format has none."""
    bpy.context.scene.collection.objects.link(copy)
    if GENERATED in copy.data.attributes:
        copy.data.attributes.remove(copy.data.attributes[GENERATED])
    copy.matrix_world = matrix
    if has_matrices or not _is_sheared(matrix):
        return
    if copy.data.users > 1:
        copy.data = copy.data.copy()
        made.append(copy.data)
    copy.data.transform(matrix.to_3x3().to_4x4())
    if matrix.is_negative:
        copy.data.flip_normals()
    copy.matrix_world = Matrix.Translation(matrix.to_translation())


def _is_sheared(matrix: Matrix) -> bool:
    """Whether its axes do not stand upright on each other, so that no rotation and scale make it."""
    columns = np.array(matrix, float)[:3, :3]
    axes = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    cosines = axes.T @ axes
    return bool(np.abs(cosines - np.diag(np.diag(cosines))).max() > _SHEAR)


def _has_linked_materials(obj: bpy.types.Object) -> bool:
    """Whether it shows materials of another file, whose pictures cannot be exchanged for those of an export."""
    return any(slot.material is not None and not slot.material.is_editable for slot in obj.material_slots)


def _with_own_materials(
    obj: bpy.types.Object, own: dict[bpy.types.Material, bpy.types.Material], made: list[bpy.types.ID]
) -> bpy.types.Object:
    """The object, or a copy of one that is not a stand-in already, with copies of what it shows of another file."""
    if obj not in made:
        obj = obj.copy()
        made.append(obj)
        bpy.context.scene.collection.objects.link(obj)
    for slot in obj.material_slots:
        material = slot.material
        if material is None or material.is_editable:
            continue
        if material not in own:
            own[material] = material.copy()
            made.append(own[material])
        slot.link = "OBJECT"
        slot.material = own[material]
    return obj


def _keys(obj: bpy.types.Object) -> list[bpy.types.ShapeKey]:
    """The shape keys beside the first one, which they differ from."""
    keys = obj.data.shape_keys if obj.type == "MESH" else None
    return list(keys.key_blocks[1:]) if keys else []


def _skins(obj: bpy.types.Object) -> list[bpy.types.Modifier]:
    return [modifier for modifier in obj.modifiers if modifier.type == "ARMATURE" and modifier.show_viewport]


def _others(obj: bpy.types.Object) -> list[bpy.types.Modifier]:
    return [modifier for modifier in obj.modifiers if modifier.type != "ARMATURE" and modifier.show_viewport]


def _applied(obj: bpy.types.Object, made: list[bpy.types.ID], told: list[Message]) -> bpy.types.Object:
    """A copy with all modifiers but its skeleton's applied, to each of its shape keys too where they leave the same
    vertices in all of them."""
    copy, mesh = obj.copy(), obj.data.copy()
    made += [copy, mesh]
    if mesh.shape_keys is not None:
        made.append(mesh.shape_keys)
        mesh.shape_keys.animation_data_clear()
    copy.data = mesh
    bpy.context.scene.collection.objects.link(copy)
    skins = [(modifier, modifier.show_viewport) for modifier in copy.modifiers if modifier.type == "ARMATURE"]
    for modifier, _ in skins:
        modifier.show_viewport = False
    keys = _keys(copy)
    values = {key.name: key.value for key in keys}
    copy.show_only_shape_key = False
    shapes = {key.name: _shape(copy, key) for key in keys}
    _shape(copy, None)
    evaluated = copy.evaluated_get(bpy.context.evaluated_depsgraph_get())
    if any(len(shape) != len(evaluated.data.vertices) for shape in shapes.values()):
        for key in keys:
            key.value = values[key.name]
        shapes = {}
        told.append(
            message(
                'The shape keys of "{name}" are not in the file, which has its shape as it is: a modifier makes other '
                "vertices of each.",
                name=obj.name,
            )
        )
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depsgraph.update()
    new = bpy.data.meshes.new_from_object(
        copy.evaluated_get(depsgraph), preserve_all_data_layers=True, depsgraph=depsgraph
    )
    made.append(new)
    copy.data = new
    for modifier in _others(copy):
        copy.modifiers.remove(modifier)
    if shapes:
        copy.shape_key_add(name=obj.data.shape_keys.reference_key.name, from_mix=False)
        for name, shape in shapes.items():
            key = copy.shape_key_add(name=name, from_mix=False)
            key.data.foreach_set("co", shape.reshape(-1))
            key.value = values[name]
    for modifier, was_shown in skins:
        modifier.show_viewport = was_shown
    bpy.context.view_layer.update()
    return copy


def _shape(obj: bpy.types.Object, shown: bpy.types.ShapeKey | None) -> np.ndarray:
    """(V, 3): the places of the evaluated vertices with this key alone, or with none."""
    for key in _keys(obj):
        key.mute, key.value = False, 1.0 if key == shown else 0.0
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depsgraph.update()
    return positions(obj.evaluated_get(depsgraph).data).copy()


def _take_names(names: dict[bpy.types.Object, str], kept: dict[bpy.types.ID, str]) -> None:
    """Each stand-in is called as what it is seen of, which has another name meanwhile: `kept` has its own."""
    ours = {*names, *(copy.data for copy in names)}
    for copy, name in names.items():
        for blocks, block in ((bpy.data.objects, copy), (bpy.data.meshes, copy.data)):
            holder = blocks.get((name, None))
            if holder is not None and holder not in ours and holder.is_editable:
                kept[holder] = name
                holder.name = f"{name}{_KEPT}"
            if block.is_editable:
                block.name = name
