"""GLBs of the object of `views_tools`: three boxes whose eighteen sides lie apart on the UV square."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from views_tools import BODY, HORN, NOSE

from trellis_addon.formats.glb.check import split_glb
from trellis_addon.formats.glb.read import Reader
from trellis_addon.formats.glb.write import Binary, container

# of a box's corners 0..7 (bits: x, y, z), counter-clockwise from outside
SIDES = ((0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6))
GRID = 5  # cells of the UV square along a side


def box(low: np.ndarray, high: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (24, 3) with Y up, faces (12, 3), and UVs (24, 2) in the cells from `first` on."""
    corners = np.array([[(low, high)[(n >> k) & 1][k] for k in range(3)] for n in range(8)])
    points = np.concatenate([corners[list(side)] for side in SIDES])
    points = np.stack([points[:, 0], points[:, 2], -points[:, 1]], 1)
    faces = np.concatenate([[[4 * n, 4 * n + 1, 4 * n + 2], [4 * n, 4 * n + 2, 4 * n + 3]] for n in range(6)])
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 0.8 + 0.1
    cells = [((first + n) % GRID, (first + n) // GRID) for n in range(6)]
    return points, faces, np.concatenate([(square + cell) / GRID for cell in cells])


def glb(
    *,
    matrix: np.ndarray | None = None,
    uvs: str = "apart",
    materials: int = 1,
    more: bool = False,
) -> bytes:
    """The file: a node "Root" at `matrix` with the body and, below it, "Head" with nose and horn as its primitives.

    `uvs`: "apart", "none", "square" (each primitive has the whole square), "doubled" (all on the same cells), or
    "beyond" (apart, and moved by a third of the square). With `more` there are a second set of UVs, vertex colours, a
    shape key, and a second material's texture.
    """
    binary = Binary()
    primitives = []
    for number, (low, high) in enumerate((BODY, NOSE, HORN)):
        points, faces, places = box(low, high, 6 * number)
        if uvs == "square":
            places = (places * GRID - [0, 0]) / GRID if not number else box(low, high, 0)[2]
        if uvs == "doubled":
            places = np.tile(places[:4], (6, 1))
        if uvs == "beyond":
            places = places + 1 / 3
        attributes = {"POSITION": binary.accessor(points, "VEC3", bounds=True)}
        if uvs != "none":
            attributes["TEXCOORD_0"] = binary.accessor(places, "VEC2")
        primitive: dict[str, Any] = {
            "attributes": attributes,
            "indices": binary.accessor(faces.reshape(-1), "SCALAR", indices=True),
            "material": min(number, materials - 1),
        }
        if more:
            attributes["TEXCOORD_1"] = binary.accessor(places[::-1], "VEC2")
            attributes["COLOR_0"] = binary.accessor(np.full((len(points), 3), 0.5), "VEC3")
            primitive["targets"] = [{"POSITION": binary.accessor(points * 0.1, "VEC3", bounds=True)}]
        primitives.append(primitive)
    root: dict[str, Any] = {"name": "Root", "mesh": 0, "children": [1], "extras": {"kept": [1, 2]}}
    if matrix is not None:
        root["matrix"] = np.asarray(matrix, float).T.reshape(-1).tolist()
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "extras": {"own": "kept"}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [root, {"name": "Head", "mesh": 1}],
        "meshes": [{"name": "Body", "primitives": primitives[:1]}, {"name": "Head", "primitives": primitives[1:]}],
        "materials": [{"name": f"Old {n}", "doubleSided": n == 1} for n in range(materials)],
        "accessors": binary.accessors,
        "bufferViews": binary.views,
    }
    if more:
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), (9, 200, 9)).save(buffer, "PNG")
        document["images"] = [{"bufferView": binary.view(buffer.getvalue()), "mimeType": "image/png"}]
        document["textures"] = [{"source": 0}]
        document["materials"][-1]["pbrMetallicRoughness"] = {"baseColorTexture": {"index": 0}}
    document["buffers"] = [{"byteLength": len(binary.data)}]
    return container(document, bytes(binary.data))


def pixels_of(data: bytes) -> list[np.ndarray]:
    """The base colour textures of a file's materials, in their order."""
    document, binary = split_glb(data)
    found = []
    for material in document["materials"]:
        texture = document["textures"][material["pbrMetallicRoughness"]["baseColorTexture"]["index"]]
        source = (texture.get("extensions", {}).get("EXT_texture_webp") or texture)["source"]
        view = document["bufferViews"][document["images"][source]["bufferView"]]
        start = view["byteOffset"]
        found.append(
            np.asarray(Image.open(io.BytesIO(bytes(binary[start : start + view["byteLength"]]))).convert("RGB"), float)
        )
    return found


def colour_of_side(data: bytes, mesh: int, primitive: int, side: int) -> np.ndarray:
    """What a reader sees in the middle of one of a box's sides: sRGB, 0 to 255."""
    reader = Reader.of(data)
    described = reader.document["meshes"][mesh]["primitives"][primitive]
    material = reader.document["materials"][described["material"]]
    uv_set = material["pbrMetallicRoughness"]["baseColorTexture"].get("texCoord", 0)
    faces = reader.accessor(described["indices"]).reshape(-1, 3)
    uvs = reader.accessor(described["attributes"][f"TEXCOORD_{uv_set}"])
    u, v = uvs[faces[2 * side]].mean(0)
    picture = pixels_of(data)[described["material"]]
    height, width = picture.shape[:2]
    return picture[int(v * height) % height, int(u * width) % width]
