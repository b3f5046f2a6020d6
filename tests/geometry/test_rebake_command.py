"""Any GLB to one clean asset: the command, what it refuses before the work, and how it tells a parent how far it is."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("array_api_compat")
if any(importlib.util.find_spec(name) is None for name in ("scipy", "warp")):
    pytest.skip("finishing needs the local extra", allow_module_level=True)

from khronos import assert_valid

from devtools.geometry.glb_write import write_glb_scene
from trellis_addon import cli
from trellis_addon.contract.budgets import level_budgets
from trellis_addon.contract.glb_facts import glb_facts
from trellis_addon.formats.glb.check import split_glb
from trellis_addon.formats.glb.read import read_glb, read_glb_near
from trellis_addon.formats.glb.scenes import moved
from trellis_addon.formats.glb.textured_mesh import TexturedMesh
from trellis_addon.geometry.finish import rebake, roundtrip
from trellis_addon.geometry.mesh.closest import Surface
from trellis_addon.runtime import child

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "geometry"))
import models

SMALL = ["--resolution", "48", "--texture-size", "128", "--faces", "2000"]


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tools in each other, of several materials, away from the origin."""
    mesh = models.build("toolkit", 0.3, 64)
    mesh = dataclasses.replace(mesh, vertices=mesh.vertices * 3 + np.float32([5, 1, -2]))
    path = tmp_path_factory.mktemp("rebake") / "in.glb"
    path.write_bytes(write_glb_scene(mesh))
    return path


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["--faces=2000,500", "--solid", "--normal-map", "--texture-size=512"],
        ["--preset=prop", "--sheets", "--no-normal-map", "--format=png", "--report", "--lods=3"],
        ["--quads=900", "--keep-topology", "--resolution=64"],
    ],
)
def test_a_child_is_told_all_that_was_asked(given: list[str]) -> None:
    parser = argparse.ArgumentParser()
    rebake.add_options(parser)
    asked = parser.parse_args([*given, "--output", "out.glb", "--", "-in.glb"])
    assert parser.parse_args(rebake.arguments_of(asked)) == asked


