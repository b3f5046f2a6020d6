"""The textured triangle mesh that voxels are made of: any number of parts and materials, all in one list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError

WRAPS = ("repeat", "clamp", "mirror")
ALPHA_MODES = ("OPAQUE", "MASK", "BLEND")


@dataclass(frozen=True)
class Texture:
    """An image on a surface: `pixels` (H, W, 1 to 4) uint8, row 0 at v = 0, which is the top (glTF).

    `wrap` says for u and v what lies beyond the image, `linear` whether it is read between pixels, `uv_set`
    which of the mesh's two sets of coordinates it follows, and `transform` (2, 3) what is done to them first.
    """

    pixels: NDArray[np.uint8]
    wrap: tuple[str, str] = ("repeat", "repeat")
    linear: bool = True
    uv_set: int = 0
    transform: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.dtype != np.uint8 or not 1 <= self.pixels.shape[2] <= 4:
            raise InputError("A texture must be (height, width, 1 to 4 channels) of 8 bits.")
        if not self.pixels.shape[0] or not self.pixels.shape[1]:
            raise InputError("A texture has no pixels.")
        if any(way not in WRAPS for way in self.wrap):
            raise InputError("A texture can wrap by {allowed}, not by {given}.", allowed=list(WRAPS), given=self.wrap)


@dataclass(frozen=True)
class SurfaceMaterial:
    """A metallic-roughness material (glTF 2.0). The factors multiply the textures.

    `base_colour` is sRGB-coded with alpha in its fourth channel where it has one, and its factor is linear;
    `metallic_roughness` has roughness in green and metalness in blue; `normal` is tangent space, green up.
    `emission` is sRGB-coded, and its factor linear, of any size; `occlusion` is in red, and counts as much as its
    strength says. `transmission` is the share of light that goes through what alpha does not hide; an `unlit` surface
    shows its base colour whatever the light.
    """

    name: str = "Material"
    base_colour_factor: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    metallic_factor: float = 0.0
    roughness_factor: float = 1.0
    base_colour: Texture | None = None
    metallic_roughness: Texture | None = None
    normal: Texture | None = None
    normal_scale: float = 1.0
    alpha_mode: str = "OPAQUE"
    alpha_cutoff: float = 0.5
    double_sided: bool = False
    emission_factor: tuple[float, float, float] = (0.0, 0.0, 0.0)
    emission: Texture | None = None
    occlusion: Texture | None = None
    occlusion_strength: float = 1.0
    transmission: float = 0.0
    unlit: bool = False

    def __post_init__(self) -> None:
        if self.alpha_mode not in ALPHA_MODES:
            raise InputError(
                "A material's alpha mode is one of {allowed}, not {given}.",
                allowed=list(ALPHA_MODES),
                given=self.alpha_mode,
            )


@dataclass(frozen=True)
class TexturedMesh:
    """Triangles with what lies on them.

    `vertices` (V, 3) in the frame whose axis `up` ("Y" or "Z") points up, `faces` (F, 3); `material_ids` (F,)
    into `materials`. Per corner, each or None: `uvs` and `uvs_1` (F, 3, 2) with v down (glTF), `normals`
    (F, 3, 3), `colours` (F, 3, 4) linear factors. Raises `InputError` for what does not fit together.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int64]
    materials: Sequence[SurfaceMaterial] = field(default_factory=lambda: (SurfaceMaterial(),))
    material_ids: NDArray[np.int32] | None = None
    uvs: NDArray[np.float32] | None = None
    uvs_1: NDArray[np.float32] | None = None
    normals: NDArray[np.float32] | None = None
    colours: NDArray[np.float32] | None = None
    up: str = "Y"

    def __post_init__(self) -> None:
        count = len(self.faces)
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3 or self.faces.shape != (count, 3):
            raise InputError("A mesh needs vertices (V, 3) and triangles (F, 3).")
        if not np.isfinite(self.vertices).all():
            raise InputError("A vertex of the mesh has a position that is not finite.")
        if count and (int(self.faces.min()) < 0 or int(self.faces.max()) >= len(self.vertices)):
            raise InputError("A triangle of the mesh refers to a vertex that is not there.")
        for corners, width in ((self.uvs, 2), (self.uvs_1, 2), (self.normals, 3), (self.colours, 4)):
            if corners is not None and corners.shape != (count, 3, width):
                raise InputError(
                    "Values at the corners must be (F, 3, {width}), not {shape}.", width=width, shape=str(corners.shape)
                )
        if not self.materials:
            raise InputError("A mesh needs at least one material.")
        ids = self.material_ids
        if ids is not None and (
            ids.shape != (count,) or (count and not 0 <= int(ids.min()) <= int(ids.max()) < len(self.materials))
        ):
            raise InputError("A triangle of the mesh has a material that is not there.")
        if self.up not in ("Y", "Z"):
            raise InputError('Up is "Y" or "Z", not "{given}".', given=self.up)

    @property
    def ids(self) -> NDArray[np.int32]:
        """The material of each triangle (F,)."""
        return np.zeros(len(self.faces), np.int32) if self.material_ids is None else self.material_ids

    def bounds(self) -> NDArray[np.float64]:
        """The lowest and the highest corner (2, 3) of all triangles; `InputError` where there are none."""
        if not len(self.faces):
            raise InputError("The mesh has no triangles.")
        used = self.vertices[np.unique(self.faces)]
        return np.stack([used.min(0), used.max(0)]).astype(np.float64)

    def area(self) -> float:
        corners = self.vertices[self.faces].astype(np.float64)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        return float(np.linalg.norm(normals, axis=1).sum() / 2)

    def take(self, faces: NDArray[Any]) -> TexturedMesh:
        """Some of its triangles (a mask or numbers); vertices and materials keep their numbers."""
        return TexturedMesh(
            self.vertices,
            self.faces[faces],
            self.materials,
            self.ids[faces],
            **{
                name: None if values is None else values[faces]
                for name, values in (
                    ("uvs", self.uvs),
                    ("uvs_1", self.uvs_1),
                    ("normals", self.normals),
                    ("colours", self.colours),
                )
            },
            up=self.up,
        )

    @staticmethod
    def join(meshes: Sequence[TexturedMesh]) -> TexturedMesh:
        """All of them as one; they must agree on which way is up."""
        if not meshes or len({mesh.up for mesh in meshes}) != 1:
            raise InputError("Meshes to be joined must be at least one and agree on which way is up.")
        if len(meshes) == 1:
            return meshes[0]
        starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
        materials: list[SurfaceMaterial] = []
        ids = []
        for mesh in meshes:
            ids.append(mesh.ids + len(materials))
            materials += mesh.materials
        return TexturedMesh(
            vertices=np.concatenate([mesh.vertices for mesh in meshes]),
            faces=np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]),
            materials=tuple(materials),
            material_ids=np.concatenate(ids).astype(np.int32),
            uvs=_corners(meshes, "uvs", (0.0, 0.0)),
            uvs_1=_corners(meshes, "uvs_1", (0.0, 0.0)),
            # A normal of no length stands for "not given": it is computed where it is needed.
            normals=_corners(meshes, "normals", (0.0, 0.0, 0.0)),
            colours=_corners(meshes, "colours", (1.0, 1.0, 1.0, 1.0)),
            up=meshes[0].up,
        )


def _corners(meshes: Sequence[TexturedMesh], name: str, default: tuple[float, ...]) -> NDArray[Any] | None:
    """The meshes' values at corners in one array, `default` for those without; None where none has any."""
    given = [getattr(mesh, name) for mesh in meshes]
    if all(values is None for values in given):
        return None
    return np.concatenate(
        [
            np.broadcast_to(np.array(default, np.float32), (len(mesh.faces), 3, len(default)))
            if values is None
            else values
            for mesh, values in zip(meshes, given, strict=True)
        ]
    ).astype(np.float32)
