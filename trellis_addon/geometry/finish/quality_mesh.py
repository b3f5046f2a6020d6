"""A mesh's quality in numbers: how it hangs together, how far it is from the dense surface, how its triangles are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mesh.closest import Surface
from ..mesh.crossings import crossing_faces
from ..mesh.topology import I32, I64, Edges, TriMesh, compact, face_groups, least_angles, weld

# A component is a crumb when it is no larger than this, in voxels, or closed round less than this, in cubic voxels.
_CRUMB_SIZE, _CRUMB_VOLUME = 2.5, 0.02
# A face with a smaller angle than this, in degrees, is a sliver.
_SLIVER = 5.0

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
    """Whether every edge has two faces, wound against each other, and there are no crumbs."""
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
    self_intersections: int
    """Pairs of faces of which an edge of one passes through the other."""
    crumbs: int
    """Components that are next to nothing: as large as a voxel or two, or closed without a volume."""
    slivers: int
    """Faces with an angle of less than 5 degrees."""
    shortest_edge: float
    """As a share of the median edge's length."""

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
    count, component = face_groups(welded.faces, edges)
    crumbs = _crumbs(welded, edges, count, component, resolution)
    boundary, many = int((edges.counts == 1).sum()), int((edges.counts > 2).sum())
    return MeshQuality(
        faces=len(mesh.faces),
        vertices=len(mesh.vertices),
        components=count,
        boundary_edges=boundary,
        non_manifold_edges=many,
        watertight=bool(len(welded.faces)) and not (boundary or many or inconsistent or crumbs),
        inconsistent_edges=inconsistent,
        distance_mean=float(there.mean()),
        distance_p99=float(np.percentile(there, 99)),
        coverage_mean=float(back.mean()),
        coverage_p99=float(np.percentile(back, 99)),
        quality_mean=float(shape.mean()) if len(shape) else 0.0,
        quality_p1=float(np.percentile(shape, 1)) if len(shape) else 0.0,
        self_intersections=len(crossing_faces(welded)),
        crumbs=crumbs,
        slivers=int((least_angles(mesh) < np.radians(_SLIVER)).sum()),
        shortest_edge=_shortest_edge(welded),
    )


def triangle_quality(mesh: TriMesh) -> NDArray[np.float64]:
    """(M,) 4 sqrt(3) area / sum of squared sides, in 0..1."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    squares = ((corners - np.roll(corners, 1, axis=1)) ** 2).sum((1, 2))
    return 4 * np.sqrt(3) * mesh.areas() / np.maximum(squares, 1e-300)


def _shortest_edge(mesh: TriMesh) -> float:
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    return float(sides.min() / max(float(np.median(sides)), 1e-300)) if len(sides) else 0.0


def _crumbs(mesh: TriMesh, edges: Edges, count: int, component: I32, resolution: int) -> int:
    """How many of the components (their number for each face) are next to nothing, though there are several."""
    if count < 2:
        return 0
    extent = np.zeros(count)
    for axis in range(3):
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        for slot in range(3):
            values = mesh.vertices[mesh.faces[:, slot], axis].astype(np.float64)
            np.minimum.at(low, component, values)
            np.maximum.at(high, component, values)
        extent = np.maximum(extent, high - low)
    parts = np.einsum("ij,ij->i", mesh.vertices[mesh.faces[:, 0]], mesh.crosses())
    volume = np.abs(np.bincount(component, parts, count)) / 6
    open_ = np.zeros(count, np.bool_)
    open_[component[edges.with_count(1)[:, 0] // 3]] = True
    small = extent * resolution < _CRUMB_SIZE
    return int((small | (~open_ & (volume * float(resolution) ** 3 < _CRUMB_VOLUME))).sum())


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
