"""Making a mesh two-manifold: which faces belong together at each edge, and one vertex for each fan of faces."""

from __future__ import annotations

import numpy as np

from .topology import I32, I64, Bool, Edges, TriMesh, groups, twins, weld_cells

_LONGEST_FAN = 24
# How far a vertex put on an edge goes towards its own two faces, as a share of the edge.
_ASIDE = 0.1


def likely_pairs(mesh: TriMesh, edges: Edges) -> I64:
    """Pairs (P, 2) of half-edges that probably are one surface, at edges where three or four faces meet.

    Of three faces the two that are flattest to each other; of four, neighbours round the edge, as where two
    solids touch.
    """
    pairs = [np.zeros((0, 2), np.int64)]
    threes, fours = edges.with_count(3), edges.with_count(4)
    if len(threes):
        angles = _angles(mesh, threes)
        # The bend between faces 1 and 2, 2 and 0, 0 and 1: what is left out is opposite.
        bend = np.stack([np.abs(_turn(angles[:, (k + 2) % 3] - angles[:, (k + 1) % 3])) for k in range(3)], axis=1)
        left = bend.argmin(1)
        rows = np.arange(len(threes))
        pairs.append(np.stack([threes[rows, (left + 1) % 3], threes[rows, (left + 2) % 3]], axis=1))
    if len(fours):
        angles = _angles(mesh, fours)
        order = np.argsort(angles, axis=1)
        around = np.take_along_axis(fours, order, axis=1)
        angles = np.take_along_axis(angles, order, axis=1)
        gaps = np.diff(angles, axis=1, append=angles[:, :1] + 2 * np.pi)
        shift = gaps[:, 1] + gaps[:, 3] < gaps[:, 0] + gaps[:, 2]
        around = np.where(shift[:, None], np.roll(around, -1, axis=1), around)
        pairs += [around[:, :2], around[:, 2:]]
    return np.concatenate(pairs)


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
    twin = opposite_pairs(mesh, Edges.of(mesh.faces))
    return separated(split_vertices(mesh, twin), twin, apart)


def separated(mesh: TriMesh, twin: I32, apart: float) -> TriMesh:
    """A mesh with one fan at each vertex, made so that it still is when vertices at one place are joined."""
    return spread_vertices(_split_double_edges(mesh, twin), apart)


def spread_vertices(mesh: TriMesh, apart: float) -> TriMesh:
    """The mesh with vertices at one place moved by `apart` towards the middles and the front of their own faces."""
    if not len(mesh.faces):
        return mesh
    label, count = weld_cells(mesh.vertices)
    shared = np.bincount(label, minlength=count)[label] > 1
    if not shared.any():
        return mesh
    near = TriMesh(mesh.vertices, mesh.faces[shared[mesh.faces].any(1)])
    rows = near.faces.reshape(-1)
    towards = _vertex_means(rows, near.vertices[near.faces].mean(1, dtype=np.float64), len(mesh.vertices))
    normals = _vertex_means(rows, near.crosses(), len(mesh.vertices))
    moved = np.flatnonzero(shared & (np.bincount(rows, minlength=len(mesh.vertices)) > 0))
    step = towards[moved] - mesh.vertices[moved]
    reach = np.linalg.norm(step, axis=1)
    # Two sides of a leaf have one middle; their normals tell them apart.
    step = step / np.maximum(reach, 1e-30)[:, None] + _unit(normals[moved])
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
    degree = np.bincount(flat, minlength=count)
    start = np.full(count, -1, np.int64)
    start[flat] = np.arange(len(flat))
    sound: Bool = degree == 0
    walking = np.flatnonzero(~sound)
    corner = start[walking]
    for step in range(1, _LONGEST_FAN + 1):
        corner = next_round_vertex(twin, corner)
        closed = corner == start[walking]
        sound[walking[closed & (degree[walking] == step)]] = True
        on = ~closed & (corner >= 0)
        walking, corner = walking[on], corner[on]
        if not len(walking):
            break
    return np.flatnonzero(~sound[flat])


