"""The GLB writer, read back by a parser of the test's own that knows the Khronos rules used here."""

from __future__ import annotations

import dataclasses
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from khronos import validate
from PIL import Image, ImageDraw

from trellis_addon.core.progress import Progress
from trellis_addon.engines.draft import ReliefEngine
from trellis_addon.engines.engine import Order
from trellis_addon.formats.glb.check import split_glb
from trellis_addon.formats.glb.write import Material, Mesh, container, image_mime, write_glb
from trellis_addon.task.settings import Settings

COMPONENTS = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


def parse(glb: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON and the binary chunk, with the container's rules asserted."""
    magic, version, length = struct.unpack_from("<4sII", glb)
    assert (magic, version, length) == (b"glTF", 2, len(glb))
    json_length, json_type = struct.unpack_from("<II", glb, 12)
    assert json_type == 0x4E4F534A and json_length % 4 == 0
    text = glb[20 : 20 + json_length]
    assert text.rstrip(b" ").endswith(b"}")
    start = 20 + json_length
    binary_length, binary_type = struct.unpack_from("<II", glb, start)
    assert binary_type == 0x004E4942 and binary_length % 4 == 0
    assert start + 8 + binary_length == len(glb)
    document = json.loads(text)
    binary = glb[start + 8 :]
    (buffer,) = document["buffers"]
    assert 0 <= len(binary) - buffer["byteLength"] <= 3
    end = 0
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0 and view["byteOffset"] >= end
        end = view["byteOffset"] + view["byteLength"]
        assert end <= buffer["byteLength"]
    return document, binary


def accessor(document: dict[str, Any], binary: bytes, index: int) -> np.ndarray:
    entry = document["accessors"][index]
    view = document["bufferViews"][entry["bufferView"]]
    count = entry["count"] * WIDTHS[entry["type"]]
    dtype = np.dtype(COMPONENTS[entry["componentType"]]).newbyteorder("<")
    assert count * dtype.itemsize <= view["byteLength"]
    values = np.frombuffer(binary, dtype, count, view["byteOffset"])
    return values if entry["type"] == "SCALAR" else values.reshape(entry["count"], -1)


def image(document: dict[str, Any], binary: bytes, texture: int) -> Image.Image:
    entry = document["textures"][texture]
    source = entry.get("source", entry.get("extensions", {}).get("EXT_texture_webp", {}).get("source"))
    info = document["images"][source]
    view = document["bufferViews"][info["bufferView"]]
    content = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    picture = Image.open(io.BytesIO(content))
    assert Image.MIME[picture.format or ""] == info["mimeType"]
    picture.load()
    return picture


def encoded(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (5, 3), (10, 200, 90)).save(out, kind)
    return out.getvalue()


@pytest.fixture
def triangle() -> Mesh:
    return Mesh(
        np.array([[0, 0, 0], [2, 0, 0], [0, 3, -1]], np.float32),
        np.array([[0, 1, 2]], np.uint32),
        np.tile(np.array([[0, 0, 1]], np.float32), (3, 1)),
        np.array([[0, 0], [1, 0], [0, 1]], np.float32),
        name="Ünïcode",
    )


def test_geometry_comes_back_as_it_went_in(triangle: Mesh) -> None:
    document, binary = parse(write_glb(triangle, Material()))
    (primitive,) = document["meshes"][0]["primitives"]
    attributes = primitive["attributes"]
    assert np.array_equal(accessor(document, binary, attributes["POSITION"]), triangle.positions)
    assert np.array_equal(accessor(document, binary, attributes["NORMAL"]), triangle.normals)
    assert np.array_equal(accessor(document, binary, attributes["TEXCOORD_0"]), triangle.uvs)
    assert accessor(document, binary, primitive["indices"]).tolist() == [0, 1, 2]
    position = document["accessors"][attributes["POSITION"]]
    assert position["min"] == [0, 0, -1] and position["max"] == [2, 3, 0]
    targets = [document["bufferViews"][document["accessors"][i]["bufferView"]]["target"] for i in (0, 3)]
    assert targets == [34962, 34963]
    assert document["meshes"][0]["name"] == document["nodes"][0]["name"] == "Ünïcode"


def test_asset_says_who_made_it_and_of_what(triangle: Mesh) -> None:
    document, _ = parse(write_glb(triangle, Material(), {"seed": 2**63 - 1, "engine": "x"}))
    assert document["asset"] == {
        "version": "2.0",
        "generator": "TRELLIS.2 for Blender",
        "extras": {"seed": 2**63 - 1, "engine": "x"},
    }
    plain, _ = parse(write_glb(triangle, Material()))
    assert "extras" not in plain["asset"]


def test_only_positions_are_needed() -> None:
    mesh = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.uint32))
    document, _ = parse(write_glb(mesh, Material(colour_factor=(1, 0, 0, 1), roughness_factor=0.5)))
    assert list(document["meshes"][0]["primitives"][0]["attributes"]) == ["POSITION"]
    assert not {"images", "textures", "samplers"} & document.keys()
    surface = document["materials"][0]["pbrMetallicRoughness"]
    assert surface["baseColorFactor"] == [1, 0, 0, 1] and surface["roughnessFactor"] == 0.5


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_textures_decode_and_webp_is_declared(triangle: Mesh, kind: str) -> None:
    content = encoded(kind)
    material = Material("M", content, content, content, normal_scale=0.5)
    document, binary = parse(write_glb(triangle, material))
    entry = document["materials"][0]
    places = (
        entry["pbrMetallicRoughness"]["baseColorTexture"],
        entry["pbrMetallicRoughness"]["metallicRoughnessTexture"],
        entry["normalTexture"],
    )
    assert entry["normalTexture"]["scale"] == 0.5
    for place in places:
        assert image(document, binary, place["index"]).size == (5, 3)
    assert all(texture["sampler"] == 0 for texture in document["textures"])
    declared = ["EXT_texture_webp"] if kind == "WEBP" else None
    assert document.get("extensionsUsed") == declared
    assert document.get("extensionsRequired") == declared


