"""The button that textures the selected meshes: when it is there, and what it does."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from views_tools import BODY, COLOURS, HORN, NOSE, picture

bpy = pytest.importorskip("bpy")

from test_extension import extension, part  # noqa: E402, F401
from test_texturing import boxes, colour_on, is_near, uv_maps  # noqa: E402


@pytest.fixture
def front(tmp_path: Path) -> Path:
    picture(0.0, colour=COLOURS["front"]).save(tmp_path / "front.png")
    return tmp_path / "front.png"


@pytest.fixture
def state(extension: ModuleType) -> Any:  # noqa: F811
    found = bpy.context.scene.trellis2
    found.backend = "draft"
    found.settings.texture_size = "1024"
    found.settings.resolution = "512"
    return found


def select(*objects: Any) -> None:
    for obj in bpy.context.scene.objects:
        obj.select_set(obj in objects)
    bpy.context.view_layer.objects.active = objects[0] if objects else None


def test_the_button_textures_what_is_selected(front: Path, state: Any) -> None:
    thing, other = boxes("Thing", BODY, NOSE, HORN), boxes("Other", BODY)
    select()
    assert not bpy.ops.trellis2.texture_mesh.poll()
    select(thing)
    state.backend = "remote"
    assert not bpy.ops.trellis2.texture_mesh.poll(), "the remote API textures no mesh"
    state.backend = "draft"
    state.settings.texture = False  # of a shape that is generated, which means nothing here
    before = uv_maps(thing)
    assert bpy.ops.trellis2.texture_mesh(filepath=str(front)) == {"FINISHED"}
    assert is_near(colour_on(thing, 2), COLOURS["front"]) and uv_maps(thing) == before
    assert "trellis2_rework" not in thing and not other.material_slots and len(bpy.context.scene.objects) == 2

    assert bpy.ops.trellis2.former_material() == {"FINISHED"}
    assert not colour_on(thing, 2).any()
    bpy.ops.trellis2.former_material()
    assert is_near(colour_on(thing, 2), COLOURS["front"])
    select(other)
    assert not bpy.ops.trellis2.former_material.poll()


def test_a_picture_that_cannot_be_used_changes_nothing(tmp_path: Path, state: Any) -> None:
    thing = boxes("Thing", BODY)
    select(thing)
    with pytest.raises(RuntimeError, match=r"There is no image"):
        bpy.ops.trellis2.texture_mesh()
    with pytest.raises(RuntimeError):
        bpy.ops.trellis2.texture_mesh(filepath=str(tmp_path / "gone.png"))
    assert "trellis2_rework" not in thing and not thing.material_slots


@pytest.mark.parametrize(("towards", "yaw"), [((0, -1, 0), 0.0), ((1, 0, 0), 90.0), ((0, 1, 0.4), 180.0)])
def test_where_one_looks_is_where_the_picture_looks(towards: tuple[float, ...], yaw: float, state: Any) -> None:
    from mathutils import Vector

    turn = Vector(towards).to_track_quat("Z", "Y")
    space = SimpleNamespace(type="VIEW_3D", region_3d=SimpleNamespace(view_rotation=turn))
    context = SimpleNamespace(space_data=space, screen=None)
    assert part("operators.texture_mesh").yaw_of_view(context) == pytest.approx(yaw, abs=0.01)


def test_a_texturing_is_taken_back_with_what_it_textured(front: Path, state: Any) -> None:
    thing, other = boxes("Thing", BODY, NOSE, HORN), boxes("Other", BODY)
    select(thing)
    assert bpy.ops.trellis2.texture_mesh(filepath=str(front), facing="BACK") == {"FINISHED"}
    store = part("trellis_addon.jobs.store").JobStore()
    first = store.recent()[0]
    assert first.kind == "mesh" and part("ui.job_panels").line_name(first.name, "mesh") == "Texture Thing"
    select(other)
    assert bpy.ops.trellis2.job_edit(job=first.uuid) == {"FINISHED"}
    assert bpy.context.selected_objects == [thing] and state.image is not None and state.edited_kind == "mesh"
    asked = SimpleNamespace(facing="FRONT", angle=0.0)
    part("operators.texture_mesh").TRELLIS2_OT_texture_mesh._as_before(asked, state)
    assert asked.facing == "BACK"
    assert bpy.ops.trellis2.texture_mesh(facing="BACK") == {"FINISHED"}
    second = store.recent()[0]
    assert dict(second.source) == {"task_uuid": first.uuid, "stage": "edit"} and second.kind == "mesh"
    assert second.settings["facing"] == "back" and state.edited == state.edited_kind == ""
