"""What an artist gets: an asset that faces the eye, knows where it came from, and outlasts saving."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DRAFT_SEED, QUICK, sentence
from PIL import Image

bpy = pytest.importorskip("bpy")

from scene_objects import check_sound, datablocks, points, write  # noqa: E402
from test_glb_check import (  # noqa: E402
    half_clear,
    simple,
)

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import DamagedFileError, TrellisError  # noqa: E402
from trellis_addon.jobs.job import Asset  # noqa: E402
from trellis_addon.scene import files  # noqa: E402
from trellis_addon.scene.importing.materials import images_of, principled_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize(
    ("left", "right", "said", "linked", "method"),
    [
        (120, 255, "OPAQUE", True, "BLENDED"),
        (0, 255, "OPAQUE", True, "DITHERED"),
        (255, 0, "OPAQUE", False, "DITHERED"),
        (255, 0, "BLEND", False, "DITHERED"),
        (255, 255, "BLEND", False, "DITHERED"),
        (120, 255, "BLEND", True, "BLENDED"),
    ],
)
def test_alpha_is_linked_only_where_it_is_seen(
    kind: str, left: int, right: int, said: str, linked: bool, method: str, tmp_path: Path
) -> None:
    obj = blender.import_asset(write(tmp_path, simple(half_clear(left=left, right=right), kind, alphaMode=said)))
    material = obj.material_slots[0].material
    alpha = principled_of(material).inputs["Alpha"]
    assert alpha.is_linked is linked
    assert material.surface_render_method == method
    if linked:
        assert alpha.links[0].from_socket.name == "Alpha"
    else:
        assert alpha.default_value == 1.0


def test_alpha_of_several_materials_is_told_apart(tmp_path: Path) -> None:
    glb = simple(half_clear(), name="Same")
    texture = glb.texture(half_clear(left=120, right=255))
    glb.add("materials", {"name": "Same", "pbrMetallicRoughness": {"baseColorTexture": {"index": texture}}})
    glb.cube(material=1)
    glb.document["scenes"][0]["nodes"] = [0, 1]
    glb.document["nodes"].append({"mesh": 1, "translation": [3, 0, 0]})
    obj = blender.import_asset(write(tmp_path, glb))
    linked = [principled_of(slot.material).inputs["Alpha"].is_linked for slot in obj.material_slots]
    assert linked == [False, True]


def test_the_import_is_ready_to_use(draft: Asset) -> None:
    before = datablocks()
    obj = blender.import_asset(draft, height=1.8, location=(1.0, -2.0, 0.5))
    check_sound(obj, 1.8, (1.0, -2.0, 0.5))
    assert obj.name == obj.data.name == obj.users_collection[0].name == "Blue Disc"
    assert obj.users_collection[0].name in bpy.context.scene.collection.children
    assert len(obj.data.uv_layers) == 1
    new = Counter(kind for kind, *_ in datablocks() - before)
    new.pop("scenes", None)  # the scene has another count of users now
    assert new == {"objects": 1, "meshes": 1, "materials": 1, "collections": 1, "images": 3}
    (material,) = [slot.material for slot in obj.material_slots]
    principled = principled_of(material)
    spaces = {}
    for name in ("Base Color", "Metallic", "Roughness", "Normal"):
        assert principled.inputs[name].is_linked, name
        spaces[name] = _image_behind(principled.inputs[name]).colorspace_settings.name
    assert spaces == {"Base Color": "sRGB", "Metallic": "Non-Color", "Roughness": "Non-Color", "Normal": "Non-Color"}
    for image in images_of(obj):
        assert image.packed_file is not None and min(image.size) > 100


def _image_behind(socket: Any) -> Any:
    node = socket.links[0].from_node
    while node.type != "TEX_IMAGE":
        node = next(entry.links[0].from_node for entry in node.inputs if entry.is_linked)
    return node.image


def test_the_front_faces_the_artist(draft: Asset) -> None:
    """Most of the disc's front looks along -Y, up is up."""
    obj = blender.import_asset(draft, location=(0, 0, 0))
    extent = np.ptp(points(obj), axis=0)
    assert extent[2] == pytest.approx(1, rel=1e-5)
    assert extent[0] == pytest.approx(1, abs=0.05) and extent[1] < 0.9


def test_defaults_and_names(draft: Asset) -> None:
    bpy.context.scene.cursor.location = (3, 4, 5)
    check_sound(blender.import_asset(draft.path), 1.0, (3, 4, 5))
    again = blender.import_asset(draft, name="A/B", height=None)
    assert again.name == "A B"
    third, fourth = (blender.import_asset(draft) for _ in range(2))
    assert len({third.name, fourth.name, "Blue Disc"}) == 3
    assert len({obj.users_collection[0].name for obj in (again, third, fourth)}) == 3


def test_provenance_and_settings_come_back(draft: Asset) -> None:
    obj = blender.import_asset(draft)
    found = blender.read_provenance(obj)
    assert found["engine"] == draft.engine == "draft:relief@1"
    assert found["seed"] == DRAFT_SEED
    assert found["image"] == "Blue Disc" and len(found["image_sha256"]) == 64
    assert dict(blender.settings_of(obj)) == {"seed": DRAFT_SEED, "tex_slat_steps": 12, **QUICK}
    other = bpy.data.objects.new("Other", None)
    assert blender.read_provenance(other) == {} == blender.read_provenance(None)
    with pytest.raises(TrellisError, match="Other") as caught:
        blender.settings_of(other)
    sentence(caught.value)
    other["trellis2_provenance"] = "[not ours"
    assert blender.read_provenance(other) == {}


