"""GLBs of others to textured meshes: skeletons and shape keys at rest, materials of every kind that can be read."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_glb_check import CUBE, CUBE_FACES, FLOAT, UBYTE, Glb, encoded, simple

from trellis_addon.core.errors import DamagedFileError, InputError
from trellis_addon.formats.glb.check import check_glb
from trellis_addon.formats.glb.read import read_glb

HALF = np.sqrt(0.5)


def skinned(**changes: Any) -> Glb:
    """A cube of which the upper half hangs on a joint that lies a quarter turned about x, one higher than it was."""
    glb = Glb()
    mesh = glb.cube()
    primitive = glb.document["meshes"][mesh]["primitives"][0]
    upper = CUBE[:, 1] > 0
    joints = np.zeros((len(CUBE), 4), int)
    joints[:, 0] = upper
    weights = np.tile([2.0, 0.0, 0.0, 0.0], (len(CUBE), 1))  # shares of their sum
    primitive["attributes"] |= {
        "JOINTS_0": glb.accessor(changes.get("joints", joints), UBYTE),
        "WEIGHTS_0": glb.accessor(changes.get("weights", weights)),
    }
    bound = np.stack([np.eye(4), np.eye(4)])
    bound[1, :3, 3] = 0, -1, 0  # the second joint was bound at y = 1
    data = glb.view(bound.transpose(0, 2, 1).astype("<f4").tobytes())
    matrices = glb.add("accessors", {"bufferView": data, "componentType": FLOAT, "count": 2, "type": "MAT4"})
    glb.document["nodes"] = [
        {"mesh": mesh, "skin": 0, "translation": [100, 0, 0], "children": []},  # a skinned mesh heeds no node
        {"translation": [0, 0, 5], "children": [2]},
        {"translation": [0, 2, 0], "rotation": [HALF, 0, 0, HALF]},
    ]
    glb.document["scenes"] = [{"nodes": [0, 1]}]
    glb.document["skins"] = [{"joints": [1, 2], "inverseBindMatrices": matrices, **changes.get("skin", {})}]
    return glb


def test_a_skeleton_stands_as_the_file_opens() -> None:
    data = skinned().done()
    with pytest.raises(DamagedFileError, match="skeleton"):
        check_glb(data)
    seen = read_glb(data).vertices
    lower = CUBE[:, 1] < 0
    assert seen[lower] == pytest.approx(CUBE[lower] + [0, 0, 5], abs=1e-6)
    # (x, y - 1, z) turned a quarter about x, then moved to the joint
    upper = CUBE[~lower]
    wanted = np.stack([upper[:, 0], -upper[:, 2] + 2, upper[:, 1] - 1 + 5], 1)
    assert seen[~lower] == pytest.approx(wanted, abs=1e-6)


def test_vertices_of_no_joint_stay_with_the_first() -> None:
    seen = read_glb(skinned(weights=np.zeros((len(CUBE), 4))).done()).vertices
    assert seen == pytest.approx(CUBE + [0, 0, 5], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"joints": np.full((len(CUBE), 4), 9)}, InputError),
        ({"skin": {"joints": [1, 77]}}, DamagedFileError),
        ({"skin": {"joints": [0, 1, 2]}}, DamagedFileError),
        ({"skin": {"inverseBindMatrices": 0}}, DamagedFileError),
    ],
)
def test_broken_skeletons_are_refused(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        read_glb(skinned(**changes).done())


@pytest.mark.parametrize("where", ["meshes", "nodes"])
def test_shape_keys_count_by_their_weights(where: str) -> None:
    glb = Glb()
    mesh = glb.cube()
    shift = np.tile([0.0, 4.0, 0.0], (len(CUBE), 1))
    glb.document["meshes"][mesh]["primitives"][0]["targets"] = [
        {"POSITION": glb.positions(shift)},
        {"POSITION": glb.positions(100 * shift)},
    ]
    glb.document["nodes"] = [{"mesh": mesh}]
    glb.document["meshes"][mesh]["weights"] = [0.0, 0.0]
    glb.document[where][0]["weights"] = [0.5, 0.0]
    assert read_glb(glb.done()).vertices == pytest.approx(CUBE + [0, 2, 0], abs=1e-6)
    glb.document["meshes"][mesh]["primitives"][0]["targets"][0]["POSITION"] = glb.accessor(shift[:3])
    with pytest.raises(DamagedFileError, match="shape key"):
        read_glb(glb.done())


def test_what_a_material_says_is_read() -> None:
    glb = Glb()
    mesh = glb.cube(material=0)
    glb.document["nodes"] = [{"mesh": mesh}]
    glb.document["materials"] = [
        {
            "emissiveFactor": [0.5, 0.0, 0.25],
            "occlusionTexture": {"index": 0, "strength": 0.5, "texCoord": 3},
            "extensions": {
                "KHR_materials_emissive_strength": {"emissiveStrength": 4},
                "KHR_materials_transmission": {"transmissionFactor": 0.75},
                "KHR_materials_unlit": {},
                "KHR_materials_pbrSpecularGlossiness": {"diffuseFactor": [0.1, 0.2, 0.3, 1], "glossinessFactor": 0.25},
            },
        }
    ]
    glb.texture(Image.new("RGB", (2, 2), "grey"))
    attributes = glb.document["meshes"][mesh]["primitives"][0]["attributes"]
    attributes["TEXCOORD_3"] = glb.accessor(np.full((len(CUBE), 2), 0.25))
    made = read_glb(glb.done())
    (material,) = made.materials
    assert material.emission_factor == (2.0, 0.0, 1.0)
    assert (material.transmission, material.unlit, material.occlusion_strength) == (0.75, True, 0.5)
    assert (material.metallic_factor, material.roughness_factor) == (0.0, 0.75)
    assert material.base_colour_factor == (0.1, 0.2, 0.3, 1.0)
    assert material.occlusion is not None and material.occlusion.uv_set == 0
    assert made.uvs is not None and (made.uvs == 0.25).all()


def test_data_kept_as_text_is_read() -> None:
    glb = simple(Image.new("RGB", (4, 4), (10, 20, 30)))
    picture = encoded(Image.new("RGB", (2, 2), (200, 100, 50)), "PNG")
    glb.document["images"] = [{"uri": "data:image/png;base64," + base64.b64encode(picture).decode()}]
    assert (read_glb(glb.done()).materials[0].base_colour.pixels == (200, 100, 50)).all()  # type: ignore[union-attr]
    for address in ("data:image/png;base64,*", "data:nothing", "wood.png", 7, ["data:"]):
        glb.document["images"] = [{"uri": address}]
        with pytest.raises(DamagedFileError):
            read_glb(glb.done())


def test_a_picture_in_place_of_one_that_cannot_be_read() -> None:
    glb = simple()
    glb.document["extensionsUsed"] = ["KHR_texture_basisu"]
    packed = glb.add("images", {"bufferView": glb.view(bytes(64)), "mimeType": "image/ktx2"})
    glb.document["textures"][0]["extensions"] = {"KHR_texture_basisu": {"source": packed}}
    assert read_glb(glb.done()).materials[0].base_colour is not None
    del glb.document["textures"][0]["extensions"]
    with pytest.raises(DamagedFileError, match="ktx2"):
        read_glb(glb.done())
    glb.document["textures"][0] = {"extensions": {"KHR_texture_basisu": {"source": packed}}}
    with pytest.raises(InputError, match="KHR_texture_basisu only"):
        read_glb(glb.done())


def test_compressed_data_are_a_sentence_unless_they_are_there_as_they_are_too() -> None:
    glb = simple()
    glb.document["extensionsUsed"] = ["KHR_draco_mesh_compression"]
    assert len(read_glb(glb.done()).faces) == len(CUBE_FACES)
    primitive = glb.document["meshes"][0]["primitives"][0]
    primitive["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
    assert len(read_glb(glb.done()).faces) == len(CUBE_FACES)
    del glb.document["accessors"][primitive["attributes"]["POSITION"]]["bufferView"]
    with pytest.raises(InputError, match="KHR_draco_mesh_compression"):
        read_glb(glb.done())
    glb = simple()
    glb.document["bufferViews"][1]["extensions"] = {"EXT_meshopt_compression": {"buffer": 0}}
    with pytest.raises(InputError, match="EXT_meshopt_compression"):
        read_glb(glb.done())


def test_copies_of_a_mesh_stand_in_their_places() -> None:
    glb = simple()
    shifts, sizes = np.array([[0, 0, 0], [5, 0, 0], [0, 7, 0]]), np.array([[1, 1, 1], [2, 2, 2], [-1, 1, 1]])
    copies = {"TRANSLATION": glb.accessor(shifts), "SCALE": glb.accessor(sizes)}
    glb.document["nodes"] = [{"mesh": 0, "translation": [0, 0, 3]}]
    glb.document["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": copies}}
    made = read_glb(glb.done())
    wanted = np.concatenate([CUBE * size + shift + [0, 0, 3] for size, shift in zip(sizes, shifts, strict=True)])
    assert made.vertices == pytest.approx(wanted)
    corners = made.vertices[made.faces].astype(float)
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).reshape(3, -1).sum(1) / 6
    assert (volume > 0).all()
    copies["SCALE"] = glb.accessor(sizes[:2])
    with pytest.raises(InputError, match="copies"):
        read_glb(glb.done())
    copies["SCALE"] = 999
    with pytest.raises(DamagedFileError):
        read_glb(glb.done())


def test_each_material_has_two_sets_of_coordinates_of_its_own() -> None:
    glb = simple()
    primitive = glb.document["meshes"][0]["primitives"][0]
    for number in (1, 2, 3):
        primitive["attributes"][f"TEXCOORD_{number}"] = glb.accessor(np.full((len(CUBE), 2), number / 8))
    texture = glb.document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
    glb.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": {**texture, "texCoord": 3}}})
    glb.document["materials"][1]["normalTexture"] = {**texture, "texCoord": 2}
    glb.document["meshes"][0]["primitives"].append({**primitive, "material": 1})
    made = read_glb(glb.done())
    assert made.uvs is not None and made.uvs_1 is not None
    assert (made.uvs[made.ids == 1] == 3 / 8).all() and (made.uvs_1[made.ids == 1] == 2 / 8).all()
    assert (made.uvs[made.ids == 0] <= 0.5).all() and (made.uvs[made.ids == 0] == 0).any()
    glb.document["materials"][1]["occlusionTexture"] = {**texture, "texCoord": 1}
    with pytest.raises(InputError, match="UV sets"):
        read_glb(glb.done())
