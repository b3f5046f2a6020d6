"""Triangle meshes and how their faces hang together.

Half-edge `3 * f + k` of face f runs from its corner k to its next corner; `3 * f + k` also names that corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...core.errors import InputError
from . import group_kernels, kernels
from .kernels import run

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

# Cells along the longer side of a mesh's box in which vertices count as one: a few steps of float32.
_WELD_CELLS = 1 << 20
# Where more of the vertices than this share are at one place with others, all are put in order.
_MANY = 0.05


@dataclass(frozen=True)
class TriMesh:
    """Vertices (N, 3) float32 and triangles (M, 3) int32."""

    vertices: F32
    faces: I32

    @staticmethod
    def of(vertices: ArrayLike, faces: ArrayLike) -> TriMesh:
        """A mesh of arrays of any number type.

        Raises `InputError` for other shapes and for vertex numbers out of range.
        """
        places = np.asarray(vertices)
        triangles = np.asarray(faces)
        if places.size == 0:
            places = places.reshape(0, 3)
        if triangles.size == 0:
            triangles = triangles.reshape(0, 3)
        if places.ndim != 2 or places.shape[1] != 3 or triangles.ndim != 2 or triangles.shape[1] != 3:
            raise InputError("A mesh needs vertices (N, 3) and triangles (M, 3); cut larger polygons into triangles.")
        if len(triangles) and (triangles.min() < 0 or triangles.max() >= len(places)):
            raise InputError("The mesh's faces name vertices that it does not have; give a whole mesh.")
        return TriMesh(
            np.ascontiguousarray(places, np.float32), np.ascontiguousarray(triangles.astype(np.int32, copy=False))
        )

    def take(self, faces: NDArray) -> TriMesh:
        """The mesh of some faces (a mask or numbers), with the vertices they use."""
        return compact(TriMesh(self.vertices, self.faces[faces]))

    def areas(self) -> NDArray[np.float64]:
        """(M,) in square units."""
        doubled = np.empty(len(self.faces))
        run(kernels.double_areas, len(self.faces), self.vertices, self.faces.reshape(-1), doubled)
        doubled /= 2
        return doubled

    def crosses(self) -> NDArray[np.float64]:
        """(M, 3): each face's normal, as long as twice its area."""
        a, b, c = (self.vertices[self.faces[:, k]].astype(np.float64) for k in range(3))
        return np.cross(b - a, c - a)


@dataclass(frozen=True)
class Edges:
    """Half-edges grouped by the two vertices they join, whatever their direction."""

    order: I32
    """(3 M,) half-edges, those of one edge next to each other, in order of their numbers."""
    first: I32
    """(E,) where each edge's half-edges start in `order`."""
    counts: I32
    """(E,) faces at each edge: 1 on a border, 2 inside, more where the mesh is not manifold."""

    @staticmethod
    def of(faces: I32) -> Edges:
        """The edges of faces (M, 3) without repeated corners, sorted by their lower, then by their upper vertex."""
        flat = np.ascontiguousarray(faces, np.int32).reshape(-1)
        vertices = int(flat.max(initial=-1)) + 1
        # One place more, so that the sums say where each vertex's half-edges start.
        lower, upper = np.zeros(vertices + 1, np.int32), np.zeros(vertices + 1, np.int32)
        run(kernels.count_ends, 1, flat, lower[1:], upper[1:])
        np.cumsum(lower, out=lower)
        np.cumsum(upper, out=upper)
        scratch, order = np.empty(len(flat), np.int32), np.empty(len(flat), np.int32)
        run(kernels.sort_half_edges, 1, flat, lower, upper, scratch, order)
        number = np.zeros(1, np.int32)
        run(kernels.list_edges, 1, flat, order, scratch, number)
        first = scratch[: number[0]].copy()
        counts = np.empty_like(first)
        np.subtract(first[1:], first[:-1], out=counts[:-1])
        counts[-1:] = len(order) - first[-1:]
        return Edges(order, first, counts)

    def with_count(self, count: int) -> I32:
        """(n, count) half-edges of the edges that have just so many."""
        places = self.first[self.counts == count]
        if not len(places):
            return np.zeros((0, count), np.int32)
        return np.stack([self.order[places + np.int32(k)] for k in range(count)], axis=1)


def groups(nodes: int, links: NDArray) -> tuple[int, I32]:
    """How many connected groups `nodes` joined by `links` (L, 2) make, and each node's, numbered by first nodes."""
    above = np.arange(nodes, dtype=np.int32)
    run(group_kernels.join_links, 1, np.ascontiguousarray(links, np.int32), above)
    return _numbered(above)


def vertex_groups(faces: I32, vertices: int) -> tuple[int, I32]:
    """Groups of `vertices` that the faces (M, 3) join: how many, and each vertex's."""
    above = np.arange(vertices, dtype=np.int32)
    run(group_kernels.join_faces, 1, faces.reshape(-1), above)
    return _numbered(above)


def twin_groups(twin: I32) -> tuple[int, I32]:
    """Groups of faces that `twin` (3 M,) joins: how many, and each face's."""
    above = np.arange(len(twin) // 3, dtype=np.int32)
    run(group_kernels.join_twins, 1, twin, above)
    return _numbered(above)


def joined(meshes: Sequence[TriMesh]) -> TriMesh:
    """All of them as one, the first one's faces first; nothing is welded."""
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    faces = [mesh.faces + np.int32(start) for mesh, start in zip(meshes, starts, strict=False)]
    return TriMesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces))


