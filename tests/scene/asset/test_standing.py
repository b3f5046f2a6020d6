"""Ground, origin and transforms of objects that stand oddly: turned, under other objects, with modifiers, held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scene_objects import cube, mesh_object
from test_contracts import broken, corners, wedge

bpy = pytest.importorskip("bpy")

from mathutils import Euler, Matrix, Vector  # noqa: E402

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import InputError  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


def turned(obj: Any) -> Any:
    obj.matrix_world = Matrix.Translation((3, 4, 5)) @ Euler((0.4, 0.9, 0.3)).to_matrix().to_4x4()
    bpy.context.view_layer.update()
    return obj


def sheared(obj: Any) -> Any:
    """Under one that is turned and scaled unevenly."""
    above = bpy.data.objects.new("Above", None)
    bpy.context.scene.collection.objects.link(above)
    above.scale, above.rotation_euler, above.location = (2, 1, 0.5), (0.3, 0.2, 0.5), (3, 4, 5)
    obj.parent, obj.rotation_euler = above, (0.2, 0.5, 0.1)
    bpy.context.view_layer.update()
    return obj


@pytest.mark.parametrize("stand", [turned, sheared])
def test_ground_and_origin_go_by_the_form_and_not_by_a_box_around_it(stand: Callable[[Any], Any]) -> None:
    obj = stand(wedge())
    before = corners(obj)
    blender.drop_to_ground(obj)
    assert corners(obj)[:, 2].min() == pytest.approx(0, abs=1e-5)
    assert np.allclose(corners(obj)[:, :2], before[:, :2], atol=1e-5)
    for origin, height in (("bottom", 0.0), ("centre", 0.5)):
        now = corners(obj)
        blender.set_origin(obj, origin)
        assert np.allclose(corners(obj), now, atol=1e-5), "it stays where it stands"
        low, high = now.min(0), now.max(0)
        wanted = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2] + height * (high[2] - low[2])]
        assert np.allclose(obj.matrix_world.translation, wanted, atol=1e-4)


def test_what_is_under_a_skewed_parent_looks_the_same_when_it_is_applied() -> None:
    obj = sheared(wedge())
    before = corners(obj)
    assert "applied" in broken(obj, {"applied": True})
    blender.apply_transform(obj)
    assert np.allclose(corners(obj), before, atol=1e-4)
    assert broken(obj, {"applied": True}) == [] and obj.parent is not None


def test_shape_keys_and_modifiers_stand_on_the_ground_as_they_are_seen() -> None:
    obj = wedge()
    obj.shape_key_add(name="Basis")
    longer = obj.shape_key_add(name="Longer")
    longer.data[0].co.z -= 2
    longer.value = 0.5
    blender.drop_to_ground(obj)
    assert obj.location.z == pytest.approx(1), "half of it"
    blender.set_origin(obj, "bottom")
    assert obj.location.z == pytest.approx(0, abs=1e-5)
    assert blender.mend(obj, {"height": 2, "origin": "bottom"}) == []
    other = mesh_object(*cube(), name="Row")
    row = other.modifiers.new("Row", "ARRAY")
    row.relative_offset_displace = (0, 0, -1)
    blender.drop_to_ground(other)
    evaluated = other.evaluated_get(bpy.context.evaluated_depsgraph_get())
    assert min((other.matrix_world @ v.co).z for v in evaluated.data.vertices) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("change", [blender.turn, blender.set_origin, blender.apply_transform])
def test_what_modifiers_make_of_its_axes_is_not_spoilt(change: Callable[[Any], None]) -> None:
    obj = turned(wedge())
    obj.modifiers.new("Halves", "MIRROR")
    before, matrix = corners(obj), obj.matrix_world.copy()
    with pytest.raises(InputError, match='modifier "Halves".* apply it first'):
        change(obj)
    assert np.allclose(corners(obj), before) and obj.matrix_world == matrix
    with pytest.raises(InputError, match="Halves"):
        blender.mend(obj, {"applied": True, "names": "SM_*"})
    assert obj.name == "Thing", "nothing has changed"
    obj.modifiers.clear()
    obj.modifiers.new("Finer", "SUBSURF")
    change(obj)


@pytest.mark.parametrize("change", [blender.drop_to_ground, blender.set_origin])
def test_what_a_constraint_holds_is_told_and_left(change: Callable[[Any], None]) -> None:
    obj, there = wedge(), bpy.data.objects.new("There", None)
    bpy.context.scene.collection.objects.link(there)
    obj.data.transform(Matrix.Translation((0, 0, 2)))
    there.location = (5, 0, 1)
    obj.constraints.new("COPY_LOCATION").target = there
    bpy.context.view_layer.update()
    before = corners(obj)
    with pytest.raises(InputError, match="held where it is"):
        change(obj)
    assert np.allclose(corners(obj), before) and obj.location == Vector()
    obj.constraints[0].mute = True
    change(obj)


def test_what_is_flat_is_told_before_anything_changes() -> None:
    obj = wedge()
    obj.scale = (1, 0, 1)
    bpy.context.view_layer.update()
    before = corners(obj)
    for change in (
        lambda: blender.turn(obj, "X"),
        lambda: blender.mend(obj, {"names": "SM_*", "applied": True}),
    ):
        with pytest.raises(InputError, match="scaled to nothing"):
            change()
    assert obj.name == "Thing" and np.allclose(corners(obj), before)
