"""Remeshing as TRELLIS.2 does it, to be compared with: the surface at a distance from the original, on both sides.

A closed form gets an outer and an inner shell, an open sheet becomes a closed slab, and everything grows by the
band. The product does not remesh in this way; see `remesh`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trellis_addon.geometry.mesh.closest import Surface
from trellis_addon.geometry.mesh.topology import F32, I32, I64, TriMesh, compact

_COARSEST = 32
# A cell may hold the surface when its centre is no further off than half its diagonal, sqrt(3) / 2.
_REACH = 0.87
_OFFSETS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])
# The voxels round an edge along each axis, as offsets from the one whose far corner it is at.
_ROUND = np.array(
    [
        [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0)],
        [(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)],
        [(0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 0)],
    ]
)
_CORNER_PAIRS = [(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(_OFFSETS[a] - _OFFSETS[b]).sum() == 1]


def remesh_narrow_band(
    vertices: ArrayLike,
    faces: ArrayLike,
    center: ArrayLike,
    scale: float,
    resolution: int,
    band: float = 1,
    project_back: float = 0.0,
) -> tuple[F32, I32]:
    """Vertices (N, 3) and faces (M, 3) of the surface `band` voxels away from a mesh, on all sides.

    The grid has `resolution` voxels a side and covers a cube of side `scale` round `center`, in the mesh's units.
    `project_back` (0..1) moves the vertices that share of their way back to the mesh.
    """
    surface = Surface(vertices, faces)
    middle = np.asarray(center, np.float64).reshape(3)
    offset = band * scale / resolution

    def field(places: NDArray, side: int) -> NDArray[np.float32]:
        return surface.closest((places / side - 0.5) * scale + middle).distances - np.float32(offset)

    voxels = _near_voxels(field, scale, resolution)
    lattice = resolution + 1
    corners = voxels[:, None] + _OFFSETS
    distinct, place = np.unique(_key(corners.reshape(-1, 3), lattice), return_inverse=True)
    values = field(_unkey(distinct, lattice), resolution)[place.reshape(-1)].reshape(-1, 8)
    places = (_crossings(values) + voxels) / resolution
    quads = _quads(voxels, values, resolution)
    mesh = compact(TriMesh(((places - 0.5) * scale + middle).astype(np.float32), quads))
    if project_back and len(mesh.vertices):
        near = surface.closest(mesh.vertices).points
        mesh = TriMesh(mesh.vertices - np.float32(project_back) * (mesh.vertices - near), mesh.faces)
    return mesh.vertices, mesh.faces


def _near_voxels(field, scale: float, resolution: int) -> I64:  # type: ignore[no-untyped-def]
    """(L, 3) voxels that the offset surface may pass, found from coarse to fine."""
    side = resolution
    while side > _COARSEST and side % 2 == 0:
        side //= 2
    cells = np.indices((side,) * 3).reshape(3, -1).T
    while True:
        cells = cells[np.abs(field(cells + 0.5, side)) < _REACH * scale / side]
        if side == resolution:
            return cells
        side *= 2
        cells = (2 * cells[:, None] + _OFFSETS).reshape(-1, 3)


def _crossings(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """(L, 3) in 0..1: the mean of where the field changes its sign on a voxel's edges; its centre where it does not."""
    total = np.zeros((len(values), 3))
    count = np.zeros(len(values))
    for a, b in _CORNER_PAIRS:
        first, second = values[:, a].astype(np.float64), values[:, b].astype(np.float64)
        crossing = (first < 0) != (second < 0)
        share = np.where(crossing, first / np.where(crossing, first - second, 1), 0)
        total += np.where(crossing[:, None], _OFFSETS[a] + share[:, None] * (_OFFSETS[b] - _OFFSETS[a]), 0)
        count += crossing
    return np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], 0.5)


def _quads(voxels: I64, values: NDArray[np.float32], resolution: int) -> I32:
    """(M, 3) triangles, wound by whether the field rises or falls along the edge; always along diagonal A."""
    keys = _key(voxels, resolution + 1)
    order = np.argsort(keys)
    inside = values < 0
    found = []
    for axis in range(3):
        near = int(np.flatnonzero((1 - np.eye(3, dtype=np.int64)[axis] == _OFFSETS).all(1))[0])
        for rows, turn in (
            (np.flatnonzero(inside[:, near] & ~inside[:, 7]), (0, 2, 1, 0, 3, 2)),
            (np.flatnonzero(~inside[:, near] & inside[:, 7]), (0, 1, 2, 0, 2, 3)),
        ):
            wanted = _key((voxels[rows][:, None] + _ROUND[axis]).reshape(-1, 3), resolution + 1).reshape(-1, 4)
            place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
            quad = order[place]
            whole = (keys[quad] == wanted).all(1)
            found.append(quad[whole][:, list(turn)].reshape(-1, 3))
    return np.concatenate(found).astype(np.int32)


def _key(places: I64, side: int) -> I64:
    return (places[:, 0] * side + places[:, 1]) * side + places[:, 2]


def _unkey(keys: I64, side: int) -> I64:
    return np.stack([keys // side**2, keys // side % side, keys % side], axis=1)
