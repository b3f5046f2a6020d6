"""GLB files to textured meshes and back: node transforms, many parts, many materials; no skins, no animation."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DamagedFileError, InputError
from ...core.messages import reason_of
from . import check as glb_check
from .scenes import shown_roots
from .textured_mesh import SurfaceMaterial, Texture, TexturedMesh

_WRAP_OF = {10497: "repeat", 33071: "clamp", 33648: "mirror"}
_COMPONENTS = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_NEAREST = (9728, 9984, 9986)
_UNREADABLE = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "EXT_mesh_gpu_instancing")


def read_glb(source: Path | str | bytes) -> TexturedMesh:
    """All triangles of the file's scene, as one mesh in the scene's frame (Y up, metres).

    Raises `DamagedFileError` for files that are not sound, `InputError` for those without triangles or with
    compressed ones.
    """
    if isinstance(source, bytes):
        data = source
    else:
        path = Path(source)
        try:
            if path.stat().st_size > glb_check.MAX_FILE_BYTES:
                raise DamagedFileError("{name} is larger than 1 GB and is not read.", name=path.name)
            data = path.read_bytes()
        except OSError as error:
            raise DamagedFileError("{path} cannot be read: {reason}.", path=path, reason=reason_of(error)) from error
    glb_check.check_glb(data)
    document, binary = glb_check.split_glb(data)
    if missing := sorted(set(document.get("extensionsUsed", ())) & set(_UNREADABLE)):
        raise InputError("The GLB uses {missing}, which cannot be read here; export it without.", missing=list(missing))
    return _Reader(document, binary).scene()


class _Reader:
    """One file that has been checked: every index and every range in it is known to be good."""

    def __init__(self, document: Mapping[str, Any], binary: memoryview) -> None:
        self.document = document
        self.binary = binary
        self._textures: dict[int, tuple[NDArray[np.uint8], tuple[str, str], bool]] = {}

    def scene(self) -> TexturedMesh:
        materials = [self._material(material) for material in self.document.get("materials", [])]
        materials.append(SurfaceMaterial(name="Default", metallic_factor=1.0))
        parts = []
        for number, place in self._placed():
            for primitive in self.document["meshes"][number]["primitives"]:
                part = self._primitive(primitive, place, materials)
                if part is not None:
                    parts.append(part)
        if not parts:
            raise InputError("The GLB has no triangles.")
        return _drop_unused(parts, materials)

    def _placed(self) -> list[tuple[int, NDArray[np.float64]]]:
        """(mesh, its matrix in the scene) of every node of the scene that has one."""
        nodes = self.document.get("nodes", [])
        found = []
        waiting = [(number, np.eye(4)) for number in reversed(shown_roots(self.document))]
        while waiting:
            number, above = waiting.pop()
            node = nodes[number]
            place = above @ matrix_of(node)
            if "mesh" in node:
                found.append((node["mesh"], place))
            waiting += [(child, place) for child in reversed(node.get("children", []))]
        return found

    def _primitive(
        self, primitive: Mapping[str, Any], place: NDArray[np.float64], materials: Sequence[SurfaceMaterial]
    ) -> TexturedMesh | None:
        attributes = primitive["attributes"]
        points = self._accessor(attributes["POSITION"]).astype(np.float64)
        numbers = (
            self._accessor(primitive["indices"]).reshape(-1).astype(np.int64)
            if "indices" in primitive
            else np.arange(len(points))
        )
        faces = _faces(numbers, primitive.get("mode", 4))
        if not len(faces):
            return None
        mirrored = np.linalg.det(place[:3, :3]) < 0
        if mirrored:
            faces = faces[:, ::-1].copy()
        points = points @ place[:3, :3].T + place[:3, 3]
        normals = None
        if "NORMAL" in attributes:
            turned = self._accessor(attributes["NORMAL"]).astype(np.float64) @ _cofactors(place[:3, :3]).T
            if mirrored:
                turned = -turned
            length = np.linalg.norm(turned, axis=1, keepdims=True)
            normals = (turned / np.where(length > 0, length, 1.0)).astype(np.float32)[faces]
        sets = [
            self._accessor(attributes[name]).astype(np.float32)[faces] if name in attributes else None
            for name in ("TEXCOORD_0", "TEXCOORD_1")
        ]
        colours = None
        if "COLOR_0" in attributes:
            values = self._accessor(attributes["COLOR_0"]).astype(np.float32)
            if values.shape[1] == 3:
                values = np.concatenate([values, np.ones((len(values), 1), np.float32)], axis=1)
            colours = values[faces]
        material = primitive.get("material", len(materials) - 1)
        return TexturedMesh(
            vertices=points.astype(np.float32),
            faces=faces,
            materials=tuple(materials),
            material_ids=np.full(len(faces), material, np.int32),
            uvs=sets[0],
            uvs_1=sets[1],
            normals=normals,
            colours=colours,
        )

    def _accessor(self, number: int) -> NDArray[Any]:
        """(count, width) values; normalised integers become floats."""
        accessor = self.document["accessors"][number]
        dtype: np.dtype[Any] = np.dtype(_COMPONENTS[accessor["componentType"]]).newbyteorder("<")
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}.get(accessor["type"])
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
        if accessor.get("normalized") and dtype.kind in "iu":
            return np.maximum(values.astype(np.float32) / np.iinfo(dtype.type).max, -1.0)
        return values

    def _items(self, view: int, offset: int, count: int, width: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        place = self.document["bufferViews"][view]
        step = place.get("byteStride") or width * dtype.itemsize
        start = place.get("byteOffset", 0) + offset
        return np.ndarray((count, width), dtype, self.binary, start, (step, dtype.itemsize))

    def _material(self, material: Mapping[str, Any]) -> SurfaceMaterial:
        surface = material.get("pbrMetallicRoughness", {})
        factor = tuple(float(number) for number in surface.get("baseColorFactor", (1, 1, 1, 1)))
        return SurfaceMaterial(
            name=str(material.get("name", "Material")),
            base_colour_factor=factor,  # type: ignore[arg-type]
            metallic_factor=float(surface.get("metallicFactor", 1.0)),
            roughness_factor=float(surface.get("roughnessFactor", 1.0)),
            base_colour=self._texture(surface.get("baseColorTexture")),
            metallic_roughness=self._texture(surface.get("metallicRoughnessTexture")),
            normal=self._texture(material.get("normalTexture")),
            normal_scale=float((material.get("normalTexture") or {}).get("scale", 1.0)),
            alpha_mode=material.get("alphaMode", "OPAQUE"),
            alpha_cutoff=float(material.get("alphaCutoff", 0.5)),
            double_sided=bool(material.get("doubleSided", False)),
        )

    def _texture(self, info: Mapping[str, Any] | None) -> Texture | None:
        if info is None:
            return None
        number = info["index"]
        if number not in self._textures:
            texture = self.document["textures"][number]
            webp = texture.get("extensions", {}).get("EXT_texture_webp", {})
            source = webp.get("source", texture.get("source"))
            if source is None:
                return None
            sampler = self.document["samplers"][texture["sampler"]] if "sampler" in texture else {}
            wrap = tuple(_WRAP_OF.get(sampler.get(key, 10497), "repeat") for key in ("wrapS", "wrapT"))
            linear = sampler.get("magFilter", 9729) not in _NEAREST
            self._textures[number] = (self._image(self.document["images"][source]), wrap, linear)  # type: ignore[assignment]
        pixels, wrap, linear = self._textures[number]
        moved = info.get("extensions", {}).get("KHR_texture_transform")
        uv_set = info.get("texCoord", 0)
        transform = None
        if moved is not None:
            uv_set = moved.get("texCoord", uv_set)
            transform = _texture_transform(moved)
        if uv_set not in (0, 1):
            raise InputError("The GLB has a texture on UV set {uv_set}; two sets, 0 and 1, can be read.", uv_set=uv_set)
        return Texture(pixels, (wrap[0], wrap[1]), linear, uv_set, transform)

    def _image(self, image: Mapping[str, Any]) -> NDArray[np.uint8]:
        from PIL import Image

        view = self.document["bufferViews"][image["bufferView"]]
        start = view.get("byteOffset", 0)
        with Image.open(io.BytesIO(bytes(self.binary[start : start + view["byteLength"]]))) as picture:
            if picture.mode in ("I;16", "I", "I;16B"):
                grey = np.asarray(picture, np.int64)
                return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
            clear = "A" in picture.getbands() or "transparency" in picture.info
            return np.asarray(picture.convert("RGBA" if clear else "RGB"))


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


def matrix_of(node: Mapping[str, Any]) -> NDArray[np.float64]:
    """(4, 4) of a node in its parent's frame."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    out = np.eye(4)
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    out[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), np.float64)
    out[:3, 3] = node.get("translation", (0, 0, 0))
    return out


def _cofactors(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """What turns normals as `matrix` turns surfaces, up to length; it exists for flattened ones too."""
    a, b, c = matrix
    return np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)])


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


def _texture_transform(moved: Mapping[str, Any]) -> NDArray[np.float64]:
    """(2, 3) of KHR_texture_transform: scale, then rotate (counter-clockwise as seen on the image), then shift."""
    angle = float(moved.get("rotation", 0.0))
    (sx, sy), (dx, dy) = moved.get("scale", (1, 1)), moved.get("offset", (0, 0))
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos * sx, sin * sy, dx], [-sin * sx, cos * sy, dy]], np.float64)
