"""A GLB in the pieces that it is made of, each where the file shows it: for what changes the file piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError
from .read import Reader
from .read_materials import Materials
from .textured_mesh import Texture

SEEN_THROUGH = ("KHR_materials_transmission", "KHR_materials_volume", "KHR_materials_ior", "KHR_materials_dispersion")
"""Extensions that say how light goes through a surface."""


@dataclass(frozen=True)
class Clear:
    """How much of a piece that is seen through is to be seen: `factor` (V,) times the last channel of the `texture` at
    `uvs` (V, 2), where there is one. Where no alpha counts, since the light goes through by an extension, all is 1."""

    factor: NDArray[np.float32]
    texture: Texture | None = None
    uvs: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Piece:
    """One primitive of a mesh, which has one material; `key` is (mesh, primitive) in the file.

    `points` (V, 3) and `normals` (V, 3) lie where the first node that shows the mesh puts them (Y up), in the order of
    the file's vertices; `faces` (F, 3) are wound as they are seen. `uvs` (V, 2), v down, are of the set `uv_set`: the
    one that the material's colour follows, or else the first; None where the piece has none. `free_set` is the number
    of a set that it does not have yet. `material` is a place among the file's, or None; `clear` is there where its
    surface is seen through.
    """

    key: tuple[int, int]
    points: NDArray[np.float64]
    normals: NDArray[np.float32] | None
    faces: NDArray[np.int64]
    uvs: NDArray[np.float32] | None
    uv_set: int
    free_set: int
    material: int | None
    double_sided: bool
    clear: Clear | None = None


@dataclass(frozen=True)
class Pieces:
    """All pieces of what a file shows, each once, and the whole surface: `points` (N, 3), `faces` (M, 3), with meshes
    that are shown several times in all of their places."""

    pieces: tuple[Piece, ...]
    points: NDArray[np.float64]
    faces: NDArray[np.int64]


def read_pieces(source: Path | str | bytes) -> Pieces:
    """The pieces of a GLB's scene; raises as `read.read_glb`."""
    reader = Reader.of(source)
    document = reader.document
    found: dict[tuple[int, int], Piece] = {}
    points, faces, count = [], [], 0
    for node, place in reader.placed():
        number = node["mesh"]
        mesh = document["meshes"][number]
        weights = node.get("weights") or mesh.get("weights") or ()
        for index, primitive in enumerate(mesh["primitives"]):
            placed = reader.geometry(primitive, place, weights, node.get("skin"))
            if placed is None:
                continue
            points.append(placed[0])
            faces.append(placed[1] + count)
            count += len(placed[0])
            key = number, index
            if key not in found:
                found[key] = _piece(reader, key, primitive, *placed)
    if not found:
        raise InputError("The GLB has no triangles.")
    return Pieces(tuple(found.values()), np.concatenate(points), np.concatenate(faces))


def _piece(
    reader: Reader,
    key: tuple[int, int],
    primitive: Mapping[str, Any],
    points: NDArray[np.float64],
    faces: NDArray[np.int64],
    normals: NDArray[np.float32] | None,
) -> Piece:
    attributes = primitive["attributes"]
    number = primitive.get("material")
    material = {} if number is None else reader.document["materials"][number]
    uv_set = colour_set(material)
    if f"TEXCOORD_{uv_set}" not in attributes:
        uv_set = 0
    name = f"TEXCOORD_{uv_set}"
    uvs = reader.accessor(attributes[name]).astype(np.float32) if name in attributes else None
    free = next(n for n in range(len(attributes) + 1) if f"TEXCOORD_{n}" not in attributes)
    double_sided = bool(material.get("doubleSided", False))
    clear = _clear(reader, attributes, material, len(points)) if is_seen_through(material) else None
    return Piece(key, points, normals, faces, uvs, uv_set, free, number, double_sided, clear)


def is_seen_through(material: Mapping[str, Any]) -> bool:
    """Whether a material says that something is seen through its surface."""
    light = (material.get("extensions") or {}).get(SEEN_THROUGH[0])
    return material.get("alphaMode", "OPAQUE") != "OPAQUE" or light is not None


def _clear(reader: Reader, attributes: Mapping[str, int], material: Mapping[str, Any], count: int) -> Clear:
    factor = np.ones(count, np.float32)
    if material.get("alphaMode", "OPAQUE") == "OPAQUE":
        return Clear(factor)
    # of all that the material says, its alpha alone, so that no other picture is read
    surface = material.get("pbrMetallicRoughness") or {}
    said = {key: surface[key] for key in ("baseColorFactor", "baseColorTexture") if key in surface}
    glossy = (material.get("extensions") or {}).get("KHR_materials_pbrSpecularGlossiness")
    extensions = {} if glossy is None else {"KHR_materials_pbrSpecularGlossiness": glossy}
    alone = {"alphaMode": material["alphaMode"], "pbrMetallicRoughness": said, "extensions": extensions}
    found = Materials({**reader.document, "materials": [alone]}, reader.binary)
    (one,), (sets,) = found.all, found.uv_sets
    factor *= min(max(one.base_colour_factor[3], 0.0), 1.0)
    if "COLOR_0" in attributes:
        colours = reader.accessor(attributes["COLOR_0"])
        if colours.shape[1] == 4:
            factor *= colours[:, 3].astype(np.float32)
    texture = one.base_colour
    if texture is None or texture.pixels.shape[2] not in (2, 4) or f"TEXCOORD_{sets[0]}" not in attributes:
        return Clear(factor)
    uvs = reader.accessor(attributes[f"TEXCOORD_{sets[0]}"]).astype(np.float32)
    if texture.transform is not None:
        uvs = (uvs @ texture.transform[:, :2].T + texture.transform[:, 2]).astype(np.float32)
    return Clear(factor, texture, uvs)


def colour_set(material: Mapping[str, Any]) -> int:
    """The set of texture coordinates that a material's colour follows."""
    info = material.get("pbrMetallicRoughness", {}).get("baseColorTexture") or {}
    moved = info.get("extensions", {}).get("KHR_texture_transform", {})
    return int(moved.get("texCoord", info.get("texCoord", 0)))
