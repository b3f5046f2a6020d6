"""What a material's alpha really is: decided by the texels that the surface shows, not by the file's word.

TRELLIS.2 files say OPAQUE although their base colour carries alpha; others say BLEND and are opaque.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from .check import split_glb

OPAQUE, MASK, BLEND = "OPAQUE", "MASK", "BLEND"

_SOLID = 250  # of 255: lossy codecs leave 254 in what was solid
_EDGE = 13
_MIN_SHARE = 0.001  # of the surface that must be see-through before it counts
_LEAST = 3  # of 255: less than that is not to be seen
_MIN_SEEN = 0.01  # of an opaque surface: where alpha would show less than this, it is not alpha that is meant


def material_alpha(data: bytes) -> list[str]:
    """For each material of a sound GLB: "OPAQUE", "MASK" (cut-out) or "BLEND" (see-through).

    An alpha that would leave nothing to see is none: of a material that is said to be opaque, or of all together.
    """
    document, binary = split_glb(data)
    materials = document.get("materials", [])
    samples: dict[int, list[np.ndarray]] = {}
    alphas: dict[int, np.ndarray | None] = {}
    has_plain = False  # a surface without any material, which is opaque
    used = {node["mesh"] for node in document.get("nodes", []) if "mesh" in node}
    for primitive in (p for mesh in used for p in document["meshes"][mesh]["primitives"]):
        number = primitive.get("material")
        if number is None:
            has_plain = True
            continue
        seen = np.array([255.0], np.float32)
        info = materials[number].get("pbrMetallicRoughness", {}).get("baseColorTexture")
        image = _image_of(document, info)
        if info is not None and image is not None:
            if image not in alphas:
                alphas[image] = _alpha_channel(document, binary, image)
            alpha = alphas[image]
            uv = _read_uv(document, binary, primitive, info.get("texCoord", 0))
            if alpha is not None and uv is not None:
                seen = _look_up(alpha, uv)
        samples.setdefault(number, []).append(seen * _factor(materials[number]))
    found = {number: np.concatenate(parts) for number, parts in samples.items()}
    if not has_plain and not any(_leaves_something(alpha, materials[number]) for number, alpha in found.items()):
        return [OPAQUE] * len(materials)
    return [
        _classify(found[number], material) if number in found else OPAQUE for number, material in enumerate(materials)
    ]


def _leaves_something(alpha: np.ndarray, material: dict[str, Any]) -> bool:
    """Whether something of the material is to be seen, with this alpha (N,), 0..255, of its surface."""
    least = 255.0 * _number(material.get("alphaCutoff"), 0.5) if material.get("alphaMode") == MASK else _LEAST
    return bool((alpha >= least).mean() >= _MIN_SHARE)


def _classify(alpha: np.ndarray, material: dict[str, Any]) -> str:
    if _is_opaque(material) and (alpha > _EDGE).mean() < _MIN_SEEN:
        return OPAQUE
    clear = (alpha < _SOLID).mean()
    if clear < _MIN_SHARE:
        return OPAQUE
    between = ((alpha > _EDGE) & (alpha < 255 - _EDGE)).mean()
    return MASK if between < 0.1 * clear else BLEND


def _is_opaque(material: dict[str, Any]) -> bool:
    """By the file's word: it counts against a factor, and where a texture's alpha would leave nothing."""
    return material.get("alphaMode", OPAQUE) == OPAQUE


def _factor(material: dict[str, Any]) -> float:
    if _is_opaque(material):
        return 1.0
    factor = material.get("pbrMetallicRoughness", {}).get("baseColorFactor", [1, 1, 1, 1])[3]
    return min(max(float(factor), 0.0), 1.0)


def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) else default


def _image_of(document: dict[str, Any], info: dict[str, Any] | None) -> int | None:
    if info is None:
        return None
    texture = document["textures"][info["index"]]
    webp = texture.get("extensions", {}).get("EXT_texture_webp", {}).get("source")
    return texture.get("source") if webp is None else webp


def _alpha_channel(document: dict[str, Any], binary: memoryview, image: int) -> np.ndarray | None:
    """(height, width) uint8, or None where the image has no alpha, or none below 1."""
    from PIL import Image

    view = document["bufferViews"][document["images"][image]["bufferView"]]
    start = view.get("byteOffset", 0)
    with Image.open(io.BytesIO(bytes(binary[start : start + view["byteLength"]]))) as picture:
        if picture.mode not in ("RGBA", "LA", "PA", "P"):
            return None
        alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
    return alpha if alpha.min() < _SOLID else None


def _read_uv(
    document: dict[str, Any], binary: memoryview, primitive: dict[str, Any], channel: int
) -> np.ndarray | None:
    index = primitive["attributes"].get(f"TEXCOORD_{channel}")
    if index is None:
        return None
    accessor = document["accessors"][index]
    if accessor["componentType"] != 5126 or "bufferView" not in accessor:
        return None  # quantised or compressed: its texels are not looked at
    view = document["bufferViews"][accessor["bufferView"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    stride = view.get("byteStride") or 8
    raw = binary[start : start + stride * (accessor["count"] - 1) + 8]
    return np.ndarray((accessor["count"], 2), "<f4", raw, strides=(stride, 4))


def _look_up(alpha: np.ndarray, uv: np.ndarray) -> np.ndarray:
    height, width = alpha.shape
    wrapped = uv - np.floor(uv)
    x = np.minimum((wrapped[:, 0] * width).astype(np.int64), width - 1)
    y = np.minimum((wrapped[:, 1] * height).astype(np.int64), height - 1)
    return alpha[y, x].astype(np.float32)
