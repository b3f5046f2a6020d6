"""Objects as they look, as the GLB that a task sends: modifiers evaluated, all in the world's place, one node each.

What has to be known again when the result is here is in the file itself, in the `extras` of its nodes: a result is
dressed, and keeps them. Nothing of the scene is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ...core.errors import InputError
from ...core.messages import message
from ...formats.glb.pieces import Piece
from ...formats.glb.write import GENERATOR, Binary, container
from ...geometry.texturing.sheets import AUTO, KEEP, unfit
from ...images import clean_name
from ...task.settings import BY_NAME
from ..rules.guards import mesh_as_it_is, require_own, require_surface, write_back
from .own_uvs import unwrapped_loops

EXTRAS = "trellis2"  # of a node: {"object": n, "slots": [...]} and what follows
LAYER = "TRELLIS.2"  # new coordinates


@dataclass(frozen=True)
class Taken:
    """`glb` is the file, `objects` those that it shows, in the order of their numbers; `name` is the first one's, and
    `notes` are sentences for the artist."""

    glb: bytes
    objects: tuple[bpy.types.Object, ...]
    name: str
    notes: tuple[str, ...] = ()


def take(objects: Sequence[bpy.types.Object], *, uvs: str = AUTO, only_selected: bool = False) -> Taken:
    """The GLB of mesh objects, of each mesh once. With `only_selected` the selected faces alone get a texture.

    `uvs` says whose coordinates are kept, as for `meshes.texture`: the active layer's. Main thread only. Raises
    `InputError` for what has no surface, is linked, or has nothing selected.
    """
    BY_NAME["uvs"].check(uvs)
    owners: dict[bpy.types.Mesh, bpy.types.Object] = {}
    for obj in objects:
        require_surface(obj)
        require_own(obj, obj.data)
        write_back(obj)
        owners.setdefault(obj.data, obj)
    if not owners:
        raise InputError("There is no mesh with faces among the objects; select at least one.")
    writer = _Writer()
    chosen = {obj: _selected(obj.data) if only_selected else None for obj in owners.values()}
    if only_selected and not any(faces is not None and faces.any() for faces in chosen.values()):
        raise InputError("No face is selected; select faces in Edit Mode first.")
    taken = [obj for obj, faces in chosen.items() if faces is None or faces.any()]
    notes: list[str] = []
    for number, obj in enumerate(taken):
        faces = chosen[obj]
        new = _new_coordinates(obj, faces, uvs)
        with _stand_in(obj, faces, new) as (stand_in, slots, layer):
            _add(writer, number, obj, stand_in, slots, layer, faces, new)
        if new is not None and len(obj.data.uv_layers) and uvs == AUTO:
            notes.append(message('"{name}" gets a new UV map: its active one cannot hold a texture.', name=obj.name))
    return Taken(writer.glb(), tuple(taken), clean_name(taken[0].name), tuple(notes))


def selected_count(obj: bpy.types.Object) -> int:
    """How many of the object's faces are selected."""
    return int(_selected(obj.data).sum())


def _selected(mesh: bpy.types.Mesh) -> NDArray[np.bool_]:
    found = np.empty(len(mesh.polygons), bool)
    mesh.polygons.foreach_get("select", found)
    return found


def _new_coordinates(obj: bpy.types.Object, faces: NDArray[np.bool_] | None, uvs: str) -> NDArray[np.float32] | None:
    """Coordinates (L, 2) for the loops of the object's mesh, v up; None where its own are kept.

    It is asked of the mesh as it is without modifiers: where these repeat it, its coordinates are repeated too.
    """
    mesh = obj.data
    layer = mesh.uv_layers.active
    if layer is not None and uvs == KEEP:
        return None
    if layer is not None and uvs == AUTO:
        with mesh_as_it_is(obj) as whole:  # in Edit Mode the object's own has no coordinates
            if not any(unfit(piece) for piece in _pieces(whole, layer.name, faces)):
                return None
    return unwrapped_loops(obj)


def _pieces(mesh: bpy.types.Mesh, layer: str, faces: NDArray[np.bool_] | None) -> Iterator[Piece]:
    """The mesh by its slots, to be asked whether its coordinates can hold a texture."""
    arrays = _Arrays.of(mesh, layer)
    for slot in np.unique(arrays.slots):
        mine = arrays.slots == slot
        if faces is not None:
            mine &= faces[arrays.polygons]
        if mine.any():
            corners = arrays.loops[mine]
            points = arrays.points[arrays.vertices[mine].reshape(-1)]
            uvs = arrays.uvs[corners.reshape(-1)]
            numbers = np.arange(len(points)).reshape(-1, 3)
            yield Piece((0, int(slot)), points, None, numbers, uvs, 0, 1, None, False)


