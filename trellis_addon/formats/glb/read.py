"""GLB files to textured meshes: node transforms, many parts, many materials; skeletons and shape keys at rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DamagedFileError, InputError
from ...core.files import read_bytes
from ...core.messages import reason_of
from . import check as glb_check
from .data_uris import without_data_uris
from .pose import Skeletons, instances, morphed, node_matrix
from .read_materials import Materials
from .scenes import shown_roots
from .textured_mesh import SurfaceMaterial, TexturedMesh

_COMPONENTS = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_DRACO = "KHR_draco_mesh_compression"
# How many times its own size a scene may be from its origin: that leaves single precision 1 / 130,000 of the size.
_FAR = 64.0
_MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")


def read_glb(source: Path | str | bytes) -> TexturedMesh:
    """All triangles of the file's scene, as one mesh in the scene's frame (Y up, metres), posed as the file opens.

    Raises `DamagedFileError` for files that are not sound, `InputError` for those without triangles or with
    compressed ones.
    """
    mesh = Reader.of(source).scene()
    return replace(mesh, vertices=mesh.vertices.astype(np.float32))


def read_glb_near(source: Path | str | bytes) -> tuple[TexturedMesh, NDArray[np.float64]]:
    """The same, and the place (3,) that its vertices count from: the scene's origin, but for files that stand so far
    from it that single precision would show; then it is their middle. Raises as `read_glb`."""
    mesh = Reader.of(source).scene()
    low, high = mesh.bounds()
    middle = (low + high) / 2
    if np.abs(middle).max() <= _FAR * (high - low).max():
        middle = np.zeros(3)
    return replace(mesh, vertices=(mesh.vertices - middle).astype(np.float32)), middle


def _bytes_of(source: Path | str | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    path = Path(source)
    try:
        if path.stat().st_size > glb_check.MAX_FILE_BYTES:
            raise DamagedFileError("{name} is larger than 1 GB and is not read.", name=path.name)
        return read_bytes(path)
    except OSError as error:
        raise DamagedFileError("{path} cannot be read: {reason}.", path=path, reason=reason_of(error)) from error


class Reader:
    """One file that has been checked: every index and every range in it is known to be good."""

    def __init__(self, document: dict[str, Any], binary: memoryview) -> None:
        self.document = document
        self.binary = binary
        self._skeletons = Skeletons(document, self.accessor)

    @classmethod
    def of(cls, source: Path | str | bytes) -> Reader:
        """Of a GLB's path or bytes; raises as `read_glb`."""
        data = without_data_uris(_bytes_of(source))
        glb_check.check_glb(data, with_skins=True)
        document, binary = glb_check.split_glb(data)
        if missing := _compressed(document):
            raise InputError("The GLB uses {missing}, which cannot be read here; export it without.", missing=[missing])
        return cls(document, binary)

    @cached_property
    def _materials(self) -> Materials:
        return Materials(self.document, self.binary)

    def scene(self) -> TexturedMesh:
        """All triangles of the scene; the vertices are still in double precision."""
        materials = [*self._materials.all, SurfaceMaterial(name="Default", metallic_factor=1.0)]
        parts = []
        for node, place in self.placed():
            mesh = self.document["meshes"][node["mesh"]]
            for primitive in mesh["primitives"]:
                weights = node.get("weights") or mesh.get("weights") or ()
                part = self._primitive(primitive, place, materials, weights, node.get("skin"))
                if part is not None:
                    parts.append(part)
        if not parts:
            raise InputError("The GLB has no triangles.")
        return _drop_unused(parts, materials)

    def placed(self) -> list[tuple[Mapping[str, Any], NDArray[np.float64]]]:
        """Every node of the scene that has a mesh, and its matrix in the scene; as often as the mesh is to be seen."""
        nodes = self.document.get("nodes", [])
        found = []
        waiting = [(number, np.eye(4)) for number in reversed(shown_roots(self.document))]
        while waiting:
            number, above = waiting.pop()
            node = nodes[number]
            place = above @ node_matrix(node)
            if "mesh" in node:
                found += [(node, place @ each) for each in instances(node, self.accessor)]
            waiting += [(child, place) for child in reversed(node.get("children", []))]
        return found

    def _primitive(
        self,
        primitive: Mapping[str, Any],
        place: NDArray[np.float64],
        materials: Sequence[SurfaceMaterial],
        weights: Sequence[float],
        skin: int | None,
    ) -> TexturedMesh | None:
        found = self.geometry(primitive, place, weights, skin)
        if found is None:
            return None
        points, faces, normals = found
        attributes = primitive["attributes"]
        used = self._materials.uv_sets[primitive["material"]] if "material" in primitive else []
        names = [f"TEXCOORD_{number}" for number in [*used, *({0, 1} - set(used))][:2]]
        first, second = (
            self.accessor(attributes[name]).astype(np.float32)[faces] if name in attributes else None for name in names
        )
        colours = None
        if "COLOR_0" in attributes:
            values = self.accessor(attributes["COLOR_0"]).astype(np.float32)
            if values.shape[1] == 3:
                values = np.concatenate([values, np.ones((len(values), 1), np.float32)], axis=1)
            colours = values[faces]
        material = primitive.get("material", len(materials) - 1)
        return TexturedMesh(
            vertices=points,  # type: ignore[arg-type]
            faces=faces,
            materials=tuple(materials),
            material_ids=np.full(len(faces), material, np.int32),
            uvs=first,
            uvs_1=second,
            normals=None if normals is None else normals[faces],
            colours=colours,
        )

    def geometry(
        self,
        primitive: Mapping[str, Any],
        place: NDArray[np.float64],
        weights: Sequence[float],
        skin: int | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float32] | None] | None:
        """A primitive's vertices (V, 3) where `place` (4, 4) puts them, its triangles (F, 3), wound as they are seen,
        and the vertices' normals (V, 3), where it has any; None where it has no triangles."""
        attributes = primitive["attributes"]
        points = self.accessor(attributes["POSITION"]).astype(np.float64)
        numbers = (
            self.accessor(primitive["indices"]).reshape(-1).astype(np.int64)
            if "indices" in primitive
            else np.arange(len(points))
        )
        faces = _faces(numbers, primitive.get("mode", 4))
        if not len(faces):
            return None
        points = morphed(primitive, "POSITION", points, weights, self.accessor)
        posed = None if skin is None else self._skeletons.places(primitive, skin)
        places = place[None, :3] if posed is None else posed
        mirrored = np.median(np.linalg.det(places[:, :, :3])) < 0
        if mirrored:
            faces = faces[:, ::-1].copy()
        points = _moved(points, places[:, :, :3]) + places[:, :, 3]
        if "NORMAL" not in attributes:
            return points, faces, None
        given = self.accessor(attributes["NORMAL"]).astype(np.float64)
        given = morphed(primitive, "NORMAL", given, weights, self.accessor)
        turned = _moved(given, _cofactors(places[:, :, :3]))
        if mirrored:
            turned = -turned
        length = np.linalg.norm(turned, axis=1, keepdims=True)
        return points, faces, (turned / np.where(length > 0, length, 1.0)).astype(np.float32)

    def accessor(self, number: int) -> NDArray[Any]:
        """(count, width) values; normalised integers become floats."""
        values = self.stored(number)
        if self.document["accessors"][number].get("normalized") and values.dtype.kind in "iu":
            return np.maximum(values.astype(np.float32) / np.iinfo(values.dtype.type).max, -1.0)
        return values

    def stored(self, number: int) -> NDArray[Any]:
        """(count, width) values as they are in the file."""
        accessor = self.document["accessors"][number]
        dtype: np.dtype[Any] = np.dtype(_COMPONENTS[accessor["componentType"]]).newbyteorder("<")
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}.get(accessor["type"])
        if width is None:
            raise InputError("The GLB keeps matrices where numbers are expected.")
        count = accessor["count"]
        if "bufferView" in accessor:
            values = self._items(accessor["bufferView"], accessor.get("byteOffset", 0), count, width, dtype)
        else:
            values = np.zeros((count, width), dtype)
        if "sparse" in accessor:
            values = values.copy()
            sparse = accessor["sparse"]
            where, what = sparse["indices"], sparse["values"]
            kind = np.dtype(_COMPONENTS[where["componentType"]]).newbyteorder("<")
            rows = self._items(where["bufferView"], where.get("byteOffset", 0), sparse["count"], 1, kind)[:, 0]
            values[rows] = self._items(what["bufferView"], what.get("byteOffset", 0), sparse["count"], width, dtype)
        return values

    def _items(self, view: int, offset: int, count: int, width: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        place = self.document["bufferViews"][view]
        step = place.get("byteStride") or width * dtype.itemsize
        start = place.get("byteOffset", 0) + offset
        return np.ndarray((count, width), dtype, self.binary, start, (step, dtype.itemsize))


def _compressed(document: Mapping[str, Any]) -> str | None:
    """What the file's data is compressed by, where they are not there as they are as well."""
    accessors, views = document.get("accessors", []), document.get("bufferViews", [])
    for mesh in document.get("meshes", []):
        for primitive in mesh["primitives"]:
            named = [*primitive["attributes"].values(), *([primitive["indices"]] if "indices" in primitive else [])]
            if _DRACO in primitive.get("extensions", {}) and any(
                not {"bufferView", "sparse"} & set(accessors[number]) for number in named
            ):
                return _DRACO
    packed = (name for view in views for name in _MESHOPT if name in view.get("extensions", {}))
    return next(packed, None)


def _drop_unused(parts: Sequence[TexturedMesh], materials: Sequence[SurfaceMaterial]) -> TexturedMesh:
    """One mesh of all parts, which share one list of materials, with those that are in use."""
    used = np.unique(np.concatenate([part.ids for part in parts]))
    number = np.zeros(len(materials), np.int32)
    number[used] = np.arange(len(used))
    mesh = TexturedMesh.join(parts)
    return TexturedMesh(
        vertices=mesh.vertices,
        faces=mesh.faces,
        materials=tuple(materials[index] for index in used),
        material_ids=number[np.concatenate([part.ids for part in parts])],
        uvs=mesh.uvs,
        uvs_1=mesh.uvs_1,
        normals=mesh.normals,
        colours=mesh.colours,
    )


def _moved(vectors: NDArray[np.float64], matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors (V, 3) by one matrix (1, 3, 3) for all, or one for each (V, 3, 3)."""
    return vectors @ matrices[0].T if len(matrices) == 1 else np.einsum("vij,vj->vi", matrices, vectors)


def _cofactors(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """What turns normals as the matrices (N, 3, 3) turn surfaces, up to length; it exists for flattened ones too."""
    a, b, c = (matrices[:, row] for row in range(3))
    return np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)


def _faces(numbers: NDArray[np.int64], mode: int) -> NDArray[np.int64]:
    """Triangles (F, 3) of a list, a strip or a fan; none for points and lines."""
    if mode == 4:
        return numbers.reshape(-1, 3)
    if mode not in (5, 6) or len(numbers) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == 6:
        return np.stack([np.full(len(numbers) - 2, numbers[0]), numbers[1:-1], numbers[2:]], axis=1)
    faces = np.stack([numbers[:-2], numbers[1:-1], numbers[2:]], axis=1)
    faces[1::2] = faces[1::2, ::-1]
    return faces
