"""Exports by Blender's own exporters, read back: the same faces, names and maps, in metres, and nothing left behind."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scene_objects import mesh_object
from test_extension import extension, part  # noqa: F401  (a fixture)

bpy = pytest.importorskip("bpy")

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.cli import main  # noqa: E402
from trellis_addon.contract.glb_facts import glb_facts  # noqa: E402
from trellis_addon.core.errors import FieldError, InputError, TrellisError  # noqa: E402
from trellis_addon.formats.glb.check import split_glb  # noqa: E402
from trellis_addon.scene.importing.placement import world_bounds  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")

COLOUR, NORMAL = (200, 90, 30), (128, 200, 250)


def image(name: str, colour: tuple[int, int, int], is_data: bool) -> Any:
    """Packed as WebP, as an asset's are."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32), colour).save(buffer, "WEBP", lossless=True)
    made = bpy.data.images.new(name, 64, 32)
    made.source = "FILE"
    made.pack(data=buffer.getvalue(), data_len=len(buffer.getvalue()))
    made.filepath_raw = f"//{name}.webp"
    if is_data:
        made.colorspace_settings.name = "Non-Color"
    return made


@pytest.fixture
def asset() -> Any:
    """A box of quads, 1 x 2 x 3 m, with UVs, a base colour and a normal map."""
    bpy.ops.mesh.primitive_cube_add(size=1)
    obj = bpy.context.object
    obj.name = obj.data.name = "SM_Box"
    obj.scale = (1, 2, 3)
    bpy.context.view_layer.update()
    blender.apply_transform(obj)
    blender.set_origin(obj, "bottom")
    blender.drop_to_ground(obj)
    material = bpy.data.materials.new("Box")
    material.use_nodes = True
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    colour, normal = (tree.nodes.new("ShaderNodeTexImage") for _ in range(2))
    colour.image, normal.image = image("Box Colour", COLOUR, False), image("Box Normal", NORMAL, True)
    turned = tree.nodes.new("ShaderNodeNormalMap")
    tree.links.new(colour.outputs["Color"], shader.inputs["Base Color"])
    tree.links.new(normal.outputs["Color"], turned.inputs["Color"])
    tree.links.new(turned.outputs["Normal"], shader.inputs["Normal"])
    obj.data.materials.append(material)
    return obj


def read_back(path: Path) -> list[Any]:
    before = set(bpy.data.objects)
    ending = path.suffix
    if ending == ".glb":
        bpy.ops.import_scene.gltf(filepath=f"{path}")
    elif ending == ".fbx":
        bpy.ops.import_scene.fbx(filepath=f"{path}")
    elif ending == ".obj":
        bpy.ops.wm.obj_import(filepath=f"{path}")
    elif ending == ".stl":
        bpy.ops.wm.stl_import(filepath=f"{path}")
    else:
        bpy.ops.wm.usd_import(filepath=f"{path}")
    bpy.context.view_layer.update()
    return [obj for obj in bpy.data.objects if obj not in before and obj.type == "MESH"]


