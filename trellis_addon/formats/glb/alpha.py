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
_SHOWN = 25  # of 255: what is less opaque than a tenth all over is an alpha that nobody meant
_MIN_SEEN = 0.01  # of an opaque material's texture: where its alpha would show less than this, it is not meant


def material_alpha(data: bytes) -> list[str]:
    """For each material of a sound GLB: "OPAQUE", "MASK" (cut-out) or "BLEND" (see-through).

    An alpha that would leave nothing to see is none: that of a whole texture where the material is said to be opaque,
    and otherwise that of all materials together.
    """
    document, binary = split_glb(data)
    materials = document.get("materials", [])
    samples: dict[int, list[np.ndarray]] = {}
    alphas: dict[int, np.ndarray | None] = {}
    leaves_something = False
    used = {node["mesh"] for node in document.get("nodes", []) if "mesh" in node}
    for primitive in (p for mesh in used for p in document["meshes"][mesh]["primitives"]):
        number = primitive.get("material")
        if number is None:
            leaves_something = True  # without a material it is opaque
            continue
        seen = around = np.array([255.0], np.float32)
        info = materials[number].get("pbrMetallicRoughness", {}).get("baseColorTexture")
        image = _image_of(document, info)
        if info is not None and image is not None:
            if image not in alphas:
                alphas[image] = _alpha_channel(document, binary, image)
            alpha = alphas[image]
            uv = _read_uv(document, binary, primitive, info.get("texCoord", 0))
            is_meant = alpha is not None and not (_is_opaque(materials[number]) and _shows_nothing(alpha))
            if alpha is not None and is_meant and uv is not None:
                seen, around = _look_up(alpha, uv), _region(alpha, uv)
        samples.setdefault(number, []).append(seen)
        leaves_something = leaves_something or _is_seen(around, materials[number])
    if not leaves_something:
        return [OPAQUE] * len(materials)
    return [
        _classify(np.concatenate(samples[number]), _factor(material)) if number in samples else OPAQUE
        for number, material in enumerate(materials)
    ]


def _shows_nothing(alpha: np.ndarray) -> bool:
    return bool((alpha > _SHOWN).mean() < _MIN_SEEN)


def _is_seen(alpha: np.ndarray, material: dict[str, Any]) -> bool:
    """Whether something of a material is to be seen where its texture has this alpha, 0..255."""
    if _is_opaque(material):
        return True
    least = 255.0 * _number(material.get("alphaCutoff"), 0.5) if material.get("alphaMode") == MASK else _LEAST
    return bool((alpha * _factor(material) >= least).mean() >= _MIN_SHARE)


def _classify(alpha: np.ndarray, factor: float) -> str:
    if factor * 255 < _SOLID:
        return BLEND
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


def _region(alpha: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """The part of the texture that a surface with these corners may show; all of it where it is repeated."""
    if uv.min() < 0 or uv.max() > 1:
        return alpha
    (left, top), (right, bottom) = uv.min(axis=0) * alpha.shape[::-1], uv.max(axis=0) * alpha.shape[::-1]
    left, top = min(int(left), alpha.shape[1] - 1), min(int(top), alpha.shape[0] - 1)
    return alpha[top : int(bottom) + 1, left : int(right) + 1]


def _look_up(alpha: np.ndarray, uv: np.ndarray) -> np.ndarray:
    height, width = alpha.shape
    wrapped = uv - np.floor(uv)
    x = np.minimum((wrapped[:, 0] * width).astype(np.int64), width - 1)
    y = np.minimum((wrapped[:, 1] * height).astype(np.int64), height - 1)
    return alpha[y, x].astype(np.float32)
