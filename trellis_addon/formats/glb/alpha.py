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


def material_alpha(data: bytes) -> list[str]:
    """For each material of a sound GLB: "OPAQUE", "MASK" (cut-out) or "BLEND" (see-through)."""
    document, binary = split_glb(data)
    samples: dict[int, list[np.ndarray]] = {}
    alphas: dict[int, np.ndarray | None] = {}
    for mesh in document.get("meshes", []):
        for primitive in mesh["primitives"]:
            number = primitive.get("material")
            if number is None:
                continue
            info = document["materials"][number].get("pbrMetallicRoughness", {}).get("baseColorTexture")
            image = _image_of(document, info)
            if image is None:
                continue
            if image not in alphas:
                alphas[image] = _alpha_channel(document, binary, image)
            alpha = alphas[image]
            uv = _read_uv(document, binary, primitive, info.get("texCoord", 0))
            if alpha is not None and uv is not None:
                samples.setdefault(number, []).append(_look_up(alpha, uv))
    return [
        _classify(np.concatenate(samples[number]), _factor(material)) if number in samples else _by_factor(material)
        for number, material in enumerate(document.get("materials", []))
    ]


def _classify(alpha: np.ndarray, factor: float) -> str:
    alpha = alpha * factor
    clear = (alpha < _SOLID).mean()
    if clear < _MIN_SHARE:
        return OPAQUE
    between = ((alpha > _EDGE) & (alpha < 255 - _EDGE)).mean()
    return MASK if between < 0.1 * clear else BLEND


def _by_factor(material: dict[str, Any]) -> str:
    return BLEND if _factor(material) * 255 < _SOLID else OPAQUE


def _factor(material: dict[str, Any]) -> float:
    factor = material.get("pbrMetallicRoughness", {}).get("baseColorFactor", [1, 1, 1, 1])[3]
    return min(max(float(factor), 0.0), 1.0)


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
