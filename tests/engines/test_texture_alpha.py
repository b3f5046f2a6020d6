"""A mesh that is textured is seen through where it was: alpha, cut-outs and glass are of the form, which stays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from mesh_tools import glb
from PIL import Image
from views_tools import COLOURS, picture

from trellis_addon.core.progress import Progress
from trellis_addon.engines.draft.projection import project
from trellis_addon.engines.draft.variation import EVEN
from trellis_addon.formats.glb.check import check_glb, split_glb
from trellis_addon.formats.glb.dress import without_pictures
from trellis_addon.formats.glb.pieces import read_pieces
from trellis_addon.formats.glb.read import Reader
from trellis_addon.formats.glb.write import Binary, container
from trellis_addon.geometry.texturing.own_alpha import OwnAlpha

BODY, NOSE, HORN = (0, 0), (1, 0), (1, 1)
GLASS = {"KHR_materials_transmission": {"transmissionFactor": 0.9}, "KHR_materials_ior": {"ior": 1.4}}


def leaf() -> bytes:
    """Clear on the left half, with an alpha of 200 on the right one."""
    pixels = np.full((64, 64, 4), (30, 160, 40, 0), np.uint8)
    pixels[:, 32:, 3] = 200
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def dressed_boxes(
    materials: dict[int, dict[str, Any]], *, colours: np.ndarray | None = None, uvs: str = "apart"
) -> bytes:
    """The three boxes with a material each, those that are not given being solid; "leaf" is a texture's index 0, and
    `colours` (4,) are those of all of the body's vertices."""
    document, body = split_glb(glb(materials=3, uvs=uvs))
    binary = Binary()
    binary.accessors = document["accessors"]
    for view in document["bufferViews"]:
        start = view.get("byteOffset", 0)
        binary.view(bytes(body[start : start + view["byteLength"]]), like=view)
    document["images"] = [{"bufferView": binary.view(leaf()), "mimeType": "image/png"}]
    document["textures"] = [{"source": 0}]
    for number in range(3):
        document["materials"][number] = {"name": f"Old {number}", **materials.get(number, {})}
    if colours is not None:
        count = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]["count"]
        made = binary.accessor(np.tile(colours, (count, 1)), "VEC4")
        document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"] = made
    used = {name for material in document["materials"] for name in material.get("extensions", {})}
    if used:
        document["extensionsUsed"] = sorted(used)
    document["bufferViews"] = binary.views
    document["buffers"] = [{"byteLength": len(binary.data)}]
    return container(document, bytes(binary.data))


def textured(mesh: bytes, uvs: str = "auto") -> bytes:
    image = picture(0.0, colour=COLOURS["front"])
    found = project(
        without_pictures(mesh), image, {}, EVEN, facing="front", uvs=uvs, texture_size=256, lossless=False, extras={},
        progress=Progress(),
    ).glb  # fmt: skip
    check_glb(found)
    return found


def seen(data: bytes, key: tuple[int, int]) -> tuple[dict[str, Any], np.ndarray]:
    """A piece's material, and its alpha in the middle of each of its triangles, 0 to 255; opaque where none counts."""
    reader = Reader.of(data)
    document = reader.document
    primitive = document["meshes"][key[0]]["primitives"][key[1]]
    material = document["materials"][primitive["material"]]
    info = material["pbrMetallicRoughness"]["baseColorTexture"]
    image = document["images"][document["textures"][info["index"]]["source"]]
    view = document["bufferViews"][image["bufferView"]]
    start = view["byteOffset"]
    picture_ = Image.open(io.BytesIO(bytes(reader.binary[start : start + view["byteLength"]])))
    alpha = np.asarray(picture_.convert("RGBA"))[..., 3].astype(float)
    faces = reader.accessor(primitive["indices"]).reshape(-1, 3)
    uvs = reader.accessor(primitive["attributes"][f"TEXCOORD_{info.get('texCoord', 0)}"])[faces].mean(1)
    place = np.floor(uvs * alpha.shape[0]).astype(int)
    found = alpha[place[:, 1], place[:, 0]]
    return material, found if material.get("alphaMode", "OPAQUE") != "OPAQUE" else np.full(len(found), 255.0)


