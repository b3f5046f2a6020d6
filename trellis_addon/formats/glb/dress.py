"""A GLB with new materials on some of its pieces; everything else in the file stays as it is.

Nodes, meshes, skins, animations and further texture coordinates are those of the file, and so is what a material says
of the form, which stays: its normal map, how much of it is seen through, and whether from both sides. Materials,
textures and pictures that nothing uses any more are left out.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pieces import SEEN_THROUGH, is_seen_through
from .read import Reader
from .write import Binary, Material, add_material, container

_DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
)  # a white pixel
_VARIANTS = "KHR_materials_variants"


@dataclass(frozen=True)
class Dress:
    """What a piece gets: `material` is a place among the new ones, whose textures follow the set `uv_set`.

    Where that set is new, its vertices are split: `source` (V,) is the vertex that each one was, `faces` (F, 3) and
    `uvs` (V, 2), v down, are of the new ones, in the faces' order.
    """

    material: int
    uv_set: int = 0
    source: NDArray[np.int64] | None = None
    faces: NDArray[np.int64] | None = None
    uvs: NDArray[np.float32] | None = None


def dressed(
    data: bytes,
    dresses: Mapping[tuple[int, int], Dress],
    materials: Sequence[Material],
    extras: Mapping[str, Any] | None = None,
    *,
    wraps: Sequence[bool] = (),
) -> bytes:
    """The GLB with the `materials` on the pieces (mesh, primitive) that `dresses` names.

    `extras` go into the file's `asset.extras` beside what is there. `wraps` says for each material whether its textures
    go on beyond the square. Of a piece that is seen through the alpha mode is the former material's, as its own alpha
    should be that of the new texture. Raises as `read.read_glb`.
    """
    reader = Reader.of(data)
    document = reader.document
    staying = _staying(document, dresses)
    rebuilt = _undressed(document, reader.binary, set(dresses), list(staying.values()))
    known: dict[tuple[str, bytes], int] = {}
    numbers: dict[tuple[int, int, str], int] = {}
    for key, dress in dresses.items():
        primitive = document["meshes"][key[0]]["primitives"][key[1]]
        if dress.source is not None:
            _split(reader, rebuilt, primitive, dress)
        _uncoloured(primitive)
        wanted = dress.material, dress.uv_set, repr(staying[key])
        if (
            wanted not in numbers
        ):  # the same material once more, where pieces follow other sets, or differ in what stays
            repeat = bool(wraps) and wraps[dress.material]
            described = add_material(materials[dress.material], document, rebuilt, known, repeat=repeat)
            for info in _texture_infos(described):
                info.pop("texCoord", None)
                if dress.uv_set:
                    info["texCoord"] = dress.uv_set
            _keep_on(described, staying[key])
            document.setdefault("materials", []).append(described)
            numbers[wanted] = len(document["materials"]) - 1
        primitive["material"] = numbers[wanted]
    if extras:
        document["asset"]["extras"] = {**(document["asset"].get("extras") or {}), **extras}
    document["accessors"], document["bufferViews"] = rebuilt.accessors, rebuilt.views
    document["buffers"] = [{**(document.get("buffers") or [{}])[0], "byteLength": len(rebuilt.data)}]
    _tell_extensions(document)
    return container(document, bytes(rebuilt.data))


def without_pictures(data: bytes) -> bytes:
    """The GLB with a single dot in place of every picture but those of normal maps and of what is seen through: what is
    drawn on the pieces goes, so nobody needs it.

    Raises as `read.read_glb`.
    """
    reader = Reader.of(data)
    document = reader.document
    images = document.get("images") or []
    if not images:
        return data
    textures = document.get("textures") or []
    needed = [info for material in document.get("materials") or [] for info in _needed(material)]
    of_form = [textures[info["index"]] for info in needed]
    kept = {place["source"] for texture in of_form for place in _sources(texture)}
    drawn = [image for number, image in enumerate(images) if number not in kept]
    for image in drawn:
        image.pop("bufferView", None)
    left = _left(document, reader.binary)
    for image in drawn:
        image.pop("uri", None)
        image["bufferView"], image["mimeType"] = left.view(_DOT), "image/png"
    for texture in textures:
        if any(texture is one for one in of_form):
            continue
        _drop_extension(texture, "EXT_texture_webp")
        texture.setdefault("source", 0)
    document["accessors"], document["bufferViews"] = left.accessors, left.views
    document["buffers"] = [{**(document.get("buffers") or [{}])[0], "byteLength": len(left.data)}]
    _tell_extensions(document)
    return container(document, bytes(left.data))


def _staying(document: dict[str, Any], keys: Iterable[tuple[int, int]]) -> dict[tuple[int, int], dict[str, Any]]:
    """What goes on of the pieces' materials, each a copy."""
    found = {}
    for key in keys:
        number = document["meshes"][key[0]]["primitives"][key[1]].get("material")
        material = {} if number is None else document["materials"][number]
        kept = {name: material[name] for name in ("normalTexture", "doubleSided") if material.get(name)}
        if is_seen_through(material):
            kept |= {name: material[name] for name in ("alphaMode", "alphaCutoff") if name in material}
            kept.setdefault("alphaMode", "OPAQUE")  # the light goes through it
            extensions = {
                name: said for name, said in (material.get("extensions") or {}).items() if name in SEEN_THROUGH
            }
            if extensions:
                kept["extensions"] = extensions
        found[key] = copy.deepcopy(kept)
    return found


