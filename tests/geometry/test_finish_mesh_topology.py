"""How faces hang together, against plain and slow ways to say the same."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from bad_meshes import cube_mesh, grid_of, random_grid, torus
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from trellis_addon.geometry.mesh.orient import consistent, flip, flipped_half_edges
from trellis_addon.geometry.mesh.topology import (
    Edges,
    TriMesh,
    compact,
    distinct_faces,
    face_groups,
    groups,
    in_order,
    repeated_corners,
    twin_groups,
    vertex_groups,
    weld,
    weld_cells,
)
from trellis_addon.geometry.mesh.twins import crowded_vertices, junctions, opposite_pairs


def random_faces(seed: int, vertices: int, count: int) -> np.ndarray:
    faces = np.random.default_rng(seed).integers(0, vertices, (count, 3)).astype(np.int32)
    return faces[~repeated_corners(faces)]


def fan(count: int) -> np.ndarray:
    """`count` faces on one edge, and as many round one vertex."""
    outer = np.arange(2, count + 2)
    pages = np.stack([np.zeros(count), np.ones(count), outer], 1)
    wheel = np.stack([np.zeros(count), outer, np.roll(outer, -1)], 1)
    return np.concatenate([pages, wheel]).astype(np.int32)


CASES = [np.zeros((0, 3), np.int32), random_faces(0, 12, 300), random_faces(1, 400, 300), fan(500)]


@pytest.mark.parametrize("faces", CASES)
def test_edges_are_half_edges_by_their_two_vertices(faces: np.ndarray) -> None:
    expected = defaultdict(list)
    for f, face in enumerate(faces.tolist()):
        for k in range(3):
            expected[tuple(sorted((face[k], face[(k + 1) % 3])))].append(3 * f + k)
    edges = Edges.of(faces)
    found = [edges.order[a : a + n].tolist() for a, n in zip(edges.first.tolist(), edges.counts.tolist(), strict=True)]
    assert found == [expected[key] for key in sorted(expected)]
    for count in (1, 2, 3):
        assert edges.with_count(count).tolist() == [row for row in found if len(row) == count]


@pytest.mark.parametrize(("nodes", "links"), [(0, 0), (5, 0), (50, 30), (1000, 900), (1000, 5000)])
def test_groups_are_scipys(nodes: int, links: int) -> None:
    pairs = np.random.default_rng(nodes + links).integers(0, max(nodes, 1), (links, 2))
    graph = coo_matrix((np.ones(links), pairs.T), shape=(nodes, nodes)) if nodes else None
    count, labels = connected_components(graph, directed=False) if nodes else (0, np.zeros(0))
    ours, numbers = groups(nodes, pairs)
    assert ours == count and np.array_equal(numbers, labels)


@pytest.mark.parametrize("faces", CASES[1:])
def test_faces_and_vertices_in_groups(faces: np.ndarray) -> None:
    edges = Edges.of(faces)
    links = []
    for a, n in zip(edges.first, edges.counts, strict=True):
        links += [(edges.order[a] // 3, h // 3) for h in edges.order[a + 1 : a + n]]
    count, labels = groups(len(faces), np.array(links, np.int32).reshape(-1, 2))
    found, numbers = face_groups(faces)
    assert found == count and np.array_equal(numbers, labels)
    vertices = int(faces.max()) + 3
    count, labels = groups(vertices, np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]]))
    found, numbers = vertex_groups(faces, vertices)
    assert found == count and np.array_equal(numbers, labels)


@pytest.mark.parametrize("seed", range(3))
def test_faces_flipped_at_random_are_found(seed: int) -> None:
    mesh = grid_of(torus(), 24).mesh()
    flips, component, kept = consistent(mesh.faces, Edges.of(mesh.faces).with_count(2))
    even = flip(mesh.faces, flips)
    assert not component.any() and len(kept) == 3 * len(even) // 2
    random = np.random.default_rng(seed).random(len(even)) < 0.5
    uneven = flip(even, random)
    again, _, _ = consistent(uneven, Edges.of(uneven).with_count(2))
    # Either all that were flipped or all that were not: the first face stays as it is.
    assert np.array_equal(again, random ^ random[0])
    half_edges = np.arange(even.size, dtype=np.int32)
    numbers = flipped_half_edges(half_edges, random)
    ends = np.stack([even, np.roll(even, -1, 1)], 2).reshape(-1, 2)
    turned = np.stack([uneven, np.roll(uneven, -1, 1)], 2).reshape(-1, 2)[numbers]
    assert np.array_equal(np.sort(ends, 1), np.sort(turned, 1))


def test_of_faces_on_the_same_corners_the_first_stays() -> None:
    faces = np.array([[0, 1, 2], [2, 1, 3], [1, 2, 0], [0, 2, 1], [3, 2, 1], [0, 1, 3]], np.int32)
    assert distinct_faces(faces, Edges.of(faces)).tolist() == [True, True, False, False, False, True]


@pytest.mark.parametrize("copies", [3, 400])
def test_vertices_at_one_place_are_joined_and_the_rest_keep_their_order(copies: int) -> None:
    random = np.random.default_rng(0)
    single = random.random((500, 3)).astype(np.float32)
    chosen = random.choice(500, copies, replace=False)
    vertices = np.concatenate([single, single[chosen]])
    label, count = weld_cells(vertices)
    assert count == 500
    assert np.array_equal(label, np.concatenate([np.arange(500), chosen]))
    mesh = weld(TriMesh.of(vertices, random_faces(2, len(vertices), 200)))
    assert np.array_equal(mesh.vertices, single)


def test_faces_are_put_in_order_of_their_vertices() -> None:
    mesh = cube_mesh()
    shuffled = TriMesh(mesh.vertices, mesh.faces[np.random.default_rng(0).permutation(len(mesh.faces))])
    ordered = in_order(shuffled)
    assert (np.diff(ordered.faces.min(1)) >= 0).all()
    assert sorted(map(tuple, ordered.faces)) == sorted(map(tuple, mesh.faces))
    assert in_order(ordered) is ordered


def test_areas_are_those_of_the_normals() -> None:
    mesh = grid_of(torus(), 24).mesh()
    assert mesh.areas() == pytest.approx(np.linalg.norm(mesh.crosses(), axis=1) / 2, rel=1e-12)


def test_only_used_vertices_are_left() -> None:
    mesh = compact(TriMesh.of(np.arange(18).reshape(6, 3), [[5, 1, 3]]))
    assert np.array_equal(mesh.vertices[mesh.faces[0]], [[15, 16, 17], [3, 4, 5], [9, 10, 11]])


@pytest.mark.parametrize("seed", range(4))
def test_twins_run_against_each_other_on_one_edge(seed: int) -> None:
    mesh = random_grid(seed, 10).mesh()
    faces = mesh.faces[distinct_faces(mesh.faces, Edges.of(mesh.faces))]
    mesh = TriMesh(mesh.vertices, faces)
    edges = Edges.of(faces)
    twin = opposite_pairs(mesh, edges)
    one = np.flatnonzero(twin >= 0)
    other = twin[one]
    ends = np.stack([faces, np.roll(faces, -1, 1)], 2).reshape(-1, 2)
    assert len(one) and np.array_equal(twin[other], one)
    assert np.array_equal(ends[one], ends[other][:, ::-1])
    # Only where no two run against each other is an edge without any twins.
    lone = np.add.reduceat(np.r_[twin, -1][edges.order] >= 0, edges.first) == 0
    forward = (ends[:, 0] > ends[:, 1])[edges.order]
    share = np.add.reduceat(forward, edges.first) / edges.counts
    assert np.array_equal(lone, (share == 0) | (share == 1))
    loose = junctions(edges, twin)
    assert np.array_equal(np.flatnonzero(loose | (twin >= 0)), np.sort(_with_company(edges)))
    crowded = crowded_vertices(mesh, edges, loose)
    assert crowded[ends[loose]].all() and crowded[ends[edges.order[edges.first[edges.counts > 2]]]].all()
    assert twin_groups(twin)[0] >= face_groups(faces, edges)[0]


def _with_company(edges: Edges) -> np.ndarray:
    return edges.order[np.repeat(edges.counts > 1, edges.counts)]


def test_of_three_faces_the_two_flat_ones_are_joined() -> None:
    vertices = [[0, 0, 0], [1, 0, 0], [0.5, 1, 0], [0.5, -1, 0.1], [0.5, 0, 1]]
    for fin in ([0, 1, 4], [1, 0, 4]):
        for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
            faces = np.array([[0, 1, 2], [1, 0, 3], fin])[order]
            mesh = TriMesh.of(vertices, faces)
            twin = opposite_pairs(mesh, Edges.of(mesh.faces))
            joined = [order.index(0), order.index(1)]
            assert twin[3 * joined[0]] == 3 * joined[1] and (twin >= 0).sum() == 2


def test_of_many_faces_on_an_edge_neighbours_are_joined() -> None:
    """Wedges round an edge, wound outward: each side goes with the one across the gap next to it."""
    angle = np.arange(200) * (2 * np.pi / 200)
    vertices = np.concatenate([[[0, 0, 0], [0, 0, 1]], np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)])
    page = np.arange(200)
    faces = np.stack([np.zeros(200), np.ones(200), page + 2], 1).astype(np.int32)
    faces[1::2, :2] = faces[1::2, 1::-1]
    shuffled = np.random.default_rng(0).permutation(200)
    mesh = TriMesh.of(vertices, faces[shuffled])
    twin = opposite_pairs(mesh, Edges.of(mesh.faces)).reshape(-1, 3)[:, 0]
    assert (twin >= 0).all()
    partner = shuffled[twin // 3]
    # An even page looks towards higher angles, so what is across the gap is the odd page after it.
    assert mesh.crosses()[np.argmin(shuffled)] @ vertices[3] > 0
    assert np.array_equal(partner, np.where(shuffled % 2 == 0, shuffled + 1, shuffled - 1))
