"""Cleaning raw meshes: what comes out is two-manifold, wound consistently and outward, whatever goes in."""

from __future__ import annotations

import numpy as np
import pytest
from bad_meshes import (
    Grid,
    ball,
    body,
    cube_mesh,
    grid_of,
    moebius,
    random_grid,
    random_solid,
    sheet,
    shell,
    torus,
    union,
)

from trellis_addon.core.errors import Cancelled, InputError
from trellis_addon.core.progress import Progress
from trellis_addon.geometry.finish.quality_mesh import inconsistent_edges
from trellis_addon.geometry.mesh.clean import clean
from trellis_addon.geometry.mesh.topology import Edges, TriMesh, face_groups, weld


def volume(mesh: TriMesh) -> float:
    return float(np.einsum("ij,ij->", mesh.vertices[mesh.faces].mean(1), mesh.crosses()) / 6)


def assert_sound(mesh: TriMesh) -> None:
    """At most two faces at an edge, wound against each other, one fan of faces at every vertex, nothing left over."""
    assert np.isfinite(mesh.vertices).all()
    assert len(np.unique(mesh.faces)) == len(mesh.vertices)
    edges = Edges.of(mesh.faces)
    assert edges.counts.max(initial=0) <= 2
    assert inconsistent_edges(mesh.faces, edges) == 0
    # Faces round a vertex: one fewer joint than faces where it is on a border, else as many.
    faces = np.bincount(mesh.faces.reshape(-1))
    starts, ends = mesh.faces.reshape(-1), np.roll(mesh.faces, -1, axis=1).reshape(-1)
    borders = np.zeros(len(faces), int)
    for half_edge in edges.with_count(1)[:, 0]:
        borders[starts[half_edge]] += 1
        borders[ends[half_edge]] += 1
    assert set(np.unique(borders)) <= {0, 2}
    assert (faces > 0).all()


def boundary(mesh: TriMesh) -> int:
    return int((Edges.of(mesh.faces).counts == 1).sum())


def test_raw_dual_grid_is_half_flipped_and_comes_out_outward() -> None:
    raw = grid_of(ball(), 32).mesh()
    assert inconsistent_edges(raw.faces, Edges.of(raw.faces)) > 100
    made = clean(raw, resolution=32)
    assert_sound(made)
    assert len(made.faces) == len(raw.faces) and boundary(made) == 0
    assert volume(made) == pytest.approx(4 / 3 * np.pi * 0.3**3, rel=0.01)


def test_missing_voxels_leave_holes_that_are_filled() -> None:
    grid = grid_of(body(), 64)
    gaps = np.random.default_rng(1).random(len(grid.coords)) < 2e-3
    raw = grid.without(gaps).mesh()
    assert boundary(clean(raw, resolution=64, hole_perimeter=0)) > 0
    made = clean(raw, resolution=64, hole_perimeter=0.3)
    assert_sound(made)
    assert boundary(made) == 0
    assert volume(made) == pytest.approx(volume(clean(grid.mesh(), resolution=64)), rel=0.01)


def test_inner_walls_and_parts_are_kept() -> None:
    made = clean(grid_of(union(shell(ball(0.4), 0.08), ball(0.2)), 48).mesh(), resolution=48)
    assert_sound(made)
    assert face_groups(made.faces)[0] == 3


def test_open_sheet_stays_open_and_is_wound_one_way() -> None:
    made = clean(sheet(48).mesh(), resolution=48)
    assert_sound(made)
    assert boundary(made) > 100 and face_groups(made.faces)[0] == 1
    assert abs(made.crosses()[:, 2].sum()) == pytest.approx(np.abs(made.crosses()[:, 2]).sum())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [random_grid, random_solid])
def test_flags_at_random(make: object, seed: int) -> None:
    raw = make(seed, 12).mesh()  # type: ignore[operator]
    assert Edges.of(raw.faces).counts.max() > 2
    assert_sound(clean(raw, resolution=12, dust_voxels=0))


