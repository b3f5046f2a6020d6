"""A finished mesh with its textures, and its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...formats.glb.write import Material, Mesh, write_glb
from ..bake.maps import SOLID, U8, EncodedTextures, Textures, encode_textures
from ..mesh.topology import TriMesh

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


@dataclass(frozen=True)
class FinishedMesh:
    """The asset in the model's frame (Z up): `vertices`, `normals` (V, 3), `tangents` (V, 4), `uvs` (V, 2) with v
    down, `faces` (F, 3), and its textures.

    `alpha_mode` is "OPAQUE", "MASK" or "BLEND"; with the last, `see_through` (F,) are the faces that need it: the
    others are drawn as solid, which spares renderers the sorting. `double_sided` where the inside can be seen.
    """

    vertices: F32
    faces: I32
    normals: F32
    tangents: F32
    uvs: F32
    textures: Textures
    alpha_mode: str
    double_sided: bool
    see_through: NDArray[np.bool_] | None = None


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
    images = encode_textures(mesh.textures, texture_format, mesh.alpha_mode == "OPAQUE")
    return write_images(mesh, images, extras, name)


def write_images(mesh: FinishedMesh, images: EncodedTextures, extras: Mapping[str, Any] | None, name: str) -> bytes:
    """The GLB with images that are encoded already."""
    material = Material(
        name,
        base_colour=images.base_colour,
        metallic_roughness=images.metallic_roughness,
        normal=images.normal,
        occlusion=mesh.textures.occlusion,
        alpha_mode=mesh.alpha_mode,
        double_sided=mesh.double_sided,
    )
    faces = mesh.faces.astype(np.uint32)
    shape = Mesh(
        y_up(mesh.vertices),
        faces,
        y_up(mesh.normals),
        mesh.uvs,
        name=name,
        tangents=None if images.normal is None else y_up(mesh.tangents),
    )
    clear = mesh.see_through
    if clear is None or clear.all() or not clear.any():
        return write_glb(shape, material, extras)
    solid = replace(material, alpha_mode="OPAQUE")
    glass = replace(material, name=f"{name} See-Through")
    return write_glb(replace(shape, faces=faces[~clear]), solid, extras, further=[(faces[clear], glass)])


def y_up(vectors: F32) -> F32:
    """(x, y, z, ...) of the model's frame as glTF has it: (x, z, -y, ...)."""
    out = vectors.copy()
    out[:, 1], out[:, 2] = vectors[:, 2], -vectors[:, 1]
    return out


def see_through(base_colour: U8, owner: I32, uvs: F32, faces: I32) -> NDArray[np.bool_]:
    """(F,): faces with a texel that is not solid; of those too small to have any, the texel at their middle counts."""
    clear = base_colour[..., 3] < SOLID
    drawn = owner >= 0
    own = np.bincount(owner[drawn], minlength=len(faces)) > 0
    out = np.bincount(owner[drawn & clear], minlength=len(faces)) > 0
    size = len(owner)
    column, row = np.clip((uvs[faces[~own]].mean(1) * size).astype(np.int64), 0, size - 1).T
    out[~own] = clear[row, column]
    return out


def is_open(mesh: TriMesh) -> bool:
    """Whether the surface has borders: its inside can be seen through them."""
    edges = mesh.faces.astype(np.int64)
    ends = np.stack([edges, np.roll(edges, -1, 1)], 2).reshape(-1, 2)
    key = np.sort(ends.min(1) * len(mesh.vertices) + ends.max(1))
    alone = np.ones(len(key), bool)
    alone[1:] &= key[1:] != key[:-1]
    alone[:-1] &= key[1:] != key[:-1]
    return bool(alone.any())
