"""A finished mesh with its textures and the parts it is drawn in, and its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...formats.glb.write import Material, Mesh, write_glb
from ..bake.maps import EncodedTextures, Textures, encode_textures
from ..bake.reading import Part
from ..mesh.topology import TriMesh, repeated_corners
from ..quads.pairs import fans_of, polygons_of

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

_ORDER = ("OPAQUE", "MASK", "BLEND")
_LABELS = {"OPAQUE": "", "MASK": "Cut-Out", "BLEND": "See-Through"}


@dataclass(frozen=True)
class FinishedMesh:
    """The asset in the model's frame (Z up): `vertices`, `normals` (V, 3), `tangents` (V, 4), `uvs` (V, 2) with v
    down, `faces` (F, 3), and its textures.

    Each face is drawn as one of the `parts`, whose number `part_of` (F,) says; None where there is only one.
    `is_paired`: faces 2k and 2k + 1 are one quad (`quads.pairs`), and its file says so.
    """

    vertices: F32
    faces: I32
    normals: F32
    tangents: F32
    uvs: F32
    textures: Textures
    parts: tuple[Part, ...] = (Part(),)
    part_of: I32 | None = None
    is_paired: bool = False

    @property
    def is_opaque(self) -> bool:
        """Whether alpha counts nowhere."""
        return all(part.alpha_mode == "OPAQUE" for part in self.parts)


@dataclass(frozen=True)
class Placement:
    """Where a mesh goes: out of the cube by this `scale`, then to this `centre` (x, y, z), still with z up."""

    scale: float = 1.0
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def of(self, mesh: FinishedMesh) -> FinishedMesh:
        return replace(mesh, vertices=(mesh.vertices * self.scale + np.array(self.centre)).astype(np.float32))


def write(
    mesh: FinishedMesh, texture_format: str = "webp", extras: Mapping[str, Any] | None = None, *, name: str = "Asset"
) -> bytes:
    """The GLB, Y up; textures as WebP (what is not a colour without loss) or PNG. `extras` go into `asset.extras`."""
    images = encode_textures(mesh.textures, texture_format, mesh.is_opaque)
    return write_images(mesh, images, extras, name)


def write_images(mesh: FinishedMesh, images: EncodedTextures, extras: Mapping[str, Any] | None, name: str) -> bytes:
    """The GLB with images that are encoded already."""
    shape = Mesh(
        y_up(mesh.vertices),
        mesh.faces.astype(np.uint32),
        y_up(mesh.normals),
        mesh.uvs,
        name=name,
        tangents=None if images.normal is None else y_up(mesh.tangents),
    )
    material = Material(
        name,
        base_colour=images.base_colour,
        metallic_roughness=images.metallic_roughness,
        normal=images.normal,
        occlusion=mesh.textures.occlusion,
        emission=images.emission,
        emission_strength=mesh.textures.emission_strength,
    )
    # What is solid comes first, under the asset's own name.
    drawn_as = mesh.part_of if mesh.part_of is None or not mesh.is_paired else mesh.part_of[0::2]
    numbers = [0] if drawn_as is None else [int(number) for number in np.unique(drawn_as)]
    numbers.sort(key=lambda number: (_ORDER.index(mesh.parts[number].alpha_mode), number))
    drawn: list[tuple[NDArray[np.uint32], Material]] = []
    for number in numbers:
        part = mesh.parts[number]
        label = _LABELS[part.alpha_mode] if drawn or len(numbers) > 1 else ""
        names = {other.name for _, other in drawn}
        title = f"{name} {label}".rstrip()
        own = next(each for count in range(1, len(numbers) + 2) if (each := _counted(title, count)) not in names)
        chosen = replace(
            material,
            name=own,
            alpha_mode=part.alpha_mode,
            double_sided=part.double_sided,
            transmission=part.transmission,
            unlit=part.unlit,
        )
        drawn.append((_of_part(mesh, number), chosen))
    (first, main), *further = drawn
    return write_glb(replace(shape, faces=first, has_ngons=mesh.is_paired), main, extras, further=further)


def _of_part(mesh: FinishedMesh, number: int) -> NDArray[np.uint32]:
    """The faces that are drawn as a part; of quads the two halves follow each other."""
    if not mesh.is_paired:
        return (mesh.faces if mesh.part_of is None else mesh.faces[mesh.part_of == number]).astype(np.uint32)
    first = slice(None) if mesh.part_of is None else mesh.part_of[0::2] == number
    faces = mesh.faces.reshape(-1, 6)[first].reshape(-1, 3)
    return fans_of(polygons_of(faces))


def _counted(title: str, count: int) -> str:
    return title if count == 1 else f"{title} {count}"


def y_up(vectors: F32) -> F32:
    """(x, y, z, ...) of the model's frame as glTF has it: (x, z, -y, ...)."""
    out = vectors.copy()
    out[:, 1], out[:, 2] = vectors[:, 2], -vectors[:, 1]
    return out


def is_open(mesh: TriMesh) -> bool:
    """Whether the surface has borders: its inside can be seen through them."""
    edges = mesh.faces[~repeated_corners(mesh.faces)].astype(np.int64)  # half of a quad may be none
    ends = np.stack([edges, np.roll(edges, -1, 1)], 2).reshape(-1, 2)
    key = np.sort(ends.min(1) * len(mesh.vertices) + ends.max(1))
    alone = np.ones(len(key), bool)
    alone[1:] &= key[1:] != key[:-1]
    alone[:-1] &= key[1:] != key[:-1]
    return bool(alone.any())
