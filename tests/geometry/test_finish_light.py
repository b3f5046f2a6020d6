"""So few triangles that a form with many holes cannot keep them: the holes go, and not what else there is."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("warp")

from bad_meshes import ball, box, grid_of
from test_finish_mesh_clean import assert_sound

from trellis_addon.geometry.finish.light import Lightener, deviation
from trellis_addon.geometry.mesh.topology import TriMesh, face_groups
from trellis_addon.geometry.remesh.remesh import remesh_grid
from trellis_addon.geometry.simplify.simplify import simplify

RESOLUTION = 64


def sieve_and_ball() -> TriMesh:
    """A plate with eighty-one holes of two voxels, and a ball over it."""
    plate, above = box((0.4, 0.4, 0.03), 0.0, (0.0, 0.0, -0.3)), ball(0.2, (0.0, 0.0, 0.1))

    def field(p: np.ndarray) -> np.ndarray:
        inside = (np.abs((p[:, :2] / 0.08 + 0.5) % 1.0 - 0.5) * 0.08 - 0.016).max(1)
        holes = np.where(np.abs(p[:, :2]).max(1) < 0.36, inside, 1.0)
        return np.minimum(np.maximum(plate(p), -holes), above(p))

    grid = grid_of(field, RESOLUTION)
    return remesh_grid(grid.coords, grid.vertices, grid.flags, resolution=RESOLUTION).mesh


def test_many_holes_leave_something_for_the_rest() -> None:
    surface = sieve_and_ball()
    crushed = simplify(surface, 300)
    made = Lightener([surface], RESOLUTION).light(300)
    assert len(made.faces) <= 300 < len(crushed.faces), "around so many holes more are needed"
    assert_sound(made)
    assert face_groups(made.faces)[0] == 2, "the plate and the ball"
    upper, before = (mesh.vertices[mesh.faces].mean(1)[:, 2] > -0.15 for mesh in (made, crushed))
    assert upper.sum() > 40 > before.sum(), "a ball is no tetrahedron"
    assert deviation(surface, made) < 0.02 < deviation(surface, crushed)


def test_what_triangles_suffice_for_is_simplified_as_it_is() -> None:
    surface = sieve_and_ball()
    for resolution in (RESOLUTION, 0):
        assert (Lightener([surface], resolution).light(6_000).faces == simplify(surface, 6_000).faces).all()


def test_holes_that_are_kept_do_not_go_over_the_number() -> None:
    """The plate alone lies where it lay, with more triangles than were asked for: that is not near enough."""
    surface = sieve_and_ball()
    _, part = face_groups(surface.faces)
    plate = surface.take(part == part[surface.vertices[surface.faces].mean(1)[:, 2].argmin()])
    assert len(simplify(plate, 300).faces) > 300 >= len(Lightener([plate], RESOLUTION).light(300).faces)
