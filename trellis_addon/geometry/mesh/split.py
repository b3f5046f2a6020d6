"""Making a mesh two-manifold: one vertex for each fan of faces, and one edge between two vertices."""

from __future__ import annotations

import numpy as np

from . import kernels
from .kernels import run
from .topology import I32, I64, Bool, Edges, TriMesh, compact, groups, used_vertices, weld_cells
from .twins import crowded_vertices, junctions, opposite_pairs

# How far a vertex put on an edge goes towards its own two faces, as a share of the edge.
_ASIDE = 0.1


def split_vertices(mesh: TriMesh, twin: I32) -> TriMesh:
    """The mesh with one vertex for each fan of faces that `twin` joins round a vertex; windings must agree.

    Splits bow-ties and what `twin` no longer joins. New vertices lie where the old ones do.
    """
    corners = _suspicious_corners(mesh.faces, twin, len(mesh.vertices))
    if not len(corners):
        return mesh
    flat = mesh.faces.reshape(-1)
    after = next_round_vertex(twin, corners)
    place = np.full(len(flat), -1, np.int64)
    place[corners] = np.arange(len(corners))
    known = after >= 0
    fans, label = groups(len(corners), np.stack([np.flatnonzero(known), place[after[known]]], axis=1))
    vertex = np.zeros(fans, np.int64)
    vertex[label] = flat[corners]
    # The first fan of a vertex keeps its number.
    order = np.argsort(vertex, kind="stable")
    fresh = np.zeros(fans, np.bool_)
    fresh[order[1:]] = vertex[order[1:]] == vertex[order[:-1]]
    number = vertex.copy()
    number[fresh] = len(mesh.vertices) + np.arange(np.count_nonzero(fresh))
    faces = flat.copy()
    faces[corners] = number[label]
    return TriMesh(np.concatenate([mesh.vertices, mesh.vertices[vertex[fresh]]]), faces.reshape(-1, 3))


def manifold(mesh: TriMesh, apart: float) -> TriMesh:
    """A consistently wound mesh with at most two faces at an edge and one fan at a vertex, also once welded.

    Borders stay where they are. Vertices that share a place with another are moved by `apart` (in the mesh's units)
    towards their own faces, which keeps them apart for programs that weld.
    """
    edges = Edges.of(mesh.faces)
    twin = opposite_pairs(mesh, edges)
    crowded = crowded_vertices(mesh, edges, junctions(edges, twin))
    mesh = split_vertices(mesh, twin)
    return separated(mesh, twin, with_new(crowded, mesh), apart)


def separated(mesh: TriMesh, twin: I32, crowded: Bool, apart: float) -> TriMesh:
    """A mesh with one fan at each vertex, made so that it still is when vertices at one place are joined.

    `crowded` (N,) are the vertices between which there may be several edges.
    """
    return spread_vertices(_split_double_edges(mesh, twin, crowded), apart)


def with_new(vertices: Bool, mesh: TriMesh) -> Bool:
    """The mask of a mesh's vertices, and of all that have been added at its end since."""
    return np.concatenate([vertices, np.ones(len(mesh.vertices) - len(vertices), np.bool_)])


def spread_vertices(mesh: TriMesh, apart: float) -> TriMesh:
    """The mesh with vertices at one place moved by `apart` towards the middles and the front of their own faces."""
    if not len(mesh.faces):
        return mesh
    label, count = weld_cells(mesh.vertices)
    shared = np.bincount(label, minlength=count)[label] > 1
    if not shared.any():
        return mesh
    near = TriMesh(mesh.vertices, mesh.faces[shared[mesh.faces].any(1)])
    used = np.flatnonzero(used_vertices(near))
    near = compact(near)
    towards = _vertex_means(near, near.vertices[near.faces].mean(1, dtype=np.float64))
    normals = _vertex_means(near, near.crosses())
    several = shared[used]
    moved = used[several]
    step = towards[several] - mesh.vertices[moved]
    reach = np.linalg.norm(step, axis=1)
    # Two sides of a leaf have one middle; their normals tell them apart.
    step = step / np.maximum(reach, 1e-30)[:, None] + _unit(normals[several])
    step *= np.minimum(apart, reach / 2)[:, None] / np.maximum(np.linalg.norm(step, axis=1), 1e-3)[:, None]
    vertices = mesh.vertices.copy()
    vertices[moved] += step.astype(np.float32)
    return TriMesh(vertices, mesh.faces)


