"""A part of an asset changed in Blender: the rest stays where it stands; and a job taken back into the panel."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

bpy = pytest.importorskip("bpy")

from test_extension import extension, part  # noqa: E402, F401


def figure(path: Any, horn: bool) -> str:
    image = Image.new("RGBA", (150, 200))
    draw = ImageDraw.Draw(image)
    draw.ellipse((30, 60, 120, 190), fill=(200, 120, 60, 255))
    if horn:
        draw.polygon([(62, 75), (88, 75), (105, 10)], fill=(240, 230, 90, 255))
    image.save(path)
    return str(path)


@pytest.fixture
def state(extension: ModuleType) -> Any:  # noqa: F811
    found = bpy.context.scene.trellis2
    found.backend = "draft"
    found.settings.resolution, found.settings.texture_size = "512", "1024"
    return found


def world(obj: Any) -> np.ndarray:
    places = np.empty(3 * len(obj.data.vertices), np.float32)
    obj.data.vertices.foreach_get("co", places)
    return places.reshape(-1, 3) @ np.array(obj.matrix_world.to_3x3()).T + np.array(obj.matrix_world.translation)


def test_a_part_is_changed_where_the_asset_stands(state: Any, tmp_path: Any) -> None:
    bpy.ops.trellis2.image_open(filepath=figure(tmp_path / "pot.png", horn=False))
    before = set(bpy.data.objects)
    assert bpy.ops.trellis2.generate(location=(3.0, -2.0, 0.5)) == {"FINISHED"}
    (made,) = [obj for obj in set(bpy.data.objects) - before if obj.type == "MESH"]
    made.rotation_euler.z = 0.7
    bpy.context.view_layer.update()
    old = world(made)
    bpy.ops.mesh.primitive_cube_add(size=1.0)
    cube = bpy.context.object
    cube.matrix_world = made.matrix_world.copy()
    low, high = (np.array(corner) for corner in (old.min(0), old.max(0)))
    cube.location.z += float(high[2] - low[2])  # its lower half is the asset's upper one
    cube.scale = (5.0, 5.0, float(high[2] - low[2]))
    bpy.context.view_layer.update()
    cube.select_set(True)
    made.select_set(True)
    bpy.context.view_layer.objects.active = made
    bpy.ops.trellis2.image_open(filepath=figure(tmp_path / "horned.png", horn=True))
    assert bpy.ops.trellis2.change_part(source="PANEL") == {"FINISHED"}
    new = world(made)
    assert new[:, 2].max() > high[2] + 0.1 * (high[2] - low[2]), "the horn stands out"
    below = high[2] - 0.75 * (high[2] - low[2])
    mine, theirs = (np.unique(np.round(places[places[:, 2] < below], 4), axis=0) for places in (old, new))
    assert abs(len(mine) - len(theirs)) < 0.02 * len(mine)
    assert np.allclose(mine.min(0), theirs.min(0), atol=1e-3) and np.allclose(mine.max(0), theirs.max(0), atol=1e-3)
    cube.select_set(False)
    assert not bpy.ops.trellis2.change_part.poll()


def test_a_job_is_taken_back_into_the_panel_and_linked(state: Any, tmp_path: Any, extension: ModuleType) -> None:  # noqa: F811
    bpy.ops.trellis2.image_open(filepath=figure(tmp_path / "vase.png", horn=False))
    state.settings.seed = "17"
    assert bpy.ops.trellis2.generate() == {"FINISHED"}
    store = part("trellis_addon.jobs.store").JobStore()
    first = store.recent()[0]
    state.settings.property_unset("seed")
    state.image = None
    assert bpy.ops.trellis2.job_edit(job=first.uuid) == {"FINISHED"}
    assert state.image is not None and state.settings.seed == "17" and state.edited == first.uuid
    assert tuple(state.image.size) == (150, 200)
    state.settings.seed = "18"
    assert bpy.ops.trellis2.generate() == {"FINISHED"}
    second = store.recent()[0]
    assert second.uuid != first.uuid and second.settings["seed"] == 18
    assert dict(second.source) == {"task_uuid": first.uuid, "stage": "edit"}
    assert state.edited == "", "once"
