"""What is linked from another file, or overrides what is: a change lasts, or is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import disc, sentence

bpy = pytest.importorskip("bpy")

from scene_objects import write  # noqa: E402
from test_glb_check import simple  # noqa: E402

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import InputError  # noqa: E402
from trellis_addon.jobs.job import Asset  # noqa: E402
from trellis_addon.scene import rework  # noqa: E402
from trellis_addon.scene.place import placeholder  # noqa: E402
from trellis_addon.scene.target import SESSION, Target  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def glb(tmp_path: Path) -> Path:
    return write(tmp_path, simple(disc(1024).convert("RGB")))


@pytest.fixture
def library(glb: Path, tmp_path: Path) -> Path:
    """A file with an asset and its levels of detail, and a scene and a collection of its own."""
    obj = blender.import_asset(glb, name="thing")
    blender.make_lods(obj, (0.5,))
    path = tmp_path / "library.blend"
    bpy.context.scene.name = "Theirs"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True)
    return path


def linked(library: Path, kind: str, name: str = "thing") -> Any:
    with bpy.data.libraries.load(str(library), link=True) as (_, into):
        setattr(into, kind, [name])
    return getattr(into, kind)[0]


def linked_object(library: Path) -> Any:
    obj = linked(library, "objects")
    bpy.context.scene.collection.objects.link(obj)
    return obj


def override(library: Path) -> Any:
    return linked_object(library).override_create(remap_local_usages=True)


def reopened(obj: Any, tmp_path: Path) -> Any:
    name = obj.name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "mine.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "mine.blend"))
    return next(found for found in bpy.context.scene.objects if found.name == name)


CHANGES: dict[str, Callable[[Any, Path], object]] = {
    "set_height": lambda obj, folder: blender.set_height(obj, 3.0),
    "remember": lambda obj, folder: blender.remember(obj),
    "mark_asset": lambda obj, folder: blender.mark_asset(obj, preview=folder / "preview.png"),
    "save_to_library": lambda obj, folder: blender.save_to_library(obj, folder, preview=folder / "preview.png"),
    "shrink_textures": lambda obj, folder: blender.shrink_textures(obj, 512),
    "replace": lambda obj, folder: rework.replace([obj], Asset.from_file(folder / "thing.glb")),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("make", [linked_object, override])
def test_a_change_that_would_not_last_is_refused(
    change: str, make: Callable[[Path], Any], library: Path, tmp_path: Path
) -> None:
    obj = make(library)
    disc(64).save(tmp_path / "preview.png")
    blends = set(tmp_path.glob("*.blend"))
    with pytest.raises(InputError, match='"thing".*linked from another file.*make it local') as caught:
        CHANGES[change](obj, tmp_path)
    sentence(caught.value)
    assert obj.asset_data is None and set(tmp_path.glob("*.blend")) == blends
    assert blender.height_of(obj) == pytest.approx(1.0)


def test_what_does_not_change_it_works(library: Path, tmp_path: Path) -> None:
    for make in (linked_object, override):
        obj = make(library)
        assert blender.measure(obj).surface.triangles == 12
        (level,) = blender.make_lods(obj, (0.5,))
        assert level.triangles == 6 and level.object.is_editable
        assert blender.render_object(obj, tmp_path / "picture.png", size=16, samples=1).is_file()
        blender.remove_lods(obj)
        bpy.ops.wm.read_homefile(use_empty=True)


def test_levels_of_another_file_stay_there(library: Path) -> None:
    chain = linked(library, "collections", "thing LODs")
    bpy.context.scene.collection.children.link(chain)
    obj = next(obj for obj in bpy.data.objects if obj.name == "thing")
    bpy.context.scene.collection.objects.link(obj)
    count = len(bpy.data.objects)
    for change in (lambda: blender.remove_lods(obj), lambda: blender.make_lods(obj, (0.5,))):
        with pytest.raises(InputError, match='"thing LODs" is linked from another file'):
            change()
        assert len(bpy.data.objects) == count


def test_where_an_override_stands_lasts(library: Path, tmp_path: Path) -> None:
    blender.import_asset(tmp_path / "thing.glb", name="other")
    obj = override(library)
    blender.lay_out_grid([obj])
    place = obj.location.copy()
    assert place.length > 0.5
    assert reopened(obj, tmp_path).location == place
    bpy.ops.wm.read_homefile(use_empty=True)
    with pytest.raises(InputError, match="linked from another file"):
        blender.lay_out_grid([linked_object(library)])


def test_an_object_of_ours_with_a_mesh_of_theirs(library: Path, tmp_path: Path) -> None:
    obj = bpy.data.objects.new("mine", linked(library, "objects").data)
    bpy.context.scene.collection.objects.link(obj)
    with pytest.raises(InputError, match="linked from another file"):
        blender.set_height(obj, 3.0)
    blender.shrink_textures(obj, 512)
    blender.remember(obj)
    obj = reopened(obj, tmp_path)
    (slot,) = obj.material_slots
    sizes = {tuple(node.image.size) for node in slot.material.node_tree.nodes if node.type == "TEX_IMAGE"}
    assert sizes == {(512, 512)} and blender.recall(obj) is not None


@pytest.mark.parametrize("is_override", [False, True])
def test_a_material_of_theirs_is_copied(is_override: bool, library: Path, tmp_path: Path) -> None:
    obj = blender.import_asset(tmp_path / "thing.glb", name="mine")
    material = linked(library, "materials")
    obj.data.materials[0] = material.override_create() if is_override else material
    blender.shrink_textures(obj, 512)
    obj = reopened(obj, tmp_path)
    material = obj.material_slots[0].material
    assert material.is_editable and material.override_library is None
    sizes = {tuple(node.image.size) for node in material.node_tree.nodes if node.type == "TEX_IMAGE"}
    assert sizes == {(512, 512)}


def test_what_is_missing_is_refused_too(library: Path, tmp_path: Path) -> None:
    obj = linked_object(library)
    mine = tmp_path / "mine.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(mine))
    library.unlink()
    bpy.ops.wm.open_mainfile(filepath=str(mine))
    obj = bpy.context.scene.objects["thing"]
    for use in (blender.measure, blender.height_of, blender.mark_asset, lambda obj: blender.set_height(obj, 2.0)):
        with pytest.raises(InputError) as caught:
            use(obj)
        sentence(caught.value)
    new = blender.import_asset(tmp_path / "thing.glb")
    blender.lay_out_grid([new])


def test_nothing_comes_into_a_scene_or_collection_of_another_file(library: Path, tmp_path: Path) -> None:
    scene, collection = linked(library, "scenes", "Theirs"), linked(library, "collections")
    bpy.context.scene.collection.children.link(collection)
    before = len(bpy.data.objects)
    for place in ({"scene": scene}, {"parent_collection": collection}):
        with pytest.raises(InputError, match="linked from another file") as caught:
            blender.import_asset(tmp_path / "thing.glb", **place)
        sentence(caught.value)
    with pytest.raises(InputError, match="linked from another file"):
        placeholder.stand("id", "card", collection, (0, 0, 0), 1.0)
    assert len(bpy.data.objects) == before and len(bpy.data.scenes) == 2
    target = Target("Theirs", "", (0, 0, 0), 1.0, SESSION)
    assert target.scene is None and not target.is_open
    wished = Target(bpy.context.scene.name, "", (0, 0, 0), 1.0, SESSION, collection="thing")
    parent = wished.parent_in(bpy.context.scene)
    assert parent.is_editable, "a collection of this name is theirs, so it is another one"
    blender.import_asset(tmp_path / "thing.glb", parent_collection=parent)


@pytest.mark.parametrize("is_override", [False, True])
def test_levels_and_hulls_need_a_collection_of_ours(is_override: bool, library: Path) -> None:
    with bpy.data.libraries.load(str(library), link=True) as (source, target):
        target.collections = [name for name in source.collections if name == "thing"]
    (theirs,) = target.collections
    if is_override:
        theirs.override_hierarchy_create(bpy.context.scene, bpy.context.view_layer)
    else:
        bpy.context.scene.collection.children.link(theirs)
    obj = next(o for o in bpy.context.scene.objects if o.name.startswith("thing"))
    before = set(bpy.data.collections)
    with pytest.raises(InputError, match="make it local first"):
        blender.make_lods(obj, (0.5,))
    with pytest.raises(InputError, match="make it local first"):
        blender.make_collision(obj)
    assert set(bpy.data.collections) == before, "nothing has changed"
