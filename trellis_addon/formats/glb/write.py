"""Writing a GLB: one mesh, its materials, their textures inside the file (glTF 2.0, Khronos)."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

GENERATOR = "TRELLIS.2 for Blender"

_FLOAT, _UINT, _USHORT = 5126, 5125, 5123
# The largest index of 16 bits would be read as "restart" by some renderers, so it is not used.
_SHORT_VERTICES = 65535
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP_TO_EDGE, _REPEAT = 9729, 9987, 33071, 10497
_WEBP = "EXT_texture_webp"
NGONS = "FB_ngon_encoding"
"""Triangles with the same first corner that follow each other are one polygon."""


@dataclass(frozen=True)
class Material:
    """A metallic-roughness material; every texture is an encoded image (PNG, JPEG or WebP) or None.

    `base_colour` is sRGB (RGBA where `alpha_mode` needs it), `metallic_roughness` has roughness in
    green and metalness in blue, and ambient occlusion in red where `occlusion` says so; `normal` is
    tangent space with green up. `emission` is sRGB, multiplied by `emission_strength`. `alpha_mode` is OPAQUE, MASK or
    BLEND, `transmission` the share of light that goes through what alpha leaves. The factors multiply the textures.
    """

    name: str = "Material"
    base_colour: bytes | None = None
    metallic_roughness: bytes | None = None
    normal: bytes | None = None
    normal_scale: float = 1.0
    occlusion: bool = False
    colour_factor: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    metallic_factor: float = 1.0
    roughness_factor: float = 1.0
    alpha_mode: str = "OPAQUE"
    alpha_cutoff: float = 0.5
    double_sided: bool = False
    emission: bytes | None = None
    emission_strength: float = 1.0
    transmission: float = 0.0
    unlit: bool = False
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh: `positions` (V, 3), `faces` (F, 3); `normals` (V, 3) of length 1, `uvs` (V, 2) with
    v running down the image, and `tangents` (V, 4) as `tangents.tangents` makes them, where there are any.

    `has_ngons`: triangles with the same first corner that follow each other are one polygon, and the file says so.
    """

    positions: NDArray[np.float32]
    faces: NDArray[np.uint32]
    normals: NDArray[np.float32] | None = None
    uvs: NDArray[np.float32] | None = None
    name: str = "Mesh"
    extras: Mapping[str, Any] = field(default_factory=dict)
    tangents: NDArray[np.float32] | None = None
    has_ngons: bool = False


def write_glb(
    mesh: Mesh,
    material: Material,
    asset_extras: Mapping[str, Any] | None = None,
    *,
    further: Sequence[tuple[NDArray[np.uint32], Material]] = (),
) -> bytes:
    """The GLB file of one mesh with one material.

    `asset_extras` (JSON data, such as where the asset comes from) goes into `asset.extras`. `further` faces (F, 3) of
    the same vertices have materials of their own; images that are the same are stored once.
    Raises `ValueError` for arrays that do not fit together and images of an unknown kind.
    """
    _check(mesh, material)
    for faces, other in further:
        _check(replace(mesh, faces=faces), other)
    binary = Binary()
    attributes = {"POSITION": binary.accessor(mesh.positions, "VEC3", bounds=True)}
    if mesh.normals is not None:
        attributes["NORMAL"] = binary.accessor(mesh.normals, "VEC3")
    if mesh.tangents is not None:
        attributes["TANGENT"] = binary.accessor(mesh.tangents, "VEC4")
    if mesh.uvs is not None:
        attributes["TEXCOORD_0"] = binary.accessor(mesh.uvs, "VEC2")
    parts = ((mesh.faces, material), *further)
    primitives = [
        {
            "attributes": attributes,
            "indices": binary.accessor(faces.reshape(-1), "SCALAR", indices=True),
            "material": number,
            "mode": 4,
            **({"extensions": {NGONS: {}}} if mesh.has_ngons else {}),
        }
        for number, (faces, _) in enumerate(parts)
    ]
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": GENERATOR},
        "scene": 0,
        "scenes": [{"name": mesh.name, "nodes": [0]}],
        "nodes": [{"name": mesh.name, "mesh": 0}],
        "meshes": [{"name": mesh.name, "primitives": primitives}],
    }
    if asset_extras:
        document["asset"]["extras"] = dict(asset_extras)
    if mesh.extras:
        document["meshes"][0]["extras"] = dict(mesh.extras)
    known: dict[tuple[str, bytes], int] = {}
    if mesh.has_ngons:
        _extend(document, NGONS)
    document["materials"] = [add_material(each, document, binary, known) for _, each in parts]
    document["accessors"] = binary.accessors
    document["bufferViews"] = binary.views
    document["buffers"] = [{"byteLength": len(binary.data)}]
    return container(document, bytes(binary.data))


