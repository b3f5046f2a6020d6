"""Meshes as bad as people's are: what is solid comes out solid, in one piece, and no face passes through another."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from devtools.geometry.torture import CASES, build, suzanne
from trellis_addon.core.errors import FieldError
from trellis_addon.core.progress import Progress
from trellis_addon.formats.glb.textured_mesh import TexturedMesh
from trellis_addon.geometry.finish.finish import sound_surface
from trellis_addon.geometry.finish.quality_mesh import MeshQuality, mesh_quality
from trellis_addon.geometry.finish.roundtrip import dense_asset, round_trip
from trellis_addon.geometry.mesh.crossings import crossing_faces
from trellis_addon.geometry.mesh.topology import TriMesh, least_angles
from trellis_addon.geometry.simplify.simplify import simplify
from trellis_addon.geometry.voxelise.voxelise import voxelise

_RESOLUTION = 64
_FACES = 8000
_BOUND = 0.1


def finished(mesh: TexturedMesh, solidity: str = "automatic", bound: float = _BOUND) -> tuple[TriMesh, MeshQuality]:
    """The shape as `round_trip` makes it, without its look."""
    volume = voxelise(mesh, _RESOLUTION)
    back = np.linalg.inv(volume.transform)
    shape = TriMesh.of(mesh.vertices @ back[:3, :3].T + back[:3, 3], mesh.faces)
    surface = sound_surface(dense_asset(volume, shape), True, Progress(), solidity)  # type: ignore[arg-type]
    made = simplify(surface, _FACES, bound=bound / _RESOLUTION)
    return made, mesh_quality(made, surface, resolution=_RESOLUTION, samples=5000)


def volume_of(mesh: TriMesh) -> float:
    return float(np.einsum("ij,ij->", mesh.vertices[mesh.faces[:, 0]], mesh.crosses()) / 6)


# Of single triangles some stay sheets.
CLOSED = [name for name, case in CASES.items() if case.solid and name not in ("soup", "vase")]
SHEETS = [name for name, case in CASES.items() if not case.solid and name != "bowl"]


@pytest.mark.parametrize("name", CLOSED)
def test_what_is_solid_comes_out_solid(name: str) -> None:
    made, quality = finished(build(name))
    assert quality.watertight and quality.components <= CASES[name].parts + (name == "blades")
    assert (quality.self_intersections, quality.crumbs) == (0, 0)
    assert len(made.faces) <= _FACES
    assert quality.slivers <= max(0.002 * len(made.faces), 4) and quality.shortest_edge > 1e-3
    assert volume_of(made) > 0
    assert quality.distance_mean < 0.1 and quality.distance_p99 < 0.4


@pytest.mark.parametrize("name", SHEETS)
def test_what_is_open_stays_a_sheet_in_one_piece(name: str) -> None:
    _, quality = finished(build(name))
    assert (quality.components, quality.non_manifold_edges, quality.self_intersections) == (1, 0, 0)
    assert quality.boundary_edges > 0 and not quality.watertight


def test_a_shell_with_openings_is_filled_and_not_doubled() -> None:
    """A box without 3 % of its faces has a box's volume, one with two walls and a hole in them no hollow."""
    for name in ("3 % missing", "head"):
        made, _ = finished(build(name))
        mesh = build(name)
        size = np.ptp(mesh.vertices, axis=0).max() / (1 - 2 / _RESOLUTION)
        whole = 8.0 if name == "3 % missing" else 4 / 3 * np.pi
        assert volume_of(made) * size**3 == pytest.approx(whole, rel=0.03)


def test_closing_makes_up_no_large_surface() -> None:
    """A half ball of one layer is a bowl: its mouth is as wide as it is."""
    head = build("leaf")
    bowl = dataclasses.replace(head, **dict(zip(("vertices", "faces"), _half_ball(), strict=True)))  # type: ignore[arg-type]
    made, quality = finished(bowl)
    assert quality.boundary_edges > 0 and quality.components == 1
    area = 2 * np.pi * (0.5 * (1 - 2 / _RESOLUTION)) ** 2
    assert made.areas().sum() == pytest.approx(area, rel=0.03)


