"""Damaged and hostile GLBs: refused with a sentence before Blender sees them. Other tests use the GLBs made here."""

from __future__ import annotations

import copy
import json
import os
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import disc, encoded, sentence
from PIL import Image

from trellis_addon.core.errors import DamagedFileError
from trellis_addon.formats.glb.alpha import BLEND, MASK, OPAQUE, material_alpha
from trellis_addon.formats.glb.check import check_glb, check_glb_file, known_sound, split_glb

FLOAT, UINT, USHORT, UBYTE = 5126, 5125, 5123, 5121
_DTYPES = {FLOAT: "<f4", UINT: "<u4", USHORT: "<u2", UBYTE: "u1"}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
Json = dict[str, Any]

# A cube of side 2, six faces with corners of their own.
_SIDES = [(axis, sign) for axis in range(3) for sign in (1, -1)]
_CORNERS = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
CUBE = np.concatenate(
    [np.insert(_CORNERS if sign > 0 else _CORNERS[::-1], axis, sign, axis=1) for axis, sign in _SIDES]
)
CUBE[8:16] = CUBE[8:16][[3, 2, 1, 0, 7, 6, 5, 4]]  # the middle axis is turned the other way round
CUBE_FACES = np.concatenate([np.array([(0, 1, 2), (0, 2, 3)]) + 4 * side for side in range(6)])
CUBE_UVS = np.tile(np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * 0.5, (6, 1))  # the upper left quarter of a texture


class Glb:
    """A GLB under construction: its JSON, and its binary chunk as it grows."""

    def __init__(self, **document: Any) -> None:
        self.document: Json = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], **document}
        self.binary = bytearray()

    def add(self, kind: str, item: Json) -> int:
        items = self.document.setdefault(kind, [])
        items.append(item)
        return len(items) - 1

    def view(self, content: bytes) -> int:
        self.binary += b"\0" * (-len(self.binary) % 4)
        index = self.add("bufferViews", {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(content)})
        self.binary += content
        return index

    def accessor(self, values: Any, component: int = FLOAT, **more: Any) -> int:
        array = np.ascontiguousarray(values, _DTYPES[component])
        width = 1 if array.ndim == 1 else array.shape[1]
        item = {"bufferView": self.view(array.tobytes()), "componentType": component, "count": len(array)}
        return self.add("accessors", {**item, "type": _KINDS[width], **more})

    def positions(self, points: np.ndarray) -> int:
        low, high = points.min(0).tolist(), points.max(0).tolist()
        return self.accessor(points, min=low, max=high)

    def texture(self, picture: Image.Image, kind: str = "PNG") -> int:
        mime = f"image/{kind.lower()}"
        image = self.add("images", {"bufferView": self.view(encoded(picture, kind)), "mimeType": mime})
        if kind != "WEBP":
            return self.add("textures", {"source": image})
        self.document["extensionsUsed"] = self.document["extensionsRequired"] = ["EXT_texture_webp"]
        return self.add("textures", {"extensions": {"EXT_texture_webp": {"source": image}}})

    def cube(self, points: np.ndarray = CUBE, uvs: bool = True, **primitive: Any) -> int:
        """A mesh of one cube; its index."""
        attributes = {"POSITION": self.positions(points)}
        if uvs:
            attributes["TEXCOORD_0"] = self.accessor(CUBE_UVS)
        indices = self.accessor(CUBE_FACES.reshape(-1), USHORT)
        return self.add("meshes", {"primitives": [{"attributes": attributes, "indices": indices, **primitive}]})

    def done(self) -> bytes:
        return pack({**self.document, "buffers": [{"byteLength": len(self.binary)}]}, bytes(self.binary))


