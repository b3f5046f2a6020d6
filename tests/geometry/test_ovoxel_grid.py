"""Dual grids and sparse sampling: against meshes made here, against brute force, on numpy and on torch."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

pytest.importorskip("array_api_compat")

from devtools.geometry.sampling import SparseGrid, sample_nearest, sample_trilinear
from trellis_addon.core.errors import InputError
from trellis_addon.geometry.voxelise.dual_grid import TEXTURING_WEIGHTS, mesh_to_dual_grid
from trellis_addon.geometry.voxels import index as dual_grid_index
from trellis_addon.geometry.voxels.dual_grid import dual_grid_to_mesh, split_decoder_output
from trellis_addon.geometry.voxels.index import VoxelIndex

CUBE = ((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5))


def sphere(radius: float = 0.37, cuts: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A closed sphere off the grid's symmetry: the six sides of a cut cube, welded."""
    line = np.tan(np.linspace(-np.pi / 4, np.pi / 4, cuts + 1))
    a, b = np.meshgrid(line, line, indexing="ij")
    one = np.ones_like(a)
    sides = [np.stack(s, -1) for s in ((one, a, b), (-one, b, a), (b, one, a), (a, -one, b), (a, b, one), (b, a, -one))]
    grid = np.arange((cuts + 1) ** 2).reshape(cuts + 1, -1)
    p, q, r, s = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    faces = np.stack([p, q, r, p, r, s], -1).reshape(-1, 3)
    points = np.concatenate([side.reshape(-1, 3) for side in sides])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    unique, number = np.unique(points.round(9), axis=0, return_inverse=True)
    all_faces = np.concatenate([faces + k * grid.size for k in range(6)])
    return (unique * radius + [0.011, -0.007, 0.003]).astype(np.float32), number.reshape(-1)[all_faces]


def box(half: float) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[x, y, z] for x in (-half, half) for y in (-half, half) for z in (-half, half)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return corners, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


def open_edges(faces: np.ndarray) -> int:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    return int((count == 1).sum())


def voxels(**options: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    vertices, faces = sphere()
    return mesh_to_dual_grid(vertices, faces, grid_size=40, aabb=CUBE, **{**TEXTURING_WEIGHTS, **options})


def test_a_sphere_comes_back_closed_and_in_place() -> None:
    coords, dual, flags = voxels(closed_ties=True, drop_grazed=True)
    vertices, faces = dual_grid_to_mesh(coords, dual, flags, grid_size=40, split="flat")
    radius = np.linalg.norm(vertices - np.array([0.011, -0.007, 0.003]), axis=1)
    used = np.unique(faces)
    assert len(used) > 3000
    assert open_edges(faces) == 0
    assert np.abs(radius[used] - 0.37).max() < 0.1 / 40
    assert faces.dtype == np.int32 and vertices.dtype == np.float32
    assert (np.diff(coords @ np.array([1600, 40, 1])) > 0).all()
    # Edges that only graze the sphere have quads that stand alone, where nobody takes them back.
    _, finned = dual_grid_to_mesh(*voxels(closed_ties=True), grid_size=40)
    assert open_edges(finned) > 0 and len(finned) > len(faces)


def test_a_wall_thinner_than_a_voxel_is_not_lost() -> None:
    vertices, faces = box(0.3)
    vertices = vertices * np.array([1, 1, 0.01], np.float32) + np.float32(0.0013)
    grid = mesh_to_dual_grid(
        vertices, faces, grid_size=40, aabb=CUBE, closed_ties=True, drop_grazed=True, **TEXTURING_WEIGHTS
    )
    made, triangles = dual_grid_to_mesh(*grid, grid_size=40)
    assert len(triangles) >= 2 * 23 * 23
    assert np.abs(made[np.unique(triangles), 2] - 0.0013).max() < 0.005


@pytest.mark.parametrize("half", [0.3, 0.25, 0.499])
def test_a_box_in_line_with_the_grid_stays_closed(half: float) -> None:
    vertices, faces = box(half)
    coords, dual, flags = mesh_to_dual_grid(
        vertices, faces, grid_size=32, aabb=CUBE, closed_ties=True, **TEXTURING_WEIGHTS
    )
    _, made = dual_grid_to_mesh(coords, dual, flags, grid_size=32)
    assert len(made) and open_edges(made) == 0


def test_hard_edges_are_kept() -> None:
    about_z, about_x = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]], [[1, 0, 0], [0, 0.28, -0.96], [0, 0.96, 0.28]]
    turn = np.array(about_z) @ np.array(about_x)
    corners, faces = box(0.21)
    corners = (corners @ turn.T).astype(np.float32)
    coords, dual, flags = mesh_to_dual_grid(
        corners, faces, grid_size=32, aabb=CUBE, closed_ties=True, drop_grazed=True, **TEXTURING_WEIGHTS
    )
    vertices, made = dual_grid_to_mesh(coords, dual, flags, grid_size=32)
    near = vertices[np.unique(made)]
    to_corner = np.linalg.norm(corners[:, None] - near[None], axis=2).min(1)
    assert to_corner.max() < 0.25 / 32


