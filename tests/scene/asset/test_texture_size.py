"""Textures made smaller: what they show, what of it outlasts saving and undo, and what is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentence
from PIL import Image

bpy = pytest.importorskip("bpy")


from scene_objects import ball, cube, mesh_object  # noqa: E402

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import FieldError  # noqa: E402
from trellis_addon.jobs.job import Asset  # noqa: E402
from trellis_addon.scene import files  # noqa: E402
from trellis_addon.scene.asset.texture_size import resized  # noqa: E402
from trellis_addon.scene.importing.materials import images_of, principled_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


def pixels_of(image: Any) -> np.ndarray:
    flat = np.empty(image.size[0] * image.size[1] * image.channels, np.float32)
    image.pixels.foreach_get(flat)
    return flat.reshape(image.size[1], image.size[0], image.channels)


def test_textures_of_a_real_asset_shrink(draft: Asset) -> None:
    obj = blender.import_asset(draft)
    before = {
        image.name: (image.colorspace_settings.name, image.alpha_mode, pixels_of(image)) for image in images_of(obj)
    }
    done = blender.shrink_textures(obj, 512)
    assert len(done) == 2 and len(bpy.data.images) == 3
    for change in done:
        assert change.size_before == (1024, 1024) and change.size_after == (512, 512)
        assert 0 < change.stored_after < change.stored_before and change.memory_after * 4 == change.memory_before
    for image in images_of(obj):
        space, alpha_mode, old = before[image.name]
        assert image.colorspace_settings.name == space and image.alpha_mode == alpha_mode
        assert tuple(image.size) == (512, 512) and image.packed_file is not None and not image.is_dirty
        average = old.reshape(512, old.shape[0] // 512, 512, old.shape[1] // 512, -1).mean(axis=(1, 3))
        assert np.abs(pixels_of(image) - average).mean() < 0.02
    assert blender.shrink_textures(obj, 512) == blender.shrink_textures(obj, 2048) == [], "never up"


def test_shrunk_textures_outlast_saving(draft: Asset, tmp_path: Path) -> None:
    obj = blender.import_asset(draft)
    blender.shrink_textures(obj, 512)
    files.save_file(tmp_path / "small.blend")
    files.open_file(tmp_path / "small.blend")
    assert {tuple(image.size) for image in bpy.data.images} == {(512, 512)}
    assert all(np.ptp(pixels_of(image)) > 0 for image in bpy.data.images)


def test_what_others_show_stays_as_it_is(draft: Asset) -> None:
    obj = blender.import_asset(draft)
    twin = obj.copy()  # the same mesh, the same material
    bpy.context.scene.collection.objects.link(twin)
    blender.shrink_textures(obj, 512)
    assert {tuple(image.size) for image in images_of(obj)} == {(512, 512)}
    assert sorted(image.size[0] for image in images_of(twin)) == [512, 1024, 1024]
    assert twin.data == obj.data and twin.material_slots[0].material != obj.material_slots[0].material
    assert len(bpy.data.images) == 5


def test_undo_brings_the_large_ones_back(draft: Asset) -> None:
    obj = blender.import_asset(draft)
    name = obj.name
    bpy.ops.ed.undo_push(message="before")
    blender.shrink_textures(obj, 512)
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    assert sorted(image.size[0] for image in images_of(bpy.data.objects[name])) == [512, 1024, 1024]
    bpy.ops.ed.redo()
    assert {tuple(image.size) for image in images_of(bpy.data.objects[name])} == {(512, 512)}


def shown(image: Any) -> Any:
    """An object whose material shows the image."""
    obj = mesh_object(*cube())
    material = bpy.data.materials.new("Material")
    if material.node_tree is None:  # before 5.0
        material.use_nodes = True
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    material.node_tree.links.new(node.outputs["Color"], principled_of(material).inputs["Base Color"])
    obj.data.materials.append(material)
    return obj


def test_painted_and_float_images_shrink_as_well() -> None:
    for is_float in (False, True):
        image = bpy.data.images.new("Painted", 1024, 768, alpha=True, float_buffer=is_float)
        values = np.zeros((768, 1024, 4), np.float32)
        values[..., 3], values[:, 512:, 0] = 1, 0.5
        image.colorspace_settings.name = "Non-Color"
        image.pixels.foreach_set(values.reshape(-1))
        obj = shown(image)
        (change,) = blender.shrink_textures(obj, 512)
        (small,) = images_of(obj)
        assert change.size_after == tuple(small.size) == (512, 384)
        assert small.is_float == is_float and small.colorspace_settings.name == "Non-Color"
        assert small.packed_file is not None and small.name.startswith("Painted")
        found = pixels_of(small)
        assert found[:, 100, 0].max() == 0 and found[:, 400, 0] == pytest.approx(0.5, abs=0.01)


def test_images_beside_the_file_are_left_there(tmp_path: Path) -> None:
    path = tmp_path / "wood.png"
    Image.new("RGB", (1024, 1024), (200, 100, 50)).save(path)
    content = path.read_bytes()
    obj = shown(bpy.data.images.load(str(path)))
    (change,) = blender.shrink_textures(obj, 512)
    assert change.size_after == (512, 512) and images_of(obj)[0].packed_file is not None
    assert path.read_bytes() == content


def test_alpha_when_it_counts_and_when_it_does_not() -> None:
    """Red that is seen beside green that is not."""
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:, :1] = (255, 0, 0, 255)
    pixels[:, 1:] = (0, 255, 0, 0)
    picture = Image.fromarray(pixels, "RGBA")
    used = np.asarray(resized(picture, (2, 2), True))
    assert tuple(used[0, 0]) == (255, 0, 0, 128) and tuple(used[0, 1]) == (0, 255, 0, 0)
    unused = np.asarray(resized(picture, (2, 2), False))
    assert tuple(unused[0, 0]) == (128, 128, 0, 128) and tuple(unused[0, 1]) == (0, 255, 0, 0)


def test_sizes_that_are_not_offered() -> None:
    with pytest.raises(FieldError) as caught:
        blender.shrink_textures(ball(8), 1000)
    sentence(caught.value)
