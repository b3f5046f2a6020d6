"""Remeshing a dual grid: one closed outer shell, nothing inside, nothing lost."""

from __future__ import annotations

import numpy as np
import pytest
from bad_meshes import (
    Field,
    Grid,
    ball,
    box,
    cube_mesh,
    grid_of,
    minus,
    noisy,
    random_grid,
    random_solid,
    rod,
    sheet,
    shell,
    torus,
    union,
)
from test_finish_mesh_clean import assert_sound, volume

from devtools.geometry.remesh_reference import remesh_narrow_band
from trellis_addon.core.errors import Cancelled, FieldError, InputError
from trellis_addon.core.progress import Progress
from trellis_addon.geometry.finish.quality_mesh import mesh_quality
from trellis_addon.geometry.mesh.clean import clean
from trellis_addon.geometry.mesh.closest import Surface
from trellis_addon.geometry.mesh.topology import TriMesh
from trellis_addon.geometry.remesh.remesh import Remeshed, remesh, remesh_grid


def shell_of(grid: Grid, **options: object) -> Remeshed:
    made = remesh_grid(grid.coords, grid.vertices, grid.flags, resolution=grid.resolution, **options)  # type: ignore[arg-type]
    assert_sound(made.mesh)
    assert len(made.sheet_faces) == len(made.mesh.faces)
    return made


def assert_closed(mesh: TriMesh, grid: Grid, parts: int) -> None:
    quality = mesh_quality(mesh, grid.mesh(), resolution=grid.resolution, samples=5000)
    assert quality.watertight
    assert (quality.components, quality.boundary_edges, quality.non_manifold_edges) == (parts, 0, 0)
    assert quality.distance_mean < 0.1 and quality.distance_p99 < 0.5
    assert volume(mesh) > 0


CLOSED: dict[str, tuple[Field, int]] = {
    "ball": (ball(), 1),
    "torus": (torus(), 1),
    "box": (box(), 1),
    "box on the axes": (box(turn=0.0), 1),
    "noisy": (noisy(ball(), 0.02), 1),
    "rods": (union(rod((-0.4, -0.3, -0.3), (0.4, 0.4, 0.3), 0.03), ball(0.1, (0.3, -0.3, 0.2))), 2),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_parts(name: str) -> None:
    field, parts = CLOSED[name]
    grid = grid_of(field, 48)
    made = shell_of(grid)
    assert_closed(made.mesh, grid, parts)
    assert not made.double_sided
    # No wall is doubled: as many faces as the grid has, give or take where sheets were parted.
    assert len(made.mesh.faces) == pytest.approx(len(grid.mesh().faces), rel=0.01)


@pytest.mark.parametrize("name", CLOSED)
def test_closed_parts_with_missing_voxels(name: str) -> None:
    field, parts = CLOSED[name]
    grid = grid_of(field, 48)
    whole = shell_of(grid).mesh
    random = np.random.default_rng(3)
    ragged = grid.without(random.random(len(grid.coords)) < 5e-3)
    made = shell_of(ragged)
    assert_closed(made.mesh, grid, parts)
    assert volume(made.mesh) == pytest.approx(volume(whole), rel=0.003)


def test_inside_goes() -> None:
    grid = grid_of(union(shell(ball(0.4), 0.06), ball(0.2)), 48)
    made = shell_of(grid)
    assert_outer = mesh_quality(made.mesh, grid.mesh(), resolution=48, samples=5000)
    assert assert_outer.watertight and assert_outer.components == 1
    assert np.linalg.norm(made.mesh.vertices - (0.013, 0.007, -0.011), axis=1).min() > 0.37
    assert volume(made.mesh) == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=0.01)


def test_bottle_keeps_its_hollow() -> None:
    grid = grid_of(minus(shell(ball(0.4), 0.06), rod((0, 0, 0), (0, 0, 1), 0.1)), 48)
    made = shell_of(grid)
    assert_closed(made.mesh, grid, 1)
    assert len(made.mesh.faces) == len(grid.mesh().faces)


def test_sheet_stays_single_or_becomes_a_slab() -> None:
    grid = sheet(48)
    made = shell_of(grid)
    assert made.sheet_faces.all() and made.double_sided
    assert len(made.mesh.faces) == len(grid.mesh().faces)
    slab = shell_of(grid, sheets="slab")
    assert not slab.double_sided
    quality = mesh_quality(slab.mesh, grid.mesh(), resolution=48, samples=5000)
    assert quality.watertight and quality.components == 1 and quality.distance_p99 < 0.4
    assert volume(slab.mesh) > 0


def test_fin_on_a_body_is_kept_and_closed() -> None:
    fin = sheet(48, bend=0.0, half=0.45)
    grid = grid_of(ball(0.3), 48).joined(fin)
    made = shell_of(grid)
    quality = mesh_quality(made.mesh, grid.mesh(), resolution=48, samples=5000)
    assert quality.watertight and quality.components == 1
    assert np.abs(made.mesh.vertices[:, :2]).max() > 0.42
    # The sheet inside of the ball is gone.
    assert np.linalg.norm(made.mesh.vertices - (0.013, 0.007, -0.011), axis=1).min() > 0.26


def test_body_and_sheet_side_by_side() -> None:
    leaf = sheet(48, bend=0.0, half=0.2)
    far = Grid(leaf.coords + np.array([0, 0, 20], np.int32), leaf.vertices, leaf.flags, 48)
    made = shell_of(grid_of(ball(0.2), 48).joined(far))
    assert made.sheet_faces.any() and not made.sheet_faces.all()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("hole", [0.0, 2.0])
