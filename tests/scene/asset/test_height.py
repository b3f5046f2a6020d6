"""An asset's height, set after it has come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import sentence

bpy = pytest.importorskip("bpy")

from mathutils import Matrix  # noqa: E402
from scene_objects import ball, cube, mesh_object  # noqa: E402

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import InputError  # noqa: E402
from trellis_addon.jobs.job import Asset  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


def test_the_height_can_come_later(draft: Asset) -> None:
    obj = blender.import_asset(draft, height=1.0, location=(2, 3, 0.5))
    blender.set_height(obj, 1.83)
    low, high = np.array(obj.bound_box).min(0), np.array(obj.bound_box).max(0)
    assert blender.height_of(obj) == pytest.approx(1.83, rel=1e-5)
    assert tuple(obj.scale) == (1, 1, 1) and tuple(obj.location) == (2, 3, 0.5)
    assert low[2] == pytest.approx(0, abs=1e-5) and (low + high)[:2] == pytest.approx([0, 0], abs=1e-4)


def test_levels_follow_the_height() -> None:
    obj = ball(48)
    levels = blender.make_lods(obj)
    blender.set_height(obj, 3)
    assert [blender.height_of(level.object) for level in levels] == pytest.approx([3] * 3, rel=0.05)
    assert levels[0].object.data == obj.data


def test_others_with_the_same_mesh_keep_their_size(draft: Asset) -> None:
    obj = blender.import_asset(draft, height=1.0)
    twin = obj.copy()
    bpy.context.scene.collection.objects.link(twin)
    blender.set_height(obj, 3)
    assert blender.height_of(obj) == pytest.approx(3, rel=1e-5)
    assert blender.height_of(twin) == pytest.approx(1, rel=1e-5)


def test_what_was_turned_and_scaled_has_its_height_in_the_world() -> None:
    obj = mesh_object(*cube())
    obj.matrix_world = Matrix.Rotation(0.5, 4, "X") @ Matrix.Scale(2, 4)
    blender.set_height(obj, 1)
    assert blender.height_of(obj) == pytest.approx(1, rel=1e-5)
    flat = mesh_object([(0, 0, 0), (4, 0, 0), (0, 1, 0)], [(0, 1, 2)])
    blender.set_height(flat, 2)
    assert flat.data.vertices[1].co.x == pytest.approx(2)


@pytest.mark.parametrize("height", [0, -1, float("nan"), 1e9])
def test_heights_that_cannot_be(height: float) -> None:
    with pytest.raises(InputError) as caught:
        blender.set_height(mesh_object(*cube()), height)
    sentence(caught.value)


def test_a_mesh_without_vertices_is_a_sentence_and_stands_in_nobodys_way(tmp_path: Path) -> None:
    nothing, broken, obj = mesh_object([], [], "Nothing"), mesh_object(*cube(), "Broken"), mesh_object(*cube(), "Whole")
    broken.data.vertices[0].co = (float("nan"),) * 3
    for does in (
        lambda: blender.height_of(nothing),
        lambda: blender.lay_out_grid([nothing]),
        lambda: blender.render_object(nothing, tmp_path / "picture.png"),
    ):
        with pytest.raises(InputError, match="no surface"):
            does()
    blender.mark_asset(nothing)
    assert nothing.asset_data
    blender.lay_out_grid([obj])
    assert np.isfinite(obj.matrix_world).all()
