"""Wavefront OBJ with its material file and pictures: what holds quads, and every program reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

# The maps by their line in the material file; the last three are the common additions for physically based materials.
_LINES = {
    "base_colour": "map_Kd {file}",
    "normal": "norm {file}",
    "metallic": "map_Pm {file}",
    "roughness": "map_Pr {file}",
    "emission": "map_Ke {file}",
}


def write_obj(
    name: str,
    vertices: NDArray[np.float32],
    uvs: NDArray[np.float32],
    normals: NDArray[np.float32],
    polygons: Sequence[NDArray[np.int32]],
    maps: Mapping[str, bytes],
) -> dict[str, bytes]:
    """The files by name: NAME.obj, NAME.mtl and a PNG for each of the maps (base_colour, normal, metallic, roughness,
    emission).

    `vertices` and `normals` (V, 3) with Y up, `uvs` (V, 2) with v down; `polygons` are arrays (F, corners) of vertex
    numbers. What is cut along the seams of the UVs is whole in the file, which counts places, UVs and normals apart.
    """
    (vertices, place), (uvs, uv), (normals, normal) = map(_each_once, (vertices, uvs, normals))
    files = {f"{name} {kind}.png": content for kind, content in maps.items()}
    material = ["newmtl Material", "Kd 1 1 1", "Ks 0 0 0", "d 1", "illum 2"]
    material += [_LINES[kind].format(file=f"{name} {kind}.png") for kind in maps]
    lines = [f"mtllib {name}.mtl", f"o {name}"]
    lines += [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in vertices.tolist()]
    lines += [f"vt {u:.7g} {1 - v:.7g}" for u, v in uvs.tolist()]
    lines += [f"vn {x:.5g} {y:.5g} {z:.5g}" for x, y, z in normals.tolist()]
    lines += ["usemtl Material", "s 1"]
    for faces in polygons:
        corners = np.stack([place[faces], uv[faces], normal[faces]], -1) + 1
        lines += ["f " + " ".join(f"{v}/{vt}/{vn}" for v, vt, vn in row) for row in corners.tolist()]
    text = {f"{name}.obj": lines, f"{name}.mtl": material}
    return {**{file: "\n".join([*rows, ""]).encode() for file, rows in text.items()}, **files}


def _each_once(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The rows that differ, in the order in which they come first, and the number of each row among them."""
    _, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return rows[first[order]], np.argsort(order)[number.reshape(-1)]