def test_marked_assets_have_a_preview(draft: Asset, tmp_path: Path) -> None:
    obj = blender.import_asset(draft)
    before = datablocks()
    blender.mark_asset(obj)
    # where Blender keeps every render; it is not saved
    assert {entry[:2] for entry in datablocks() - before} <= {("images", "Render Result"), ("objects", "Blue Disc")}
    assert {"TRELLIS.2", "draft"} <= {tag.name for tag in obj.asset_data.tags}
    assert "Blue Disc" in obj.asset_data.description and "draft:relief@1" in obj.asset_data.description
    pixels = np.array(obj.preview.image_pixels_float).reshape(-1, 4)
    assert len(pixels) == 256 * 256
    seen = pixels[pixels[:, 3] > 0.5]
    assert 0.2 < len(seen) / len(pixels) < 0.9
    assert seen[:, 2].mean() > seen[:, 0].mean() + 0.1, "the blue disc is not blue"
    Image.new("RGB", (20, 30), (255, 0, 0)).save(tmp_path / "red.png")
    blender.mark_asset(obj, preview=tmp_path / "red.png")
    assert np.array(obj.preview.image_pixels_float).reshape(-1, 4)[1000] == pytest.approx([1, 0, 0, 1], abs=0.02)


def test_a_grid_has_no_overlaps(draft: Asset, tmp_path: Path) -> None:
    standing = blender.import_asset(write(tmp_path, simple()), location=(0, 1, 0))
    objects = [blender.import_asset(draft, height=height) for height in (1, 2, 0.5, 1, 1)]
    blender.lay_out_grid(objects)
    boxes = [(points(obj).min(0), points(obj).max(0)) for obj in (standing, *objects)]
    for number, (low, high) in enumerate(boxes):
        assert low[2] == pytest.approx(0, abs=1e-5)
        for other_low, other_high in boxes[number + 1 :]:
            apart = (low[:2] >= other_high[:2] - 1e-4) | (other_low[:2] >= high[:2] - 1e-4)
            assert apart.any()
    blender.lay_out_grid([])


def test_edit_mode_and_selection_stay(draft: Asset) -> None:
    mesh = bpy.data.meshes.new("Mine")
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
    mine, other = bpy.data.objects.new("Mine", mesh), bpy.data.objects.new("Other", None)
    for obj in (mine, other):
        bpy.context.scene.collection.objects.link(obj)
        obj.select_set(True)
    bpy.context.view_layer.objects.active = mine
    bpy.ops.object.mode_set(mode="EDIT")
    scene, layer = bpy.context.scene, bpy.context.view_layer
    check_sound(blender.import_asset(draft, location=(0, 0, 0)))
    assert (bpy.context.scene, bpy.context.view_layer) == (scene, layer)
    assert bpy.context.view_layer.objects.active == mine
    assert mine.mode == "EDIT" and bpy.context.mode == "EDIT_MESH"
    assert mine.select_get() and other.select_get()
    with pytest.raises(DamagedFileError):
        blender.import_asset(draft.path.parent / "nothing.glb")
    assert mine.mode == "EDIT"
    bpy.ops.object.mode_set(mode="OBJECT")
    assert len(mine.data.vertices) == 3


def test_another_scene_is_served_while_one_is_worked_in(draft: Asset) -> None:
    here, there = bpy.context.scene, bpy.data.scenes.new("There")
    there.cursor.location = (7, 0, 0)
    parent = bpy.data.collections.new("Props")
    there.collection.children.link(parent)
    obj = blender.import_asset(draft, scene=there, parent_collection=parent)
    check_sound(obj, 1.0, (7, 0, 0))
    assert bpy.context.scene == here and not here.collection.all_objects
    assert obj.name in there.objects and obj.users_collection[0].name in parent.children
    assert not any(p.objects for p in (there.collection, parent))


def test_everything_outlasts_saving(draft: Asset, tmp_path: Path) -> None:
    obj = blender.import_asset(draft, height=1.25, location=(0, 0, 0))
    blender.mark_asset(obj)
    files.save_file(tmp_path / "new folder" / "asset.blend")
    files.new_file()
    assert not bpy.data.objects
    files.open_file(tmp_path / "new folder" / "asset.blend")
    (obj,) = bpy.data.objects
    check_sound(obj, 1.25)
    assert blender.settings_of(obj)["seed"] == DRAFT_SEED
    assert obj.asset_data is not None and len(obj.preview.image_pixels) == 256 * 256
    assert {len(bpy.data.scenes), len(bpy.data.collections), len(bpy.data.materials), len(bpy.data.meshes)} == {1}
    assert len(images_of(obj)) == 3
    for image in images_of(obj):
        assert image.packed_file is not None
        pixels = np.empty(image.size[0] * image.size[1] * 4, np.float32)
        image.pixels.foreach_get(pixels)
        assert np.ptp(pixels.reshape(-1, 4)[:, :3]) > 0


def test_files_that_are_no_blends(tmp_path: Path) -> None:
    (tmp_path / "x.blend").write_bytes(b"not one")
    with pytest.raises(TrellisError) as caught:
        files.open_file(tmp_path / "x.blend")
    sentence(caught.value)


def test_a_picture_of_the_object(draft: Asset, tmp_path: Path) -> None:
    obj = blender.import_asset(draft)
    before = {entry[:2] for entry in datablocks()}
    path = blender.render_object(obj, tmp_path / "new" / "view.png", size=64, samples=2)
    with Image.open(path) as picture:
        assert picture.size == (64, 64)
        assert np.ptp(np.asarray(picture.convert("L")).astype(int)) > 40
    assert {entry[:2] for entry in datablocks()} - before <= {("images", "Render Result")}