@dataclass(frozen=True)
class _Arrays:
    """A mesh in triangles: `vertices` and `loops` (F, 3), `polygons` and `slots` (F,), `points` (V, 3),
    `normals` (L, 3) as they are shaded, `uvs` (L, 2) with v down."""

    vertices: NDArray[np.int64]
    loops: NDArray[np.int64]
    polygons: NDArray[np.int64]
    slots: NDArray[np.int64]
    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    uvs: NDArray[np.float32]

    @classmethod
    def of(cls, mesh: bpy.types.Mesh, layer: str) -> _Arrays:
        mesh.calc_loop_triangles()
        triangles = mesh.loop_triangles
        slots = _read(mesh.polygons, "material_index", 1, np.int32)
        polygons = _read(triangles, "polygon_index", 1, np.int32)
        uvs = _read(mesh.uv_layers[layer].uv, "vector", 2, np.float32).reshape(-1, 2)
        return cls(
            _read(triangles, "vertices", 3, np.int32).reshape(-1, 3).astype(np.int64),
            _read(triangles, "loops", 3, np.int32).reshape(-1, 3).astype(np.int64),
            polygons.astype(np.int64),
            slots[polygons].astype(np.int64),
            _read(mesh.vertices, "co", 3, np.float32).reshape(-1, 3).astype(np.float64),
            _read(mesh.corner_normals, "vector", 3, np.float32).reshape(-1, 3).astype(np.float64),
            np.stack([uvs[:, 0], 1.0 - uvs[:, 1]], 1),
        )


def _read(collection: Any, name: str, width: int, kind: type) -> NDArray[Any]:
    found: NDArray[Any] = np.empty(width * len(collection), kind)
    collection.foreach_get(name, found)
    return found


@contextmanager
def _stand_in(
    obj: bpy.types.Object, faces: NDArray[np.bool_] | None, new: NDArray[np.float32] | None
) -> Iterator[tuple[bpy.types.Object, list[int], str]]:
    """A copy of the object that has the coordinates and the chosen faces in slots of their own, for as long as it is
    evaluated; with the slots to texture, and the name of the layer."""
    mesh = obj.data.copy()
    copy = obj.copy()
    copy.data = mesh
    keys = mesh.shape_keys
    try:
        count = max(len(mesh.materials), 1)
        if len(mesh.materials) < count:
            mesh.materials.append(None)
        slots = list(range(count))
        if faces is not None:
            index = _read(mesh.polygons, "material_index", 1, np.int32)
            index = np.where(faces, np.minimum(index, count - 1) + count, index).astype(np.int32)
            for number in range(count):
                mesh.materials.append(mesh.materials[number])
            mesh.polygons.foreach_set("material_index", index)
            slots = [count + number for number in range(count)]
        layer = mesh.uv_layers.active.name if new is None else LAYER
        if new is not None:
            fresh = mesh.uv_layers.get(LAYER) or mesh.uv_layers.new(name=LAYER, do_init=False)
            if fresh is None:
                raise InputError('"{name}" has as many UV maps as a mesh can have; remove one first.', name=obj.name)
            layer = fresh.name
            fresh.uv.foreach_set("vector", new.reshape(-1))
        mesh.update()
        copy.hide_viewport = False
        bpy.context.scene.collection.objects.link(copy)
        copy.hide_set(False)
        bpy.context.view_layer.update()
        yield copy, slots, layer
    finally:
        bpy.data.batch_remove([block for block in (copy, mesh, keys) if block is not None])


def _add(
    writer: _Writer,
    number: int,
    obj: bpy.types.Object,
    stand_in: bpy.types.Object,
    slots: Sequence[int],
    layer: str,
    faces: NDArray[np.bool_] | None,
    new: NDArray[np.float32] | None,
) -> None:
    """The evaluated object as a node; what is not to be textured is a node beside it, only to be seen."""
    evaluated = stand_in.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    try:
        if not len(mesh.polygons):
            raise InputError(
                '"{name}": its modifiers leave no surface of its own; where they make instances, add Realize Instances '
                "to the nodes.",
                name=obj.name,
            )
        if layer not in mesh.uv_layers:
            raise InputError(
                '"{name}": its modifiers make a mesh without texture coordinates; apply them, or have them keep the '
                "coordinates.",
                name=obj.name,
            )
        arrays = _Arrays.of(mesh, layer)
    finally:
        evaluated.to_mesh_clear()
    count = len(slots)
    first = slots[0]
    picked = arrays.slots >= first if faces is not None else np.ones(len(arrays.slots), bool)
    which = np.clip(arrays.slots - first, 0, count - 1)
    double_sided = [_is_double_sided(obj, slot) for slot in range(count)]
    told: dict[str, Any] = {
        "object": number,
        "layer": layer,
        "polygons": len(obj.data.polygons),
        "loops": len(obj.data.loops),
    }
    if new is not None:
        told["uvs"] = writer.array(new.astype("<f4"))
    if faces is not None:
        told["chosen"] = writer.array(np.packbits(faces))
    writer.node(obj.name, _world(arrays, obj.matrix_world), which, picked, double_sided, told)


