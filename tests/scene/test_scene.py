"""The import into Blender: damaged files leave no trace, sound ones become one object that is ready to use."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DRAFT_SEED, QUICK, SCOPE, disc, sentence
from PIL import Image

bpy = pytest.importorskip("bpy")

from mathutils import Matrix, Vector  # noqa: E402
from test_glb_check import (  # noqa: E402
    CUBE,
    CUBE_FACES,
    FLOAT,
    USHORT,
    Glb,
    animated,
    broken_bytes,
    broken_json,
    half_clear,
    pack,
    refused,
    rich,
    simple,
)

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import DamagedFileError, ImageError, TrellisError  # noqa: E402
from trellis_addon.jobs.job import Asset  # noqa: E402
from trellis_addon.scene import files  # noqa: E402
from trellis_addon.scene.images import datablock_loader  # noqa: E402
from trellis_addon.scene.importing.gltf import _can_decode_draco  # noqa: E402
from trellis_addon.scene.importing.materials import images_of, principled_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")
IDENTITY = Matrix.Identity(4)


def datablocks() -> Counter[tuple[str, str, int]]:
    """Everything in the file: kind, name, users."""
    found: Counter[tuple[str, str, int]] = Counter()
    for kind in dir(bpy.data):
        blocks = getattr(bpy.data, kind) if kind != "all_ids" else None  # all the others once more
        if isinstance(blocks, bpy.types.bpy_prop_collection):
            found.update((kind, block.name, block.users) for block in blocks if isinstance(block, bpy.types.ID))
    return found


def write(folder: Path, glb: Glb | bytes, name: str = "thing") -> Path:
    path = folder / f"{name}.glb"
    path.write_bytes(glb.done() if isinstance(glb, Glb) else glb)
    return path


def points(obj: Any) -> np.ndarray:
    """(V, 3) in the world."""
    flat = np.empty(len(obj.data.vertices) * 3, np.float32)
    obj.data.vertices.foreach_get("co", flat)
    world = np.array(obj.matrix_world)
    return flat.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]


def check_sound(obj: Any, height: float | None = 1.0, location: tuple[float, float, float] = (0, 0, 0)) -> None:
    """What holds for every imported object."""
    assert obj.type == "MESH" and len(obj.data.polygons) > 0
    assert tuple(obj.scale) == (1, 1, 1) and tuple(obj.rotation_euler) == (0, 0, 0)
    assert obj.parent is None and obj.animation_data is None
    assert tuple(obj.location) == pytest.approx(location)
    found = points(obj)
    assert np.isfinite(found).all()
    low, high = found.min(0), found.max(0)
    size = max(float((high - low).max()), 1e-3)
    assert low[2] == pytest.approx(location[2], abs=1e-5 * size)
    assert (low + high)[:2] / 2 == pytest.approx(np.array(location[:2]), abs=1e-5 * size)
    if height is not None and high[2] - low[2] > 1e-3 * size:
        assert high[2] - low[2] == pytest.approx(height, rel=1e-5)
    assert not obj.data.validate(), "Blender had to repair the mesh"
    (collection,) = obj.users_collection
    assert list(collection.objects) == [obj] and collection.users > 0
    assert not [s.name for s in bpy.data.scenes if "TRELLIS" in s.name]


def normals_point_outwards(obj: Any) -> bool:
    """For a convex object: whether every face looks away from the middle."""
    middle = sum((p.center for p in obj.data.polygons), Vector()) / len(obj.data.polygons)
    return all((p.center - middle).dot(p.normal) > 0 for p in obj.data.polygons)


# --- damaged files ---


@pytest.fixture
def survive(tmp_path: Path) -> Callable[[str, bytes], bool]:
    """Imports bytes: an object that is sound, or a sentence and a file as it was."""
    bpy.data.meshes.new("Something of the artist's").use_fake_user = True
    before = datablocks()
    path = tmp_path / "input.glb"  # where the culprit lies should Blender itself come down

    def run(name: str, data: bytes) -> bool:
        path.write_bytes(data)
        try:
            obj = blender.import_asset(path, location=(0, 0, 0))
        except DamagedFileError as error:
            sentence(error)
            assert datablocks() == before, name
            return False
        except TrellisError as error:
            raise AssertionError(f"{name}: {error!r}") from error
        try:
            check_sound(obj)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        kept = {(kind, block) for kind, block, _ in before}
        new = [getattr(bpy.data, kind)[block] for kind, block, _ in datablocks() if (kind, block) not in kept]
        bpy.data.batch_remove(new)
        assert datablocks() == before, name
        return True

    return run


def test_broken_files_leave_nothing_behind(survive: Callable[[str, bytes], bool]) -> None:
    outcomes = [survive(name, data) for name, data in broken_bytes(rich().done(), 300)]
    assert len(outcomes) > 300 and 0.02 < np.mean(outcomes) < 0.7


@pytest.mark.parametrize("make", [rich, animated])
def test_broken_values_leave_nothing_behind(make: Callable[[], Glb], survive: Callable[[str, bytes], bool]) -> None:
    """All that the check lets through, and some of what it refuses; in the releases between, every fourth of them."""
    step = 4 if SCOPE == "between" else 1
    glb = make()
    binary, document = bytes(glb.binary), {**glb.document, "buffers": [{"byteLength": len(glb.binary)}]}
    outcomes = []
    for number, (name, changed) in enumerate(broken_json(document)):
        data = pack(changed, binary)
        if number % step == 0 and (number % 10 == 0 or not refused(data)):
            outcomes.append(survive(name, data))
    assert len(outcomes) > 200 / step and sum(outcomes) > 50 / step


@pytest.mark.parametrize("seed", range(8))
def test_triangles_that_are_no_polygon_although_the_file_says_so(
    seed: int, survive: Callable[[str, bytes], bool]
) -> None:
    """FB_ngon_encoding on indices drawn at random: corners twice in a face, faces of no area, fans across the cube."""
    glb, dice = simple(), np.random.default_rng(seed)
    primitive = glb.document["meshes"][0]["primitives"][0]
    drawn = np.sort(dice.integers(0, 24, (30, 3)), axis=0)  # many begin with the same corner
    primitive["indices"] = glb.accessor(drawn.reshape(-1), USHORT)
    primitive["extensions"] = {"FB_ngon_encoding": {}}
    glb.document["extensionsUsed"] = ["FB_ngon_encoding"]
    survive(f"drawn {seed}", glb.done())


def test_a_failure_between_others_leaves_them_alone(tmp_path: Path) -> None:
    good = write(tmp_path, simple(), "good")
    first = blender.import_asset(good)
    before = datablocks()
    for data in (b"", good.read_bytes()[:-8], simple().done().replace(b'"mesh": 0', b'"mesh": 7')):
        with pytest.raises(DamagedFileError):
            blender.import_asset(write(tmp_path, data, "bad"))
        assert datablocks() == before
    check_sound(blender.import_asset(good, location=(0, 0, 0)))
    assert first.name in bpy.context.scene.objects


def test_a_failure_after_the_importer_is_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trellis_addon.scene.importing import importer

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importer, "wire_materials", fail)
    before = datablocks()
    with pytest.raises(KeyboardInterrupt):
        blender.import_asset(write(tmp_path, rich()))
    assert datablocks() == before


def test_places_without_a_file(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.glb", tmp_path, Path("")):
        with pytest.raises(TrellisError) as caught:
            blender.import_asset(path)
        sentence(caught.value)
    with pytest.raises(TrellisError):
        blender.import_asset("")


@pytest.mark.parametrize("text", ["[1, 2]", "null", "{", '"x"', "\x00"])
def test_damaged_provenance_is_a_sentence(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, simple())
    path.with_suffix(".json").write_text(text)
    with pytest.raises(DamagedFileError, match="provenance") as caught:
        blender.import_asset(path)
    sentence(caught.value)


@pytest.mark.parametrize("height", [0, -1, math.nan, math.inf, 1e9])
def test_impossible_heights(height: float, tmp_path: Path) -> None:
    before = datablocks()
    with pytest.raises(TrellisError, match="height"):
        blender.import_asset(write(tmp_path, simple()), height=height)
    assert datablocks() == before


# --- files that other programs might write ---


def _sparse(values: Any, indices: list[int], component: int = FLOAT) -> Glb:
    """A cube with some of its corners (or of its indices) given sparsely."""
    glb = Glb(nodes=[{"mesh": 0}])
    glb.cube(uvs=False)
    place = glb.document["accessors"][0 if component == FLOAT else 1]
    array = np.array(values, "<f4" if component == FLOAT else "<u2")
    place["sparse"] = {
        "count": len(indices),
        "indices": {"bufferView": glb.view(struct.pack(f"<{len(indices)}H", *indices)), "componentType": USHORT},
        "values": {"bufferView": glb.view(array.tobytes())},
    }
    return glb


def test_sparse_positions(tmp_path: Path) -> None:
    glb = _sparse([(-3, 1, 1)], [0])
    glb.document["accessors"][0].update(min=[-3, -1, -1])
    obj = blender.import_asset(write(tmp_path, glb), height=None, location=(0, 0, 0))
    check_sound(obj, height=None)
    assert np.ptp(points(obj)[:, 0]) == pytest.approx(4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: _sparse([(math.nan, 1, 1)], [0]),
        lambda: _sparse([(math.inf, 1, 1)], [0]),
        lambda: _sparse([999], [0], USHORT),
        lambda: _sparse([(1, 1, 1)], [24]),
    ],
    ids=["nan", "inf", "index beyond", "place beyond"],
)
def test_sparse_damage(make: Callable[[], Glb], survive: Callable[[str, bytes], bool]) -> None:
    assert not survive("sparse", make().done())


def test_several_meshes_become_one_object(tmp_path: Path) -> None:
    glb = simple()
    glb.add("materials", {"name": "Other", "pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}})
    glb.cube(material=1)
    glb.cube(CUBE * 0.5)
    glb.document["nodes"] = [
        {"name": "world", "children": [1, 2, 3], "scale": [2, 2, 2]},
        {"mesh": 0, "translation": [-4, 0, 0]},
        {"mesh": 1, "translation": [4, 0, 0]},
        {"mesh": 2, "translation": [0, 2, 0]},
    ]
    before = len(bpy.data.objects)
    obj = blender.import_asset(write(tmp_path, glb), height=None, location=(1, 2, 3))
    check_sound(obj, None, (1, 2, 3))
    assert len(bpy.data.objects) == before + 1
    assert len(obj.data.polygons) == 3 * len(CUBE_FACES)
    assert np.ptp(points(obj), axis=0) == pytest.approx([20, 4, 7], abs=1e-4)
    materials = [slot.material for slot in obj.material_slots]
    assert sum(m is not None for m in materials) == 2
    assert {p.material_index for p in obj.data.polygons} == set(range(3))


def test_nested_transforms_are_applied(tmp_path: Path) -> None:
    glb = simple()
    glb.document["nodes"] = [
        {"children": [1], "scale": [1, 3, 1]},
        {"children": [2], "rotation": [0, 0, math.sin(math.pi / 8), math.cos(math.pi / 8)]},
        {"mesh": 0, "translation": [5, 0, 0]},
    ]
    obj = blender.import_asset(write(tmp_path, glb), height=None, location=(0, 0, 0))
    check_sound(obj, None)
    # a square turned by 45 degrees, then drawn out upwards
    assert np.ptp(points(obj), axis=0) == pytest.approx([2 * math.sqrt(2), 2, 6 * math.sqrt(2)], abs=1e-4)


@pytest.mark.parametrize("scale", [[-1, 1, 1], [1, -2, 1], [-1, -1, -1]])
def test_mirrored_nodes_keep_their_outside_outside(scale: list[float], tmp_path: Path) -> None:
    glb = simple()
    glb.document["nodes"][0]["scale"] = scale
    obj = blender.import_asset(write(tmp_path, glb), location=(0, 0, 0))
    check_sound(obj)
    assert normals_point_outwards(obj)


def test_one_mesh_used_twice(tmp_path: Path) -> None:
    glb = simple()
    glb.document["scenes"][0]["nodes"] = [0, 1, 2]
    glb.document["nodes"] = [
        {"mesh": 0},
        {"mesh": 0, "translation": [5, 0, 0]},
        {"mesh": 0, "translation": [-5, 0, 0], "scale": [-1, 1, 1]},
    ]
    obj = blender.import_asset(write(tmp_path, glb), height=None, location=(0, 0, 0))
    check_sound(obj, None)
    assert len(obj.data.polygons) == 3 * len(CUBE_FACES)
    assert np.ptp(points(obj), axis=0) == pytest.approx([12, 2, 2], abs=1e-4)
    assert len(bpy.data.meshes) == 1


def test_without_material(tmp_path: Path) -> None:
    glb = Glb(nodes=[{"mesh": 0}])
    glb.cube()
    obj = blender.import_asset(write(tmp_path, glb), location=(0, 0, 0))
    check_sound(obj)
    assert not [slot for slot in obj.material_slots if slot.material]


def test_without_uvs(tmp_path: Path) -> None:
    glb = simple()
    del glb.document["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"]
    obj = blender.import_asset(write(tmp_path, glb), location=(0, 0, 0))
    check_sound(obj)
    assert not obj.data.uv_layers


def test_without_names_and_indices(tmp_path: Path) -> None:
    glb = Glb(nodes=[{"mesh": 0}])
    glb.add("meshes", {"primitives": [{"attributes": {"POSITION": glb.positions(CUBE[CUBE_FACES.reshape(-1)])}}]})
    obj = blender.import_asset(write(tmp_path, glb, "My: thing"), location=(0, 0, 0))
    check_sound(obj)
    assert obj.name == "My thing"


def test_cameras_lights_and_empties_are_left_out(tmp_path: Path) -> None:
    glb = simple()
    glb.document["cameras"] = [{"type": "perspective", "perspective": {"yfov": 0.7, "znear": 0.1}}]
    glb.document["extensionsUsed"] = ["KHR_lights_punctual"]
    glb.document["extensions"] = {"KHR_lights_punctual": {"lights": [{"type": "point", "intensity": 5}]}}
    glb.document["nodes"] = [
        {"children": [1, 2, 3, 4]},
        {"mesh": 0},
        {"camera": 0},
        {"extensions": {"KHR_lights_punctual": {"light": 0}}},
        {"name": "empty"},
    ]
    before = datablocks()
    obj = blender.import_asset(write(tmp_path, glb), location=(0, 0, 0))
    check_sound(obj)
    new = Counter(kind for kind, *_ in datablocks() - before)
    new.pop("scenes", None)  # the scene has another count of users now
    assert set(new) == {"objects", "meshes", "materials", "collections", "images"}
    assert not bpy.data.cameras and not bpy.data.lights and len(bpy.data.objects) == 1


def test_animations_are_left_out(tmp_path: Path) -> None:
    glb = simple()
    times = glb.accessor(np.array([0.0, 1.0]), min=[0.0], max=[1.0])
    moves = glb.accessor(np.array([(0, 0, 0), (5, 0, 0)], float))
    channel = {"sampler": 0, "target": {"node": 0, "path": "translation"}}
    glb.document["animations"] = [{"channels": [channel], "samplers": [{"input": times, "output": moves}]}]
    check_sound(blender.import_asset(write(tmp_path, glb), location=(0, 0, 0)))
    assert not bpy.data.actions


def test_shape_keys_are_left_out(tmp_path: Path) -> None:
    obj = blender.import_asset(write(tmp_path, animated()), location=(0, 0, 0))
    check_sound(obj)
    assert obj.data.shape_keys is None and not obj.modifiers
    assert not bpy.data.shape_keys and not bpy.data.actions and not bpy.data.lights


def test_only_points_and_lines_hold_no_surface(tmp_path: Path) -> None:
    before = datablocks()
    for mode in (0, 1, 3):
        glb = Glb(nodes=[{"mesh": 0}])
        glb.cube(mode=mode)
        with pytest.raises(DamagedFileError, match="no surface"):
            blender.import_asset(write(tmp_path, glb))
        assert datablocks() == before


def test_something_flat(tmp_path: Path) -> None:
    obj = blender.import_asset(write(tmp_path, _flat()), height=2.0, location=(0, 0, 0))
    assert np.ptp(points(obj), axis=0) == pytest.approx([2, 2, 0], abs=1e-6)


def _flat() -> Glb:
    glb = Glb(nodes=[{"mesh": 0}])
    glb.cube(CUBE * (1, 0, 1))
    return glb


def test_draco_without_a_decoder_is_a_sentence(tmp_path: Path) -> None:
    glb = simple()
    glb.document["extensionsUsed"] = glb.document["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    primitive = glb.document["meshes"][0]["primitives"][0]
    draco = {"bufferView": glb.view(b"DRACO" + bytes(60)), "attributes": {"POSITION": 0}}
    for accessor in glb.document["accessors"]:
        del accessor["bufferView"]
    primitive["extensions"] = {"KHR_draco_mesh_compression": draco}
    before = datablocks()
    with pytest.raises(TrellisError) as caught:
        blender.import_asset(write(tmp_path, glb))
    sentence(caught.value)
    assert ("no Draco decoder" in str(caught.value)) is not _can_decode_draco()
    assert datablocks() == before


@pytest.mark.parametrize("name", ["EXT_meshopt_compression", "KHR_texture_basisu", "ACME_secret"])
def test_extensions_that_blender_cannot_read_are_named(name: str, tmp_path: Path) -> None:
    glb = simple()
    glb.document["extensionsUsed"] = glb.document["extensionsRequired"] = [name]
    with pytest.raises(DamagedFileError, match=name) as caught:
        blender.import_asset(write(tmp_path, glb))
    sentence(caught.value)


# --- alpha ---


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


# --- what an artist gets ---


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


# --- Blender's image datablocks ---


def test_datablocks_are_pictures(tmp_path: Path) -> None:
    picture = disc(64)
    picture.save(tmp_path / "Round One.png")
    image = bpy.data.images.load(str(tmp_path / "Round One.png"))
    loaded = datablock_loader(image)()
    assert loaded.name == "Round One"
    assert (np.asarray(loaded.rgba) == np.asarray(picture)).all()
    image.pack()
    (tmp_path / "Round One.png").unlink()
    assert (np.asarray(datablock_loader(image)().rgba) == np.asarray(picture)).all()


def test_painted_datablocks_are_pictures() -> None:
    image = bpy.data.images.new("Painted", 8, 4, alpha=True)
    pixels = np.zeros((4, 8, 4), np.float32)
    pixels[3, :, :] = (1, 0, 0, 1)  # Blender's rows go up: this is the top
    pixels[0, 0, :] = (0, 0, 1, 0.5)
    image.pixels.foreach_set(pixels.reshape(-1))
    found = np.asarray(datablock_loader(image)().rgba)
    assert found.shape == (4, 8, 4)
    assert tuple(found[0, 5]) == (255, 0, 0, 255) and tuple(found[3, 0]) == (0, 0, 255, 128)


def test_float_datablocks_are_brought_to_srgb() -> None:
    image = bpy.data.images.new("Light", 8, 8, alpha=True, float_buffer=True)
    pixels = np.full((8, 8, 4), 0.2140, np.float32)
    pixels[:4, :, 3], pixels[4:, :, 3] = 1.0, 0.0
    image.pixels.foreach_set(pixels.reshape(-1))
    found = np.asarray(datablock_loader(image)().rgba)
    assert found[7, 3, 0] == pytest.approx(127, abs=2) and found[0, 3, 3] == 0


def test_datablocks_without_pixels_are_refused(tmp_path: Path) -> None:
    image = bpy.data.images.new("Gone", 4, 4)
    image.source = "FILE"
    image.filepath = str(tmp_path / "gone.tga")
    with pytest.raises(ImageError) as caught:
        datablock_loader(image)()
    sentence(caught.value)
