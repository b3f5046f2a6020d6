"""A mesh's quality in numbers: how it hangs together, how far it is from the dense surface, how its triangles are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mesh.closest import Surface
from ..mesh.topology import I32, I64, Edges, TriMesh, compact, face_groups, weld

# A face that looks away from the place of the dense surface next to it by more than a right angle counts as
# flipped only where it is this near, in voxels: further off, another wall may be nearer.
_NEAR = 0.5


@dataclass(frozen=True)
class MeshQuality:
    """Distances are in voxels. Topology is counted after joining vertices at one place."""

    faces: int
    vertices: int
    components: int
    boundary_edges: int
    non_manifold_edges: int
    watertight: bool
    """Whether every edge has two faces, wound against each other."""
    inconsistent_edges: int
    """Edges whose two faces are wound the same way: one of them is flipped."""
    distance_mean: float
    """From random places of the mesh to the dense surface."""
    distance_p99: float
    coverage_mean: float
    """From random places of the dense surface to the mesh; hidden inner walls count too."""
    coverage_p99: float
    quality_mean: float
    """Of 4 sqrt(3) area / sum of squared sides: 1 for an equilateral triangle, 0 for one without area."""
    quality_p1: float

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data; numbers rounded to what they are good for."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


def mesh_quality(
    mesh: TriMesh, dense: TriMesh | Surface, *, resolution: int, samples: int = 50_000, seed: int = 0
) -> MeshQuality:
    """The figures of a mesh against the dense surface it was made from; a voxel is 1/`resolution`.

    Distances are of `samples` random places on either surface. Raises `InputError` when one of them is empty.
    """
    surface = dense if isinstance(dense, Surface) else Surface(dense.vertices, dense.faces)
    random = np.random.default_rng(seed)
    ours, _ = sample_surface(mesh, samples, random)
    theirs, _ = sample_surface(TriMesh(surface.vertices, surface.faces), samples, random)
    there = surface.closest(ours).distances * resolution
    back = Surface(mesh.vertices, mesh.faces).closest(theirs).distances * resolution
    shape = triangle_quality(mesh)
    welded = compact(weld(mesh))
    edges = Edges.of(welded.faces)
    inconsistent = inconsistent_edges(welded.faces, edges)
    boundary, many = int((edges.counts == 1).sum()), int((edges.counts > 2).sum())
    return MeshQuality(
        faces=len(mesh.faces),
        vertices=len(mesh.vertices),
        components=face_groups(welded.faces)[0],
        boundary_edges=boundary,
        non_manifold_edges=many,
        watertight=bool(len(welded.faces)) and not boundary and not many and not inconsistent,
        inconsistent_edges=inconsistent,
        distance_mean=float(there.mean()),
        distance_p99=float(np.percentile(there, 99)),
        coverage_mean=float(back.mean()),
        coverage_p99=float(np.percentile(back, 99)),
        quality_mean=float(shape.mean()) if len(shape) else 0.0,
        quality_p1=float(np.percentile(shape, 1)) if len(shape) else 0.0,
    )


def triangle_quality(mesh: TriMesh) -> NDArray[np.float64]:
    """(M,) 4 sqrt(3) area / sum of squared sides, in 0..1."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    squares = ((corners - np.roll(corners, 1, axis=1)) ** 2).sum((1, 2))
    return 4 * np.sqrt(3) * mesh.areas() / np.maximum(squares, 1e-300)


def inconsistent_edges(faces: I32, edges: Edges) -> int:
    """How many edges have two faces that are wound the same way."""
    starts = faces.reshape(-1)[edges.with_count(2)]
    return int((starts[:, 0] == starts[:, 1]).sum())


def sample_surface(mesh: TriMesh, count: int, random: np.random.Generator) -> tuple[NDArray[np.float32], I64]:
    """Random places (count, 3) spread evenly over a mesh, and their faces (count,)."""
    areas = np.cumsum(np.nan_to_num(mesh.areas()))
    face = np.searchsorted(areas, random.random(count) * areas[-1], side="right").clip(0, len(areas) - 1)
    root, second = np.sqrt(random.random(count)), random.random(count)
    weights = np.stack([1 - root, root * (1 - second), root * second], axis=1).astype(np.float32)
    return np.einsum("sk,skc->sc", weights, mesh.vertices[mesh.faces[face]]), face
