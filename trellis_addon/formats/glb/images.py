"""The pictures inside a GLB: which a material shows, and others put in their place; all else stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .check import split_glb
from .write import container, image_mime

_WEBP = "EXT_texture_webp"


def base_colour_images(document: Mapping[str, Any]) -> list[int | None]:
    """The image of the base colour of each material of a GLB's document; None where it has none."""
    found: list[int | None] = []
    for material in document.get("materials", []):
        info = material.get("pbrMetallicRoughness", {}).get("baseColorTexture")
        if info is None:
            found.append(None)
            continue
        found.append(image_of(document, info["index"]))
    return found


def image_of(document: Mapping[str, Any], texture: int) -> int:
    """The image of one texture of a checked GLB."""
    found = document["textures"][texture]
    return int(found.get("extensions", {}).get(_WEBP, {}).get("source", found.get("source")))


def image_bytes(document: Mapping[str, Any], binary: memoryview, image: int) -> bytes:
    """The file of one image of a checked GLB."""
    view = document["bufferViews"][document["images"][image]["bufferView"]]
    start = view.get("byteOffset", 0)
    return bytes(binary[start : start + view["byteLength"]])


def with_extras(glb: bytes, extras: Mapping[str, Any]) -> bytes:
    """The GLB with this JSON data besides in `asset.extras`; its binary part stays as it is."""
    document, binary = split_glb(glb)
    asset = document["asset"]
    asset["extras"] = {**asset.get("extras", {}), **extras}
    return container(document, bytes(binary))


def replace_images(glb: bytes, images: Mapping[int, bytes]) -> bytes:
    """The GLB with other files for some of its images, of the same kind each or PNG. Geometry, materials and all other
    bytes stay as they are."""
    document, binary = split_glb(glb)
    views = document["bufferViews"]
    of_view = {document["images"][image]["bufferView"]: content for image, content in images.items()}
    data = bytearray()
    for number, view in enumerate(views):
        start = view.get("byteOffset", 0)
        content = of_view.get(number)
        data += bytes(-len(data) % 4)
        if content is None:
            content = bytes(binary[start : start + view["byteLength"]])
        view["byteOffset"], view["byteLength"] = len(data), len(content)
        data += content
    for image, content in images.items():
        mime = image_mime(content)
        if document["images"][image].get("mimeType") == "image/webp" and mime != "image/webp":
            _no_webp(document, image)
        document["images"][image]["mimeType"] = mime
    document["buffers"][0]["byteLength"] = len(data)
    return container(document, bytes(data))


def _no_webp(document: dict[str, Any], image: int) -> None:
    """Have the textures of an image name it as one that every reader knows."""
    for texture in document.get("textures", []):
        named = texture.get("extensions", {}).get(_WEBP, {})
        if named.get("source") == image:
            texture["source"] = image
            del texture["extensions"][_WEBP]
            if not texture["extensions"]:
                del texture["extensions"]