class Binary:
    """The binary chunk as it grows, with the accessors and views into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, content: bytes, target: int | None = None, like: Mapping[str, Any] | None = None) -> int:
        """Room for the content; `like` is a view of another file whose stride and target it takes over."""
        self.data += b"\0" * (-len(self.data) % 4)
        view = {**(like or {}), "buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        if target is not None:
            view["target"] = target
        self.data += content
        self.views.append(view)
        return len(self.views) - 1

    def accessor(self, values: NDArray[Any], kind: str, bounds: bool = False, indices: bool = False) -> int:
        short = indices and int(values.max()) < _SHORT_VERTICES
        values = np.ascontiguousarray(values, ("<u2" if short else "<u4") if indices else "<f4")
        accessor: dict[str, Any] = {
            "bufferView": self.view(values.tobytes(), _ELEMENT_ARRAY_BUFFER if indices else _ARRAY_BUFFER),
            "componentType": (_USHORT if short else _UINT) if indices else _FLOAT,
            "count": len(values),
            "type": kind,
        }
        if bounds:
            accessor["min"] = [float(v) for v in values.min(0)]
            accessor["max"] = [float(v) for v in values.max(0)]
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def gathered(self, accessor: Mapping[str, Any], values: NDArray[Any]) -> int:
        """An attribute like that of an accessor, with other values (V, C) of the same kind."""
        width = -(-values.dtype.itemsize * values.shape[1] // 4) * 4  # each vertex begins at a multiple of four bytes
        rows = np.zeros((len(values), width), np.uint8)
        rows[:, : values.dtype.itemsize * values.shape[1]] = (
            np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
        )
        stride = {} if width == values.dtype.itemsize * values.shape[1] else {"byteStride": width}
        view = self.view(rows.tobytes(), _ARRAY_BUFFER, stride)
        kept = {key: accessor[key] for key in ("componentType", "type", "normalized") if key in accessor}
        found: dict[str, Any] = {**kept, "bufferView": view, "count": len(values)}
        if "min" in accessor:
            found["min"], found["max"] = values.min(0).tolist(), values.max(0).tolist()
        self.accessors.append(found)
        return len(self.accessors) - 1


def add_material(
    material: Material,
    document: dict[str, Any],
    binary: Binary,
    known: dict[tuple[str, bytes], int],
    *,
    repeat: bool = False,
) -> dict[str, Any]:
    """The material's JSON; its images, textures and sampler are added to `document`, its textures to those `known`.

    With `repeat` they go on beyond the square, else its edge does.
    """

    def texture(content: bytes, name: str) -> dict[str, Any]:
        if (name, content) in known:
            return {"index": known[name, content]}
        mime = image_mime(content)
        images = document.setdefault("images", [])
        images.append({"name": f"{material.name} {name}", "bufferView": binary.view(content), "mimeType": mime})
        source: dict[str, Any] = {"sampler": _sampler(document, repeat)}
        if mime == "image/webp":
            # No fallback image: a reader without the extension must say so rather than show grey.
            source["extensions"] = {_WEBP: {"source": len(images) - 1}}
            _extend(document, _WEBP, required=True)
        else:
            source["source"] = len(images) - 1
        textures = document.setdefault("textures", [])
        textures.append(source)
        known[name, content] = len(textures) - 1
        return {"index": known[name, content]}

    surface: dict[str, Any] = {
        "baseColorFactor": list(material.colour_factor),
        "metallicFactor": material.metallic_factor,
        "roughnessFactor": material.roughness_factor,
    }
    out: dict[str, Any] = {"name": material.name, "pbrMetallicRoughness": surface}
    if material.base_colour is not None:
        surface["baseColorTexture"] = texture(material.base_colour, "Base Color")
    if material.metallic_roughness is not None:
        surface["metallicRoughnessTexture"] = texture(material.metallic_roughness, "Metallic Roughness")
        if material.occlusion:
            out["occlusionTexture"] = dict(surface["metallicRoughnessTexture"])
    if material.normal is not None:
        out["normalTexture"] = {**texture(material.normal, "Normal"), "scale": material.normal_scale}
    if material.emission is not None:
        out["emissiveTexture"] = texture(material.emission, "Emission")
        out["emissiveFactor"] = [1.0, 1.0, 1.0]
    if extensions := _extensions(material):
        out["extensions"] = extensions
        for extension in extensions:
            _extend(document, extension)
    if material.alpha_mode != "OPAQUE":
        out["alphaMode"] = material.alpha_mode
    if material.alpha_mode == "MASK":
        out["alphaCutoff"] = material.alpha_cutoff
    if material.double_sided:
        out["doubleSided"] = True
    if material.extras:
        out["extras"] = dict(material.extras)
    return out


def _sampler(document: dict[str, Any], repeat: bool) -> int:
    wrap = _REPEAT if repeat else _CLAMP_TO_EDGE
    sampler = {"magFilter": _LINEAR, "minFilter": _LINEAR_MIPMAP_LINEAR, "wrapS": wrap, "wrapT": wrap}
    samplers = document.setdefault("samplers", [])
    if sampler not in samplers:
        samplers.append(sampler)
    return int(samplers.index(sampler))


def _extensions(material: Material) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if material.emission is not None and material.emission_strength != 1.0:
        out["KHR_materials_emissive_strength"] = {"emissiveStrength": material.emission_strength}
    if material.transmission > 0.0:
        out["KHR_materials_transmission"] = {"transmissionFactor": material.transmission}
    if material.unlit:
        out["KHR_materials_unlit"] = {}
    return out


def _extend(document: dict[str, Any], extension: str, *, required: bool = False) -> None:
    for key in ("extensionsUsed", "extensionsRequired") if required else ("extensionsUsed",):
        names = document.setdefault(key, [])
        if extension not in names:
            names.append(extension)


def image_mime(content: bytes) -> str:
    """The media type of an encoded image, by its first bytes; `ValueError` when glTF does not take it."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    raise ValueError("a texture must be PNG, JPEG or WebP")


