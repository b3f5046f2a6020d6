"""Several GLBs as one: each with a node of its own name, side by side in one scene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .check import split_glb
from .write import container

# What refers to what, by its place in a list: the key of a reference, and the list that it counts in.
_LISTS = ("accessors", "bufferViews", "images", "samplers", "textures", "materials", "meshes", "nodes")


def join_glbs(parts: Mapping[str, bytes]) -> bytes:
    """GLBs of this project's own writer (one mesh, one node each) as one file whose nodes have these names.

    The extras of the file are the first one's.
    """
    whole: dict[str, Any] = {}
    binary = bytearray()
    for name, glb in parts.items():
        document, chunk = split_glb(glb)
        if not whole:
            whole = {"asset": document["asset"], "scene": 0, "scenes": [{"nodes": []}], "buffers": [{}]}
        base = {key: len(whole.get(key, [])) for key in _LISTS}
        _renumber(document, base, len(binary), name)
        whole["scenes"][0]["nodes"] += [root + base["nodes"] for root in document["scenes"][0]["nodes"]]
        for key in _LISTS:
            if key in document:
                whole.setdefault(key, []).extend(document[key])
        for key in ("extensionsUsed", "extensionsRequired"):
            if found := {*whole.get(key, ()), *document.get(key, ())}:
                whole[key] = sorted(found)
        binary += chunk[: document["buffers"][0]["byteLength"]]
        binary += bytes(-len(binary) % 4)
    whole["buffers"] = [{"byteLength": len(binary)}]
    return container(whole, bytes(binary))


def _renumber(document: dict[str, Any], base: Mapping[str, int], offset: int, name: str) -> None:
    """Have all references of a document count on from what is there already."""
    for view in document["bufferViews"]:
        view["byteOffset"] = view.get("byteOffset", 0) + offset
    for place in (*document["accessors"], *document.get("images", [])):
        _shift(place, "bufferView", base["bufferViews"])
    for texture in document.get("textures", []):
        _shift(texture, "sampler", base["samplers"])
        for place in (texture, *texture.get("extensions", {}).values()):
            _shift(place, "source", base["images"])
    for material in document.get("materials", []):
        for place in (material, material.get("pbrMetallicRoughness", {})):
            for key in [key for key in place if key.endswith("Texture")]:
                _shift(place[key], "index", base["textures"])
    for mesh in document["meshes"]:
        mesh["name"] = name
        for primitive in mesh["primitives"]:
            _shift(primitive, "indices", base["accessors"])
            _shift(primitive, "material", base["materials"])
            primitive["attributes"] = {key: at + base["accessors"] for key, at in primitive["attributes"].items()}
    for node in document["nodes"]:
        node["name"] = name
        _shift(node, "mesh", base["meshes"])


def _shift(place: dict[str, Any], key: str, by: int) -> None:
    if key in place:
        place[key] += by