def _keep_on(described: dict[str, Any], kept: Mapping[str, Any]) -> None:
    """Have a new material say what stays of the former one."""
    described.pop("doubleSided", None)
    if "alphaMode" in kept:
        described.pop("alphaCutoff", None)
    said = {name: value for name, value in kept.items() if name != "extensions"}
    if "normalTexture" in described:
        said.pop("normalTexture", None)
    described.update(said)
    if described.get("alphaMode") == "OPAQUE":
        del described["alphaMode"]
    if "extensions" in kept:
        described["extensions"] = {**described.get("extensions", {}), **kept["extensions"]}


def _uncoloured(primitive: dict[str, Any]) -> None:
    """Vertex colours multiply what is drawn on a surface: they stay under a name by which they do not."""
    for attributes in (primitive["attributes"], *(primitive.get("targets") or ())):
        if "COLOR_0" in attributes:
            attributes.setdefault("_COLOR_0", attributes["COLOR_0"])
            del attributes["COLOR_0"]


def _needed(material: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The textures of a material whose pictures say something of the form."""
    extensions = material.get("extensions") or {}
    found = [material.get("normalTexture")]
    if material.get("alphaMode", "OPAQUE") != "OPAQUE":
        found.append((material.get("pbrMetallicRoughness") or {}).get("baseColorTexture"))
        found.append((extensions.get("KHR_materials_pbrSpecularGlossiness") or {}).get("diffuseTexture"))
    return [info for info in found if info] + _texture_infos([extensions.get(name) for name in SEEN_THROUGH])


def _sources(texture: dict[str, Any]) -> list[dict[str, Any]]:
    """All places in a texture that name its picture."""
    return [place for place in (texture, *(texture.get("extensions") or {}).values()) if "source" in place]


def _undressed(
    document: dict[str, Any], binary: memoryview, keys: set[tuple[int, int]], stay: Sequence[dict[str, Any]]
) -> Binary:
    """Take the pieces' materials off, and what only these used, but for the textures of what is to `stay`; the binary
    chunk that is left."""
    for number, index in keys:
        primitive = document["meshes"][number]["primitives"][index]
        primitive.pop("material", None)
        _drop_extension(primitive, _VARIANTS)
    primitives = [primitive for mesh in document["meshes"] for primitive in mesh["primitives"]]
    if not any(_VARIANTS in (primitive.get("extensions") or {}) for primitive in primitives):
        _drop_extension(document, _VARIANTS)
    holders = [*primitives, *(mapping for each in primitives for mapping in _mappings(each))]
    _keep(document, "materials", [(holder, "material") for holder in holders])
    infos = [info for material in (*document.get("materials", []), *stay) for info in _texture_infos(material)]
    _keep(document, "textures", [(info, "index") for info in infos])
    textures = document.get("textures", [])
    sources = [place for texture in textures for place in _sources(texture)]
    _keep(document, "images", [(place, "source") for place in sources])
    _keep(document, "samplers", [(texture, "sampler") for texture in textures])
    return _left(document, binary)


def _left(document: dict[str, Any], binary: memoryview) -> Binary:
    """The binary chunk with those views alone that something refers to."""
    _keep(document, "bufferViews", [(place, "bufferView") for place in _walk(document) if "bufferView" in place])
    left = Binary()
    left.accessors = document.get("accessors") or []
    for view in document.get("bufferViews") or []:
        start = view.get("byteOffset", 0)
        left.view(bytes(binary[start : start + view["byteLength"]]), like=view)
    return left


def _keep(document: dict[str, Any], name: str, references: Sequence[tuple[dict[str, Any], str]]) -> None:
    """Leave only those items of a list that something refers to, and count the references anew."""
    items = document.get(name) or []
    used = sorted({place[key] for place, key in references if key in place})
    number = {old: new for new, old in enumerate(used)}
    for place, key in references:
        if key in place:
            place[key] = number[place[key]]
    if used:
        document[name] = [items[old] for old in used]
    else:
        document.pop(name, None)


def _mappings(primitive: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the variants of a primitive are; each names a material."""
    found = (primitive.get("extensions") or {}).get(_VARIANTS) or {}
    return list(found.get("mappings") or [])


def _texture_infos(material: Any) -> list[dict[str, Any]]:
    """All places in a material that name a texture."""
    return [
        value
        for place in _walk(material)
        for key, value in place.items()
        if key.endswith("Texture") and isinstance(value, dict)
    ]


def _walk(place: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object below, this one included."""
    waiting = [place]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _drop_extension(place: dict[str, Any], name: str) -> None:
    extensions = place.get("extensions") or {}
    if extensions.pop(name, None) is not None and not extensions:
        del place["extensions"]


def _split(reader: Reader, binary: Binary, primitive: dict[str, Any], dress: Dress) -> None:
    """Give a primitive the dress's vertices: every attribute, also of shape keys, by the vertex that each one was."""
    assert dress.source is not None and dress.faces is not None and dress.uvs is not None
    taken = dress.source

    def copy(number: int) -> int:
        return binary.gathered(reader.document["accessors"][number], reader.stored(number)[taken])

    primitive["attributes"] = {name: copy(number) for name, number in primitive["attributes"].items()}
    for target in primitive.get("targets") or ():
        for name in target:
            target[name] = copy(target[name])
    primitive["attributes"][f"TEXCOORD_{dress.uv_set}"] = binary.accessor(dress.uvs, "VEC2")
    primitive["indices"] = binary.accessor(dress.faces.reshape(-1), "SCALAR", indices=True)
    primitive["mode"] = 4


def _tell_extensions(document: dict[str, Any]) -> None:
    """Name those extensions alone that are in use still."""
    held = [place["extensions"] for place in _walk(document) if isinstance(place.get("extensions"), dict)]
    used = {name for extensions in held for name in extensions}
    for key in ("extensionsUsed", "extensionsRequired"):
        # one that is about values, and no object of the file, is kept: KHR_mesh_quantization
        names = [name for name in document.get(key) or [] if name in used or name == "KHR_mesh_quantization"]
        if names:
            document[key] = names
        else:
            document.pop(key, None)