@pytest.mark.parametrize(
    ("material", "expected"),
    [
        (Material(), {}),
        (Material(alpha_mode="BLEND", double_sided=True), {"alphaMode": "BLEND", "doubleSided": True}),
        (Material(alpha_mode="MASK", alpha_cutoff=0.3), {"alphaMode": "MASK", "alphaCutoff": 0.3}),
        (Material(extras={"a": 1}), {"extras": {"a": 1}}),
    ],
)
def test_material_flags(triangle: Mesh, material: Material, expected: dict[str, Any]) -> None:
    document, _ = parse(write_glb(triangle, material))
    entry = document["materials"][0]
    keys = ("alphaMode", "alphaCutoff", "doubleSided", "extras")
    assert {key: entry[key] for key in keys if key in entry} == expected


def test_what_does_not_fit_together_is_refused(triangle: Mesh) -> None:
    positions, faces = triangle.positions, triangle.faces
    assert triangle.normals is not None
    for mesh, why in (
        (Mesh(positions, faces, normals=triangle.normals[:2]), "all of the same length"),
        (Mesh(positions, np.array([[0, 1, 3]], np.uint32)), "does not exist"),
        (Mesh(positions, np.zeros((0, 3), np.uint32)), "at least one row"),
        (Mesh(positions, np.zeros((3,), np.uint32)), "at least one row"),
    ):
        with pytest.raises(ValueError, match=why):
            write_glb(mesh, Material())
    with pytest.raises(ValueError, match="GLASS"):
        write_glb(triangle, Material(alpha_mode="GLASS"))
    with pytest.raises(ValueError, match="must be PNG"):
        write_glb(triangle, Material(base_colour=b"GIF89a"))


def test_image_kinds() -> None:
    assert [image_mime(encoded(kind)) for kind in ("PNG", "JPEG", "WEBP")] == ["image/png", "image/jpeg", "image/webp"]


def test_tangents_and_occlusion_are_written(triangle: Mesh) -> None:
    tangents = np.tile(np.array([[1, 0, 0, -1]], np.float32), (3, 1))
    mesh = dataclasses.replace(triangle, tangents=tangents)
    content = encoded("PNG")
    document, binary = parse(write_glb(mesh, Material(metallic_roughness=content, normal=content, occlusion=True)))
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert np.array_equal(accessor(document, binary, attributes["TANGENT"]), tangents)
    material = document["materials"][0]
    assert material["occlusionTexture"] == material["pbrMetallicRoughness"]["metallicRoughnessTexture"]
    assert len(document["images"]) == 2
    for wrong in (dataclasses.replace(mesh, uvs=None), dataclasses.replace(mesh, tangents=tangents[:, :3])):
        with pytest.raises(ValueError, match="tangents"):
            write_glb(wrong, Material())


@pytest.mark.parametrize(("vertices", "kind"), [(65535, 5123), (65536, 5125)])
def test_indices_are_short_where_they_fit(vertices: int, kind: int) -> None:
    positions = np.random.default_rng(0).random((vertices, 3)).astype(np.float32)
    faces = np.array([[0, 1, vertices - 1]], np.uint32)
    document, binary = parse(write_glb(Mesh(positions, faces), Material()))
    indices = document["meshes"][0]["primitives"][0]["indices"]
    assert document["accessors"][indices]["componentType"] == kind
    assert accessor(document, binary, indices).tolist() == faces.reshape(-1).tolist()


def test_further_faces_have_a_material_of_their_own_and_share_images(triangle: Mesh) -> None:
    content = encoded("WEBP")
    solid, glass = Material("Solid", content), Material("Glass", content, alpha_mode="BLEND")
    turned = triangle.faces[:, ::-1].copy()
    document, binary = parse(write_glb(triangle, solid, further=[(turned, glass)]))
    one, two = document["meshes"][0]["primitives"]
    assert one["attributes"] == two["attributes"] and (one["material"], two["material"]) == (0, 1)
    assert accessor(document, binary, two["indices"]).tolist() == [2, 1, 0]
    assert [material.get("alphaMode") for material in document["materials"]] == [None, "BLEND"]
    assert len(document["images"]) == len(document["textures"]) == 1
    with pytest.raises(ValueError, match="does not exist"):
        write_glb(triangle, solid, further=[(np.array([[0, 1, 7]], np.uint32), glass)])


@pytest.mark.checkout
def test_the_khronos_validator_takes_the_draft_engines_files(tmp_path: Path) -> None:
    disc = Image.new("RGBA", (64, 64))
    ImageDraw.Draw(disc).ellipse((8, 8, 56, 56), (200, 40, 20, 255))
    glb = ReliefEngine().generate(Order(disc, Settings(resolution=512, texture_size=1024), 1), Progress()).glb
    issues = validate(glb, tmp_path)["issues"]
    assert issues["numErrors"] == 0, issues["messages"]


def test_a_name_that_no_file_can_hold_is_written_without_what_cannot_be() -> None:
    """JSON can say half of a sign of two halves, and files come with it."""
    document = json.loads('{"asset": {"version": "2.0"}, "nodes": [{"name": "a\\ud800b"}]}')
    written, _ = split_glb(container(document, b""))
    assert written["nodes"] == [{"name": "a?b"}]