def face_groups(faces: I32, edges: Edges | None = None) -> tuple[int, I32]:
    """Components of faces (M, 3) that share edges: how many, and each face's."""
    edges = edges or Edges.of(faces)
    above = np.arange(len(faces), dtype=np.int32)
    run(group_kernels.join_edges, 1, edges.order, edges.first, edges.counts, above)
    return _numbered(above)


def _numbered(above: I32) -> tuple[int, I32]:
    label, count = np.empty(len(above), np.int32), np.zeros(1, np.int32)
    run(group_kernels.number_groups, 1, above, label, count)
    return int(count[0]), label


def weld(mesh: TriMesh) -> TriMesh:
    """The mesh with vertices at one place joined, and without faces that lose a corner by it."""
    if not len(mesh.vertices):
        return mesh
    label, count = weld_cells(mesh.vertices)
    if count == len(label):
        return mesh
    kept = np.empty(count, np.int64)
    # Of several at one place the first, as it is written last.
    kept[label[::-1]] = np.arange(len(label) - 1, -1, -1)
    return without_repeats(TriMesh(mesh.vertices[kept], label[mesh.faces]))


def weld_cells(vertices: F32) -> tuple[I32, int]:
    """(N,) numbers 0.. that vertices at one place share, within a few steps of float32, and how many there are.

    Numbers follow the vertices' order.
    """
    low, high = (bound.astype(np.float64) for bound in bounds(vertices))
    extent = max(float((high - low).max()), 1e-30)
    keys = np.empty(len(vertices), np.int64)
    run(kernels.cell_keys, len(vertices), vertices, low, _WELD_CELLS / extent, _WELD_CELLS + 1, keys)
    ordered = np.sort(keys)
    shared = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(shared):
        return np.arange(len(keys), dtype=np.int32), len(keys)
    # Vertices that share their place are few in most meshes: only these are compared.
    several: NDArray[np.intp] = np.arange(len(keys))
    if len(shared) < _MANY * len(keys):
        several = np.flatnonzero(shared[np.minimum(np.searchsorted(shared, keys), len(shared) - 1)] == keys)
    _, first, same = np.unique(keys[several], return_index=True, return_inverse=True)
    chosen = np.arange(len(keys))
    chosen[several] = several[first[same]]
    new = chosen == np.arange(len(keys))
    number = np.cumsum(new, dtype=np.int32) - np.int32(1)
    return number[chosen], int(number[-1]) + 1


def bounds(vertices: F32) -> tuple[F32, F32]:
    """The lowest and the highest coordinates, (3,) each: by columns, as NumPy is slow along a long first axis."""
    columns = vertices.T
    return np.array([column.min() for column in columns]), np.array([column.max() for column in columns])


def without_repeats(mesh: TriMesh) -> TriMesh:
    """The mesh without the faces that name a vertex twice."""
    repeated = repeated_corners(mesh.faces)
    return TriMesh(mesh.vertices, mesh.faces[~repeated]) if repeated.any() else mesh


def repeated_corners(faces: I32) -> Bool:
    """(M,) faces that name a vertex twice."""
    a, b, c = faces.T
    return (a == b) | (b == c) | (c == a)


def least_angles(mesh: TriMesh) -> NDArray[np.float64]:
    """(M,) each face's smallest angle in radians; 0 for one without area."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    sides = np.sort(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2), axis=1)
    # The smallest angle lies between the two longest sides.
    sine = 2 * mesh.areas() / np.maximum(sides[:, 1] * sides[:, 2], 1e-300)
    return np.arcsin(np.minimum(sine, 1.0))


def distinct_faces(faces: I32, edges: Edges) -> Bool:
    """(M,) all faces but those that have the same three corners, in any order, as one before them."""
    kept = np.ones(len(faces), np.bool_)
    run(kernels.mark_doubles, len(edges.first), faces.reshape(-1), edges.order, edges.first, edges.counts, kept)
    return kept


def compact(mesh: TriMesh) -> TriMesh:
    """The mesh without vertices that no face uses."""
    used = used_vertices(mesh)
    if used.all():
        return mesh
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return TriMesh(mesh.vertices[used], number[mesh.faces])


def in_order(mesh: TriMesh) -> TriMesh:
    """The mesh with its faces in order of their lowest vertices.

    Where vertices next to each other have numbers near each other, as those of voxels do, faces then have too, and
    all that walks over them finds what it needs in the processor's cache.
    """
    first, unsorted = np.zeros(len(mesh.vertices) + 1, np.int32), np.zeros(1, np.bool_)
    run(kernels.count_lowest, 1, mesh.faces.reshape(-1), first[1:], unsorted)
    if not unsorted[0]:
        return mesh
    np.cumsum(first, out=first)
    faces = np.empty_like(mesh.faces)
    run(kernels.sort_faces, 1, mesh.faces.reshape(-1), first, faces.reshape(-1))
    return TriMesh(mesh.vertices, faces)


def used_vertices(mesh: TriMesh) -> Bool:
    """(N,) vertices that some face has."""
    used = np.zeros(len(mesh.vertices), np.bool_)
    run(kernels.mark_used, mesh.faces.size, mesh.faces.reshape(-1), used)
    return used