@pytest.mark.parametrize("textures", ["inside", "beside"])
@pytest.mark.parametrize("engine", ["", "unreal", "unity", "godot"])
@pytest.mark.parametrize("ending", [".glb", ".fbx", ".obj", ".usdc", ".usdz"])
def test_what_is_read_back_is_what_was_exported(
    asset: Any, tmp_path: Path, ending: str, engine: str, textures: str
) -> None:
    images = {(image.name, image.packed_file.size) for image in bpy.data.images if image.packed_file}
    nodes = [node.image.name for node in asset.data.materials[0].node_tree.nodes if node.type == "TEX_IMAGE"]
    others = mesh_object([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [(0, 1, 2)], "Other")
    others.select_set(True)
    written = blender.export_asset(asset, tmp_path / f"box{ending}", engine=engine, textures=textures)
    assert written[0] == tmp_path / f"box{ending}" and all(path.is_file() for path in written)
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(written)
    assert {(image.name, image.packed_file.size) for image in bpy.data.images if image.packed_file} == images
    assert nodes == [node.image.name for node in asset.data.materials[0].node_tree.nodes if node.type == "TEX_IMAGE"]
    assert others.select_get() and asset.name == "SM_Box"

    (made,) = read_back(written[0])
    low, high = world_bounds(made)
    assert np.allclose(high - low, (1, 2, 3), atol=1e-4), "in metres, upright"
    assert low.z == pytest.approx(0, abs=1e-4)
    assert made.name.startswith("SM_Box")
    quads = {len(face.vertices) for face in made.data.polygons}
    assert quads == ({3} if ending == ".glb" else {4})
    pixels = {Path(image.filepath).stem or image.name: image for image in blended(made)}
    assert len(pixels) == 2, pixels
    for shown in pixels.values():
        first = np.array(shown.pixels[:3]) * 255
        is_normal = "Normal" in shown.name or "Normal" in shown.filepath
        wanted = np.array(NORMAL if is_normal else COLOUR)
        if is_normal and engine == "unreal":
            wanted[1] = 255 - wanted[1]
        assert np.allclose(first, wanted, atol=2), (shown.name, first)


def blended(obj: Any) -> list[Any]:
    return blender_images(obj)


def blender_images(obj: Any) -> list[Any]:
    from trellis_addon.scene.importing.materials import images_of

    return images_of(obj)


def test_the_engines_that_read_no_webp_get_png(asset: Any, tmp_path: Path) -> None:
    for engine, mime in (("", "image/webp"), ("unity", "image/png")):
        (path,) = blender.export_asset(asset, tmp_path / f"{engine}box.glb", engine=engine)
        document, _ = split_glb(path.read_bytes())
        assert {image["mimeType"] for image in document["images"]} == {mime}
        assert {image["name"] for image in document["images"]} == {"Box Colour", "Box Normal"}
        (primitive,) = document["meshes"][0]["primitives"]
        assert "TANGENT" in primitive["attributes"], "or the normal map is another one in each program"


@pytest.mark.parametrize("scale_length", [1.0, 0.01])
def test_a_printers_files_are_in_millimetres(asset: Any, tmp_path: Path, scale_length: float) -> None:
    bpy.context.scene.unit_settings.scale_length = scale_length
    mm = np.array((1, 2, 3)) * 1000 * scale_length
    (stl,) = blender.export_asset(asset, tmp_path / "box.stl")
    (made,) = read_back(stl)
    assert np.allclose(made.dimensions, mm, rtol=1e-4)
    asset.rotation_euler = (0, 0, np.pi / 2)
    bpy.context.view_layer.update()
    (path,) = blender.export_asset([asset], tmp_path / "box.3mf")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None and "[Content_Types].xml" in archive.namelist()
        root = ElementTree.fromstring(archive.read("3D/3dmodel.model"))
    space = "{http://schemas.microsoft.com/3dmanufacturing/core/2015/02}"
    assert root.get("unit") == "millimeter"
    points = np.array([[float(v.get(a)) for a in "xyz"] for v in root.iter(f"{space}vertex")])
    assert np.allclose(np.ptp(points, axis=0), mm[[1, 0, 2]], rtol=1e-4)
    faces = np.array([[int(t.get(a)) for a in ("v1", "v2", "v3")] for t in root.iter(f"{space}triangle")])
    assert len(faces) == 12
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 == pytest.approx(mm.prod(), rel=1e-3), "outwards"
    (glb,) = blender.export_asset(asset, tmp_path / "box.glb")
    assert glb_facts(glb).height == pytest.approx(3 * scale_length, rel=1e-4)


def test_a_whole_selection_and_modifiers(asset: Any, tmp_path: Path) -> None:
    modifier = asset.modifiers.new("Array", "ARRAY")
    modifier.count = 3
    other = mesh_object([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [(0, 1, 2)], "Other")
    empty = bpy.data.objects.new("Empty", None)
    bpy.context.scene.collection.objects.link(empty)
    (path,) = blender.export_asset([asset, other, empty], tmp_path / "all.glb")
    facts = glb_facts(path)
    assert set(facts.names) == {"SM_Box", "Other"} and facts.surface.triangles == 3 * 12 + 1
    assert len(asset.data.polygons) == 6


def hide(obj: Any) -> None:
    obj.hide_set(True)


def switch_off(obj: Any) -> None:
    obj.hide_viewport = obj.hide_render = obj.hide_select = True


def exclude(obj: Any) -> None:
    into_collection(obj).exclude = True


def hide_collection(obj: Any) -> None:
    into_collection(obj).hide_viewport = True
    obj.hide_set(True)


def into_collection(obj: Any) -> Any:
    collection = bpy.data.collections.new("Away")
    bpy.context.scene.collection.children.link(collection)
    collection.objects.link(obj)
    bpy.context.scene.collection.objects.unlink(obj)
    return bpy.context.view_layer.layer_collection.children["Away"]


def to_another_scene(obj: Any) -> None:
    bpy.data.scenes.new("Another").collection.objects.link(obj)
    bpy.context.scene.collection.objects.unlink(obj)


def unlink(obj: Any) -> None:
    bpy.context.scene.collection.objects.unlink(obj)


@pytest.mark.parametrize("away", [hide, switch_off, exclude, hide_collection, to_another_scene, unlink])
@pytest.mark.parametrize("ending", [".glb", ".obj", ".usdc"])
def test_what_is_out_of_sight_is_exported_and_stays_there(asset: Any, tmp_path: Path, ending: str, away: Any) -> None:
    """Blender's exporters pass over it and write an empty file."""
    away(asset)
    names = ("hide_viewport", "hide_render", "hide_select")
    before = [*(getattr(asset, name) for name in names), asset.hide_get(), asset.visible_get(), asset.users_collection]
    (path, *_) = blender.export_asset(asset, tmp_path / f"box{ending}")
    after = [*(getattr(asset, name) for name in names), asset.hide_get(), asset.visible_get(), asset.users_collection]
    assert after == before and "TRELLIS.2 Export" not in bpy.data.collections
    (made,) = read_back(path)
    assert len(made.data.polygons) in (6, 12)


@pytest.mark.parametrize("ending", [".glb", ".usdc", ".3mf"])
def test_modifiers_that_leave_nothing_make_no_empty_file(asset: Any, tmp_path: Path, ending: str) -> None:
    asset.vertex_groups.new(name="none")
    asset.modifiers.new("Mask", "MASK").vertex_group = "none"
    with pytest.raises(InputError, match="has no faces left"):
        blender.export_asset(asset, tmp_path / f"box{ending}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".fbx", ".obj", ".usdc"])
def test_a_picture_whose_file_is_gone_does_not_stop_it(asset: Any, tmp_path: Path, ending: str) -> None:
    gone = bpy.data.images.new("Gone", 8, 8)
    gone.source, gone.filepath = "FILE", "//gone.png"
    node = next(node for node in asset.data.materials[0].node_tree.nodes if node.type == "TEX_IMAGE")
    node.image = gone
    (path, *_) = blender.export_asset(asset, tmp_path / f"box{ending}")
    assert node.image == gone and gone.name == "Gone" and read_back(path)


def test_a_traceback_of_an_exporter_is_not_shown(asset: Any, tmp_path: Path) -> None:
    asset.scale = (1e38, 1e38, 1e38)
    bpy.context.view_layer.update()
    with pytest.raises(TrellisError, match="exporter failed") as told:
        blender.export_asset(asset, tmp_path / "box.glb")
    assert "Traceback" not in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("ending", [".fbx", ".usdc"])
def test_a_rebaked_asset_of_quads_goes_on_as_another_file(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("warp")
    pytest.importorskip("pynanoinstantmeshes")
    bpy.ops.mesh.primitive_uv_sphere_add(segments=24, ring_count=12)
    bpy.context.object.name = "Ball"
    bpy.ops.export_scene.gltf(filepath=f"{tmp_path / 'ball.glb'}")
    target = tmp_path / f"quads{ending}"
    command = ["rebake", f"{tmp_path / 'ball.glb'}", "--output", f"{target}", "--resolution", "48"]
    assert main([*command, "--texture-size", "64", "--quads", "300"]) == 0
    bpy.ops.wm.read_homefile(use_empty=True)
    (made,) = read_back(target)
    sides = [len(face.vertices) for face in made.data.polygons]
    assert sides.count(4) > 0.95 * len(sides) and abs(len(sides) - 300) <= 15 and made.name.startswith("quads")
    assert np.allclose(made.dimensions, 2.0, atol=0.1) and blended(made)
    assert main(["rebake", f"{tmp_path / 'none.glb'}", "--output", f"{target}"]) == 1


def test_the_button(extension: Any, asset: Any, tmp_path: Path) -> None:  # noqa: F811
    assert bpy.ops.trellis2.export_asset(filepath=f"{tmp_path / 'a.fbx'}", engine="unity") == {"FINISHED"}
    with pytest.raises(RuntimeError, match="there already"):
        bpy.ops.trellis2.export_asset(filepath=f"{tmp_path / 'a.fbx'}")
    assert bpy.ops.trellis2.export_asset(filepath=f"{tmp_path / 'a.fbx'}", overwrite=True) == {"FINISHED"}
    engines = bpy.ops.trellis2.export_asset.get_rna_type().properties["engine"].enum_items.keys()
    assert {name.replace("none", "") for name in engines} == set(part("trellis_addon.scene.delivery.writers").ENGINES)
    endings = bpy.ops.trellis2.export_asset.get_rna_type().properties["filter_glob"].default.split(";")
    assert {ending[1:] for ending in endings} == set(part("trellis_addon.scene.delivery.writers").ENDINGS)
    asset.select_set(False)
    with pytest.raises(RuntimeError, match="Select at least one"):
        bpy.ops.trellis2.export_asset(filepath=f"{tmp_path / 'b.fbx'}")


def test_what_cannot_be_is_a_sentence_and_writes_nothing(
    asset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there.glb"
    there.write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    for target, options, words in (
        ("a.max", {}, ".3mf"),
        ("a", {}, ".glb"),
        ("a.glb", {"engine": "quake"}, "unreal"),
        ("a.glb", {"textures": "anywhere"}, "beside"),
        ("there.glb", {}, "there already"),
        ("file/a.glb", {}, "cannot be written"),
    ):
        with pytest.raises(FieldError, match=words):
            blender.export_asset(asset, tmp_path / target, **options)
    with pytest.raises(InputError, match="select at least one"):
        blender.export_asset([], tmp_path / "a.glb")
    assert sorted(tmp_path.rglob("*")) == before and there.read_bytes() == b"mine"
    assert blender.export_asset(asset, there, overwrite=True) == [there] and len(there.read_bytes()) > 1000

    from trellis_addon.scene.delivery import writers

    def fails(*arguments: Any) -> None:
        raise RuntimeError("Error: no way")

    monkeypatch.setitem(writers.WRITERS, ".fbx", fails)
    with pytest.raises(TrellisError, match="no way"):
        blender.export_asset(asset, tmp_path / "a.fbx")
    bpy.context.view_layer.objects.active = asset
    bpy.ops.object.mode_set(mode="EDIT")
    with pytest.raises(TrellisError, match="Edit Mode"):
        blender.export_asset(asset, tmp_path / "a.glb")
    bpy.ops.object.mode_set(mode="OBJECT")