def test_a_python_without_the_packages_has_a_child_do_it(
    pile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Blender's own Python has them in a folder beside it, or not at all."""
    target = tmp_path / "out.glb"
    told = ["rebake", str(pile), "--output", str(target), *SMALL]
    monkeypatch.setattr(child, "can_finish_here", lambda: False)
    assert cli.main(told) == 1 and "packages that are not here yet" in capfd.readouterr().err and not target.exists()
    monkeypatch.setattr(child, "finishing_packages", lambda: None)
    assert cli.main(told) == 0
    assert f"{target}: " in capfd.readouterr().out and glb_facts(target)


def test_a_pile_of_parts_comes_back_as_one_asset_in_its_place(
    pile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new folder" / "out.glb"
    assert cli.main(["rebake", str(pile), "--output", str(target), *SMALL, "--format", "png", "--report"]) == 0
    made, source = read_glb(target), read_glb(pile)
    assert 500 < len(made.faces) <= 2100
    assert np.abs(made.bounds() - source.bounds()).max() < 3 * 1.5 / 46
    *reports, last = capsys.readouterr().out.splitlines()
    assert str(target) in last
    stages, shares = zip(*map(json.loads, reports), strict=True)
    assert sorted(shares) == list(shares) and shares[0] < 0.1 and shares[-1] == 1.0
    assert len(set(stages)) > 5 and len(set(shares)) > 10


def test_what_stands_far_from_the_origin_keeps_its_form_and_its_place(pile: Path, tmp_path: Path) -> None:
    """By its node: in single precision places so far out are two of these voxels apart."""
    far, target = tmp_path / "far.glb", tmp_path / "out.glb"
    far.write_bytes(moved(pile.read_bytes(), (2e6, 0, -1e6)))
    assert rebake.main([str(far), "--output", str(target), *SMALL]) == 0
    assert_valid(target.read_bytes(), tmp_path)
    (made, origin), source = read_glb_near(target), read_glb(pile)
    assert origin == pytest.approx(source.bounds().mean(0) + [2e6, 0, -1e6], abs=0.1)
    shift = origin - [2e6, 0, -1e6]
    assert np.abs(made.bounds() + shift - source.bounds()).max() < 3 * 1.5 / 46
    away = Surface(source.vertices, source.faces).closest((made.vertices + shift).astype(np.float32)).distances
    assert away.mean() < 0.01


def test_a_face_without_a_breadth_is_finished(tmp_path: Path) -> None:
    """Of its figures some cannot be said, and the file is JSON all the same."""
    line, target = tmp_path / "line.glb", tmp_path / "out.glb"
    corners = np.float32([[0, 0, 0], [1, 0, 0], [0.5, 1e-7, 0]])
    line.write_bytes(write_glb_scene(TexturedMesh(corners, np.array([[0, 1, 2]]))))
    assert rebake.main([str(line), "--output", str(target), *SMALL]) == 0
    assert_valid(target.read_bytes(), tmp_path)
    assert len(read_glb(target).faces) > 3


def test_the_child_of_a_parent_has_the_same_options(pile: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.glb"
    options = [*SMALL, "--keep-topology", "--no-normal-map"]
    assert rebake.main([str(pile), "--output", str(target), *options]) == 0
    assert all(material.normal is None for material in read_glb(target).materials)


def test_a_surface_that_is_kept_is_no_other(tmp_path: Path) -> None:
    """Not that of its voxels, which is open where two walls share one: what was closed stays closed."""
    source, target = tmp_path / "knot.glb", tmp_path / "out.glb"
    around, across = np.meshgrid(np.arange(48) / 48 * 2 * np.pi, np.arange(12) / 12 * 2 * np.pi, indexing="ij")
    out = 1 + 0.03 * np.cos(across)  # a thin ring
    points = np.stack([out * np.cos(around), 0.03 * np.sin(across), out * np.sin(around)], 2).reshape(-1, 3)
    cell = np.arange(48 * 12).reshape(48, 12)
    a, b, c, d = cell, np.roll(cell, -1, 0), np.roll(cell, -1, (0, 1)), np.roll(cell, -1, 1)
    faces = np.concatenate([np.stack(one, 2).reshape(-1, 3) for one in ((a, b, c), (a, c, d))])
    source.write_bytes(write_glb_scene(TexturedMesh(points.astype(np.float32), faces)))
    assert glb_facts(source).is_watertight
    assert rebake.main([str(source), "--output", str(target), *SMALL, "--keep-topology", "--faces", "600"]) == 0
    facts = glb_facts(target)
    assert facts.is_watertight and facts.surface.components == 1 and facts.surface.triangles <= 600
    assert np.allclose([facts.low, facts.high], [glb_facts(source).low, glb_facts(source).high], atol=0.02)


@pytest.mark.parametrize(
    ("source", "output", "options", "said"),
    [
        ("nothing.glb", "out.glb", [], "nothing.glb"),
        ("text.glb", "out.glb", [], "GLB"),
        ("text.glb", "text.glb", [], "stays as it is"),
        ("", "out.stl", [], ".obj"),
        ("", "a file/out.glb", [], "a file"),
        ("", "out.glb", ["--resolution", "3"], "resolution: 3"),
        ("", "out.glb", ["--faces", "1"], "faces: 1"),
        ("", "out.glb", ["--faces", "500,800"], "each fewer than before"),
        ("", "out.obj", ["--faces", "800,500"], "levels of detail are of triangles, and in a .glb"),
        ("", "out.glb", ["--texture-size", "7"], "textureSize: 7"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_leaves_nothing(
    pile: Path,
    tmp_path: Path,
    source: str,
    output: str,
    options: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.glb").write_text("not a GLB")
    (tmp_path / "a file").write_text("not a folder")
    monkeypatch.setattr(roundtrip, "voxelise", lambda *_, **__: pytest.fail("the work had begun"))
    given = str(tmp_path / source) if source else str(pile)
    assert cli.main(["rebake", given, "--output", str(tmp_path / output), *options]) == 1
    complaints = capsys.readouterr().err.strip().splitlines()
    assert said in complaints[-1] and "Traceback" not in "".join(complaints)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", "text.glb"]


def test_levels_of_detail_are_nodes_of_one_sound_file(
    pile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "levels.glb"
    arguments = ["rebake", str(pile), "--output", str(target), "--resolution", "48", "--texture-size", "64"]
    assert cli.main([*arguments, "--faces", "1600", "--lods", "3", "--report"]) == 0
    shares = [json.loads(line)[1] for line in capsys.readouterr().out.splitlines()[:-1]]
    assert shares == sorted(shares) and shares[-1] == 1.0, "the bar never falls, whatever level it is at"
    assert_valid(target.read_bytes(), tmp_path)
    document, _ = split_glb(target.read_bytes())
    names = [node["name"] for node in document["nodes"]]
    assert names == ["in_LOD0", "in_LOD1", "in_LOD2"] and document["scenes"][0]["nodes"] == [0, 1, 2]
    counts = []
    for number, node in enumerate(document["nodes"]):
        (primitive,) = document["meshes"][node["mesh"]]["primitives"][:1]
        counts.append(document["accessors"][primitive["indices"]]["count"] // 3)
        texture = document["materials"][primitive["material"]]["pbrMetallicRoughness"]["baseColorTexture"]["index"]
        assert document["textures"][texture], number
    assert counts[0] <= 1600 and counts[1] <= 400 and counts[2] <= 100 and counts == sorted(counts, reverse=True)
    whole = read_glb(target)
    assert len(whole.faces) == sum(
        document["accessors"][primitive["indices"]]["count"] // 3
        for mesh in document["meshes"]
        for primitive in mesh["primitives"]
    )


def test_a_preset_says_how_many_and_a_number_goes_before_it(pile: Path, tmp_path: Path) -> None:
    for options, most, size in (
        (["--preset", "background"], 500, 512),
        (["--preset", "background", "--faces", "300", "--texture-size", "64"], 300, 64),
    ):
        target = tmp_path / "out.glb"
        assert cli.main(["rebake", str(pile), "--output", str(target), "--resolution", "48", *options]) == 0
        found = glb_facts(target)
        assert found.surface.triangles <= most * 1.05 and {image.width for image in found.images} == {size}


@pytest.mark.parametrize(
    ("faces", "levels", "wanted"), [(8000, 3, [8000, 2000, 500]), (500, 4, [500, 125]), (9, 2, [9])]
)
def test_a_level_that_would_show_no_form_is_left_out(faces: int, levels: int, wanted: list[int]) -> None:
    assert level_budgets(faces, levels) == wanted
