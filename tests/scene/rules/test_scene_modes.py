"""Objects that are being edited: each function works on what is there by now, or says in one sentence what to leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import disc, sentence

bpy = pytest.importorskip("bpy")

from scene_objects import write  # noqa: E402
from test_glb_check import simple  # noqa: E402

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import TrellisError  # noqa: E402
from trellis_addon.jobs.job import Asset  # noqa: E402
from trellis_addon.scene import rework  # noqa: E402
from trellis_addon.scene.importing import placement  # noqa: E402
from trellis_addon.scene.rebaking.copies import save_copies  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")
MODES = ("EDIT", "SCULPT", "VERTEX_PAINT", "WEIGHT_PAINT", "TEXTURE_PAINT")


@pytest.fixture
def glb(tmp_path: Path) -> Path:
    return write(tmp_path, simple(disc(1024).convert("RGB")))


def enter(mode: str, *objects: Any) -> None:
    """Put objects into a mode, the last one being the active one; in Edit Mode something is edited."""
    for obj in objects:
        obj.select_set(True)
    bpy.context.view_layer.objects.active = objects[-1]
    bpy.ops.object.mode_set(mode=mode)
    if mode == "EDIT":
        bpy.ops.mesh.select_all(action="SELECT")
        bpy.ops.mesh.subdivide()


def in_mode(mode: str) -> Callable[[Path], Any]:
    def make(glb: Path) -> Any:
        obj = blender.import_asset(glb)
        enter(mode, obj)
        return obj

    return make


def beside_another(glb: Path) -> Any:
    obj, other = blender.import_asset(glb), blender.import_asset(glb, location=(3, 0, 0))
    enter("EDIT", obj, other)
    assert obj.mode == other.mode == "EDIT"
    return obj


def by_another_object(glb: Path) -> Any:
    """It is in Object Mode itself, but its mesh is edited."""
    obj = blender.import_asset(glb)
    twin = obj.copy()
    bpy.context.scene.collection.objects.link(twin)
    enter("EDIT", twin)
    assert obj.mode == "OBJECT"
    return obj


def with_shape_keys(glb: Path) -> Any:
    obj = blender.import_asset(glb)
    obj.shape_key_add(name="Basis")
    obj.shape_key_add(name="Key")
    enter("EDIT", obj)
    return obj


def while_something_else_is_edited(glb: Path) -> Any:
    obj = blender.import_asset(glb)
    bpy.ops.mesh.primitive_cube_add()
    enter("EDIT", bpy.context.object)
    return obj


SITUATIONS = {
    **{mode: in_mode(mode) for mode in MODES},
    "several at once": beside_another,
    "by another object": by_another_object,
    "shape keys": with_shape_keys,
    "something else": while_something_else_is_edited,
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_only_looks_sees_what_is_there_by_now(situation: str, glb: Path, tmp_path: Path) -> None:
    obj = SITUATIONS[situation](glb)
    mode, keys = obj.mode, len(bpy.data.shape_keys)
    meshes = set(bpy.data.meshes)
    is_subdivided = obj.data.is_editmode
    triangles = 48 if is_subdivided else 12
    found = blender.measure(obj)
    assert found.surface.triangles == triangles and found.surface.uv_area is not None
    assert blender.height_of(obj) == pytest.approx(1.0) and found.dimensions[2] == pytest.approx(1.0)
    blender.remember(obj)
    assert blender.recall(obj)[0].surface.triangles == triangles
    low, high = placement.world_bounds(obj)
    assert (high - low).z == pytest.approx(1.0)
    picture = blender.render_object(obj, tmp_path / "picture.png", size=16, samples=1)
    assert picture.is_file()
    assert set(bpy.data.meshes) == meshes and len(bpy.data.shape_keys) == keys, "a copy stayed"
    assert obj.mode == mode, "it is still in the artist's hands"


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_makes_something_new_of_it(situation: str, glb: Path, tmp_path: Path) -> None:
    obj = SITUATIONS[situation](glb)
    mode, triangles = obj.mode, 48 if obj.data.is_editmode else 12
    levels = blender.make_lods(obj, (1.0, 0.5))
    assert [level.triangles for level in levels] == [triangles, triangles // 2]
    assert all(level.object.data.uv_layers for level in levels[1:])
    path = tmp_path / "preview.png"
    disc(64).save(path)
    blender.mark_asset(obj, preview=path)
    assert obj.asset_data is not None
    library = tmp_path / "library"
    library.mkdir()
    saved = blender.save_to_library(obj, library, preview=path)
    blender.lay_out_grid([obj])
    assert obj.mode == mode
    with bpy.data.libraries.load(str(saved)) as (_, into):
        into.meshes = [obj.data.name]
    assert len(into.meshes[0].loop_triangles) in (0, triangles)
    into.meshes[0].calc_loop_triangles()
    assert len(into.meshes[0].loop_triangles) == triangles


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_changes_its_mesh_is_done_or_refused(situation: str, glb: Path, tmp_path: Path) -> None:
    held = situation in ("EDIT", "SCULPT", "several at once", "by another object", "shape keys")
    for change in (
        lambda obj: blender.set_height(obj, 3.0),
        lambda obj: rework.replace([obj], Asset.from_file(glb)),
    ):
        bpy.ops.wm.read_homefile(use_empty=True)
        obj = SITUATIONS[situation](glb)
        before = obj.data
        if not held:
            change(obj)
            continue
        with pytest.raises(TrellisError, match="leave (Edit|Sculpt) Mode first") as caught:
            change(obj)
        sentence(caught.value)
        assert obj.data == before and placement.world_bounds(obj)[1].z == pytest.approx(1.0)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_copies_show_it_as_it_is_now(situation: str, glb: Path, tmp_path: Path) -> None:
    obj = SITUATIONS[situation](glb)
    mode, triangles = obj.mode, 48 if obj.data.is_editmode else 12
    save_copies([obj], tmp_path / "copies.blend")
    assert obj.mode == mode
    with bpy.data.libraries.load(str(tmp_path / "copies.blend")) as (there, into):
        into.meshes = list(there.meshes)
    for mesh in into.meshes:
        mesh.calc_loop_triangles()
    assert [len(mesh.loop_triangles) for mesh in into.meshes] == [triangles]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_textures_do_not_depend_on_it(situation: str, glb: Path) -> None:
    obj = SITUATIONS[situation](glb)
    (shrunk,) = blender.shrink_textures(obj, 512)
    assert shrunk.size_after == (512, 512)


def test_levels_of_what_was_edited_leave_edit_mode_as_it_was(glb: Path) -> None:
    obj = in_mode("EDIT")(glb)
    blender.make_lods(obj, (1.0, 0.5))
    bpy.ops.mesh.subdivide()
    bpy.ops.object.mode_set(mode="OBJECT")
    assert len(obj.data.polygons) > 48
    assert len(blender.lods_of(obj).objects[0].data.polygons) == 48


def test_an_asset_comes_in_whatever_is_edited(glb: Path) -> None:
    for mode in MODES:
        bpy.ops.wm.read_homefile(use_empty=True)
        edited = in_mode(mode)(glb)
        new = blender.import_asset(glb, location=(2, 0, 0))
        blender.lay_out_grid([new])
        assert edited.mode == mode
        corners = np.array([tuple(v.co) for v in new.data.vertices])
        assert np.ptp(corners[:, 2]) == pytest.approx(1.0)
        assert new.matrix_world.translation.y > placement.world_bounds(edited)[1].y