@pytest.mark.parametrize("uvs", ["auto", "new"])
def test_each_of_several_materials_is_seen_through_as_it_was(uvs: str) -> None:
    mesh = dressed_boxes(
        {
            0: {"alphaMode": "MASK", "alphaCutoff": 0.7, "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}},
            1: {
                "alphaMode": "BLEND",
                "pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, 0.25]},
                "doubleSided": True,
            },
        }
    )
    made = textured(mesh, uvs)
    body, alpha = seen(made, BODY)
    assert (body["alphaMode"], body["alphaCutoff"], "doubleSided" in body) == ("MASK", 0.7, False)
    before = read_pieces(mesh).pieces[0]
    own = before.clear.uvs[before.faces].mean(1)[:, 0] > 0.5  # type: ignore[union-attr, index]
    assert own.any() and not own.all() and np.allclose(alpha, np.where(own, 200, 0), atol=1)
    nose, alpha = seen(made, NOSE)
    assert (nose["alphaMode"], nose["doubleSided"]) == ("BLEND", True) and np.allclose(alpha, 64, atol=1)
    horn, alpha = seen(made, HORN)
    assert "alphaMode" not in horn and "doubleSided" not in horn and (alpha == 255).all()
    assert len(split_glb(made)[0]["images"]) == 2, "they share their textures all the same"


def test_the_light_goes_through_glass_as_it_did() -> None:
    table = {1: {"extensions": GLASS}, 2: {"alphaMode": "BLEND", "extensions": GLASS}}
    made = textured(dressed_boxes(table))
    for key, mode in ((NOSE, None), (HORN, "BLEND")):
        material, alpha = seen(made, key)
        assert material["extensions"] == GLASS and material.get("alphaMode") == mode and (alpha == 255).all()
    assert set(split_glb(made)[0]["extensionsUsed"]) == set(GLASS)
    assert "extensions" not in seen(made, BODY)[0]


def test_colours_of_vertices_do_not_tint_the_new_texture_and_their_alpha_counts() -> None:
    mesh = dressed_boxes({0: {"alphaMode": "BLEND"}}, colours=np.array([0.1, 0.1, 0.1, 0.5]))
    made = textured(mesh)
    material, alpha = seen(made, BODY)
    assert material["alphaMode"] == "BLEND" and np.allclose(alpha, 128, atol=1)
    attributes = split_glb(made)[0]["meshes"][0]["primitives"][0]["attributes"]
    assert "COLOR_0" not in attributes and "_COLOR_0" in attributes, "a reader would multiply them"


@pytest.mark.parametrize(("way", "beyond"), [(10497, 1.25), (33071, 1.25), (33648, 1.25)])
def test_alpha_beyond_the_square_is_the_samplers(way: int, beyond: float) -> None:
    mesh = dressed_boxes({0: {"alphaMode": "MASK", "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}})
    document, binary = split_glb(mesh)
    document["samplers"], document["textures"] = [{"wrapS": way, "wrapT": way}], [{"source": 0, "sampler": 0}]
    (piece, *_) = read_pieces(container(document, bytes(binary))).pieces
    assert piece.clear is not None and piece.clear.uvs is not None
    piece.clear.uvs[:] = (beyond, 0.5)
    found = OwnAlpha.of([piece])
    assert found is not None
    expected = {10497: 0.0, 33071: 200 / 255, 33648: 200 / 255}[way]
    assert found.at(piece.faces[:1], np.full((1, 3), 1 / 3)) == pytest.approx([expected], abs=1e-3)


def test_what_voxels_say_of_alpha_counts_only_where_the_mesh_was_solid() -> None:
    for needed in ("torch", "warp", "array_api_compat"):
        pytest.importorskip(needed)
    from round_trip import there_and_back

    mesh = dressed_boxes({0: {"alphaMode": "BLEND", "pbrMetallicRoughness": {"baseColorFactor": [0.8, 0.2, 0.2, 0.3]}}})
    made = there_and_back(mesh, 64, 256).glb
    check_glb(made)
    material, alpha = seen(made, BODY)
    assert material["alphaMode"] == "BLEND" and np.allclose(alpha, 76, atol=1)
    assert "alphaMode" not in seen(made, HORN)[0]