def pack(document: Any, binary: bytes) -> bytes:
    """A GLB with a correct header around whatever is given."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    parts = struct.pack("<II", len(text), 0x4E4F534A), text, struct.pack("<II", len(binary), 0x004E4942), binary
    return struct.pack("<4sII", b"glTF", 2, 12 + sum(map(len, parts))) + b"".join(parts)


def half_clear(size: int = 32, left: int = 255, right: int = 0) -> Image.Image:
    """A texture whose upper left quarter, which the cube shows, has the alpha `left`, and the rest `right`."""
    picture = Image.new("RGBA", (size, size), (180, 60, 40, right))
    picture.paste((60, 160, 90, left), (0, 0, size // 2 + 2, size // 2 + 2))
    return picture


def simple(picture: Image.Image | None = None, kind: str = "PNG", **material: Any) -> Glb:
    """A textured cube."""
    glb = Glb(nodes=[{"mesh": 0, "name": "Cube"}])
    surface: Json = {"baseColorTexture": {"index": glb.texture(picture or disc(16).convert("RGB"), kind)}}
    glb.add("materials", {"name": "Paint", "pbrMetallicRoughness": surface, **material})
    glb.cube(material=0)
    return glb


def rich() -> Glb:
    """A small file with most of what a GLB may hold, for the fuzzers to break."""
    glb = simple(half_clear(), "WEBP", alphaMode="OPAQUE")
    material = glb.document["materials"][0]
    surface = material["pbrMetallicRoughness"]
    surface.update(baseColorFactor=[1, 1, 1, 1], metallicFactor=0.2, roughnessFactor=0.8)
    surface["metallicRoughnessTexture"] = {"index": glb.texture(Image.new("RGB", (8, 8), (0, 200, 30))), "texCoord": 0}
    material["normalTexture"] = {"index": 1, "scale": 0.7}
    material["emissiveFactor"] = [0, 0.1, 0]
    material["extensions"] = {"KHR_materials_ior": {"ior": 1.4}, "KHR_materials_clearcoat": {"clearcoatFactor": 0.5}}
    glb.document["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 10497}]
    glb.document["textures"][0]["sampler"] = 0
    primitive = glb.document["meshes"][0]["primitives"][0]
    primitive["mode"] = 4
    primitive["attributes"]["NORMAL"] = glb.accessor(CUBE / np.linalg.norm(CUBE, axis=1, keepdims=True))
    primitive["attributes"]["COLOR_0"] = glb.accessor(np.full((24, 4), 255), UBYTE, normalized=True)
    sparse_positions = glb.positions(CUBE)
    glb.document["accessors"][sparse_positions]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": glb.view(struct.pack("<H", 3)), "byteOffset": 0, "componentType": USHORT},
        "values": {"bufferView": glb.view(struct.pack("<3f", 2, 2, 2)), "byteOffset": 0},
    }
    glb.add("meshes", {"name": "Sparse", "primitives": [{"attributes": {"POSITION": sparse_positions}, "indices": 2}]})
    glb.document["nodes"] = [
        {"name": "world", "children": [1, 2]},
        {"name": "one", "mesh": 0, "rotation": [0, 0, 0, 1], "scale": [1, 2, 1], "translation": [0, 0, 1]},
        {"name": "two", "mesh": 1, "matrix": np.eye(4).reshape(-1).tolist(), "children": [3]},
        {"name": "eye", "camera": 0},
    ]
    glb.document["cameras"] = [{"type": "perspective", "perspective": {"yfov": 0.7, "znear": 0.1, "aspectRatio": 1.5}}]
    glb.document["asset"]["extras"] = {"engine": "x"}
    return glb


def animated() -> Glb:
    """A cube with what no asset of ours has: shape keys, an animation, a light, a texture transform."""
    glb = simple()
    document = glb.document
    primitive = document["meshes"][0]["primitives"][0]
    primitive["targets"] = [{"POSITION": glb.positions(CUBE * 0.1)}]
    document["meshes"][0].update(weights=[0.5], extras={"targetNames": ["key"]})
    document["nodes"] = [
        {"mesh": 0, "weights": [0.3]},
        {"name": "hip", "children": [2]},
        {"name": "knee", "translation": [0, 1, 0]},
        {"extensions": {"KHR_lights_punctual": {"light": 0}}},
    ]
    document["scenes"][0]["nodes"] = [0, 1, 3]
    times = glb.accessor(np.array([0.0, 1.0]), min=[0.0], max=[1.0])
    moves = glb.accessor(np.array([(0, 0, 0), (1, 0, 0)], float))
    channel = {"sampler": 0, "target": {"node": 2, "path": "translation"}}
    sampler = {"input": times, "output": moves, "interpolation": "LINEAR"}
    document["animations"] = [{"channels": [channel], "samplers": [sampler]}]
    light = {"type": "spot", "intensity": 5, "color": [1, 1, 1], "spot": {"outerConeAngle": 0.5}}
    document["extensions"] = {"KHR_lights_punctual": {"lights": [light]}}
    document["extensionsUsed"] = ["KHR_lights_punctual", "KHR_texture_transform"]
    texture = document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
    texture["extensions"] = {"KHR_texture_transform": {"offset": [0, 0], "scale": [0.5, 0.5], "rotation": 0}}
    return glb


# --- the fuzzers ---

_WRONG = (-1, 2**31, 2**53, 1e300, 0.5, "NaN", None, True, [], {})


def broken_json(document: Json) -> Iterator[tuple[str, Json]]:
    """The document with every value replaced by wrong ones, and without every key, one at a time."""
    for path in list(_paths(document)):
        where = "/".join(map(str, path))
        for wrong in _WRONG:
            changed = copy.deepcopy(document)
            parent = _parent(changed, path)
            if type(parent[path[-1]]) is not type(wrong) or parent[path[-1]] != wrong:
                parent[path[-1]] = wrong
                yield f"{where} = {wrong!r}", changed
        changed = copy.deepcopy(document)
        del _parent(changed, path)[path[-1]]
        yield f"without {where}", changed


def _paths(value: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*prefix, key)
        yield from _paths(item, (*prefix, key))


def _parent(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document


def broken_bytes(data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """The file cut off, with flipped bits, and with lying words where the container keeps its lengths."""
    dice = random.Random(count)
    for _ in range(count // 4):
        end = dice.randrange(len(data))
        yield f"cut at {end}", data[:end]
        fixed = bytearray(data[:end])
        if end >= 12:
            struct.pack_into("<I", fixed, 8, end)
        yield f"cut at {end}, header corrected", bytes(fixed)
    for _ in range(count // 2):
        flipped = bytearray(data)
        places = [dice.randrange(len(data)) for _ in range(dice.choice((1, 1, 3, 20)))]
        for place in places:
            flipped[place] ^= 1 << dice.randrange(8)
        yield f"bits flipped at {places}", bytes(flipped)
    second = 20 + struct.unpack_from("<I", data, 12)[0]
    for place in (0, 4, 8, 12, 16, second, second + 4):
        for word in (0, 1, 3, 4, len(data) - 1, len(data) + 4, 2**31 - 4, 2**32 - 4, 2**32 - 1):
            lying = bytearray(data)
            struct.pack_into("<I", lying, place, word)
            yield f"word at {place} = {word}", bytes(lying)


def refused(data: bytes) -> str:
    """The sentence with which the check turns a file away; empty when it lets the file through."""
    try:
        check_glb(data)
    except DamagedFileError as error:
        return sentence(error)
    return ""


# --- sound files ---


def test_sound_files_are_let_through() -> None:
    info = check_glb(rich().done())
    assert (info.vertices, info.triangles) == (48, 24)
    assert info.image_sizes == ((32, 32), (8, 8))
    assert info.extensions == {"EXT_texture_webp"}
    assert info.extras == {"engine": "x"}


def test_draft_files_are_sound(draft: Any) -> None:
    info = check_glb_file(draft.path)
    assert info.triangles > 1000 and info.extras["engine"] == "draft:relief@1"


def test_a_sound_file_is_remembered_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.glb.part"
    path.write_bytes(rich().done())
    assert known_sound(path) is None
    found = check_glb_file(path)
    whole = path.rename(tmp_path / "a.glb")
    assert known_sound(whole) == found and known_sound(path) is None
    whole.write_bytes(whole.read_bytes()[:-4] + b"    ")
    os.utime(whole, ns=(1, 1))
    assert known_sound(whole) is None
    with pytest.raises(DamagedFileError):
        check_glb_file(tmp_path)


# --- damage ---


def test_every_broken_value_is_refused_or_harmless() -> None:
    """No other exception ever; and enough is refused for this to mean something."""
    glb = rich()
    binary, document = bytes(glb.binary), {**glb.document, "buffers": [{"byteLength": len(glb.binary)}]}
    outcomes = [bool(refused(pack(changed, binary))) for _, changed in broken_json(document)]
    assert len(outcomes) > 1000 and 0.5 < np.mean(outcomes) < 0.98


def test_every_broken_file_is_refused_or_harmless() -> None:
    outcomes = {name: bool(refused(data)) for name, data in broken_bytes(rich().done(), 400)}
    assert all(no for name, no in outcomes.items() if name.startswith("cut") or name.endswith(f" = {2**32 - 1}"))
    assert len(outcomes) > 400


def _wrong(**changes: Any) -> bytes:
    """A textured cube with some of its JSON replaced, by path."""
    glb = simple()
    for path, value in changes.items():
        *parents, last = [int(key) if key.isdigit() else key for key in path.split("__")]
        place: Any = glb.document
        for key in parents:
            place = place[key]
        place[last] = value
    return glb.done()


def _not_finite() -> bytes:
    glb = Glb(nodes=[{"mesh": 0}])
    glb.cube()
    struct.pack_into("<f", glb.binary, 64, float("nan"))
    return glb.done()


def _beyond() -> bytes:
    glb = Glb(nodes=[{"mesh": 0}])
    glb.cube()
    view = glb.document["bufferViews"][2]
    struct.pack_into("<H", glb.binary, view["byteOffset"] + 4, 24)
    return glb.done()


def _cut_image() -> bytes:
    glb = simple()
    glb.document["bufferViews"][0]["byteLength"] -= 40
    return glb.done()


def _external() -> bytes:
    glb = simple()
    glb.document["images"][0] = {"uri": "../../etc/passwd.png"}
    return glb.done()


def _external_buffer() -> bytes:
    glb = simple()
    return pack({**glb.document, "buffers": [{"byteLength": len(glb.binary), "uri": "cube.bin"}]}, bytes(glb.binary))


def _ring() -> bytes:
    return _wrong(nodes=[{"mesh": 0, "children": [1]}, {"children": [2]}, {"children": [0]}])


def _huge_sparse() -> bytes:
    """A few bytes that claim thousands of millions of vertices: a reader would make room for them all."""
    glb = simple()
    glb.document["accessors"][0] = {
        "componentType": FLOAT,
        "type": "VEC3",
        "count": 2**36,
        "sparse": {
            "count": 1,
            "indices": {"bufferView": glb.view(b"\0\0"), "componentType": USHORT},
            "values": {"bufferView": glb.view(bytes(12))},
        },
    }
    del glb.document["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"]
    return glb.done()


DAMAGED = {
    "nothing": (lambda: b"", "0 bytes"),
    "html": (lambda: b"<html>" * 20, "does not start"),
    "version 1": (lambda: struct.pack("<4sII", b"glTF", 1, 40) + bytes(28), "version 1"),
    "list": (lambda: pack([], b""), "not an object"),
    "not json": (lambda: pack(b"{,}", b""), "cannot be read"),
    "not utf-8": (lambda: pack(b'{"\xff\xfe": 1}', b""), "cannot be read"),
    "nested": (lambda: pack(b"[" * 200_000, b""), "nested|cannot be read"),
    "gltf 1": (lambda: _wrong(asset={"version": "1.0"}), "2.0"),
    "unknown extension": (lambda: _wrong(extensionsRequired=["EXT_meshopt_compression"]), "EXT_meshopt_compression"),
    "no mesh": (lambda: _wrong(meshes=[]), "not there|no mesh"),
    "mesh not placed": (lambda: _wrong(nodes=[{"name": "empty"}]), "no mesh is placed"),
    "not finite": (_not_finite, "not finite"),
    "index beyond": (_beyond, "vertex that is not there"),
    "cut image": (_cut_image, "image"),
    "image elsewhere": (_external, "another file"),
    "buffer elsewhere": (_external_buffer, "other files"),
    "ring": (_ring, "ring"),
    "own child": (lambda: _wrong(nodes=[{"mesh": 0, "children": [0]}]), "ring"),
    "two parents": (lambda: _wrong(nodes=[{"children": [1, 2]}, {"mesh": 0, "children": [2]}, {}]), "hangs from two"),
    "bounds": (lambda: _wrong(accessors__0__max=[5, 5, 5]), "bounds"),
    "material": (lambda: _wrong(meshes__0__primitives__0__material=3), "materials"),
    "skeleton": (lambda: _wrong(skins=[{"joints": [0]}]), "skeleton"),
    "huge sparse": (_huge_sparse, "without data"),
}


def test_a_great_many_nodes_do_not_take_long() -> None:
    glb = simple()
    glb.document["nodes"] += [{"children": [number + 2]} for number in range(60_000)] + [{}]
    begin = time.process_time()  # not what others do meanwhile
    check_glb(glb.done())
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(name: str) -> None:
    make, said = DAMAGED[name]
    with pytest.raises(DamagedFileError, match=said) as caught:
        check_glb(make())
    sentence(caught.value)


def test_numbers_that_json_does_not_have() -> None:
    text = json.dumps({**simple().document, "buffers": [{"byteLength": 0}]})
    for name in ("NaN", "Infinity", "-Infinity", "9" * 5000):
        assert refused(pack(text.replace('"count": 24', f'"count": {name}').encode(), b""))


def test_split_gives_json_and_binary() -> None:
    glb = simple()
    document, binary = split_glb(glb.done())
    assert document["materials"] == glb.document["materials"]
    assert bytes(binary[: len(glb.binary)]) == bytes(glb.binary)


# --- what alpha is ---


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize(
    ("left", "right", "said", "wanted"),
    [
        (255, 255, "BLEND", OPAQUE),
        (255, 0, "OPAQUE", OPAQUE),
        (255, 0, "BLEND", OPAQUE),
        (120, 255, "OPAQUE", BLEND),
        (120, 255, "BLEND", BLEND),
        (0, 255, "OPAQUE", MASK),
        (253, 255, "BLEND", OPAQUE),
    ],
)
def test_alpha_is_what_the_surface_shows(kind: str, left: int, right: int, said: str, wanted: str) -> None:
    assert material_alpha(simple(half_clear(left=left, right=right), kind, alphaMode=said).done()) == [wanted]


def test_alpha_by_factor() -> None:
    glb = simple(half_clear(left=255, right=255), alphaMode="BLEND")
    glb.document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = [1, 1, 1, 0.4]
    assert material_alpha(glb.done()) == [BLEND]
    del glb.document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
    assert material_alpha(glb.done()) == [BLEND]
