"""Files that other programs write become one object, or a sentence says what cannot be read."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentence

bpy = pytest.importorskip("bpy")

from mathutils import Matrix  # noqa: E402
from scene_objects import check_sound, datablocks, normals_point_outwards, points, write  # noqa: E402
from test_damaged_files import survive  # noqa: E402, F401  (a fixture)
from test_glb_check import (  # noqa: E402
    CUBE,
    CUBE_FACES,
    FLOAT,
    USHORT,
    Glb,
    animated,
    simple,
)

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import DamagedFileError, TrellisError  # noqa: E402
from trellis_addon.scene.importing.gltf import _can_decode_draco  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")
IDENTITY = Matrix.Identity(4)


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
def test_sparse_damage(make: Callable[[], Glb], survive: Callable[[str, bytes], bool]) -> None:  # noqa: F811
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
