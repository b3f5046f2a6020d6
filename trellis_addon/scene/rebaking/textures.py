"""The images of the atlas, as glTF has them, and the material that shows them."""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray

from ..rules.colour import set_colour, set_data
from .atlas import LAYER
from .closures import Shading
from .sockets import is_constant

_CLEAR = 0.95  # an alpha above is opaque, and one below 1 less this is clear
_BLEND = 0.02  # of the texels may be neither clear nor opaque where something is cut out


class AtlasImages:
    """The atlas as glTF wants it: colour with alpha, roughness and metalness in one, emission, normals."""

    def __init__(
        self,
        baked: dict[str, NDArray[np.float32]],
        covered: NDArray[np.bool_],
        normal: NDArray[np.float32] | None,
        size: int,
    ) -> None:
        self.names = set(baked)
        self.size = size
        self.strength = 1.0
        self.colour = self.surface = self.emission = None
        if {"base", "alpha"} & self.names:
            self.colour = self._colour(baked, covered)
        if {"roughness", "metallic"} & self.names:
            pixels = np.ones((size, size, 3), np.float32)
            for channel, name in ((1, "roughness"), (2, "metallic")):
                if name in baked:
                    pixels[..., channel] = baked[name][..., 0]
            self.surface = self._image("Surface", pixels, is_data=True)
        if "emission" in baked:
            self.strength = max(float(baked["emission"][covered].max(initial=0.0)), 1e-6)
            self.strength = self.strength if self.strength > 1 else 1.0
            self.emission = self._image("Emission", baked["emission"] / self.strength)
        self.transmission = None
        if "transmission" in baked:
            self.transmission = self._image("Transmission", baked["transmission"], is_data=True)
        self.normal = None if normal is None else self._image("Normal", _flat(normal, covered), is_data=True)

    def _colour(self, baked: dict[str, NDArray[np.float32]], covered: NDArray[np.bool_]) -> bpy.types.Image:
        pixels = np.ones((self.size, self.size, 4), np.float32)
        pixels[..., :3] = baked.get("base", 1.0)
        if "alpha" in baked:
            pixels[..., 3] = np.where(covered, np.clip(baked["alpha"][..., 0], 0.0, 1.0), 1.0)
        return self._image("Colour", pixels)

    def _image(self, name: str, pixels: NDArray[np.float32], is_data: bool = False) -> bpy.types.Image:
        image = bpy.data.images.new(name, self.size, self.size, alpha=pixels.shape[2] == 4)
        if is_data:
            set_data(image)
        else:
            set_colour(image)
            pixels = np.concatenate([_encoded(pixels[..., :3]), pixels[..., 3:]], axis=2)
        whole = np.ones((self.size, self.size, 4), np.float32)
        whole[..., : pixels.shape[2]] = np.clip(pixels, 0.0, 1.0)
        image.pixels.foreach_set(whole.reshape(-1))
        image.pack()
        return image


def alpha_mode(alpha: NDArray[np.float32]) -> str:
    """What these alphas of one material are for: "OPAQUE", "MASK" where something is cut out, or "BLEND"."""
    if not alpha.size or not (alpha < _CLEAR).any():
        return "OPAQUE"
    is_between = (alpha > 1 - _CLEAR) & (alpha < _CLEAR)
    return "BLEND" if is_between.mean() > _BLEND else "MASK"


def show_atlas(material: bpy.types.Material, surface: Shading, images: AtlasImages, mode: str) -> None:
    """Show the atlas where a channel varies, and the material's own constants elsewhere, by a Principled BSDF."""
    _Shown(material.node_tree, images).wire(surface, mode)


class _Shown:
    """One material's new nodes."""

    def __init__(self, tree: bpy.types.NodeTree, images: AtlasImages) -> None:
        tree.nodes.clear()
        self.nodes, self.links, self.images = tree.nodes, tree.links, images
        self.shader, output = self.nodes.new("ShaderNodeBsdfPrincipled"), self.nodes.new("ShaderNodeOutputMaterial")
        self.links.new(self.shader.outputs[0], output.inputs["Surface"])
        self.uv = self.nodes.new("ShaderNodeUVMap")
        self.uv.uv_map = LAYER

    def wire(self, surface: Shading, mode: str) -> None:
        self._set_constants(surface)
        images, links, inputs = self.images, self.links, self.shader.inputs
        varies = {name for name in images.names if not is_constant(getattr(surface, name))}
        if {"base", "alpha"} & varies:
            colour = self._texture(images.colour)
            if "base" in images.names:  # a constant too: one texture has both
                links.new(colour.outputs["Color"], inputs["Base Color"])
            if mode != "OPAQUE":
                links.new(self._alpha(colour, mode), inputs["Alpha"])
        if {"roughness", "metallic"} & varies:
            split = self._split(images.surface)
            for name, channel in (("Roughness", "Green"), ("Metallic", "Blue")):
                if name.lower() in varies:
                    links.new(split.outputs[channel], inputs[name])
        if "emission" in varies:
            links.new(self._texture(images.emission).outputs["Color"], inputs["Emission Color"])
            inputs["Emission Strength"].default_value = images.strength
        if "transmission" in varies:
            links.new(self._split(images.transmission).outputs["Red"], inputs["Transmission Weight"])
        if images.normal is not None:
            bend = self.nodes.new("ShaderNodeNormalMap")
            bend.uv_map = LAYER
            links.new(self._texture(images.normal).outputs["Color"], bend.inputs["Color"])
            links.new(bend.outputs[0], inputs["Normal"])

    def _set_constants(self, surface: Shading) -> None:
        brightest = max(surface.emission) if is_constant(surface.emission) else 0.0
        strength = max(brightest, 1.0)
        emission = tuple(value / strength for value in surface.emission) if brightest else surface.emission
        for name, value in (
            ("Base Color", surface.base),
            ("Metallic", surface.metallic),
            ("Roughness", surface.roughness),
            ("Alpha", surface.alpha),
            ("Transmission Weight", surface.transmission),
            ("Emission Color", emission),
        ):
            if is_constant(value):
                socket = self.shader.inputs[name]
                socket.default_value = value[0] if isinstance(socket.default_value, float) else (*value, 1.0)
        self.shader.inputs["Emission Strength"].default_value = strength

    def _texture(self, image: bpy.types.Image) -> bpy.types.Node:
        node = self.nodes.new("ShaderNodeTexImage")
        node.image, node.extension = image, "EXTEND"
        self.links.new(self.uv.outputs[0], node.inputs["Vector"])
        return node

    def _split(self, image: bpy.types.Image) -> bpy.types.Node:
        node = self.nodes.new("ShaderNodeSeparateColor")
        self.links.new(self._texture(image).outputs["Color"], node.inputs[0])
        return node

    def _alpha(self, colour: bpy.types.Node, mode: str) -> bpy.types.NodeSocket:
        if mode == "BLEND":
            return colour.outputs["Alpha"]
        cut = self.nodes.new("ShaderNodeMath")  # what the exporter takes for cut out at one half
        cut.operation = "ROUND"
        self.links.new(colour.outputs["Alpha"], cut.inputs[0])
        return cut.outputs[0]


def _flat(normal: NDArray[np.float32], covered: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(covered[..., None], normal, np.array([0.5, 0.5, 1.0], np.float32))


def _encoded(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light as sRGB codes (IEC 61966-2-1)."""
    linear = np.clip(linear, 0.0, 1.0)
    coded: NDArray[np.float32] = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055
    ).astype(np.float32)
    return coded