def _vertex_means(rows: np.ndarray, of_faces: np.ndarray, count: int) -> np.ndarray:
    """(count, 3) means of the faces' values (n, 3) over the vertices `rows` (3 n,) that they have."""
    owner = np.repeat(np.arange(len(of_faces)), 3)
    total = np.stack([np.bincount(rows, of_faces[owner, axis], count) for axis in range(3)], axis=1)
    return total / np.maximum(np.bincount(rows, minlength=count), 1)[:, None]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1), 1e-30)[:, None]


def opposite_pairs(mesh: TriMesh, edges: Edges) -> I32:
    """(3 M,) the half-edge across each, -1 at borders, where only half-edges that run against each other are joined.

    Where more than two faces meet, each half-edge that runs one way is joined to the next one round the edge if that
    runs the other way: these two are the sides of one gap between solids.
    """
    flat = mesh.faces.reshape(-1)
    two = edges.with_count(2)
    pairs = [two[flat[two[:, 0]] != flat[two[:, 1]]]]
    for count in np.unique(edges.counts[edges.counts > 2]):
        members = edges.with_count(int(count))
        order = np.argsort(_angles(mesh, members), axis=1)
        members = np.take_along_axis(members, order, axis=1)
        forward = flat[members] == flat[members].max(1, keepdims=True)
        rows = np.arange(len(members))
        left = np.ones(members.shape, np.bool_)
        # Like brackets: what lies between two that are joined has been joined before.
        for _ in range(int(count) // 2):
            joined = np.zeros(len(members), np.bool_)
            for start in range(int(count)):
                after = _next_left(left, start)
                fits = ~joined & left[:, start] & (after != start) & forward[:, start] & ~forward[rows, after]
                pairs.append(np.stack([members[fits, start], members[fits, after[fits]]], axis=1))
                left[fits, start] = False
                left[fits, after[fits]] = False
                joined |= fits
    return twins(len(flat), np.concatenate(pairs))


def _next_left(left: Bool, start: int) -> I64:
    """(n,) the column of the next one that is left after `start`, going round."""
    turned = np.roll(left, -start - 1, axis=1)
    return (turned.argmax(1) + start + 1) % left.shape[1]


def _split_double_edges(mesh: TriMesh, twin: I32) -> TriMesh:
    """The mesh with a vertex put on each of several edges between the same two vertices, so that they differ.

    Such edges are few, so they are treated one by one.
    """
    edges = Edges.of(mesh.faces)
    flat = mesh.faces.reshape(-1)
    more = edges.counts > 2
    two = edges.with_count(2)
    more[np.flatnonzero(edges.counts == 2)[flat[two[:, 0]] == flat[two[:, 1]]]] = True
    double = np.flatnonzero(more)
    if not len(double):
        return mesh
    places, middle_of = [], {}
    number = len(mesh.vertices)
    for edge in double:
        for half in edges.order[edges.first[edge] : edges.first[edge] + edges.counts[edge]]:
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


def _angles(mesh: TriMesh, half_edges: I64) -> np.ndarray:
    """(n, k) the direction in which each edge's faces lie round it, in radians."""
    face, slot = np.divmod(half_edges, 3)
    corners = mesh.vertices[mesh.faces[face]].astype(np.float64)
    rows, columns = np.indices(half_edges.shape)
    tip = corners[rows, columns, (slot + 2) % 3]
    start, end = corners[rows[:, 0], 0, slot[:, 0]], corners[rows[:, 0], 0, (slot[:, 0] + 1) % 3]
    axis = end - start
    axis /= np.maximum(np.linalg.norm(axis, axis=1), 1e-30)[:, None]
    arm = tip - start[:, None]
    arm -= np.einsum("nkc,nc->nk", arm, axis)[..., None] * axis[:, None]
    x = arm[:, 0] / np.maximum(np.linalg.norm(arm[:, 0], axis=1), 1e-30)[:, None]
    y = np.cross(axis, x)
    return np.arctan2(np.einsum("nkc,nc->nk", arm, y), np.einsum("nkc,nc->nk", arm, x)) % (2 * np.pi)


def _turn(angle: np.ndarray) -> np.ndarray:
    """The same angle in -pi..pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
