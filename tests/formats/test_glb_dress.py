"""New materials on a file's pieces: its normal maps go on, whatever else is drawn on it goes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from mesh_tools import box, glb
from PIL import Image
from views_tools import NOSE

from trellis_addon.core.errors import TrellisError
from trellis_addon.formats.glb.check import check_glb, split_glb
from trellis_addon.formats.glb.dress import Dress, dressed, without_pictures
from trellis_addon.formats.glb.images import image_bytes, image_of
from trellis_addon.formats.glb.pieces import read_pieces
from trellis_addon.formats.glb.write import Binary, Material, container

BODY, NOSE_PIECE, HORN = (0, 0), (1, 0), (1, 1)


def picture(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def bumpy(normals: dict[int, dict[str, Any]], index: int | None = None) -> bytes:
    """The boxes with a green colour on the last of two materials, and normal maps by material, of a picture each."""
    document, body = split_glb(glb(materials=2, more=True))
    binary = Binary()
    binary.accessors = document["accessors"]
    for view in document["bufferViews"]:
        start = view.get("byteOffset", 0)
        binary.view(bytes(body[start : start + view["byteLength"]]), like=view)
    for number, info in normals.items():
        view = binary.view(picture((128, 128, 200 + number)))
        document["images"].append({"bufferView": view, "mimeType": "image/png"})
        document["textures"].append({"source": len(document["images"]) - 1})
        told = {"index": len(document["textures"]) - 1 if index is None else index, **info}
        document["materials"][number]["normalTexture"] = told
    document["bufferViews"] = binary.views
    document["buffers"] = [{"byteLength": len(binary.data)}]
    return container(document, bytes(binary.data))


def normal_of(data: bytes, key: tuple[int, int]) -> tuple[dict[str, Any] | None, bytes]:
    """How a piece's material names its normal map, without its number, and the picture."""
    document, binary = split_glb(data)
    material = document["materials"][document["meshes"][key[0]]["primitives"][key[1]]["material"]]
    info = material.get("normalTexture")
    if info is None:
        return None, b""
    return {k: v for k, v in info.items() if k != "index"}, bytes(
        image_bytes(document, binary, image_of(document, info["index"]))
    )


NEW = Material("New", picture((200, 10, 10)))


def test_normal_maps_go_on_where_the_coordinates_do() -> None:
    before = bumpy({0: {"scale": 0.5}, 1: {"texCoord": 1}})
    made = dressed(before, dict.fromkeys((BODY, NOSE_PIECE, HORN), Dress(0)), [NEW])
    check_glb(made)
    for key in (BODY, NOSE_PIECE, HORN):
        assert normal_of(made, key) == normal_of(before, key)
    document = split_glb(made)[0]
    assert len(document["materials"]) == 2, "two that differ in their normal maps alone"
    assert len(document["images"]) == 3 and {m["name"] for m in document["materials"]} == {"New"}
    colours = {m["pbrMetallicRoughness"]["baseColorTexture"]["index"] for m in document["materials"]}
    assert len(colours) == 1, "and share their colours"
    none = dressed(glb(), {BODY: Dress(0)}, [NEW])
    assert normal_of(none, BODY)[0] is None and len(split_glb(none)[0]["images"]) == 1


def test_new_coordinates_are_another_set_and_the_normal_map_keeps_its_own() -> None:
    before = bumpy({1: {}})
    piece = next(piece for piece in read_pieces(before).pieces if piece.key == NOSE_PIECE)
    _, faces, uvs = box(*NOSE, 3)
    dress = Dress(0, piece.free_set, np.arange(len(piece.points)), faces, uvs.astype(np.float32))
    made = dressed(before, {NOSE_PIECE: dress}, [NEW])
    check_glb(made)
    assert normal_of(made, NOSE_PIECE) == normal_of(before, NOSE_PIECE)
    document = split_glb(made)[0]
    primitive = document["meshes"][1]["primitives"][0]
    told = document["materials"][primitive["material"]]
    assert told["pbrMetallicRoughness"]["baseColorTexture"]["texCoord"] == 2 and "texCoord" not in told["normalTexture"]
    assert {"TEXCOORD_0", "TEXCOORD_2"} <= set(primitive["attributes"])


def test_a_normal_map_of_the_new_material_comes_in_its_place() -> None:
    own = Material("New", picture((200, 10, 10)), normal=picture((1, 2, 3)))
    made = dressed(bumpy({0: {"scale": 0.5}}), {BODY: Dress(0)}, [own])
    assert normal_of(made, BODY)[1] == picture((1, 2, 3))


def test_normal_maps_are_sent_and_what_is_drawn_is_not() -> None:
    before = bumpy({0: {}})
    sent = without_pictures(before)
    check_glb(sent)
    assert normal_of(sent, BODY) == normal_of(before, BODY)
    document, binary = split_glb(sent)
    pictures = [bytes(image_bytes(document, binary, number)) for number in range(len(document["images"]))]
    assert picture((128, 128, 200)) in pictures and picture((9, 200, 9)) not in pictures
    with pytest.raises(TrellisError):
        read_pieces(bumpy({0: {}}, index=99))
