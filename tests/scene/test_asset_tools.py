"""After the import: statistics, levels of detail, textures, height, asset libraries, the original GLB."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import PATIENCE, ROOT, sentence
from PIL import Image

bpy = pytest.importorskip("bpy")

from mathutils import Matrix  # noqa: E402

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import Cancelled, DamagedFileError, FieldError, InputError, TrellisError  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.jobs.job import Asset  # noqa: E402
from trellis_addon.jobs.store import JobStore  # noqa: E402
from trellis_addon.scene import files  # noqa: E402
from trellis_addon.scene.asset import catalog, statistics  # noqa: E402
from trellis_addon.scene.asset.texture_size import resized  # noqa: E402
from trellis_addon.scene.importing.materials import images_of, principled_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")

CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def mesh_object(points: Any, faces: Any, name: str = "Thing") -> Any:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points, [], faces)
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    return obj


def cube(offset: float = 0.0, faces: Any = SIDES) -> tuple[list[tuple[float, ...]], list[tuple[int, ...]]]:
    return [(x + offset, y, z) for x, y, z in CORNERS], list(faces)


def ball(segments: int = 64) -> Any:
    """A sphere with UVs (one seam), of about `segments`^2 triangles."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=segments, ring_count=segments // 2)
    return bpy.context.object


def surface(points: Any, faces: Any) -> statistics.SurfaceFacts:
    return blender.measure(mesh_object(points, faces)).surface


# --- statistics ---


def test_a_closed_cube() -> None:
    found = surface(*cube())
    assert (found.triangles, found.vertices, found.components) == (12, 8, 1)
    assert (found.open_edges, found.non_manifold_edges, found.flipped_edges) == (0, 0, 0)
    assert found.uv_area is None


def test_an_open_cube() -> None:
    found = surface(*cube(faces=SIDES[:5]))
    assert (found.triangles, found.open_edges, found.non_manifold_edges) == (10, 4, 0)


def test_two_parts() -> None:
    (a, faces), (b, _) = cube(), cube(5)
    both = a + b, faces + [tuple(v + 8 for v in face) for face in faces]
    assert surface(*both).components == 2
    # a third of them alone, not joined to anything
    assert surface(both[0] + [(9, 9, 9), (8, 8, 8)], both[1]).vertices == 16, "what no face uses is not the surface"


def test_a_fin() -> None:
    """A face standing on an edge of a closed cube: three faces meet there, and its other three edges are open."""
    points, faces = cube()
    found = surface([*points, (0, 2, 0), (0, 2, 1)], [*faces, (2, 3, 9, 8)])
    assert (found.non_manifold_edges, found.open_edges, found.components) == (1, 3, 1)


def test_a_face_the_wrong_way_round() -> None:
    points, faces = cube()
    assert surface(points, [faces[0][::-1], *faces[1:]]).flipped_edges == 4


def test_seams_do_not_open_a_surface() -> None:
    """Every face with corners of its own, as a file may have it; and one corner that says -0."""
    points, faces = cube()
    flat = [points[v] for face in faces for v in face]
    flat = [tuple(-0.0 if c == 0 and n % 2 else c for c in p) for n, p in enumerate(flat)]
    found = surface(flat, np.arange(24).reshape(6, 4).tolist())
    assert (found.vertices, found.components, found.open_edges) == (8, 1, 0)


def test_faces_without_area_are_not_part_of_it() -> None:
    points, faces = cube()
    found = surface([*points, points[0]], [*faces, (0, 8, 1)])
    assert (found.open_edges, found.non_manifold_edges, found.flipped_edges) == (0, 0, 0)