def next_round_vertex(twin: I32, corners: I64) -> I64:
    """The corner of the neighbouring face at the same vertex, -1 beyond a border."""
    before = corners - corners % 3 + (corners + 2) % 3
    return twin[before].astype(np.int64)


def _suspicious_corners(faces: I32, twin: I32, count: int) -> I64:
    """Corners at vertices whose faces are not seen to make one closed fan."""
    flat = faces.reshape(-1)
    degree, last = np.zeros(count, np.int32), np.full(count, -1, np.int32)
    run(kernels.last_corners, 1, flat, degree, last)
    closed = np.empty(count, np.bool_)
    run(kernels.closed_fans, count, twin, degree, last, closed)
    return np.flatnonzero(~closed[flat]) if not closed.all() else np.zeros(0, np.int64)


def _vertex_means(mesh: TriMesh, of_faces: np.ndarray) -> np.ndarray:
    """(N, 3) means of the faces' values (M, 3) over each vertex that has any."""
    rows, count = mesh.faces.reshape(-1), len(mesh.vertices)
    owner = np.repeat(np.arange(len(of_faces)), 3)
    total = np.stack([np.bincount(rows, of_faces[owner, axis], count) for axis in range(3)], axis=1)
    return total / np.maximum(np.bincount(rows, minlength=count), 1)[:, None]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1), 1e-30)[:, None]


def _split_double_edges(mesh: TriMesh, twin: I32, crowded: Bool) -> TriMesh:
    """The mesh with a vertex put on each of several edges between the same two vertices, so that they differ.

    Such edges are few, so they are treated one by one.
    """
    if not crowded.any():
        return mesh
    near = np.flatnonzero(crowded[mesh.faces].any(1))
    faces = mesh.faces[near]
    edges = Edges.of(faces)
    flat = faces.reshape(-1)
    more = edges.counts > 2
    two = edges.with_count(2)
    more[np.flatnonzero(edges.counts == 2)[flat[two[:, 0]] == flat[two[:, 1]]]] = True
    double = np.flatnonzero(more)
    if not len(double):
        return mesh
    places, middle_of = [], {}
    number = len(mesh.vertices)
    for edge in double:
        for row in edges.order[edges.first[edge] : edges.first[edge] + edges.counts[edge]]:
            half = int(3 * near[row // 3] + row % 3)
            if half in middle_of:
                continue
            sides = [half] if twin[half] < 0 else [half, int(twin[half])]
            tips = np.mean([mesh.vertices[mesh.faces[h // 3, (h + 2) % 3]] for h in sides], axis=0)
            a, b = mesh.vertices[mesh.faces[half // 3, [half % 3, (half + 1) % 3]]]
            places.append((a + b) / 2 + _ASIDE * (tips - (a + b) / 2))
            for side in sides:
                middle_of[side] = number
            number += 1
    whole = np.ones(len(mesh.faces), np.bool_)
    fresh = []
    for face in {half // 3 for half in middle_of}:
        whole[face] = False
        ring = []
        for slot in range(3):
            ring.append(int(mesh.faces[face, slot]))
            if 3 * face + slot in middle_of:
                ring.append(middle_of[3 * face + slot])
        if len(ring) == 4:
            # From the new vertex to the corner across it.
            slot = next(k for k in range(4) if ring[k] >= len(mesh.vertices))
            ring = ring[slot:] + ring[:slot]
            fresh += [(ring[0], ring[1], ring[2]), (ring[0], ring[2], ring[3])]
        else:
            places.append(mesh.vertices[mesh.faces[face]].mean(0))
            fresh += [(ring[k], ring[(k + 1) % len(ring)], number) for k in range(len(ring))]
            number += 1
    return TriMesh(
        np.concatenate([mesh.vertices, np.asarray(places, np.float32)]),
        np.concatenate([mesh.faces[whole], np.asarray(fresh, np.int32)]),
    )