def _is_double_sided(obj: bpy.types.Object, slot: int) -> bool:
    material = obj.material_slots[slot].material if slot < len(obj.material_slots) else None
    return material is None or not material.use_backface_culling


def _world(arrays: _Arrays, matrix: Matrix) -> _Arrays:
    """The arrays where the object stands, in glTF's axes."""
    m = np.array(matrix, np.float64)
    turned = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float64) @ m[:3]
    points = arrays.points @ turned[:, :3].T + turned[:, 3]
    linear = turned[:, :3]
    a, b, c = linear
    cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)])
    normals = arrays.normals @ cofactors.T
    vertices, loops = arrays.vertices, arrays.loops
    if np.linalg.det(linear) < 0:
        normals, vertices, loops = -normals, vertices[:, ::-1], loops[:, ::-1]
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return _Arrays(
        vertices, loops, arrays.polygons, arrays.slots, points, normals / np.where(length > 0, length, 1.0), arrays.uvs
    )


class _Writer:
    """The file as it grows: positions are kept in full until all are known, since far from the origin singles are
    coarse; they are written about the middle of them all."""

    def __init__(self) -> None:
        self._binary = Binary()
        self._document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": GENERATOR},
            "scene": 0,
            "scenes": [{"nodes": []}],
            "nodes": [],
            "meshes": [],
            "materials": [{"name": "Plain"}, {"name": "Plain, Both Sides", "doubleSided": True}],
        }
        self._points: list[tuple[dict[str, Any], NDArray[np.float64]]] = []

    def array(self, values: NDArray[Any]) -> dict[str, int]:
        """Bytes that belong to a node's extras."""
        content = np.ascontiguousarray(values).tobytes()
        return {"bufferView": self._binary.view(content)}

    def node(
        self,
        name: str,
        arrays: _Arrays,
        which: NDArray[np.int64],
        picked: NDArray[np.bool_],
        double_sided: Sequence[bool],
        told: dict[str, Any],
    ) -> None:
        """A mesh of one primitive for each slot in use, and of one for what is only seen."""
        primitives, slots = [], []
        for slot in np.unique(which[picked]):
            primitives.append(self._primitive(arrays, picked & (which == slot), int(double_sided[slot])))
            slots.append(int(slot))
        self._add_node(name, primitives, {EXTRAS: {**told, "slots": slots}})
        if not picked.all():
            self._add_node(f"{name} (seen)", [self._primitive(arrays, ~picked, 0)], {EXTRAS: {"seen": True}})

    def _add_node(self, name: str, primitives: list[dict[str, Any]], extras: dict[str, Any]) -> None:
        document = self._document
        document["meshes"].append({"name": name, "primitives": primitives})
        document["nodes"].append({"name": name, "mesh": len(document["meshes"]) - 1, "extras": extras})
        document["scenes"][0]["nodes"].append(len(document["nodes"]) - 1)

    def _primitive(self, arrays: _Arrays, mine: NDArray[np.bool_], material: int) -> dict[str, Any]:
        corners = np.stack([arrays.vertices[mine].reshape(-1), arrays.loops[mine].reshape(-1)], 1)
        uvs, normals = arrays.uvs[corners[:, 1]], arrays.normals[corners[:, 1]]
        # vertices are split where coordinates or shading are
        rows = np.concatenate([corners[:, :1].astype(np.float64), uvs, np.round(normals, 3) + 0.0], 1)
        _, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        vertices = corners[first, 0]
        primitive: dict[str, Any] = {
            "attributes": {
                "NORMAL": self._binary.accessor(normals[first], "VEC3"),
                "TEXCOORD_0": self._binary.accessor(uvs[first], "VEC2"),
            },
            "indices": self._binary.accessor(number.reshape(-1), "SCALAR", indices=True),
            "material": material,
            "mode": 4,
        }
        self._points.append((primitive["attributes"], arrays.points[vertices]))
        return primitive

    def glb(self) -> bytes:
        every = np.concatenate([points for _, points in self._points])
        if not np.isfinite(every).all():
            raise InputError("A vertex of the mesh has a position that is not finite.")
        middle = (every.min(0) + every.max(0)) / 2.0
        for attributes, points in self._points:
            attributes["POSITION"] = self._binary.accessor(points - middle, "VEC3", bounds=True)
        document = self._document
        document["accessors"], document["bufferViews"] = self._binary.accessors, self._binary.views
        document["buffers"] = [{"byteLength": len(self._binary.data)}]
        return container(document, bytes(self._binary.data))
