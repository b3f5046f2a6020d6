"""Fewer faces: as many as asked for, near the surface, closed where the mesh was, borders and edges where they were."""

from __future__ import annotations

import numpy as np
import pytest
from bad_meshes import ball, body, box, cube_mesh, grid_of, sheet, torus, union
from test_finish_mesh_clean import assert_sound, volume

from trellis_addon.core.errors import Cancelled, FieldError
from trellis_addon.core.progress import Progress
from trellis_addon.geometry.finish.quality_mesh import mesh_quality, triangle_quality
from trellis_addon.geometry.mesh.topology import Edges, TriMesh, weld
from trellis_addon.geometry.remesh.remesh import remesh_grid
from trellis_addon.geometry.simplify import collapse, pieces
from trellis_addon.geometry.simplify.simplify import simplify, simplify_levels


def dense(field, resolution: int = 64) -> TriMesh:  # type: ignore[no-untyped-def]
    grid = grid_of(field, resolution)
    return remesh_grid(grid.coords, grid.vertices, grid.flags, resolution=resolution).mesh


@pytest.mark.parametrize("target", [8000, 2000, 500])
@pytest.mark.parametrize("field", [torus(), body(), ball()], ids=["torus", "body", "ball"])
def test_closed_stays_closed_and_near(field, target: int) -> None:  # type: ignore[no-untyped-def]
    mesh = dense(field)
    made = simplify(mesh, target)
    assert_sound(made)
    assert len(made.faces) == pytest.approx(target, rel=0.01)
    quality = mesh_quality(made, mesh, resolution=64, samples=5000)
    assert quality.watertight
    assert quality.distance_mean < 0.6 * (500 / target) ** 0.8
    assert quality.quality_p1 > 0.05
    assert volume(made) == pytest.approx(volume(mesh), rel=0.03)


def test_flat_sides_and_sharp_edges() -> None:
    field = box()
    mesh = dense(field, 96)
    made = simplify(mesh, 600)
    # Vertices inside a side lie on it, and corners are where they were.
    assert np.abs(field(made.vertices.astype(np.float64))).mean() * 96 < 0.02
    quality = mesh_quality(made, mesh, resolution=96, samples=5000)
    assert quality.watertight and quality.coverage_p99 < 0.15


def test_borders_keep_their_shape() -> None:
    grid = sheet(64, bend=0.0)
    mesh = remesh_grid(grid.coords, grid.vertices, grid.flags, resolution=64).mesh
    made = simplify(mesh, 100)
    assert_sound(made)
    assert len(made.faces) == pytest.approx(100, abs=1)
    assert made.areas().sum() == pytest.approx(mesh.areas().sum(), rel=0.002)
    assert mesh_quality(made, mesh, resolution=64, samples=5000).coverage_p99 < 0.3


@pytest.mark.parametrize("bound", [0.1, 0.0])
def test_in_pieces_it_is_as_good(monkeypatch: pytest.MonkeyPatch, bound: float) -> None:
    """What is held where they meet must not show: neither as more faces, nor as a seam that lies further off."""
    mesh = dense(body(), 80)

    def quality() -> dict[str, float]:
        made = simplify(mesh, 2000, bound=bound / 80)
        assert_sound(made)
        return mesh_quality(made, mesh, resolution=80, samples=20_000).as_dict()

    whole = quality()
    monkeypatch.setattr(pieces, "_LEAST_FACES", len(mesh.faces) // 3)
    monkeypatch.setattr(collapse, "_FEW", 200)
    parts = quality()
    assert parts["watertight"] and parts["components"] == whole["components"]
    assert parts["faces"] <= 1.03 * whole["faces"]
    for figure in ("distance_mean", "coverage_mean", "distance_p99", "coverage_p99"):
        assert parts[figure] <= 1.1 * whole[figure]
    assert parts["quality_mean"] >= 0.97 * whole["quality_mean"]


def test_pieces_of_which_nothing_goes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bound, and not many times the faces that are wanted: they are put together as they were cut."""
    mesh = dense(torus(), 48)
    monkeypatch.setattr(pieces, "_LEAST_FACES", len(mesh.faces) // 3)
    made = simplify(mesh, 1000)
    assert_sound(made)
    assert len(made.faces) == pytest.approx(1000, rel=0.01)


def test_borders_keep_their_shape_where_pieces_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cut is no border, and the sheet's own border goes on across it."""
    grid = sheet(64, bend=0.0)
    mesh = remesh_grid(grid.coords, grid.vertices, grid.flags, resolution=64).mesh
    monkeypatch.setattr(pieces, "_LEAST_FACES", len(mesh.faces) // 4)
    made = simplify(mesh, 100, bound=0.01 / 64)
    assert_sound(made)
    assert len(made.faces) <= 101
    assert made.areas().sum() == pytest.approx(mesh.areas().sum(), rel=0.002)
    assert mesh_quality(made, mesh, resolution=64, samples=5000).coverage_p99 < 0.3


def test_small_parts_survive() -> None:
    random = np.random.default_rng(1)
    balls = union(*[ball(0.03, tuple(random.uniform(-0.45, 0.45, 3))) for _ in range(30)])
    mesh = dense(balls, 96)
    parts = mesh_quality(mesh, mesh, resolution=96, samples=10).components
    made = simplify(mesh, 600)
    assert_sound(made)
    assert mesh_quality(made, mesh, resolution=96, samples=10).components == parts > 20


def test_levels_come_in_the_order_asked_for() -> None:
    mesh = dense(torus(), 48)
    made = simplify_levels(mesh, [500, 4000, 10**6])
    assert [len(level.faces) for level in made] == [500, 4000, len(mesh.faces)]


def test_nothing_to_do_and_what_cannot_be() -> None:
    cube = cube_mesh()
    assert simplify(cube, 12) is cube
    empty = TriMesh.of(np.zeros((0, 3)), np.zeros((0, 3)))
    assert len(simplify(empty, 100).faces) == 0
    with pytest.raises(FieldError):
        simplify(cube, 3)
    with pytest.raises(Cancelled):
        simplify(dense(torus(), 24), 100, progress=Progress(is_cancelled=lambda: True))


def test_welding_the_result_makes_nothing_worse() -> None:
    made = weld(simplify(dense(body()), 3000))
    assert (Edges.of(made.faces).counts == 2).all()


def test_the_same_twice() -> None:
    mesh = dense(torus(), 48)
    one, other = simplify(mesh, 1000), simplify(mesh, 1000)
    assert np.array_equal(one.vertices, other.vertices) and np.array_equal(one.faces, other.faces)


def test_flat_sides_get_no_slivers() -> None:
    flat = dense(box(), 64)
    made = simplify(flat, 3000)
    assert_sound(made)
    assert np.percentile(triangle_quality(made), 5) > 0.1
