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


@dataclass(frozen=True)
class Piece:
    """One primitive of a mesh, which has one material; `key` is (mesh, primitive) in the file.

    `points` (V, 3) and `normals` (V, 3) lie where the first node that shows the mesh puts them (Y up), in the order of
    the file's vertices; `faces` (F, 3) are wound as they are seen. `uvs` (V, 2), v down, are of the set `uv_set`: the
    one that the material's colour follows, or else the first; None where the piece has none. `free_set` is the number
    of a set that it does not have yet. `material` is a place among the file's, or None.
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
    return Piece(key, points, normals, faces, uvs, uv_set, free, number, bool(material.get("doubleSided", False)))


def colour_set(material: Mapping[str, Any]) -> int:
    """The set of texture coordinates that a material's colour follows."""
    info = material.get("pbrMetallicRoughness", {}).get("baseColorTexture") or {}
    moved = info.get("extensions", {}).get("KHR_texture_transform", {})
    return int(moved.get("texCoord", info.get("texCoord", 0)))
