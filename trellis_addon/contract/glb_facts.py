"""The facts of a GLB file, as a contract asks for them; with nothing but numpy and Pillow."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DamagedFileError
from ..core.files import read_bytes
from ..core.messages import reason_of
from ..formats.glb.check import MAX_FILE_BYTES, check_glb, split_glb
from ..formats.glb.pose import node_matrix
from ..formats.glb.read import read_glb
from ..formats.glb.scenes import shown_roots
from ..formats.glb.textured_mesh import TexturedMesh
from .facts import FRONT, AssetFacts, Image, front_of, parts_of
from .surface import MeshArrays, measure_surface

# glTF has Y up and the front towards +Z, Blender Z up and the front towards -Y.
_TO_BLENDER = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_MAPS = {"normal": "normalTexture", "occlusion": "occlusionTexture", "emission": "emissiveTexture"}
_SURFACE_MAPS = {"base_colour": "baseColorTexture", "metallic_roughness": "metallicRoughnessTexture"}


def glb_facts(path: Path) -> AssetFacts:
    """The facts of what the file's scene shows; its origin is the scene's.

    Raises `DamagedFileError` for a file that is not sound, `InputError` for one without triangles.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DamagedFileError("{name} is larger than 1 GB and is not read.", name=path.name)
        data = read_bytes(path)
    except OSError as error:
        raise DamagedFileError("{path} cannot be read: {reason}.", path=path, reason=reason_of(error)) from error
    check_glb(data, with_skins=True)
    document, binary = split_glb(data)
    mesh = read_glb(data)
    arrays = _arrays(mesh)
    places = np.asarray(mesh.vertices, float) @ _TO_BLENDER.T
    nodes = list(_shown(document))
    turned = [parts_of(_TO_BLENDER @ matrix[:3, :3] @ _TO_BLENDER.T) for _, matrix in nodes]
    used = _materials_in_use(document, [node for node, _ in nodes])
    return AssetFacts(
        names=tuple(str(node.get("name", "")) for node, _ in nodes),
        low=tuple(places.min(axis=0)),
        high=tuple(places.max(axis=0)),
        surface=measure_surface(arrays),
        turns=np.array([turn for turn, _ in turned]),
        scales=np.array([scale for _, scale in turned]),
        fronts=np.array([_front(document["nodes"][number]) for number in shown_roots(document)]),
        materials=tuple(str(material.get("name", "")) for material in used),
        maps=frozenset.intersection(*map(_maps_of, used)) if used else frozenset(),
        images=tuple(_images(document, binary)),
        mesh=arrays,
    )


def _front(root: Mapping[str, Any]) -> np.ndarray:
    """Where the front of what hangs on a root looks. A root that is tilted turns another up axis into glTF's: then
    the front is where glTF has it."""
    own = (root.get("extras") or {}).get(FRONT)
    turn, scale = parts_of(_TO_BLENDER @ node_matrix(root)[:3, :3] @ _TO_BLENDER.T)
    turn = turn * np.sign(scale)  # mirrored, it looks where the mirror has it
    is_upright = np.allclose(turn @ [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], atol=1e-3)
    return front_of(turn if is_upright else np.eye(3), own)


def _arrays(mesh: TexturedMesh) -> MeshArrays:
    corners = np.asarray(mesh.faces).reshape(-1)
    uv = None if mesh.uvs is None else np.asarray(mesh.uvs, np.float32).reshape(-1, 2)
    return MeshArrays(
        np.ascontiguousarray(mesh.vertices, np.float32),
        corners.astype(np.int32),
        np.arange(0, len(corners), 3, dtype=np.int32),
        uv,
    )


def _shown(document: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], np.ndarray]]:
    """Each node of the scene that shows a mesh, with its matrix there."""
    nodes = document.get("nodes", [])
    waiting = [(number, np.eye(4)) for number in reversed(shown_roots(document))]
    while waiting:
        number, above = waiting.pop()
        place = above @ node_matrix(nodes[number])
        if "mesh" in nodes[number]:
            yield nodes[number], place
        waiting += [(child, place) for child in reversed(nodes[number].get("children", []))]


def _materials_in_use(document: Mapping[str, Any], nodes: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    numbers = {
        primitive.get("material")
        for node in nodes
        for primitive in document["meshes"][node["mesh"]]["primitives"]
        if primitive.get("mode", 4) in (4, 5, 6)
    }
    return [document["materials"][number] if number is not None else {} for number in sorted(numbers, key=str)]


def _maps_of(material: Mapping[str, Any]) -> frozenset[str]:
    surface = material.get("pbrMetallicRoughness", {})
    found = {name for name, key in _MAPS.items() if key in material}
    return frozenset(found | {name for name, key in _SURFACE_MAPS.items() if key in surface})


def _images(document: Mapping[str, Any], binary: memoryview) -> Iterator[Image]:
    from PIL import Image as PILImage

    for number, image in enumerate(document.get("images", [])):
        view = document["bufferViews"][image["bufferView"]]
        start = view.get("byteOffset", 0)
        with PILImage.open(io.BytesIO(bytes(binary[start : start + view["byteLength"]]))) as picture:
            yield Image(str(image.get("name") or number), *picture.size)