def test_components_of_a_long_thin_thing_in_any_order() -> None:
    """A strip whose vertices are numbered at random: what takes pointer jumping longest."""
    random = np.random.default_rng(3)
    count = 2000
    order = random.permutation(2 * count)
    points = np.zeros((2 * count, 3))
    points[order] = [(n // 2, n % 2, 0) for n in range(2 * count)]
    quads = [[order[2 * n + k] for k in (0, 1, 3, 2)] for n in range(count - 1)]
    assert surface(points.tolist(), quads).components == 1
    del quads[700], quads[300]
    assert surface(points.tolist(), quads).components == 3


def test_no_surface_at_all() -> None:
    found = blender.measure(mesh_object([], []))
    assert found.surface.triangles == found.surface.components == 0 and found.dimensions == (0, 0, 0)
    assert [level for level, _ in blender.verdict(found)] == ["WARNING"]
    with pytest.raises(InputError) as caught:
        blender.measure(bpy.data.objects.new("Empty", None))
    sentence(caught.value)


def test_the_numbers_agree_with_a_plain_count(draft: Asset) -> None:
    """On a real asset, against Blender's own edges, counted one by one."""
    obj = blender.import_asset(draft, height=1.5)
    found = blender.measure(obj)
    uses = [0] * len(obj.data.edges)
    for loop in obj.data.loops:
        uses[loop.edge_index] += 1
    assert found.surface.triangles == len(obj.data.polygons)
    assert found.surface.vertices == len(obj.data.vertices), "the importer has welded it"
    assert found.surface.open_edges == uses.count(1)
    assert found.surface.non_manifold_edges == sum(n > 2 for n in uses)
    assert found.surface.flipped_edges == 0
    assert found.dimensions[2] == pytest.approx(1.5, rel=1e-5)
    assert 0.05 < found.surface.uv_area <= 1
    assert sorted(t.width for t in found.textures) == [512, 1024, 1024], "the normal map is half as large"
    assert found.texture_memory == 4 * (512**2 + 2 * 1024**2)
    assert all(0 < t.stored < t.memory for t in found.textures)
    assert found.alpha == "OPAQUE"


def test_alpha_is_what_the_material_does(draft: Asset) -> None:
    obj = blender.import_asset(draft)
    material = obj.material_slots[0].material
    principled_of(material).inputs["Alpha"].default_value = 0.5
    assert blender.measure(obj).alpha == "MASK"
    material.surface_render_method = "BLENDED"
    assert blender.measure(obj).alpha == "BLEND"


def test_kept_numbers_know_when_they_are_old(draft: Asset, tmp_path: Path) -> None:
    obj = blender.import_asset(draft)
    assert blender.recall(obj) is None
    found = blender.remember(obj)
    files.save_file(tmp_path / "kept.blend")
    files.open_file(tmp_path / "kept.blend")
    (obj,) = bpy.data.objects
    assert blender.recall(obj) == (found, True)
    obj.data.vertices.add(1)
    assert blender.recall(obj) == (found, False)
    obj[statistics.PROPERTY] = '{"of": 1}'
    assert blender.recall(obj) is None


def test_the_verdict_in_words() -> None:
    def said(points: Any, faces: Any) -> dict[str, str]:
        return {text: level for level, text in blender.verdict(blender.measure(mesh_object(points, faces)))}

    assert said(*cube()) == {"Closed and clean: ready to print or simulate": "GOOD"}
    assert said(*cube(faces=SIDES[:5])) == {"Open at 4 edges: fine for rendering, not for printing": "INFO"}
    points, faces = cube()
    assert any("Recalculate" in text for text in said(points, [faces[0][::-1], *faces[1:]]))
    heavy = mesh_object(*cube())
    found = blender.measure(heavy)
    large = statistics.TextureFacts("Base", 8192, 8192, 1, 2**28)
    many = statistics.SurfaceFacts(500_000, 250_000, 3, 0, 0, 0, None)
    texts = [text for _, text in blender.verdict(statistics.Statistics(many, found.dimensions, "OPAQUE", (large,)))]
    assert [any(word in text for text in texts) for word in ("3 separate", "real-time", "shrink", "No UV")] == [
        True
    ] * 4


# --- levels of detail ---


def test_a_chain_of_a_real_asset(draft: Asset) -> None:
    obj = blender.import_asset(draft, location=(3, 1, 0))
    before = (obj.data, len(obj.data.polygons), obj.matrix_world.copy(), len(bpy.data.materials), len(bpy.data.images))
    levels = blender.make_lods(obj)
    assert before == (
        obj.data,
        len(obj.data.polygons),
        obj.matrix_world.copy(),
        len(bpy.data.materials),
        len(bpy.data.images),
    )
    full = before[1]
    assert [level.object.name for level in levels] == [f"{obj.name}_LOD{n}" for n in range(3)]
    assert [level.triangles / full for level in levels] == pytest.approx([1, 0.25, 0.05], rel=0.02)
    assert levels[0].object.data == obj.data, "nothing is kept twice"
    collection = blender.lods_of(obj)
    assert collection.name in obj.users_collection[0].children and set(collection.objects) == {
        level.object for level in levels
    }
    for level in levels:
        made = level.object
        assert made["trellis2_lod_level"] == level.level and made["trellis2_lod_triangles"] == level.triangles
        assert len(made.data.polygons) == level.triangles and not made.modifiers and not made.vertex_groups
        assert [slot.material for slot in made.material_slots] == [slot.material for slot in obj.material_slots]
        assert len(made.data.uv_layers) == 1 and made.data.has_custom_normals == obj.data.has_custom_normals
        assert list(made.dimensions) == pytest.approx(list(obj.dimensions), rel=0.03)
        found = blender.measure(made).surface
        assert found.open_edges == 0 and found.components == 1
        assert found.uv_area == pytest.approx(blender.measure(obj).surface.uv_area, rel=0.05)
        assert blender.read_provenance(made) == blender.read_provenance(obj)
    assert not [s.name for s in bpy.data.scenes if "TRELLIS" in s.name] and len(bpy.data.meshes) == 3
    assert not any(level.object.select_get() for level in levels)


def test_side_by_side_they_do_not_touch() -> None:
    obj = ball(16)
    obj.matrix_world = Matrix.Translation((3, 1, 0))
    levels = blender.make_lods(obj, (0.5, 0.1))
    width = obj.dimensions.x
    places = [tuple(found.matrix_world.translation) for found in (obj, *(level.object for level in levels))]
    assert [x - places[0][0] > n * width for n, (x, _, _) in enumerate(places)][1:] == [True, True]
    assert all((y, z) == (1, 0) for _, y, z in places)
    for arrange, hidden in (("HIDDEN", True), ("IN_PLACE", False)):
        levels = blender.make_lods(obj, (0.5, 0.1), arrange=arrange)
        assert all(level.object.matrix_world == obj.matrix_world for level in levels)
        collection = blender.lods_of(obj)
        assert collection.hide_viewport == collection.hide_render == hidden


def test_once_more_replaces_the_chain() -> None:
    obj = ball(32)
    blender.make_lods(obj)
    mine = bpy.data.objects.new("Mine", None)
    blender.lods_of(obj).objects.link(mine)
    counts = len(bpy.data.objects), len(bpy.data.meshes), len(bpy.data.collections)
    levels = blender.make_lods(obj, (1, 0.5, 0.1))
    assert counts == (len(bpy.data.objects), len(bpy.data.meshes), len(bpy.data.collections))
    assert [level.object.name for level in levels] == [f"{obj.name}_LOD{n}" for n in range(3)]
    assert mine.name in bpy.context.scene.collection.objects, "what the artist put there is not thrown away"
    other = obj.copy()
    bpy.context.scene.collection.objects.link(other)
    blender.make_lods(other, (0.5,))
    assert blender.lods_of(obj) != blender.lods_of(other) and len(blender.lods_of(obj).objects) == 3
    blender.remove_lods(obj)
    blender.remove_lods(other)
    assert len(bpy.data.meshes) == 1 and not bpy.data.collections


def test_modifiers_are_part_of_the_levels() -> None:
    obj = ball(16)
    obj.modifiers.new("Subdivision", "SUBSURF").levels = 1
    levels = blender.make_lods(obj, (1, 0.25))
    shown = sum(len(face.vertices) - 2 for face in obj.data.polygons)
    assert levels[0].triangles > 2 * shown and levels[1].triangles < levels[0].triangles / 3
    assert len(obj.modifiers) == 1 and not levels[0].object.modifiers
    assert len(bpy.data.meshes) == 3, "the original and two levels"


def test_custom_normals_are_those_of_the_original() -> None:
    """All pointing up, as for foliage: a face tells nothing of them."""
    obj = ball(48)
    obj.data.shade_smooth()
    obj.data.normals_split_custom_set_from_vertices([(0, 0, 1)] * len(obj.data.vertices))
    for level in blender.make_lods(obj, (0.25, 0.05)):
        normals = np.empty((len(level.object.data.loops), 3), np.float32)
        level.object.data.corner_normals.foreach_get("vector", normals.reshape(-1))
        assert np.degrees(np.arccos(np.clip(normals[:, 2], -1, 1))).max() < 3


def test_seams_are_spared() -> None:
    from trellis_addon.scene.asset.decimate import seam_vertices

    obj = ball(64)
    before = seam_vertices(obj.data)
    assert before.sum() == 33, "one meridian, its poles included"
    (level,) = blender.make_lods(obj, (0.25,))
    after = seam_vertices(level.object.data)
    assert after.sum() > 0.8 * before.sum() and len(after) < 0.3 * len(before)


@pytest.mark.parametrize("ratios", [(), (0.5, 0.5), (0.2, 0.4), (1.5,), (0.0,), (float("nan"),)])
def test_ratios_that_make_no_chain(ratios: tuple[float, ...]) -> None:
    obj = ball(16)
    with pytest.raises(FieldError) as caught:
        blender.make_lods(obj, ratios)
    sentence(caught.value)
    assert blender.lods_of(obj) is None


def test_what_cannot_have_levels() -> None:
    obj = ball(16)
    (level, *_) = blender.make_lods(obj)
    for wrong in (level.object, bpy.data.objects.new("Empty", None), mesh_object([], [])):
        with pytest.raises(InputError) as caught:
            blender.make_lods(wrong)
        sentence(caught.value)
    with pytest.raises(FieldError, match="HIDDEN"):
        blender.make_lods(obj, arrange="beside")


def test_cancelled_the_former_chain_stays() -> None:
    obj = ball(16)
    former = [level.object for level in blender.make_lods(obj)]
    counts = len(bpy.data.objects), len(bpy.data.meshes), len(bpy.data.scenes)
    asked: list[str] = []

    def stop() -> bool:
        asked.append("")
        return len(asked) == 3

    with pytest.raises(Cancelled):
        blender.make_lods(obj, progress=Progress(is_cancelled=stop))
    assert counts == (len(bpy.data.objects), len(bpy.data.meshes), len(bpy.data.scenes))
    assert list(blender.lods_of(obj).objects) == former


# --- textures ---


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


# --- height ---


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


# --- catalogs and libraries ---


def test_a_new_catalog_file_and_a_second_catalog(tmp_path: Path) -> None:
    first = blender.ensure_catalog(tmp_path)
    assert uuid.UUID(first).version == 5 and first == catalog.catalog_id()
    second = blender.ensure_catalog(tmp_path, "TRELLIS.2/Props: old\\new")
    between = catalog.catalog_id("TRELLIS.2/Props- old")
    assert blender.ensure_catalog(tmp_path) == first
    text = (tmp_path / catalog.FILE_NAME).read_text()
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == [
        "VERSION 1",
        f"{first}:TRELLIS.2:TRELLIS.2",
        f"{between}:TRELLIS.2/Props- old:TRELLIS.2-Props- old",
        f"{second}:TRELLIS.2/Props- old/new:TRELLIS.2-Props- old-new",
    ]
    assert list(blender.catalogs_in(tmp_path).values()) == [first, between, second]
    assert [path.name for path in tmp_path.iterdir()] == [catalog.FILE_NAME], "nothing is left lying around"


def test_whatever_stands_in_the_file_stays(tmp_path: Path) -> None:
    ours, theirs = catalog.catalog_id(), "0e9ae6dd-5d1d-4bd1-9b1c-0aab0c3a4a1e"
    old = f"# by hand, ä\r\n\r\nVERSION 1\r\n{theirs}:Props/Rocks:Rocks\r\nnot a line we know"
    path = tmp_path / catalog.FILE_NAME
    path.write_bytes(old.encode())
    assert blender.ensure_catalog(tmp_path, "Props/Rocks") == theirs, "a catalog of this path is there"
    assert path.read_bytes() == old.encode()
    assert blender.ensure_catalog(tmp_path) == ours
    assert path.read_bytes().decode().startswith(old)
    renamed = f"VERSION 1\n{ours}:Generated:Generated\n"
    path.write_text(renamed)
    assert blender.ensure_catalog(tmp_path) == ours, "renamed in Blender it is still ours"
    assert path.read_text() == renamed


@pytest.mark.parametrize("content", [b"VERSION 2\n", b"VERSION 1\n\xff\xfe"])
def test_catalog_files_that_we_do_not_understand(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / catalog.FILE_NAME
    path.write_bytes(content)
    with pytest.raises(TrellisError) as caught:
        blender.ensure_catalog(tmp_path)
    sentence(caught.value)
    assert path.read_bytes() == content
    with pytest.raises(InputError):
        blender.ensure_catalog(tmp_path, " / ")


def test_many_at_once_lose_no_line(tmp_path: Path) -> None:
    """Threads here and another process there."""
    script = (
        "import sys; from pathlib import Path; from trellis_addon.scene.asset.catalog import ensure_catalog\n"
        "for n in range(20): ensure_catalog(Path(sys.argv[1]), f'B/{n}')"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT)
    for start in (0, 10, 20):
        threads = [
            threading.Thread(target=blender.ensure_catalog, args=(tmp_path, f"A/{n}")) for n in range(start, start + 10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert other.wait(PATIENCE) == 0
    assert set(blender.catalogs_in(tmp_path)) == (
        {"A", "B"} | {f"A/{n}" for n in range(30)} | {f"B/{n}" for n in range(20)}
    )


@pytest.fixture
def library(tmp_path: Path) -> Any:
    folder = tmp_path / "library"
    folder.mkdir()
    libraries = bpy.context.preferences.filepaths.asset_libraries
    added = libraries.new(name="Studio", directory=str(folder))
    yield folder
    libraries.remove(added)


def plain_preview(tmp_path: Path) -> Path:
    Image.new("RGB", (16, 16), (255, 0, 0)).save(tmp_path / "red.png")
    return tmp_path / "red.png"


def test_a_marked_asset_says_where_it_comes_from(draft: Asset, library: Path, tmp_path: Path) -> None:
    obj = blender.import_asset(draft)
    preview = plain_preview(tmp_path)
    blender.mark_asset(obj, preview=preview, catalog="Props", tags=["round"])
    data = obj.asset_data
    assert data.catalog_id == catalog.catalog_id("Props") and catalog.folder_of_this_file() is None
    assert {"TRELLIS.2", "draft", "draft relief@1", "Blue Disc", "round"} <= {tag.name for tag in data.tags}
    assert "rights" in data.license and "MIT" not in data.license, "no weights made a draft"
    assert "Blue Disc" in data.description and data.author
    blender.mark_asset(obj, preview=preview, licence="CC0", author="Me", catalog=None)
    assert (obj.asset_data.license, obj.asset_data.author) == ("CC0", "Me")
    assert obj.asset_data.catalog_id == catalog.catalog_id("Props")
    # in a saved file the catalog is written where Blender looks for it
    files.save_file(library / "sub" / "mine.blend")
    blender.mark_asset(obj, preview=preview)
    assert blender.catalogs_in(library) == {"TRELLIS.2": obj.asset_data.catalog_id}


def test_saving_to_a_library_never_replaces(draft: Asset, library: Path, tmp_path: Path) -> None:
    assert blender.library_folders()["Studio"] == library
    obj = blender.import_asset(draft)
    preview = plain_preview(tmp_path)
    first = blender.save_to_library(obj, library, preview=preview)
    content = first.read_bytes()
    second = blender.save_to_library(obj, library, preview=preview, catalog="TRELLIS.2/Props")
    assert [path.name for path in (first, second)] == ["Blue Disc.blend", "Blue Disc-2.blend"]
    assert first.read_bytes() == content and obj.asset_data is None, "the open file is as it was"
    assert sorted(path.name for path in library.iterdir()) == [
        "Blue Disc-2.blend",
        "Blue Disc.blend",
        catalog.FILE_NAME,
    ]
    with bpy.data.libraries.load(str(second), assets_only=True) as (held, wanted):
        assert held.objects == ["Blue Disc"]
        wanted.objects = held.objects
    (loaded,) = wanted.objects
    assert loaded.asset_data.catalog_id == blender.catalogs_in(library)["TRELLIS.2/Props"]
    assert len(loaded.data.polygons) == len(obj.data.polygons) and blender.settings_of(loaded)
    assert all(image.packed_file is not None for image in images_of(loaded)) and len(images_of(loaded)) == 3


def test_what_is_marked_is_saved_as_it_is_marked(draft: Asset, library: Path, tmp_path: Path) -> None:
    obj = blender.import_asset(draft)
    preview = plain_preview(tmp_path)
    blender.mark_asset(obj, preview=preview, catalog="Mine", author="Me")
    path = blender.save_to_library(obj, library, catalog="Theirs", author="Nobody", tags=["lost"])
    assert obj.asset_data.catalog_id == catalog.catalog_id("Mine") and obj.asset_data.author == "Me"
    with bpy.data.libraries.load(str(path), assets_only=True) as (held, wanted):
        wanted.objects = held.objects
    (loaded,) = wanted.objects
    assert loaded.asset_data.author == "Me" and "lost" not in {tag.name for tag in loaded.asset_data.tags}
    assert loaded.asset_data.catalog_id == blender.catalogs_in(library)["Theirs"]


def test_libraries_that_are_not_there(draft: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    obj = blender.import_asset(draft)
    with pytest.raises(InputError) as caught:
        blender.save_to_library(obj, tmp_path / "none")
    sentence(caught.value)
    # where the disk gives out while writing, nothing stays that looks like an asset
    from trellis_addon.scene.asset import library as assets

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    monkeypatch.setattr(catalog, "ensure_catalog", lambda folder, path: catalog.catalog_id(path))
    monkeypatch.setattr(assets, "ensure_catalog", lambda folder, path: catalog.catalog_id(path))
    with pytest.raises(TrellisError) as caught_full:
        blender.save_to_library(obj, tmp_path, preview=plain_preview(tmp_path))
    sentence(caught_full.value)
    assert [path.name for path in tmp_path.iterdir()] == ["red.png"] and obj.asset_data is None


# --- the original ---


def test_the_original_glb_as_it_came(draft: Asset, tmp_path: Path) -> None:
    obj = blender.import_asset(draft)
    original = blender.original_of(obj)
    assert original.provenance["task_uuid"] == draft.provenance["task_uuid"]
    path = blender.export_original(obj, tmp_path)
    assert path.name == "Blue Disc.glb" and path.read_bytes() == draft.path.read_bytes() == original.path.read_bytes()
    path.write_bytes(b"mine")
    with pytest.raises(FieldError) as caught:
        blender.export_original(obj, path)
    sentence(caught.value)
    assert path.read_bytes() == b"mine"
    assert blender.export_original(obj, path, overwrite=True).read_bytes() == draft.path.read_bytes()
    assert blender.export_original(obj, tmp_path / "new" / "a.GLB").is_file()
    with pytest.raises(FieldError, match=".glb"):
        blender.export_original(obj, tmp_path / "a.obj")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Blue Disc.glb", "new"]


def test_originals_that_are_gone(draft: Asset, tmp_path: Path) -> None:
    obj = blender.import_asset(draft)
    uuid_text = draft.provenance["task_uuid"]

    def refused(kind: type[TrellisError], words: str, store: JobStore | None = None) -> None:
        with pytest.raises(kind, match=words) as caught:
            blender.export_original(obj, tmp_path / "out.glb", store=store)
        sentence(caught.value)
        assert not (tmp_path / "out.glb").exists()

    refused(TrellisError, f"not in this computer's list.*{uuid_text}", JobStore(tmp_path / "another"))
    path = blender.original_of(obj).path
    content = path.read_bytes()
    try:
        path.unlink()
        refused(TrellisError, f"not in the jobs' folder.*{uuid_text}")
        path.write_bytes(content[:1000])
        refused(DamagedFileError, "damaged")
    finally:
        path.write_bytes(content)
    provenance = json.loads(obj["trellis2_provenance"])
    obj["trellis2_provenance"] = json.dumps({**provenance, "file_uuid": "another"})
    refused(TrellisError, "no such result")
    del obj["trellis2_provenance"]
    refused(InputError, "not made by this add-on")


# --- the operators and the panel, as the extension registers them ---


@pytest.fixture
def extension() -> Any:
    """The extension enabled under a name of its own, with the panel of the selected asset."""
    from test_extension import NAME, load, part

    module = load()
    module.register()
    panel = part("ui.asset_panel")
    is_extra = not hasattr(bpy.types, "TRELLIS2_PT_asset")
    if is_extra:
        panel.register()
    yield panel
    if is_extra:
        panel.unregister()
    module.unregister()
    for name in [n for n in sys.modules if n == NAME or n.startswith(NAME + ".")]:
        del sys.modules[name]


class Recorder:
    """A layout that notes what is put into it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.operators: list[str] = []

    def _self(self, *arguments: Any, **options: Any) -> Recorder:
        return self

    row = column = split = grid_flow = _self

    def panel(self, name: str, **options: Any) -> tuple[Recorder, Recorder]:
        return self, self

    def label(self, text: str = "", **options: Any) -> None:
        self.texts.append(text)

    def operator(self, name: str, **options: Any) -> SimpleNamespace:
        self.operators.append(name)
        return SimpleNamespace()  # what the button is to be pressed with

    def prop(self, *arguments: Any, **options: Any) -> None:
        pass

    operator_menu_enum = operator_value = lambda self, name, *arguments, **options: self.operator(name)


def drawn(panel: Any) -> Recorder:
    recorder = Recorder()
    context = SimpleNamespace(
        object=bpy.context.object,
        scene=bpy.context.scene,
        region=SimpleNamespace(width=2000),
        preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1)),
    )
    assert panel.TRELLIS2_PT_asset.poll(context)
    panel.TRELLIS2_PT_asset.draw(SimpleNamespace(layout=recorder), context)
    return recorder


def choose(obj: Any) -> Any:
    bpy.context.view_layer.objects.active = obj
    return obj


def test_what_needs_packages_says_so_where_they_cannot_be_had(extension: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a fresh installation, where online access is off: the buttons' question must not fail by its poll."""
    rebake = sys.modules[f"{extension.__name__.partition('.')[0]}.operators.rebake"]
    monkeypatch.setattr(bpy.context.preferences.system, "use_online_access", False)
    said: list[str] = []
    operator = SimpleNamespace(report=lambda kinds, text: said.append(text))
    assert not bpy.ops.trellis2.finishing_install.poll()
    assert rebake._ask_for_packages(operator) == {"CANCELLED"}
    assert len(said) == 1 and "online access is off" in said[0]


def test_every_tool_without_a_window(extension: Any, draft: Asset, library: Path, tmp_path: Path) -> None:
    ops = bpy.ops.trellis2
    assert ops.import_glb(filepath=str(draft.path)) == {"FINISHED"}
    (obj,) = bpy.data.objects
    choose(obj)
    recorder = drawn(extension)
    assert {"Triangles", f"{len(obj.data.polygons):,}", "Draft (relief)"} <= set(recorder.texts)
    assert "trellis2.measure" not in recorder.operators, "measured at the import"
    obj = choose(small_copy(obj))
    assert ops.measure() == {"FINISHED"}
    for name in recorder.operators:
        assert hasattr(bpy.types, "TRELLIS2_OT_" + name.partition(".")[2]), name

    assert ops.set_height(height=2.5) == {"FINISHED"}
    assert obj.dimensions.z == pytest.approx(2.5, rel=1e-4)
    assert ops.make_lods(levels=2, ratios=(10, 1, 0.5, 0.2, 0.1, 0.05), arrange="HIDDEN") == {"FINISHED"}
    assert sorted(o.name for o in bpy.data.objects) == [obj.name, f"{obj.name}_LOD0", f"{obj.name}_LOD1"]
    assert ops.shrink_textures(size="512") == ops.shrink_textures(size="512") == {"FINISHED"}
    assert any("up to 512 px" in text for text in drawn(extension).texts), "measured again"
    assert ops.mark_asset(catalog="Props", licence="CC0", tags="one, two") == {"FINISHED"}
    assert {"one", "two"} <= {tag.name for tag in obj.asset_data.tags} and obj.asset_data.license == "CC0"
    bpy.context.preferences.filepaths.asset_libraries[0].path = ""  # the fixture's own remains
    assert ops.save_to_library(library="Studio") == {"FINISHED"}
    assert ops.save_to_library(folder=str(tmp_path), catalog="A/B") == {"FINISHED"}
    assert (library / "Blue Disc.blend").is_file() and (tmp_path / "Blue Disc.blend").is_file()
    assert ops.export_original(filepath=str(tmp_path / "out.glb")) == {"FINISHED"}
    assert (tmp_path / "out.glb").read_bytes() == draft.path.read_bytes()
    with pytest.raises(RuntimeError, match="already"):
        ops.export_original(filepath=str(tmp_path / "out.glb"))
    assert ops.export_original(filepath=str(tmp_path / "out.glb"), overwrite=True) == {"FINISHED"}

    obj.data.vertices.add(1)
    assert "trellis2.measure" in drawn(extension).operators and ops.measure() == {"FINISHED"}
    assert "trellis2.measure" not in drawn(extension).operators


def test_the_tools_say_why_they_cannot(extension: Any, draft: Asset) -> None:
    ops = bpy.ops.trellis2
    assert not ops.measure.poll() and not ops.export_original.poll()
    obj = choose(ball(16))
    assert ops.measure.poll() and not ops.export_original.poll()
    (level, *_) = sys.modules["test_extension"].part("trellis_addon.scene").make_lods(obj)
    choose(level.object)
    assert not ops.make_lods.poll() and ops.measure.poll()
    with pytest.raises(RuntimeError, match="select the object that it was made of"):
        ops.make_lods()
    choose(obj)
    bpy.ops.object.mode_set(mode="EDIT")
    with pytest.raises(RuntimeError, match="Object Mode"):
        ops.set_height(height=2)
    bpy.ops.object.mode_set(mode="OBJECT")
    with pytest.raises(RuntimeError, match="ratios.*smaller"):
        ops.make_lods(levels=2, ratios=(5, 25, 5, 1, 1, 1))
    with pytest.raises(RuntimeError, match="not there"):
        ops.save_to_library(folder="/nowhere/at/all")


def test_the_chain_is_one_step_of_undo(extension: Any) -> None:
    """An operator with UNDO makes its step itself where there is a window; here it is made by hand."""
    name = choose(ball(16)).name
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.trellis2.make_lods() == {"FINISHED"}
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    assert list(bpy.data.objects) == [bpy.data.objects[name]] and not bpy.data.collections
    bpy.ops.ed.redo()
    assert len(bpy.data.objects) == 4 and len(blender.lods_of(bpy.data.objects[name]).objects) == 3


# --- the documentation ---


def small_copy(asset: Any) -> Any:
    """An object of the asset's name, provenance and material that is quick to work on."""
    obj = ball(32)
    obj.data.materials.append(asset.material_slots[0].material)
    obj["trellis2_provenance"] = asset["trellis2_provenance"]
    name = asset.name
    bpy.data.objects.remove(asset)
    obj.name = name
    return obj


def test_the_examples_of_the_documentation_run(draft: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trellis_addon

    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "assets.md").read_text(encoding="utf-8"), re.M | re.S
    )
    assert len(blocks) >= 6
    monkeypatch.chdir(tmp_path)
    Path("library").mkdir()
    scene = {"trellis_addon": trellis_addon, "bpy": bpy, "obj": small_copy(blender.import_asset(draft)), "Path": Path}
    for block in blocks:
        exec(compile(block, "docs/assets.md", "exec"), scene)
    assert (tmp_path / "library" / "Blue Disc.blend").is_file() and (tmp_path / "helmet.glb").is_file()