def test_flags_at_random_become_closed(seed: int, share: float, hole: float) -> None:
    grid = random_grid(seed, 8, share)
    made = shell_of(grid, sheets="slab", dust_voxels=0, hole_perimeter=hole)
    quality = mesh_quality(made.mesh, grid.mesh(), resolution=8, samples=100)
    assert quality.boundary_edges == 0


@pytest.mark.parametrize("seed", range(8))
def test_solids_at_random_become_closed(seed: int) -> None:
    grid = random_solid(seed, 10)
    made = shell_of(grid, dust_voxels=0)
    quality = mesh_quality(made.mesh, grid.mesh(), resolution=10, samples=100)
    assert quality.watertight and not made.double_sided


def test_meshes_of_dual_grids_are_not_resampled() -> None:
    grid = grid_of(noisy(torus(), 0.02), 48)
    direct, read = shell_of(grid).mesh, remesh(grid.mesh(), resolution=48, coords=grid.coords).mesh
    assert read.faces.shape == direct.faces.shape
    # Rounding may decide along which diagonal a flat quad is cut, no more.
    quality = mesh_quality(read, direct, resolution=48, samples=5000)
    assert quality.distance_mean < 1e-3 and quality.components == 1


def test_voxels_listed_twice() -> None:
    grid = grid_of(torus(), 32)
    twice = Grid(*(np.concatenate([part, part[:500]]) for part in (grid.coords, grid.vertices, grid.flags)), 32)
    assert_closed(shell_of(twice).mesh, grid, 1)


def test_any_other_mesh_is_voxelised() -> None:
    cube = cube_mesh(0.31)
    made = remesh(cube, resolution=32)
    assert_sound(made.mesh)
    quality = mesh_quality(made.mesh, cube, resolution=32, samples=5000)
    assert quality.watertight and quality.components == 1
    assert quality.distance_mean < 0.02 and quality.coverage_p99 < 0.1
    assert volume(made.mesh) == pytest.approx(0.62**3, rel=0.002)


def test_what_cannot_be_remeshed() -> None:
    grid = grid_of(ball(), 16)
    with pytest.raises(FieldError):
        shell_of(grid, sheets="none")
    with pytest.raises(InputError):
        remesh_grid(grid.coords, grid.vertices, grid.flags, resolution=8)
    with pytest.raises(InputError):
        remesh_grid(grid.coords, grid.vertices[1:], grid.flags, resolution=16)
    with pytest.raises(InputError):
        remesh(TriMesh.of(cube_mesh(0.3).vertices * 3, cube_mesh().faces))
    with pytest.raises(Cancelled):
        remesh(cube_mesh(), progress=Progress(is_cancelled=lambda: True))
    nothing = remesh_grid(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)), resolution=8)
    assert nothing.mesh.faces.shape == (0, 3) and not nothing.double_sided


@pytest.mark.parametrize("lost", [0.01, 0.03])
def test_many_lost_voxels_and_flags(lost: float) -> None:
    random = np.random.default_rng(5)
    grid = grid_of(union(noisy(ball(), 0.02), box((0.1, 0.1, 0.1), centre=(0.25, 0.2, 0.2))), 64)
    flags = grid.flags & (random.random(grid.flags.shape) > lost)
    ragged = Grid(grid.coords, grid.vertices, flags, 64).without(random.random(len(grid.coords)) < lost)
    assert_closed(shell_of(ragged).mesh, grid, 1)


def test_walls_thinner_than_a_voxel_become_one_closed_surface() -> None:
    """A closed form whose two sides pass the same edges of the grid is not torn and not lost."""
    fine = grid_of(minus(shell(ball(0.4), 0.018), rod((0, 0, 0), (0, 0, 1), 0.15)), 120)
    wall = clean(fine.mesh(), resolution=120)
    made = remesh(wall, resolution=32)
    assert_sound(made.mesh)
    quality = mesh_quality(made.mesh, wall, resolution=32, samples=5000)
    assert quality.watertight and quality.components == 1
    assert quality.distance_mean < 0.2 and quality.coverage_p99 < 0.5


def test_rods_thinner_than_a_voxel_are_not_dust() -> None:
    thin = grid_of(rod((-0.4, -0.3, -0.31), (0.4, 0.35, 0.3), 0.004), 192)
    tube = clean(thin.mesh(), resolution=192, dust_voxels=0)
    made = remesh(tube, resolution=48)
    reach = mesh_quality(made.mesh, tube, resolution=48, samples=2000)
    assert np.ptp(made.mesh.vertices[:, 0]) > 0.75
    assert reach.distance_mean < 0.3


def test_the_reference_doubles_walls_and_grows() -> None:
    torus_mesh = clean(grid_of(torus(), 32).mesh(), resolution=32)
    vertices, faces = remesh_narrow_band(torus_mesh.vertices, torus_mesh.faces, np.zeros(3), 1.0, 64)
    quality = mesh_quality(TriMesh.of(vertices, faces), torus_mesh, resolution=64, samples=5000)
    assert quality.watertight and quality.components == 2
    assert quality.distance_mean == pytest.approx(1.0, abs=0.1)
    back, _ = remesh_narrow_band(torus_mesh.vertices, torus_mesh.faces, np.zeros(3), 1.0, 64, project_back=1.0)
    assert Surface(torus_mesh.vertices, torus_mesh.faces).closest(back).distances.max() < 1e-5
