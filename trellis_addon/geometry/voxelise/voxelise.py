"""Any textured mesh to O-Voxel: the front half of the round trip that makes one clean asset of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...core.errors import FieldError, InputError
from ...core.messages import message
from ...core.progress import Progress
from ...formats.glb.textured_mesh import TexturedMesh
from ..voxels.dual_grid import dual_grid_to_mesh
from .attributes import CHANNELS, surface_attributes
from .dual_grid import TEXTURING_WEIGHTS, mesh_to_dual_grid

MIN_RESOLUTION, MAX_RESOLUTION = 8, 2048

# Columns are the images of x, y, z: what points up in the file points along z in the cube.
_TO_Z_UP = {"Y": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), "Z": np.eye(3)}


@dataclass(frozen=True)
class OVoxel:
    """A surface and its material in sparse voxels, in the cube [-0.5, 0.5]^3 with z up.

    `coords` (L, 3) int32; `dual_vertices` (L, 3) voxel-local; `intersected` (L, 3) bool; `attributes` (L, 6)
    in about 0..1: base colour (sRGB), metallic, roughness, alpha; `split_weight` (L, 1) or None. `transform`
    (4, 4) takes points of the cube to the frame that the input had, with `up` there. `alpha_mode` is what the
    input's materials ask for, None where that is not known.
    """

    coords: NDArray[np.int32]
    dual_vertices: NDArray[np.float32]
    intersected: NDArray[np.bool_]
    attributes: NDArray[np.float32]
    resolution: int
    split_weight: NDArray[np.float32] | None = None
    transform: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    up: str = "Z"
    alpha_mode: str | None = None

    def __post_init__(self) -> None:
        count = len(self.coords)
        shapes = ((self.coords, 3), (self.dual_vertices, 3), (self.intersected, 3), (self.attributes, 6))
        if any(array.shape != (count, width) for array, width in shapes) or (
            self.split_weight is not None and len(self.split_weight) != count
        ):
            raise InputError("The arrays of an O-Voxel must have one row for each voxel.")

    def mesh(self, split: str = "flat") -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Vertices (L, 3) in the cube and faces (F, 3), not consistently wound; see `dual_grid_to_mesh`."""
        vertices, faces = dual_grid_to_mesh(
            self.coords, self.dual_vertices, self.intersected, self.split_weight, grid_size=self.resolution, split=split
        )
        return vertices, faces


def voxelise(
    mesh: TexturedMesh,
    resolution: int = 512,
    *,
    colours: bool = True,
    transform: NDArray[np.float64] | None = None,
    progress: Progress | None = None,
) -> OVoxel:
    """The mesh in voxels of 1 / `resolution` of the cube, into which it is moved, turned and scaled to fit.

    Without `colours` only the shape counts: all attributes are 0. A `transform` (4, 4) from the cube to the mesh's
    frame puts it elsewhere in the cube than where it fills it, as a part of something larger.

    Raises `InputError` for meshes without extent, `FieldError` for resolutions outside of 8 to 2048.
    """
    progress = progress or Progress()
    check_resolution(resolution)
    transform = fitting_transform(mesh, resolution) if transform is None else transform
    back = np.linalg.inv(transform)
    points = (mesh.vertices.astype(np.float64) @ back[:3, :3].T + back[:3, 3]).astype(np.float32)
    points, faces = welded(points, mesh.faces)
    coords, dual_vertices, intersected = mesh_to_dual_grid(
        points,
        faces,
        grid_size=resolution,
        aabb=((-0.5,) * 3, (0.5,) * 3),
        closed_ties=True,
        drop_grazed=True,
        progress=progress.part(0.0, 0.6),
        **TEXTURING_WEIGHTS,
    )
    if not len(coords):
        raise InputError("Nothing of the mesh is as large as a voxel; take a higher resolution.")
    if colours:
        corners = (points.astype(np.float64)[faces] + 0.5) * resolution
        attributes = surface_attributes(mesh, corners, coords, resolution, progress=progress.part(0.6, 1.0))
    else:
        attributes = np.zeros((len(coords), CHANNELS), np.float32)
    return OVoxel(
        coords, dual_vertices, intersected, attributes, resolution, None, transform, mesh.up, _alpha_mode(mesh)
    )


def check_resolution(resolution: int) -> None:
    """Raises `FieldError` for a resolution that cannot be."""
    if not MIN_RESOLUTION <= resolution <= MAX_RESOLUTION:
        raise FieldError(
            "resolution",
            resolution,
            message("it must be from {smallest} to {largest}", smallest=MIN_RESOLUTION, largest=MAX_RESOLUTION),
        )


def fitting_transform(mesh: TexturedMesh, resolution: int) -> NDArray[np.float64]:
    """(4, 4) from the cube to the mesh's frame; the mesh fills the cube but for a voxel on every side."""
    low, high = mesh.bounds()
    extent = float((high - low).max())
    if extent >= 1e12:
        raise InputError(
            "The mesh is {extent} units long, more than can be divided into voxels; scale it down.",
            extent=f"{extent:.3g}",
        )
    if not extent > 1e-12:
        raise InputError("The mesh has no extent that could be divided into voxels.")
    scale = extent / (1 - 2 / resolution)
    transform = np.eye(4)
    transform[:3, :3] = _TO_Z_UP[mesh.up].T * scale
    transform[:3, 3] = (low + high) / 2
    return transform


def welded(points: NDArray[np.float32], faces: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The same triangles over points that are all different: seams of texture and shading are no borders."""
    keys = np.ascontiguousarray(points + np.float32(0)).view(np.dtype((np.void, 12)))[:, 0]  # -0 becomes 0
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    return points[first], number.reshape(-1)[faces]


def _alpha_mode(mesh: TexturedMesh) -> str:
    modes = {mesh.materials[number].alpha_mode for number in np.unique(mesh.ids)}
    return next(mode for mode in ("BLEND", "MASK", "OPAQUE") if mode in modes)
