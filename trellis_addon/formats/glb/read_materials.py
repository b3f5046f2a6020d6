"""A GLB's materials and their pictures, as `textured_mesh` has them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError
from .textured_mesh import SurfaceMaterial, Texture

_WRAP_OF = {10497: "repeat", 33071: "clamp", 33648: "mirror"}
_NEAREST = (9728, 9984, 9986)
_SETS = 2  # of texture coordinates that a mesh can hold here


class Materials:
    """The materials of a document that has been checked.

    `uv_sets` are the sets of texture coordinates that each uses, at most two; a `Texture.uv_set` is a place among them.
    Raises `InputError` where one uses more.
    """

    def __init__(self, document: Mapping[str, Any], binary: memoryview) -> None:
        self._document = document
        self._binary = binary
        self._textures: dict[int, tuple[NDArray[np.uint8], tuple[str, str], bool] | None] = {}
        self.uv_sets: list[list[int]] = []
        described = document.get("materials", [])
        self.all: Sequence[SurfaceMaterial] = [self._material(material) for material in described]

    def _material(self, material: Mapping[str, Any]) -> SurfaceMaterial:
        self.uv_sets.append([])
        extensions = material.get("extensions", {})
        glossy = extensions.get("KHR_materials_pbrSpecularGlossiness")
        # Of a glossy material without metal the colour and the sheen's width carry over, its tint does not.
        surface = material.get("pbrMetallicRoughness", {}) if glossy is None else _metallic(glossy)
        occlusion = material.get("occlusionTexture")
        glow = float(extensions.get("KHR_materials_emissive_strength", {}).get("emissiveStrength", 1.0))
        clear = extensions.get("KHR_materials_transmission", {})
        red, green, blue = (glow * float(number) for number in material.get("emissiveFactor", (0, 0, 0)))
        factor = tuple(float(number) for number in surface.get("baseColorFactor", (1, 1, 1, 1)))
        return SurfaceMaterial(
            name=str(material.get("name", "Material")),
            base_colour_factor=factor,  # type: ignore[arg-type]
            metallic_factor=float(surface.get("metallicFactor", 1.0)),
            roughness_factor=float(surface.get("roughnessFactor", 1.0)),
            base_colour=self._texture(surface.get("baseColorTexture")),
            metallic_roughness=self._texture(surface.get("metallicRoughnessTexture")),
            normal=self._texture(material.get("normalTexture")),
            normal_scale=float((material.get("normalTexture") or {}).get("scale", 1.0)),
            alpha_mode=material.get("alphaMode", "OPAQUE"),
            alpha_cutoff=float(material.get("alphaCutoff", 0.5)),
            double_sided=bool(material.get("doubleSided", False)),
            emission_factor=(red, green, blue),
            emission=self._texture(material.get("emissiveTexture")) if max(red, green, blue) > 0 else None,
            occlusion=self._texture(occlusion),
            occlusion_strength=float((occlusion or {}).get("strength", 1.0)),
            transmission=min(max(float(clear.get("transmissionFactor", 0.0)), 0.0), 1.0),
            unlit="KHR_materials_unlit" in extensions,
        )

    def _texture(self, info: Mapping[str, Any] | None) -> Texture | None:
        if info is None:
            return None
        stored = self._stored(info["index"])
        if stored is None:
            return None
        pixels, wrap, linear = stored
        moved = info.get("extensions", {}).get("KHR_texture_transform")
        uv_set = info.get("texCoord", 0)
        transform = None
        if moved is not None:
            uv_set = moved.get("texCoord", uv_set)
            transform = _texture_transform(moved)
        sets = self.uv_sets[-1]
        if uv_set not in sets:
            if len(sets) == _SETS:
                raise InputError("The GLB has textures on more than {count} UV sets; bake them to fewer.", count=_SETS)
            sets.append(uv_set)
        return Texture(pixels, (wrap[0], wrap[1]), linear, sets.index(uv_set), transform)

    def _stored(self, number: int) -> tuple[NDArray[np.uint8], tuple[str, str], bool] | None:
        if number not in self._textures:
            texture = self._document["textures"][number]
            webp = texture.get("extensions", {}).get("EXT_texture_webp", {})
            source = webp.get("source", texture.get("source"))
            if source is None and (kind := next(iter(texture.get("extensions", {})), None)):
                raise InputError(
                    "A texture of the GLB is kept as {kind} only, which cannot be read here; export it as PNG or JPEG.",
                    kind=kind,
                )
            if source is None:
                self._textures[number] = None
                return None
            sampler = self._document["samplers"][texture["sampler"]] if "sampler" in texture else {}
            across, down = (_WRAP_OF.get(sampler.get(key, 10497), "repeat") for key in ("wrapS", "wrapT"))
            linear = sampler.get("magFilter", 9729) not in _NEAREST
            self._textures[number] = self._image(self._document["images"][source]), (across, down), linear
        return self._textures[number]

    def _image(self, image: Mapping[str, Any]) -> NDArray[np.uint8]:
        from PIL import Image

        view = self._document["bufferViews"][image["bufferView"]]
        start = view.get("byteOffset", 0)
        with Image.open(io.BytesIO(bytes(self._binary[start : start + view["byteLength"]]))) as picture:
            if picture.mode in ("I;16", "I", "I;16B"):
                grey = np.asarray(picture, np.int64)
                return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
            clear = "A" in picture.getbands() or "transparency" in picture.info
            return np.asarray(picture.convert("RGBA" if clear else "RGB"))


def _metallic(glossy: Mapping[str, Any]) -> dict[str, Any]:
    """What of KHR_materials_pbrSpecularGlossiness a metallic-roughness surface can say."""
    out: dict[str, Any] = {
        "baseColorFactor": glossy.get("diffuseFactor", (1, 1, 1, 1)),
        "metallicFactor": 0.0,
        "roughnessFactor": 1.0 - float(glossy.get("glossinessFactor", 1.0)),
    }
    if "diffuseTexture" in glossy:
        out["baseColorTexture"] = glossy["diffuseTexture"]
    return out


def _texture_transform(moved: Mapping[str, Any]) -> NDArray[np.float64]:
    """(2, 3) of KHR_texture_transform: scale, then rotate (counter-clockwise as seen on the image), then shift."""
    angle = float(moved.get("rotation", 0.0))
    (sx, sy), (dx, dy) = moved.get("scale", (1, 1)), moved.get("offset", (0, 0))
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos * sx, sin * sy, dx], [-sin * sx, cos * sy, dy]], np.float64)
