"""Quads: their number, what becomes of small parts and seams, and the file that keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("warp")
pytest.importorskip("pynanoinstantmeshes")

from bad_meshes import ball, box, grid_of, union
from PIL import Image

from trellis_addon import cli
from trellis_addon.core.errors import FieldError
from trellis_addon.formats.obj import write_obj
from trellis_addon.geometry.mesh.topology import Edges, TriMesh, face_groups
from trellis_addon.geometry.quads.pairs import polygons_of, triangles_of
from trellis_addon.geometry.quads.quads import quadrangulate
from trellis_addon.geometry.remesh.remesh import remesh


def surface(*fields: object) -> TriMesh:
    grid = grid_of(union(*fields) if len(fields) > 1 else fields[0], 48)  # type: ignore[arg-type]
    return remesh(grid.mesh(), resolution=48).mesh


def test_a_ball_has_about_as_many_as_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    vertices, quads = quadrangulate(surface(ball(0.35)), 800)
    assert abs(len(quads) - 800) <= 40 and (quads[:, 2] != quads[:, 3]).mean() > 0.98
    assert capfd.readouterr().out == "", "a parent reads something else there"
    triangles = triangles_of(vertices, quads)
    edges = Edges.of(triangles[np.ptp(triangles, axis=1) > 0])
    assert (edges.counts == 2).all(), "closed"
    used = np.bincount(quads.reshape(-1))
    assert (used != 4).mean() < 0.05, "most corners have four edges"
    assert np.abs(np.linalg.norm(vertices - vertices.mean(0), axis=1) - 0.35).max() < 0.02


def test_each_part_has_its_share_and_a_small_one_keeps_its_triangles() -> None:
    mesh = surface(ball(0.3, (-0.1, 0.0, 0.0)), box((0.03, 0.03, 0.03), 0.4, (0.36, 0.0, 0.0)))
    assert face_groups(mesh.faces)[0] == 2
    vertices, quads = quadrangulate(mesh, 300)
    is_triangle = quads[:, 2] == quads[:, 3]
    right = vertices[quads[:, 0], 0] > 0.3
    assert is_triangle[right].all() and not is_triangle[~right].any() and right.any()


def test_pairs_come_back_as_quads_but_where_a_seam_goes_through() -> None:
    vertices = np.array([(0, 0, 0), (2, 0, 0), (2.5, 1, 0), (0, 1, 0), (5, 5, 5)], np.float32)
    quads = np.array([(0, 1, 2, 3), (0, 1, 4, 4)], np.int32)
    triangles = triangles_of(vertices, quads)
    assert triangles.shape == (4, 3)
    assert {*triangles[0]} & {*triangles[1]} == {1, 3}, "cut along the shorter diagonal"
    found, rest = polygons_of(triangles)
    assert len(found) == 1 and sorted(found[0]) == [0, 1, 2, 3] and [*rest[0]] == [0, 1, 4] and len(rest) == 1
    cut = triangles.copy()
    cut[1][cut[1] == 1] = 4  # another vertex there, as along a seam
    found, rest = polygons_of(cut)
    assert len(found) == 0 and len(rest) == 3


def test_too_few_is_a_sentence() -> None:
    with pytest.raises(FieldError, match="at least"):
        quadrangulate(surface(ball()), 5)


def test_the_obj_is_as_its_format_has_it() -> None:
    vertices = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], np.float32)
    files = write_obj(
        "a b",
        vertices,
        vertices[:, :2],
        vertices,
        [np.array([(0, 1, 2, 3)]), np.array([(0, 1, 2)])],
        {"normal": b"png"},
    )
    assert set(files) == {"a b.obj", "a b.mtl", "a b normal.png"}
    text = files["a b.obj"].decode().splitlines()
    assert text[0] == "mtllib a b.mtl" and "vt 1 0" in text, "v points up there"
    assert text[-2:] == ["f 1/1/1 2/2/2 3/3/3 4/4/4", "f 1/1/1 2/2/2 3/3/3"]
    assert b"norm a b normal.png" in files["a b.mtl"]


def test_the_command_keeps_quads_in_an_obj(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from devtools.geometry.glb_write import write_glb_scene
    from trellis_addon.formats.glb.textured_mesh import TexturedMesh

    mesh = surface(ball(0.35))
    (tmp_path / "in.glb").write_bytes(write_glb_scene(TexturedMesh(mesh.vertices, mesh.faces.astype(np.int64))))
    command = ["rebake", str(tmp_path / "in.glb"), "--output", str(tmp_path / "out.obj"), "--resolution", "48"]
    assert cli.main([*command, "--texture-size", "64", "--quads", "500"]) == 0
    assert "faces" in capsys.readouterr().out
    faces = [line.split()[1:] for line in (tmp_path / "out.obj").read_text().splitlines() if line.startswith("f ")]
    assert abs(len(faces) - 500) <= 25 and sum(len(face) == 4 for face in faces) >= 0.98 * len(faces)
    named = {line.split(" ", 1)[1] for line in (tmp_path / "out.mtl").read_text().splitlines() if ".png" in line}
    assert "out base_colour.png" in named and all(Image.open(tmp_path / name).size == (64, 64) for name in named)
    assert cli.main([*command, "--quads", "500", "--lods", "2"]) == 1
    assert "lods" in capsys.readouterr().err
