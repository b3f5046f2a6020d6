"""A textured mesh as a GLB with one primitive for each material and PNG textures."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trellis_addon.formats.glb.textured_mesh import SurfaceMaterial, Texture, TexturedMesh
from trellis_addon.formats.glb.write import GENERATOR

_WRAP = {"repeat": 10497, "clamp": 33071, "mirror": 33648}


def write_glb_scene(mesh: TexturedMesh, name: str = "Mesh") -> bytes:
    """The GLB file of `mesh`, turned to glTF's Y up. Corners that agree in everything share a vertex."""
    return _Writer().write(mesh, name)


class _Writer:
    def __init__(self) -> None:
        self.binary = bytearray()
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": GENERATOR},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "bufferViews": [],
            "accessors": [],
            "materials": [],
        }
        self._images: dict[int, int] = {}

    def write(self, mesh: TexturedMesh, name: str) -> bytes:
        primitives = []
        for number, material in enumerate(mesh.materials):
            chosen = np.flatnonzero(mesh.ids == number)
            if len(chosen):
                primitives.append({**self._corners(mesh, chosen), "material": len(self.document["materials"])})
                self.document["materials"].append(self._material(material))
        self.document["nodes"] = [{"name": name, "mesh": 0}]
        self.document["meshes"] = [{"name": name, "primitives": primitives}]
        self.binary += b"\0" * (-len(self.binary) % 4)
        self.document["buffers"] = [{"byteLength": len(self.binary)}]
        text = json.dumps(self.document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(self.binary))
        chunks = struct.pack("<II", len(text), 0x4E4F534A), text, struct.pack("<II", len(self.binary), 0x004E4942)
        return b"".join((head, *chunks, self.binary))

    def _corners(self, mesh: TexturedMesh, chosen: NDArray[np.int64]) -> dict[str, Any]:
        """A primitive's attributes and indices: the unique corners of the chosen triangles."""
        parts = {"POSITION": mesh.vertices[mesh.faces[chosen]]}
        for key, values in (
            ("NORMAL", mesh.normals),
            ("TEXCOORD_0", mesh.uvs),
            ("TEXCOORD_1", mesh.uvs_1),
            ("COLOR_0", mesh.colours),
        ):
            if values is not None:
                parts[key] = values[chosen]
        if mesh.up == "Z":
            for key in ("POSITION", "NORMAL"):
                if key in parts:
                    parts[key] = parts[key][..., [0, 2, 1]] * np.array([1, 1, -1], np.float32)
        table = np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts.values()], axis=1)
        table = np.ascontiguousarray(table, np.float32)
        keys = table.view(np.dtype((np.void, table.shape[1] * 4)))[:, 0]
        _, first, numbers = np.unique(keys, return_index=True, return_inverse=True)
        attributes = {}
        start = 0
        for key, part in parts.items():
            width = part.shape[-1]
            attributes[key] = self._accessor(table[first, start : start + width], width, key == "POSITION")
            start += width
        view = self._view(numbers.reshape(-1).astype("<u4").tobytes(), 34963)
        self.document["accessors"].append(
            {"bufferView": view, "componentType": 5125, "count": 3 * len(chosen), "type": "SCALAR"}
        )
        return {"attributes": attributes, "indices": len(self.document["accessors"]) - 1, "mode": 4}

    def _accessor(self, values: NDArray[np.float32], width: int, bounds: bool) -> int:
        view = self._view(np.ascontiguousarray(values, "<f4").tobytes(), 34962)
        accessor: dict[str, Any] = {"bufferView": view, "componentType": 5126, "count": len(values)}
        accessor["type"] = f"VEC{width}"
        if bounds:
            accessor["min"] = [float(v) for v in values.min(0)]
            accessor["max"] = [float(v) for v in values.max(0)]
        self.document["accessors"].append(accessor)
        return len(self.document["accessors"]) - 1

    def _view(self, content: bytes, target: int | None = None) -> int:
        self.binary += b"\0" * (-len(self.binary) % 4)
        view = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(content)}
        if target is not None:
            view["target"] = target
        self.binary += content
        self.document["bufferViews"].append(view)
        return len(self.document["bufferViews"]) - 1

    def _material(self, material: SurfaceMaterial) -> dict[str, Any]:
        surface: dict[str, Any] = {
            "baseColorFactor": [float(number) for number in material.base_colour_factor],
            "metallicFactor": float(material.metallic_factor),
            "roughnessFactor": float(material.roughness_factor),
        }
        out: dict[str, Any] = {"name": material.name, "pbrMetallicRoughness": surface}
        if material.base_colour is not None:
            surface["baseColorTexture"] = self._texture(material.base_colour)
        if material.metallic_roughness is not None:
            surface["metallicRoughnessTexture"] = self._texture(material.metallic_roughness)
        if material.normal is not None:
            out["normalTexture"] = {**self._texture(material.normal), "scale": float(material.normal_scale)}
        if material.alpha_mode != "OPAQUE":
            out["alphaMode"] = material.alpha_mode
        if material.alpha_mode == "MASK":
            out["alphaCutoff"] = float(material.alpha_cutoff)
        if material.double_sided:
            out["doubleSided"] = True
        return out

    def _texture(self, texture: Texture) -> dict[str, Any]:
        from PIL import Image

        document = self.document
        key = id(texture.pixels)
        if key not in self._images:
            pixels = texture.pixels[..., 0] if texture.pixels.shape[2] == 1 else texture.pixels
            file = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=4)
            images = document.setdefault("images", [])
            images.append({"bufferView": self._view(file.getvalue()), "mimeType": "image/png"})
            self._images[key] = len(images) - 1
        samplers, textures = document.setdefault("samplers", []), document.setdefault("textures", [])
        filters = (9729, 9987) if texture.linear else (9728, 9728)
        samplers.append(
            {
                "magFilter": filters[0],
                "minFilter": filters[1],
                "wrapS": _WRAP[texture.wrap[0]],
                "wrapT": _WRAP[texture.wrap[1]],
            }
        )
        textures.append({"sampler": len(samplers) - 1, "source": self._images[key]})
        return {"index": len(textures) - 1, **({"texCoord": texture.uv_set} if texture.uv_set else {})}