def _check(mesh: Mesh, material: Material) -> None:
    count = len(mesh.positions)
    shapes = ((mesh.positions, 3), (mesh.normals, 3), (mesh.uvs, 2), (mesh.tangents, 4))
    if any(array is not None and array.shape != (count, width) for array, width in shapes):
        raise ValueError("positions and normals must be (V, 3), uvs (V, 2), tangents (V, 4), all of the same length")
    if mesh.faces.ndim != 2 or mesh.faces.shape[1] != 3 or not len(mesh.faces):
        raise ValueError("faces must be (F, 3) with at least one row")
    if mesh.tangents is not None and (mesh.normals is None or mesh.uvs is None):
        raise ValueError("tangents need normals and uvs")
    if int(mesh.faces.max()) >= count or int(mesh.faces.min()) < 0:
        raise ValueError("faces name a vertex that does not exist")
    if material.alpha_mode not in ("OPAQUE", "MASK", "BLEND"):
        raise ValueError(f"alpha_mode cannot be {material.alpha_mode}")


def container(document: dict[str, Any], binary: bytes) -> bytes:
    """Header, JSON chunk padded with spaces, binary chunk padded with zeros."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    length = 12 + 8 + len(text) + 8 + len(binary)
    head = struct.pack("<4sII", b"glTF", 2, length)
    chunks = struct.pack("<II", len(text), 0x4E4F534A), text, struct.pack("<II", len(binary), 0x004E4942), binary
    return b"".join((head, *chunks))
