"""Checking a GLB before Blender sees it: what a damaged or hostile file could do is stopped here.

The rules are those of glTF 2.0 that a reader relies on: magic, lengths, chunks, JSON, every index and
byte range, vertex indices, finite positions, images that decode. `DamagedFileError` says what is wrong.
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DamagedFileError
from ...core.files import read_bytes
from ...core.messages import message, reason_of

MAX_FILE_BYTES = 2**30
MAX_JSON_BYTES = 2**26
MAX_IMAGE_SIDE = 16384
MAX_ITEMS = 100_000  # of any one kind: a sane asset has a handful
MAX_UNSTORED = 10_000_000  # items of an accessor whose values are not in the file as they are

_CHUNK_JSON, _CHUNK_BIN = 0x4E4F534A, 0x004E4942
_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}

# What Blender's importer reads, as far as an asset cannot be shown without it.
READABLE_EXTENSIONS = frozenset(
    {
        "EXT_texture_webp",
        "EXT_mesh_gpu_instancing",
        "KHR_animation_pointer",
        "KHR_draco_mesh_compression",
        "KHR_lights_punctual",
        "KHR_materials_anisotropy",
        "KHR_materials_clearcoat",
        "KHR_materials_emissive_strength",
        "KHR_materials_ior",
        "KHR_materials_pbrSpecularGlossiness",
        "KHR_materials_sheen",
        "KHR_materials_specular",
        "KHR_materials_transmission",
        "KHR_materials_unlit",
        "KHR_materials_variants",
        "KHR_materials_volume",
        "KHR_mesh_quantization",
        "KHR_texture_transform",
    }
)


@dataclass(frozen=True)
class GlbInfo:
    """What a sound GLB holds."""

    vertices: int
    triangles: int
    image_sizes: tuple[tuple[int, int], ...]
    extensions: frozenset[str]
    extras: Mapping[str, Any] = field(default_factory=dict)


_KEPT = 256  # files that are remembered
_sound: dict[tuple[int, int, int, int], GlbInfo] = {}


def check_glb_file(path: Path, *, with_skins: bool = False) -> GlbInfo:
    """Check the file; `DamagedFileError` says what is wrong with it. `with_skins` as for `check_glb`.

    A sound one is remembered for `known_sound`.
    """
    try:
        found = path.stat()
        if found.st_size > MAX_FILE_BYTES:
            raise DamagedFileError("{name} is larger than 1 GB and is not imported.", name=path.name)
        info = check_glb(read_bytes(path), with_skins=with_skins)
    except OSError as error:
        raise DamagedFileError("{path} cannot be read: {reason}.", path=path, reason=reason_of(error)) from error
    if with_skins:  # more may pass than may be imported
        return info
    while len(_sound) >= _KEPT and (oldest := next(iter(_sound), None)) is not None:
        _sound.pop(oldest, None)
    _sound[_identity(found)] = info
    return info


def known_sound(path: Path) -> GlbInfo | None:
    """What `check_glb_file` found in this very file, in any thread; None where it has not, or the file has changed.

    Decoding textures of 4096 takes about a second, which Blender's window should not wait for.
    """
    try:
        return _sound.get(_identity(path.stat()))
    except OSError:
        return None


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    """Of a file and what was last written into it; it may be renamed, as a download is when it is whole."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def check_glb(data: bytes, *, with_skins: bool = False) -> GlbInfo:
    """Check a whole GLB file given as bytes; one with a skeleton is refused but for those who can read it."""
    try:
        return _Checker(data, with_skins).check()
    except DamagedFileError:
        raise
    except RecursionError:
        raise _damaged(message("its JSON is nested too deeply")) from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, struct.error) as error:
        # A value of a kind that no rule below foresaw: still the file's fault, still one sentence.
        raise _damaged(message("its description is malformed ({kind})", kind=type(error).__name__)) from error
    except MemoryError:
        raise _damaged(message("it asks for more memory than there is")) from None