def test_both_arithmetics_and_the_order_of_triangles_agree() -> None:
    coords, dual, flags = voxels()
    again = voxels(single_precision=True)
    assert np.array_equal(coords, again[0]) and np.array_equal(flags, again[2])
    assert np.quantile(np.abs(dual - again[1]).max(1), 0.99) < 5e-3
    vertices, faces = sphere()
    turned = mesh_to_dual_grid(vertices, faces[::-1], grid_size=40, aabb=CUBE, **TEXTURING_WEIGHTS)
    assert np.array_equal(coords, turned[0]) and np.abs(dual - turned[1]).max() < 1e-4


def test_long_slivers_cost_no_more_than_they_touch() -> None:
    random = np.random.default_rng(3)
    start = random.uniform(-0.49, 0.49, (300, 3))
    corners = np.stack([start, -start, -start + random.normal(0, 2e-3, start.shape)], 1).astype(np.float32)
    faces = np.arange(900).reshape(-1, 3)
    tracemalloc.start()
    coords, _, _ = mesh_to_dual_grid(
        np.clip(corners.reshape(-1, 3), -0.499, 0.499), faces, grid_size=512, aabb=CUBE, **TEXTURING_WEIGHTS
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(coords) > 10_000
    assert peak < 500e6  # 512^3 voxels of one byte are 134 MB, and each sliver's box is a good part of them


def test_a_grid_of_its_own_is_fitted_where_none_is_given() -> None:
    vertices, faces = sphere()
    coords, dual, _ = mesh_to_dual_grid(vertices * 7 + 3, faces, grid_size=20)
    assert coords.min() >= 0 and coords.max() < 20 and len(coords) > 500
    assert dual.min() >= 0 and dual.max() <= 1


def test_what_cannot_be_is_said() -> None:
    vertices, faces = box(0.3)
    for options in (
        {},
        {"grid_size": 8, "voxel_size": 0.1},
        {"grid_size": 0},
        {"voxel_size": -1.0},
        {"grid_size": 10**9},
    ):
        with pytest.raises(InputError):
            mesh_to_dual_grid(vertices, faces, aabb=CUBE, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not there"):
        mesh_to_dual_grid(vertices, faces + 1, grid_size=8, aabb=CUBE)
    with pytest.raises(InputError, match="finite"):
        mesh_to_dual_grid(vertices * np.nan, faces, grid_size=8, aabb=CUBE)
    with pytest.raises(InputError, match="outside"):
        dual_grid_to_mesh(np.array([[8, 0, 0]]), np.zeros((1, 3)), np.ones((1, 3)), grid_size=8)
    empty = mesh_to_dual_grid(vertices, faces[:0], grid_size=8, aabb=CUBE)
    assert len(empty[0]) == 0
    assert len(dual_grid_to_mesh(*empty, grid_size=8)[1]) == 0


def test_torch_gives_what_numpy_gives() -> None:
    torch = pytest.importorskip("torch")
    coords, dual, flags = voxels()
    weight = np.random.default_rng(1).uniform(0.1, 2, (len(coords), 1)).astype(np.float32)
    random = np.random.default_rng(2)
    order = random.permutation(len(coords))
    arrays = [array[order] for array in (coords, dual, flags, weight)]
    tensors = [torch.from_numpy(array) for array in arrays]
    for options in ({"train": False}, {"train": True}):
        made = dual_grid_to_mesh(*arrays, grid_size=40, **options)
        same = dual_grid_to_mesh(*tensors, grid_size=40, **options)
        assert np.array_equal(made[1], same[1].numpy()) and np.array_equal(made[0], same[0].numpy())
    query = random.uniform(-2, 42, (500, 3)).astype(np.float32)
    assert np.allclose(
        sample_trilinear(arrays[1], arrays[0], 40, query),
        sample_trilinear(tensors[1], tensors[0], 40, torch.from_numpy(query)).numpy(),
        atol=1e-6,
    )
    head = random.normal(0, 30, (50, 7)).astype(np.float32)
    for ours, theirs in zip(split_decoder_output(head), split_decoder_output(torch.from_numpy(head)), strict=True):
        assert np.allclose(ours, theirs.numpy(), atol=1e-5) and np.isfinite(np.asarray(ours, float)).all()


def test_training_passes_gradients_on() -> None:
    torch = pytest.importorskip("torch")
    coords, dual, flags = (torch.from_numpy(array) for array in voxels())
    dual.requires_grad_()
    weight = torch.ones((len(coords), 1), requires_grad=True)
    vertices, faces = dual_grid_to_mesh(coords, dual, flags, weight, grid_size=40, train=True)
    vertices[faces].square().sum().backward()
    assert dual.grad.abs().sum() > 0 and weight.grad.abs().sum() > 0


def test_the_flat_split_bends_less() -> None:
    random = np.random.default_rng(5)
    coords, dual, flags = voxels()
    dual = np.clip(dual + random.normal(0, 0.1, dual.shape), 0, 1).astype(np.float32)

    def bend(split: str) -> float:
        vertices, faces = dual_grid_to_mesh(coords, dual, flags, grid_size=40, split=split)
        corner = vertices[faces].astype(float)
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        return float((normal[::2] * normal[1::2]).sum(1).mean())

    assert bend("flat") > bend("reference") + 0.01


def test_sampling_is_what_brute_force_finds() -> None:
    random = np.random.default_rng(7)
    coords = np.unique(random.integers(0, 9, (200, 3)), axis=0)
    values = random.normal(size=(len(coords), 4)).astype(np.float32)
    queries = random.uniform(-1, 10, (400, 3)).astype(np.float32)
    grid = SparseGrid(values, coords, (9, 9, 9))
    made, weight = grid.trilinear(queries, return_weight=True)
    rows = {tuple(c): k for k, c in enumerate(coords.tolist())}
    for query, value, total in zip(queries, made, weight, strict=True):
        share = {}
        for corner in np.ndindex(2, 2, 2):
            place = np.floor(query - 0.5) + corner
            if tuple(place.astype(int)) in rows:
                share[rows[tuple(place.astype(int))]] = float(np.prod(1 - np.abs(query - place - 0.5)))
        expected = sum(w * values[k] for k, w in share.items()) / max(sum(share.values()), 1e-12) if share else 0
        assert np.allclose(value, expected, atol=1e-5) and np.isclose(total, sum(share.values()), atol=1e-5)
    inside = sample_nearest(values, coords, 9, coords + np.float32(0.7))
    assert np.array_equal(inside, values)
    assert not np.any(grid.trilinear(np.array([[np.nan, 1, 1], [np.inf, 0, 0], [1e30, -1e30, 4]], np.float32)))


def test_batches_are_kept_apart() -> None:
    coords = np.array([[0, 1, 1, 1], [1, 1, 1, 1]])
    values = np.array([[1.0], [5.0]], np.float32)
    queries = np.array([[0, 1.5, 1.5, 1.5], [1, 1.5, 1.5, 1.5], [2, 1.5, 1.5, 1.5]], np.float32)
    assert sample_trilinear(values, coords, 4, queries)[:, 0].tolist() == [1, 5, 0]


def test_strewn_voxels_are_found_in_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(9)
    coords = np.unique(random.integers(0, 2000, (3000, 3)), axis=0)
    asked = np.concatenate([coords, random.integers(-5, 2005, (3000, 3))])
    first = VoxelIndex(coords, (2000,) * 3).rows(*asked.T)
    monkeypatch.setattr(dual_grid_index, "_ROOM", 0)
    monkeypatch.setattr(dual_grid_index, "_ROOM_PER_VOXEL", 0)
    assert np.array_equal(VoxelIndex(coords, (2000,) * 3).rows(*asked.T), first)
    assert np.array_equal(first[: len(coords)], np.arange(len(coords)))