def _half_ball() -> tuple[np.ndarray, np.ndarray]:
    from devtools.geometry.torture import sphere

    vertices, faces = sphere(1.0, 0.0, 0.5)
    return vertices.astype(np.float32), faces


def test_solid_and_sheets_overrule() -> None:
    leaf, quality = finished(build("leaf"), "solid")
    assert quality.watertight and quality.components == 1 and volume_of(leaf) > 0
    vase = build("vase")
    closed, quality = finished(vase, "solid")
    assert quality.watertight and volume_of(closed) > 0.1
    assert finished(vase)[1].boundary_edges > 0
    head = build("missing, coarse")
    assert volume_of(finished(head, "sheets")[0]) < 0.5 * volume_of(finished(head)[0])
    with pytest.raises(FieldError):
        finished(head, "liquid")


def test_the_budget_is_a_ceiling_and_the_bound_ends_early() -> None:
    cube, quality = finished(build("cube"))
    assert len(cube.faces) == 12 and quality.distance_p99 < 0.02
    curved = finished(build("nested"), bound=0.0)[0]
    assert len(curved.faces) == _FACES
    for target in (500, 101, 4):
        assert len(simplify(curved, target).faces) <= target
    # Many parts in few faces: the largest are kept.
    parts = [(curved.vertices * 0.01 + np.float32([k % 10, k // 10, 0])) * np.float32(0.05) for k in range(100)]
    faces = np.concatenate([curved.faces + k * len(curved.vertices) for k in range(100)])
    assert 4 <= len(simplify(TriMesh.of(np.concatenate(parts), faces), 200).faces) <= 200


def test_a_rod_thinner_than_a_voxel_is_not_a_row_of_crumbs() -> None:
    tip = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32) / _RESOLUTION
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    row = TriMesh.of(
        np.concatenate([tip + np.float32([k / 30 - 0.5, 0, 0]) for k in range(30)]),
        np.concatenate([faces + 4 * k for k in range(30)]),
    )
    quality = mesh_quality(row, row, resolution=_RESOLUTION, samples=100)
    assert quality.components == quality.crumbs == 30 and not quality.watertight
    assert quality.boundary_edges == quality.non_manifold_edges == 0
    made, quality = finished(build("rod alone"))
    assert quality.watertight and quality.components == 1
    assert np.ptp(made.vertices, axis=0).max() > 0.95


def test_figures_of_a_mesh_with_all_faults() -> None:
    """Two tetrahedra through each other, and a sliver beside them."""
    places = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    thin = np.array([[3, 0, 0], [4, 0, 0], [3.5, 0.001, 0]], np.float32)
    mesh = TriMesh.of(
        np.concatenate([places, places + np.float32(0.2), thin]) / 8, np.concatenate([faces, faces + 4, [[8, 9, 10]]])
    )
    quality = mesh_quality(mesh, mesh, resolution=64, samples=100)
    assert quality.self_intersections > 0 and quality.slivers == 1 and quality.components == 3
    assert np.degrees(least_angles(mesh).min()) == pytest.approx(0.115, abs=0.01)


def test_crossings_are_those_that_blender_finds() -> None:
    pytest.importorskip("bpy")
    from mathutils.bvhtree import BVHTree

    random = np.random.default_rng(4)
    corners = (random.uniform(-0.4, 0.4, (60, 1, 3)) + random.normal(scale=0.1, size=(60, 3, 3))).reshape(-1, 3)
    mesh = TriMesh.of(corners, np.arange(180).reshape(-1, 3))
    tree = BVHTree.FromPolygons(mesh.vertices.tolist(), mesh.faces.tolist(), epsilon=0.0)
    theirs = {(min(pair), max(pair)) for pair in tree.overlap(tree)}
    assert {tuple(pair) for pair in crossing_faces(mesh).tolist()} == theirs and len(theirs) > 10


def test_suzanne_is_closed() -> None:
    """Blender's monkey, which is open at its eyes, from a mesh to an asset."""
    pytest.importorskip("bpy")
    made = round_trip(suzanne(), resolution=96, texture_size=128)
    quality = made.quality
    assert quality["watertight"] and quality["components"] <= 3 and quality["self_intersections"] == 0
    assert quality["faces"] <= 100_000 and quality["dropped_parts"] == 0