def test_fins_do_not_tear_the_surface_they_stand_on() -> None:
    raw = grid_of(ball(), 48).mesh()
    chosen = np.random.default_rng(3).choice(len(raw.faces), 100, replace=False)
    foot, across = raw.faces[chosen], raw.crosses()[chosen]
    # Half of the raw faces are flipped: some fins stand outside, some inside.
    tips = raw.vertices[foot].mean(1) + across / np.linalg.norm(across, axis=1)[:, None] / 48
    fins = np.stack([foot[:, 0], foot[:, 1], len(raw.vertices) + np.arange(len(foot))], axis=1)
    both = TriMesh.of(np.concatenate([raw.vertices, tips]), np.concatenate([raw.faces, fins]))
    made, tidy = (clean(mesh, resolution=48, hole_perimeter=0, dust_voxels=0) for mesh in (both, raw))
    assert_sound(made)
    # Each fin lies by itself with its three borders, and what they stood on is closed.
    assert boundary(tidy) == 0 and boundary(made) == 3 * len(fins)
    assert face_groups(made.faces)[0] == face_groups(tidy.faces)[0] + len(fins)


def test_what_files_can_hold() -> None:
    cube = cube_mesh()
    ruined = np.concatenate([cube.vertices, cube.vertices, [[np.nan, 0, 0], [9, 9, 9]]])
    faces = np.concatenate(
        [
            cube.faces[:6],
            cube.faces[6:] + 8,  # the other half on vertices of its own
            cube.faces[:3, ::-1],  # twice, and the other way round
            [[0, 0, 1], [2, 3, 16], [4, 12, 5]],  # repeated corners, no number, repeated once welded
        ]
    )
    made = clean(TriMesh.of(ruined, faces))
    assert_sound(made)
    assert (len(made.vertices), len(made.faces)) == (8, 12)
    assert volume(made) == pytest.approx(0.6**3)


def test_moebius_strip_is_cut_once() -> None:
    made = clean(moebius(), hole_perimeter=0)
    assert_sound(made)
    assert len(made.faces) == 120 and face_groups(made.faces)[0] == 1


def test_dust_goes_but_not_everything() -> None:
    grid = grid_of(union(ball(0.25), ball(0.015, (0.4, 0.4, 0.4))), 64)
    assert face_groups(clean(grid.mesh(), resolution=64).faces)[0] == 1
    assert face_groups(clean(grid.mesh(), resolution=64, dust_voxels=1).faces)[0] == 2
    single = TriMesh.of([[0, 0, 0], [0.001, 0, 0], [0, 0.001, 0]], [[0, 1, 2]])
    assert len(clean(single).faces) == 1


def test_empty() -> None:
    made = clean(TriMesh.of(np.zeros((0, 3)), np.zeros((0, 3))))
    assert made.faces.shape == (0, 3) and made.vertices.shape == (0, 3)
    nothing = clean(TriMesh.of(np.full((3, 3), np.inf), [[0, 1, 2]]))
    assert nothing.faces.shape == (0, 3)


def test_meshes_that_cannot_be() -> None:
    with pytest.raises(InputError):
        TriMesh.of(np.zeros((4, 3)), [[0, 1, 2, 3]])
    with pytest.raises(InputError):
        TriMesh.of(np.zeros((3, 3)), [[0, 1, 3]])


def test_can_be_cancelled() -> None:
    with pytest.raises(Cancelled):
        clean(cube_mesh(), progress=Progress(is_cancelled=lambda: True))


def test_weld_joins_only_what_is_in_one_place() -> None:
    grid = grid_of(torus(), 24)
    mesh: TriMesh = Grid(grid.coords, grid.vertices, grid.flags, 24).mesh()
    split = TriMesh.of(mesh.vertices[mesh.faces].reshape(-1, 3), np.arange(mesh.faces.size).reshape(-1, 3))
    assert len(weld(split).vertices) == len(np.unique(mesh.faces)) and len(weld(split).faces) == len(mesh.faces)
