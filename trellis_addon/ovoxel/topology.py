"""Triangle meshes and how their faces hang together.

Half-edge `3 * f + k` of face f runs from its corner k to its next corner; `3 * f + k` also names that corner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..errors import InputError

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

# Cells along the longer side of a mesh's box in which vertices count as one: a few steps of float32.
_WELD_CELLS = 1 << 20


_PIECE = 500_000  # faces


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
        """(M,) in square units; in pieces, as millions of faces would take gigabytes at once."""
        areas = np.empty(len(self.faces))
        for start in range(0, len(self.faces), _PIECE):
            piece = TriMesh(self.vertices, self.faces[start : start + _PIECE])
            areas[start : start + _PIECE] = np.linalg.norm(piece.crosses(), axis=1) / 2
        return areas

    def crosses(self) -> NDArray[np.float64]:
        """(M, 3): each face's normal, as long as twice its area."""
        a, b, c = (self.vertices[self.faces[:, k]].astype(np.float64) for k in range(3))
        return np.cross(b - a, c - a)


@dataclass(frozen=True)
class Edges:
    """Half-edges grouped by the two vertices they join, whatever their direction."""

    order: I64
    """(3 M,) half-edges, those of one edge next to each other."""
    first: I64
    """(E,) where each edge's half-edges start in `order`."""
    counts: I64
    """(E,) faces at each edge: 1 on a border, 2 inside, more where the mesh is not manifold."""

    @staticmethod
    def of(faces: I32) -> Edges:
        """The edges of faces (M, 3) without repeated corners."""
        starts = faces.reshape(-1).astype(np.int64)
        ends = np.roll(faces, -1, axis=1).reshape(-1).astype(np.int64)
        keys = np.minimum(starts, ends) * (int(faces.max(initial=0)) + 1) + np.maximum(starts, ends)
        order = np.argsort(keys)
        keys = keys[order]
        new = np.ones(len(keys), np.bool_)
        new[1:] = keys[1:] != keys[:-1]
        first = np.flatnonzero(new)
        return Edges(order, first, np.diff(first, append=len(keys)))

    def with_count(self, count: int) -> I64:
        """(n, count) half-edges of the edges that have just so many."""
        places = self.first[self.counts == count]
        return self.order[places[:, None] + np.arange(count)]


def twins(half_edges: int, pairs: I64) -> I32:
    """(half_edges,) the half-edge on the other side of each, -1 where there is none; `pairs` (P, 2)."""
    other = np.full(half_edges, -1, np.int32)
    other[pairs[:, 0]] = pairs[:, 1]
    other[pairs[:, 1]] = pairs[:, 0]
    return other


def groups(nodes: int, links: NDArray) -> tuple[int, I32]:
    """How many connected groups `nodes` joined by `links` (L, 2) make, and each node's group."""
    ones = np.ones(len(links), np.bool_)
    graph = coo_matrix((ones, (links[:, 0], links[:, 1])), shape=(nodes, nodes))
    count, labels = connected_components(graph, directed=False)
    return int(count), labels


def face_groups(faces: I32) -> tuple[int, I32]:
    """Components of faces (M, 3) that share edges: how many, and each face's."""
    if not len(faces):
        return 0, np.zeros(0, np.int32)
    edges = Edges.of(faces)
    same = np.diff(np.repeat(np.arange(len(edges.first)), edges.counts)) == 0
    face = edges.order // 3
    return groups(len(faces), np.stack([face[:-1][same], face[1:][same]], axis=1))


def weld(mesh: TriMesh) -> TriMesh:
    """The mesh with vertices at one place joined, and without faces that lose a corner by it."""
    if not len(mesh.vertices):
        return mesh
    label, count = weld_cells(mesh.vertices)
    kept = np.zeros(count, np.int64)
    kept[label] = np.arange(len(label))
    faces = label[mesh.faces]
    return TriMesh(mesh.vertices[kept], faces[~repeated_corners(faces)])


def weld_cells(vertices: F32) -> tuple[I32, int]:
    """(N,) numbers 0.. that vertices at one place share, within a few steps of float32, and how many there are."""
    low = vertices.min(0).astype(np.float64)
    extent = max(float((vertices.max(0) - low).max()), 1e-30)
    cells = np.rint((vertices - low) * (_WELD_CELLS / extent)).astype(np.int64)
    keys = (cells[:, 0] * (_WELD_CELLS + 1) + cells[:, 1]) * (_WELD_CELLS + 1) + cells[:, 2]
    order = np.argsort(keys)
    keys = keys[order]
    new = np.ones(len(keys), np.bool_)
    new[1:] = keys[1:] != keys[:-1]
    label = np.empty(len(keys), np.int32)
    label[order] = np.cumsum(new, dtype=np.int32) - np.int32(1)
    return label, int(new.sum())


def repeated_corners(faces: I32) -> Bool:
    """(M,) faces that name a vertex twice."""
    a, b, c = faces.T
    return (a == b) | (b == c) | (c == a)


def compact(mesh: TriMesh) -> TriMesh:
    """The mesh without vertices that no face uses."""
    used = np.zeros(len(mesh.vertices), np.bool_)
    used[mesh.faces] = True
    if used.all():
        return mesh
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return TriMesh(mesh.vertices[used], number[mesh.faces])