def split_glb(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """The JSON and the binary chunk (empty where there is none) of a GLB."""
    if len(data) < 20:
        raise _damaged(message("it has only {count} bytes", count=len(data)))
    magic, version, length = struct.unpack_from("<4sII", data)
    if magic != b"glTF":
        raise _damaged(message("it does not start as a GLB does"))
    if version != 2:
        raise _damaged(message("it has version {version}, and only version 2 can be read", version=version))
    if length != len(data):
        raise _damaged(
            message(
                "it says it has {length} bytes but has {count}: the download was cut off or mixed up",
                length=length,
                count=len(data),
            )
        )
    chunks: list[tuple[int, memoryview]] = []
    offset = 12
    view = memoryview(data)
    while offset < length:
        if offset + 8 > length:
            raise _damaged(message("its last chunk is cut off"))
        size, kind = struct.unpack_from("<II", data, offset)
        if size % 4 or offset + 8 + size > length:
            raise _damaged(message("a chunk's length does not fit the file"))
        chunks.append((kind, view[offset + 8 : offset + 8 + size]))
        offset += 8 + size
    if chunks[0][0] != _CHUNK_JSON:
        raise _damaged(message("its first chunk is not JSON"))
    if len(chunks[0][1]) > MAX_JSON_BYTES:
        raise _damaged(message("its description is unreasonably large"))
    try:
        document = json.loads(bytes(chunks[0][1]).decode("utf-8"))
    except (UnicodeDecodeError, ValueError):
        raise _damaged(message("its JSON cannot be read")) from None
    if not isinstance(document, dict):
        raise _damaged(message("its JSON is not an object"))
    binary = chunks[1][1] if len(chunks) > 1 and chunks[1][0] == _CHUNK_BIN else memoryview(b"")
    return document, binary


class _Checker:
    def __init__(self, data: bytes, with_skins: bool = False) -> None:
        self.document, self.binary = split_glb(data)
        self._with_skins = with_skins
        self._known: dict[str, list[dict[str, Any]]] = {}

    def check(self) -> GlbInfo:
        version = str(_object(self.document.get("asset"), "asset").get("version", ""))
        if not version.startswith("2."):
            raise _damaged(message("it does not say that it is glTF 2.0"))
        extensions = frozenset(str(name) for name in _list(self.document.get("extensionsUsed"), "extensionsUsed"))
        required = {str(name) for name in _list(self.document.get("extensionsRequired"), "extensionsRequired")}
        if unreadable := required - READABLE_EXTENSIONS:
            raise DamagedFileError(
                "The GLB needs {unreadable}, which Blender cannot read; export it without.",
                unreadable=sorted(unreadable),
            )
        if self._items("skins") and not self._with_skins:
            # Blender's importer builds it in Edit Mode, which would take the artist out of theirs.
            raise DamagedFileError("The GLB has a skeleton, which an asset here cannot have; export it without.")
        if not required <= extensions:
            raise _damaged(message("it requires an extension that it does not say it uses"))
        self._check_buffers()
        for index in range(len(self._items("bufferViews"))):
            self._check_view(index)
        for index in range(len(self._items("accessors"))):
            self._check_accessor(index)
        self._check_textures()
        shown = self._shown_images()
        sizes = tuple(self._check_image(image) for number, image in enumerate(self._items("images")) if number in shown)
        self._check_materials()
        vertices = triangles = 0
        for mesh in self._items("meshes"):
            primitives = _list(mesh.get("primitives"), message("a mesh's primitives"))
            if not primitives:
                raise _damaged(message("a mesh is empty"))
            for primitive in primitives:
                points, faces = self._check_primitive(_object(primitive, "a primitive"))
                vertices, triangles = vertices + points, triangles + faces
        if not vertices:
            raise _damaged(message("it holds no mesh"))
        self._check_nodes()
        for skin in self._items("skins"):
            self._check_skin(skin)
        extras = self.document["asset"].get("extras")
        return GlbInfo(vertices, triangles, sizes, extensions, extras if isinstance(extras, dict) else {})

    # --- parts of the file ---

    def _items(self, kind: str) -> list[dict[str, Any]]:
        if kind not in self._known:
            items = _list(self.document.get(kind), kind)
            if len(items) > MAX_ITEMS:
                raise _damaged(message("it has too many {kind}: {items}", kind=kind, items=len(items)))
            what = message("one of its {kind}", kind=kind)
            self._known[kind] = [_object(item, what) for item in items]
        return self._known[kind]

    def _index(self, value: Any, kind: str, what: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < len(self._items(kind)):
            raise _damaged(
                message(
                    "{what} refers to number {value} of its {kind}, which is not there",
                    what=what,
                    value=repr(value),
                    kind=kind,
                )
            )
        return value

    def _check_buffers(self) -> None:
        buffers = self._items("buffers")
        if len(buffers) > 1 or any("uri" in buffer for buffer in buffers):
            raise _damaged(message("it keeps data in other files"))
        if buffers:
            length = _count(buffers[0].get("byteLength"), message("its buffer's length"))
            if not length <= len(self.binary) <= length + 3:
                raise _damaged(
                    message(
                        "its buffer should have {length} bytes but has {count}", length=length, count=len(self.binary)
                    )
                )

    def _check_view(self, index: int) -> None:
        view = self._items("bufferViews")[index]
        self._index(view.get("buffer"), "buffers", message("a buffer view"))
        start = _count(view.get("byteOffset", 0), message("a buffer view's offset"))
        length = _count(view.get("byteLength"), message("a buffer view's length"))
        if length == 0 or start + length > len(self.binary):
            raise _damaged(message("a buffer view reaches beyond the data"))
        stride = view.get("byteStride")
        if stride is not None and not 4 <= _count(stride, "a buffer view's stride") <= 252:
            raise _damaged(message("a buffer view has an impossible stride"))

    def view_bytes(self, index: int) -> memoryview:
        view = self._items("bufferViews")[index]
        start = view.get("byteOffset", 0)
        return self.binary[start : start + view["byteLength"]]

    def _check_accessor(self, index: int) -> None:
        accessor = self._items("accessors")[index]
        if accessor.get("componentType") not in _COMPONENTS or accessor.get("type") not in _WIDTHS:
            raise _damaged(message("an accessor has an unknown type"))
        count = _count(accessor.get("count"), message("an accessor's count"))
        if count == 0:
            raise _damaged(message("an accessor is empty"))
        if "bufferView" not in accessor and count > MAX_UNSTORED:
            raise _damaged(
                message("an accessor claims {count} items without data", count=count)
            )  # a reader would make room for them
        if "bufferView" in accessor:
            self._fits(accessor, accessor["bufferView"], accessor.get("byteOffset", 0), count)
        if "sparse" in accessor:
            sparse = _object(accessor["sparse"], message("a sparse accessor"))
            many = _count(sparse.get("count"), message("a sparse accessor's count"))
            if many > count:
                raise _damaged(message("a sparse accessor has more changes than items"))
            positions = _object(sparse.get("indices"), message("sparse indices"))
            values = _object(sparse.get("values"), message("sparse values"))
            places = {"componentType": positions.get("componentType"), "type": "SCALAR"}
            if places["componentType"] not in (5121, 5123, 5125):
                raise _damaged(message("a sparse accessor has an unknown type"))
            array = self._read(places, positions.get("bufferView"), positions.get("byteOffset", 0), many)
            if array.max(initial=0) >= count:
                raise _damaged(message("a sparse accessor changes an item that is not there"))
            self._fits(accessor, values.get("bufferView"), values.get("byteOffset", 0), many)

    def _fits(self, accessor: Mapping[str, Any], view_index: Any, offset: Any, count: int) -> tuple[int, int]:
        """(item size, stride) in bytes, once it is certain that `count` items lie inside the view."""
        view = self._items("bufferViews")[self._index(view_index, "bufferViews", "an accessor")]
        dtype = np.dtype(_COMPONENTS[accessor["componentType"]])
        size = dtype.itemsize * _WIDTHS[accessor["type"]]
        stride = view.get("byteStride") or size
        start = _count(offset, message("an accessor's offset"))
        if start % dtype.itemsize or stride < size or start + stride * (count - 1) + size > view["byteLength"]:
            raise _damaged(message("an accessor reaches beyond its buffer view"))
        return size, stride

    def _read(self, accessor: Mapping[str, Any], view_index: Any, offset: Any, count: int) -> NDArray[Any]:
        """(count, width) array of the accessor's items."""
        size, stride = self._fits(accessor, view_index, offset, count)
        dtype = np.dtype(_COMPONENTS[accessor["componentType"]])
        raw = self.view_bytes(view_index)[offset : offset + stride * (count - 1) + size]
        width = _WIDTHS[accessor["type"]]
        return np.ndarray((count, width), dtype, raw, strides=(stride, dtype.itemsize))

    def _values(self, accessor: Mapping[str, Any]) -> NDArray[Any] | None:
        """(count, width) array of what a reader sees, sparse changes made; None where it is compressed."""
        count, base, sparse = accessor["count"], accessor.get("bufferView"), accessor.get("sparse")
        stored = None if base is None else self._read(accessor, base, accessor.get("byteOffset", 0), count)
        if sparse is None:
            return stored
        dtype, width = _COMPONENTS[accessor["componentType"]], _WIDTHS[accessor["type"]]
        values = np.zeros((count, width), dtype) if stored is None else stored.copy()
        places, changes = sparse["indices"], sparse["values"]
        scalar = {"componentType": places["componentType"], "type": "SCALAR"}
        many = sparse["count"]
        numbers = self._read(scalar, places["bufferView"], places.get("byteOffset", 0), many)[:, 0]
        values[numbers] = self._read(accessor, changes["bufferView"], changes.get("byteOffset", 0), many)
        return values

    def _shown_images(self) -> set[int]:
        """All images but those that only an extension speaks of which Blender does not read: others stand for them."""
        images = self._items("images")
        hidden: set[int] = set()
        shown: set[int] = set()
        for texture in self._items("textures"):
            shown.add(texture.get("source", -1))
            for name, extension in texture.get("extensions", {}).items():
                if isinstance(extension, dict) and "source" in extension:
                    (shown if name in READABLE_EXTENSIONS else hidden).add(extension["source"])
        return set(range(len(images))) - (hidden - shown)

    def _check_image(self, image: Mapping[str, Any]) -> tuple[int, int]:
        from PIL import Image

        if "uri" in image or "bufferView" not in image:
            raise _damaged(message("an image is kept in another file"))
        data = self.view_bytes(self._index(image["bufferView"], "bufferViews", message("an image")))
        kinds = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
        kind = kinds.get(str(image.get("mimeType")))
        if kind is None:
            raise _damaged(message("an image is of the unknown type {type}", type=repr(image.get("mimeType"))))
        try:
            with Image.open(io.BytesIO(bytes(data)), formats=[kind]) as picture:
                if max(picture.size) > MAX_IMAGE_SIDE:
                    raise _damaged(
                        message("an image is {width} x {height} pixels", width=picture.width, height=picture.height)
                    )
                size = picture.size
                picture.load()
                return size
        except DamagedFileError:
            raise
        except Exception as error:  # Pillow's decoders raise many types
            raise _damaged(message("an image in it cannot be decoded")) from error

    def _check_textures(self) -> None:
        for texture in self._items("textures"):
            source = texture.get("source")
            extensions = _object(texture.get("extensions", {}), message("a texture's extensions"))
            for extension in extensions.values():
                if isinstance(extension, dict) and "source" in extension:
                    self._index(extension["source"], "images", "a texture")
            if source is not None:
                self._index(source, "images", "a texture")
            if "sampler" in texture:
                self._index(texture["sampler"], "samplers", "a texture")

    def _check_materials(self) -> None:
        for material in self._items("materials"):
            if material.get("alphaMode", "OPAQUE") not in ("OPAQUE", "MASK", "BLEND"):
                raise _damaged(message("a material has an unknown alpha mode"))
            _object(material.get("pbrMetallicRoughness", {}), message("a material's surface"))
            self._check_material_part(material)

    def _check_material_part(self, part: Mapping[str, Any]) -> None:
        for key, value in part.items():
            if key.endswith("Texture"):
                info = _object(value, message("a material's texture"))
                self._index(info.get("index"), "textures", "a material")
            elif key.endswith("Factor"):
                numbers = value if isinstance(value, list) else [value]
                wanted = {"baseColorFactor": 4, "emissiveFactor": 3, "metallicFactor": 1, "roughnessFactor": 1}.get(key)
                if not all(_is_number(n) for n in numbers) or (wanted and len(numbers) != wanted):
                    raise _damaged(message("a material's {key} is not what it should be", key=key))
            elif isinstance(value, dict) and key != "extras":
                self._check_material_part(value)

    def _check_primitive(self, primitive: Mapping[str, Any]) -> tuple[int, int]:
        """(vertices, triangles) of a primitive whose every index is in range."""
        attributes = _object(primitive.get("attributes"), message("a primitive's attributes"))
        accessors = self._items("accessors")
        draco = _object(primitive.get("extensions", {}), message("a primitive's extensions")).get(
            "KHR_draco_mesh_compression"
        )
        if draco is not None:
            self._index(_object(draco, message("Draco data")).get("bufferView"), "bufferViews", message("Draco data"))
        if "POSITION" not in attributes:
            raise _damaged(message("a mesh has no positions"))
        count = 0
        for name, index in attributes.items():
            accessor = accessors[self._index(index, "accessors", f"a mesh's {name}")]
            if count and accessor["count"] != count:
                raise _damaged(message("a mesh's attributes differ in length"))
            count = accessor["count"]
            if not draco and "bufferView" not in accessor and "sparse" not in accessor:
                raise _damaged(message("a mesh's {name} has no data", name=name))
            if name == "POSITION":
                self._check_positions(accessor)
            else:
                self._check_finite(accessor, name)
        for target in _list(primitive.get("targets"), message("a mesh's shape keys")):
            for name, index in _object(target, message("a shape key")).items():
                accessor = accessors[self._index(index, "accessors", message("a shape key"))]
                if accessor["count"] != count or (accessor["type"] != "VEC3" and name in ("POSITION", "NORMAL")):
                    raise _damaged(message("a shape key does not fit its mesh"))
                self._check_finite(accessor, name)
        if "material" in primitive:
            self._index(primitive["material"], "materials", "a mesh")
        mode = primitive.get("mode", 4)
        if mode not in range(7):
            raise _damaged(message("a mesh is of an unknown kind"))
        used = count
        if "indices" in primitive:
            used = self._check_indices(primitive["indices"], count, is_packed=draco is not None)
        if mode == 4 and used % 3:
            raise _damaged(message("its last triangle is incomplete"))
        return count, used // 3 if mode == 4 else max(used - 2, 0) if mode in (5, 6) else 0

    def _check_finite(self, accessor: Mapping[str, Any], name: str) -> None:
        if accessor["componentType"] == 5126:
            values = self._values(accessor)
            if values is not None and not np.isfinite(values).all():
                raise _damaged(message("a mesh's {name} holds numbers that are not finite", name=name))

    def _check_indices(self, index: Any, vertices: int, *, is_packed: bool) -> int:
        """How many indices there are; `is_packed` where an extension holds their values."""
        accessor = self._items("accessors")[self._index(index, "accessors", "a mesh's indices")]
        if accessor["type"] != "SCALAR" or accessor["componentType"] not in (5121, 5123, 5125):
            raise _damaged(message("a mesh's indices are of the wrong type"))
        indices = self._values(accessor)
        if indices is not None and int(indices.max()) >= vertices:
            raise _damaged(message("a triangle refers to a vertex that is not there"))
        if indices is None and not is_packed:
            raise _damaged(message("a mesh's indices have no data"))
        return int(accessor["count"])

    def _check_positions(self, accessor: Mapping[str, Any]) -> None:
        if accessor["type"] != "VEC3":
            raise _damaged(message("a mesh's positions are of the wrong type"))
        points = self._values(accessor)
        if points is None:
            return
        low, high = points.min(axis=0), points.max(axis=0)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise _damaged(message("a vertex has a position that is not finite"))
        if "sparse" in accessor:
            return
        for key, found in (("min", low), ("max", high)):
            stated = accessor.get(key)
            if stated is None:
                continue
            if not isinstance(stated, list) or len(stated) != 3 or not all(_is_number(v) for v in stated):
                raise _damaged(message("the bounds of a mesh are malformed"))
            room = 1e-4 * max(1.0, float(np.abs(found).max()))
            if np.abs(np.array(stated, dtype=np.float64) - found).max() > room:
                raise _damaged(message("vertices lie outside of the bounds that the file states"))

    def _check_skin(self, skin: Mapping[str, Any]) -> None:
        joints = _list(skin.get("joints"), message("a skeleton's joints"))
        for joint in joints:
            self._index(joint, "nodes", message("a skeleton"))
        if "inverseBindMatrices" in skin:
            index = self._index(skin["inverseBindMatrices"], "accessors", message("a skeleton"))
            accessor = self._items("accessors")[index]
            fits = accessor["type"] == "MAT4" and accessor["componentType"] == 5126
            if not fits or accessor["count"] < len(joints):
                raise _damaged(message("a skeleton has matrices that do not fit its joints"))
            self._check_finite(accessor, "inverseBindMatrices")

    def _check_copies(self, node: Mapping[str, Any]) -> None:
        copies = _object(node.get("extensions", {}), "a node's extensions").get("EXT_mesh_gpu_instancing", {})
        for index in _object(_object(copies, "copies").get("attributes", {}), "copies").values():
            self._index(index, "accessors", "a node")

    def _check_nodes(self) -> None:
        nodes = self._items("nodes")
        parent: dict[int, int] = {}
        for number, node in enumerate(nodes):
            for key, kind in (("mesh", "meshes"), ("skin", "skins"), ("camera", "cameras")):
                if key in node:
                    self._index(node[key], kind, "a node")
            for key, length in (("matrix", 16), ("translation", 3), ("rotation", 4), ("scale", 3)):
                value = node.get(key)
                if value is not None and not (
                    isinstance(value, list) and len(value) == length and all(_is_number(v) for v in value)
                ):
                    raise _damaged(message("a node's {key} is not what it should be", key=key))
            self._check_copies(node)
            for child in _list(node.get("children"), message("a node's children")):
                self._index(child, "nodes", "a node")
                if child in parent:
                    raise _damaged(message("a node hangs from two others"))
                parent[child] = number
        rooted: set[int] = set()  # nodes whose way up is known to come to an end
        for start in range(len(nodes)):
            number, way = start, set[int]()
            while number in parent and number not in rooted:
                if number in way:
                    raise _damaged(message("its nodes hang from each other in a ring"))
                way.add(number)
                number = parent[number]
            rooted |= way
        scenes = self._items("scenes")
        for scene in scenes:
            for node in _list(scene.get("nodes"), message("a scene's nodes")):
                self._index(node, "nodes", "a scene")
        if "scene" in self.document:
            self._index(self.document["scene"], "scenes", message("the file"))
        if not any("mesh" in node for node in nodes):
            raise _damaged(message("no mesh is placed in it"))


def _damaged(what: str) -> DamagedFileError:
    return DamagedFileError(
        "The GLB file is damaged: {what}. Nothing was imported; fetch or export it again.", what=what
    )


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _damaged(message("{what} is not an object", what=what))
    return value


def _list(value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _damaged(message("{what} is not a list", what=what))
    return value


def _count(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _damaged(message("{what} has the impossible value {value}", what=what, value=repr(value)))
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
