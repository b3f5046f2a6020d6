"""A textured mesh to one clean asset in its place.

The mesh becomes voxels, and their shape is finished as a generation's is: parts that lie inside of others, doubled
walls and piles of materials go, one surface comes back. Its textures are read from the mesh itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from ...core.errors import FieldError, InputError
from ...core.messages import message
from ...core.progress import Progress
from ...formats.glb.textured_mesh import TexturedMesh
from ..bake.source import BakeSource
from ..mesh.topology import TriMesh
from ..remesh.remesh import Solidity
from ..voxelise.voxelise import OVoxel, check_resolution, fitting_transform, voxelise
from .finish import FEWEST, DenseAsset, FinishedAsset, Finishing, Placement, check_textures, finish_levels
from .shells import shells

# Of a triangle whose height is less than such a share of its length nothing is there but rounding.
_LINE = 1e-6


class RoundTripOptions(Finishing, total=False):
    """How a mesh goes through voxels; see `round_trip_levels`."""

    resolution: int


def round_trip(mesh: TexturedMesh, *, faces: int = 100_000, **options: Unpack[RoundTripOptions]) -> FinishedAsset:
    """The mesh as one clean asset of at most `faces` triangles; `options` and errors as in `round_trip_levels`."""
    return round_trip_levels(mesh, (faces,), **options)[0]


def round_trip_levels(
    mesh: TexturedMesh,
    faces: Sequence[int],
    *,
    resolution: int = 512,
    texture_size: int = 2048,
    remesh: bool = True,
    quads: int | None = None,
    solidity: Solidity = "automatic",
    normal_map: bool | None = None,
    texture_format: str = "webp",
    name: str = "Asset",
    provenance: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> list[FinishedAsset]:
    """The mesh as several assets, each of at most so many triangles, from the finest on: through voxels of 1 /
    `resolution` of its extent, finished, at its own place and in its own size. Without `remesh` it keeps its own
    surface, and is only cleaned and simplified.

    The GLB is Y up, whichever way is up in the mesh. Raises what `voxelise` and `finish` raise.
    """
    progress = progress or Progress()
    check_resolution(resolution)
    check_textures(texture_size, texture_format)
    if not faces or min(faces) < FEWEST:
        raise FieldError(
            "faces", min(faces, default=0), message("it must be at least {fewest} triangles", fewest=FEWEST)
        )
    mesh = _with_area(mesh)
    transform = fitting_transform(mesh, resolution)
    source = BakeSource.of(mesh, transform, 1.0 / resolution, device)
    places = source.surface.vertices
    dense: list[DenseAsset] = []
    sources: list[BakeSource] = []
    # quads are laid on voxels' surface, which is even
    is_kept = not remesh and quads is None
    for faces_of in (parts := shells(mesh, places, 1.0 / resolution)):
        part = progress.part(0.2 * len(dense) / len(parts), 0.2 * (len(dense) + 1) / len(parts))
        shape = mesh.take(faces_of)
        sources.append(source if len(parts) == 1 else BakeSource.of(shape, transform, 1.0 / resolution, device))
        surface = TriMesh.of(places, shape.faces)
        if is_kept:
            dense.append(_as_it_is(surface, resolution))
        else:
            volume = voxelise(shape, resolution, colours=False, transform=transform, progress=part)
            dense.append(replace(dense_asset(volume, surface), two_faced=sources[-1].two_faced()))
    first, *further = dense
    return finish_levels(
        first,
        faces,
        texture_size=texture_size,
        remesh=remesh,
        quads=quads,
        solidity=solidity,
        normal_map=normal_map,
        texture_format=texture_format,
        provenance=provenance,
        name=name,
        placement=_placement(transform, mesh.up),
        sources=sources,
        further=further,
        progress=progress.part(0.2, 1.0),
        device=device,
    )


def _with_area(mesh: TexturedMesh) -> TexturedMesh:
    """The mesh without triangles that are points or lines: there is nothing to be seen of them."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    longest = np.maximum((one * one).sum(1), (two * two).sum(1))
    seen = np.linalg.norm(np.cross(one, two), axis=1) > _LINE * longest
    if len(seen) and not seen.any():
        raise InputError("The mesh has no surface: all its triangles are points or lines.")
    return mesh if seen.all() else mesh.take(seen)


def dense_asset(volume: OVoxel, shape: TriMesh | None = None) -> DenseAsset:
    """What finishing starts from; `shape` is the mesh that the voxels were made of, in their cube."""
    vertices, faces = volume.mesh()
    return DenseAsset(vertices, faces, volume.coords, volume.attributes, volume.resolution, volume.intersected, shape)


def _as_it_is(surface: TriMesh, resolution: int) -> DenseAsset:
    """A surface that is finished without voxels, where it is not remeshed."""
    none = np.zeros((0, 3), np.int32)
    return DenseAsset(surface.vertices, surface.faces, none, np.zeros((0, 6), np.uint8), resolution, shape=surface)


def _placement(transform: NDArray[np.float64], up: str) -> Placement:
    """Out of the cube and back to where the mesh was."""
    x, y, z = (float(value) for value in transform[:3, 3])
    centre = (x, -z, y) if up == "Y" else (x, y, z)
    return Placement(float(np.linalg.norm(transform[:3, 0])), centre)
