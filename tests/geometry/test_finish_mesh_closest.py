"""Closest points on a mesh: exact against brute force, and the same with Warp and without."""

from __future__ import annotations

import numpy as np
import pytest
from bad_meshes import cube_mesh, grid_of, torus

from trellis_addon.core.errors import InputError
from trellis_addon.geometry.mesh.closest import Surface, has_warp
from trellis_addon.geometry.mesh.closest_exact import closest_on_triangles
from trellis_addon.geometry.mesh.topology import TriMesh

WAYS = [pytest.param(True, marks=pytest.mark.skipif(not has_warp(), reason="warp is not installed")), False]


def brute_force(mesh: TriMesh, points: np.ndarray) -> np.ndarray:
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    best = np.full(len(points), np.inf)
    for corner in corners:
        every = np.broadcast_to(corner, (len(points), 3, 3))
        best = np.minimum(best, closest_on_triangles(points.astype(np.float64), every)[1])
    return best


@pytest.mark.parametrize("warp", WAYS)
def test_agrees_with_brute_force(warp: bool) -> None:
    mesh = grid_of(torus(), 16).mesh()
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (500, 3)).astype(np.float32)
    found = Surface(mesh.vertices, mesh.faces, warp=warp).closest(points)
    assert np.allclose(found.distances, brute_force(mesh, points), atol=2e-6)
    assert np.allclose(np.linalg.norm(found.points - points, axis=1), found.distances, atol=1e-6)
    assert np.allclose(found.barycentrics.sum(1), 1, atol=1e-6) and found.barycentrics.min() >= 0
    again = np.einsum("qk,qkc->qc", found.barycentrics, mesh.vertices[mesh.faces[found.faces]])
    assert np.allclose(again, found.points, atol=1e-6)


@pytest.mark.parametrize("warp", WAYS)
def test_triangles_of_very_different_sizes(warp: bool) -> None:
    fine = grid_of(torus(), 32).mesh()
    large = np.array([(-0.5, -0.5, -0.4), (0.5, -0.5, -0.4), (0.5, 0.5, -0.4)], np.float32)
    count = len(fine.vertices)
    mesh = TriMesh.of(
        np.concatenate([fine.vertices, large]), np.concatenate([fine.faces, [[count, count + 1, count + 2]]])
    )
    points = np.array([(0.3, -0.2, -0.39), (0.3, 0.0, 0.2), (0.45, 0.4, -0.35)], np.float32)
    found = Surface(mesh.vertices, mesh.faces, warp=warp).closest(points)
    assert found.faces[0] == found.faces[2] == len(fine.faces)
    assert np.allclose(found.distances, brute_force(mesh, points), atol=2e-6)


@pytest.mark.parametrize("warp", WAYS)
def test_reach_damage_and_nothing_to_ask(warp: bool) -> None:
    cube = cube_mesh(0.3)
    vertices = np.concatenate([cube.vertices, [[np.nan, 0, 0]]])
    faces = np.concatenate([[[0, 1, 8]], cube.faces])
    surface = Surface(vertices, faces, warp=warp)
    points = np.array([(0.4, 0.0, 0.0), (0.31, 0.1, 0.0), (np.nan, 0, 0)], np.float32)
    found = surface.closest(points, max_distance=0.05)
    assert found.faces.tolist()[0] == -1 and found.faces[2] == -1 and found.faces[1] > 0
    assert np.isinf(found.distances[[0, 2]]).all() and found.distances[1] == pytest.approx(0.01, abs=1e-6)
    assert len(surface.closest(np.zeros((0, 3))).faces) == 0


def test_what_cannot_be_asked() -> None:
    with pytest.raises(InputError):
        Surface(np.zeros((3, 3)), np.zeros((0, 3), int))
    with pytest.raises(InputError):
        Surface(np.zeros((3, 3)), [[0, 1, 3]])
    with pytest.raises(InputError):
        Surface(np.full((3, 3), np.nan), [[0, 1, 2]])
