"""Metres are metres, whatever a scene's unit scale: in heights, statistics, levels, cards, batches and in the panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK, disc, run_python
from test_extension import extension, part  # noqa: F401  (a fixture)

bpy = pytest.importorskip("bpy")

from rebaking_tools import sent  # noqa: E402
from scene_objects import write  # noqa: E402
from test_glb_check import simple  # noqa: E402

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.formats.glb.check import check_glb, split_glb  # noqa: E402
from trellis_addon.jobs.job import Asset  # noqa: E402
from trellis_addon.scene import rework  # noqa: E402
from trellis_addon.scene.place import placeholder  # noqa: E402
from trellis_addon.scene.rules import units  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")
SCALES = (1.0, 0.01, 0.001, 1000.0)


def scene_in(scale: float) -> Any:
    scene = bpy.context.scene
    scene.unit_settings.scale_length = scale
    return scene


def metres(obj: Any, scene: Any) -> float:
    """How tall it is, as Blender's own sidebar shows it."""
    scene.view_layers[0].update()
    return float(obj.dimensions.z * scene.unit_settings.scale_length)


@pytest.fixture
def glb(tmp_path: Path) -> Path:
    """A cube of 2 m, in metres as every glTF file is."""
    return write(tmp_path, simple())


@pytest.mark.parametrize("scale", SCALES)
def test_heights_are_metres(scale: float, glb: Path) -> None:
    scene = scene_in(scale)
    obj = blender.import_asset(glb, height=1.8, location=(5, 0, 0))
    assert metres(obj, scene) == pytest.approx(1.8, rel=1e-5) and blender.height_of(obj) == pytest.approx(1.8)
    assert tuple(obj.location) == (5, 0, 0) and tuple(obj.scale) == (1, 1, 1)
    assert blender.measure(obj).dimensions[2] == pytest.approx(1.8)
    levels = blender.make_lods(obj, (1.0, 0.5))
    blender.set_height(obj, 2.5)
    assert metres(obj, scene) == pytest.approx(2.5, rel=1e-5)
    assert all(metres(level.object, scene) == pytest.approx(2.5, rel=1e-3) for level in levels)


@pytest.mark.parametrize("scale", SCALES)
def test_the_files_own_size_is_in_metres(scale: float, glb: Path) -> None:
    scene = scene_in(scale)
    assert metres(blender.import_asset(glb, height=None), scene) == pytest.approx(2.0, rel=1e-5)


def test_without_a_system_of_units_a_unit_is_a_metre(glb: Path) -> None:
    scene = scene_in(0.01)
    scene.unit_settings.system = "NONE"
    assert units.metres_per_unit(scene) == 1.0
    assert blender.import_asset(glb, height=1.8).dimensions.z == pytest.approx(1.8)


def test_the_scene_that_counts_is_the_objects_own(glb: Path) -> None:
    other = bpy.data.scenes.new("In Centimetres")
    other.unit_settings.scale_length = 0.01
    obj = blender.import_asset(glb, height=1.8, scene=other)
    assert metres(obj, other) == pytest.approx(1.8, rel=1e-5)
    blender.set_height(obj, 1.2)
    assert metres(obj, other) == pytest.approx(1.2, rel=1e-5) and blender.height_of(obj) == pytest.approx(1.2)


def test_what_is_made_again_keeps_its_size(glb: Path) -> None:
    scene = scene_in(0.01)
    obj = blender.import_asset(glb, height=1.8)
    rework.replace([obj], Asset.from_file(glb))
    assert metres(obj, scene) == pytest.approx(1.8, rel=1e-5)


def test_what_is_sent_to_be_rebuilt_comes_back_in_its_size_and_place(glb: Path, tmp_path: Path) -> None:
    scene = scene_in(0.01)
    obj = blender.import_asset(glb, height=1.8, location=(300, 0, 0))
    path = sent([obj], tmp_path)
    check_glb(path.read_bytes())
    assert len(split_glb(path.read_bytes())[0]["scenes"]) == 1
    back = blender.import_asset(path, height=None, keeps_place=True)
    assert metres(back, scene) == pytest.approx(1.8, rel=1e-5)
    assert tuple(back.location) == pytest.approx((300, 0, 0), rel=1e-5)


def test_cards_are_as_tall_as_their_assets() -> None:
    scene = scene_in(0.01)
    card = placeholder.stand("id", "card", scene.collection, (0, 0, 0), 1.8)
    assert card.empty_display_size == pytest.approx(180)


def test_the_panels_lengths_are_in_the_scenes_units(extension: Any, glb: Path) -> None:  # noqa: F811
    scene = scene_in(0.01)
    scene.trellis2.height = 180.0  # which the panel shows as 1.8 m
    assert bpy.ops.trellis2.import_glb(filepath=str(glb)) == {"FINISHED"}
    obj = next(obj for obj in bpy.data.objects if obj.type == "MESH")
    assert metres(obj, scene) == pytest.approx(1.8, rel=1e-5)
    bpy.context.view_layer.objects.active = obj
    assert bpy.ops.trellis2.set_height(height=250.0) == {"FINISHED"}
    assert metres(obj, scene) == pytest.approx(2.5, rel=1e-5)
    target = part("operators.placing").target_here(bpy.context)
    assert target.height == pytest.approx(1.8)


def test_a_batch_into_a_file_in_centimetres(tmp_path: Path) -> None:
    scene_in(0.01)
    output, pictures = tmp_path / "out.blend", tmp_path / "pictures"
    bpy.ops.wm.save_as_mainfile(filepath=str(output))
    pictures.mkdir()
    disc(200).save(pictures / "pot.png")
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]
    done = run_python("-m", "trellis_addon", "batch", str(pictures), "--output", str(output), "--height", "1.8", *flags)
    assert done.returncode == 0, done.stderr
    bpy.ops.wm.open_mainfile(filepath=str(output))
    assert metres(bpy.data.objects["pot"], bpy.context.scene) == pytest.approx(1.8, rel=1e-5)
