"""Colour spaces by what they are for: a studio's OpenColorIO configuration has names of its own for them."""

from __future__ import annotations

import contextlib
import re

import bpy

# What published configurations call a texture's sRGB encoding, for those whose own word for byte images is no use.
_ENCODED = (
    "sRGB",
    "sRGB Encoded Rec.709 (sRGB)",
    "sRGB - Texture",
    "Utility - sRGB - Texture",
    "srgb_texture",
    "srgb_tx",
    "srgb_rec709_scene",
    "sRGB EOTF",
    "sRGB OETF",
)
_DATA = ("Non-Color", "Raw", "Utility - Raw", "raw", "data")
_LINEAR = re.compile(r"(^|[^a-z])(lin|linear|scene_linear|raw|acescg|aces2065)([^a-z]|$)", re.IGNORECASE)
_PLAIN_VIEWS = ("Standard", "Un-tone-mapped")


def set_colour(image: bpy.types.Image) -> None:
    """Have an image's texels read as sRGB-encoded colours, which is what glTF has in textures of colour."""
    if space := _encoded_space():
        image.colorspace_settings.name = space


def set_data(image: bpy.types.Image) -> None:
    """Have an image's texels read as the numbers that they are."""
    settings = image.colorspace_settings
    settings.is_data = True  # the configuration's own role for it
    for name in _DATA:
        if settings.is_data:
            break
        with contextlib.suppress(TypeError):
            settings.name = name


def take_space(image: bpy.types.Image, other: bpy.types.Image) -> None:
    """Have an image read as another one; a file made with another configuration may name what this one lacks."""
    with contextlib.suppress(TypeError):
        image.colorspace_settings.name = other.colorspace_settings.name


def set_plain_view(scene: bpy.types.Scene) -> None:
    """Show a scene's colours as they are, without a film's look, where the configuration has such a view."""
    for view in _PLAIN_VIEWS:
        with contextlib.suppress(TypeError):
            scene.view_settings.view_transform = view
            return


def _encoded_space() -> str:
    """The space that Blender gives to byte images, by the configuration's roles; empty where there is no good one."""
    probe = bpy.data.images.new("TRELLIS.2 Probe", 1, 1)
    settings = probe.colorspace_settings
    try:
        if settings.name and not settings.is_data and not _LINEAR.search(settings.name):
            return str(settings.name)
        for name in _ENCODED:
            with contextlib.suppress(TypeError):
                settings.name = name
                return name
        return "" if settings.is_data else str(settings.name)
    finally:
        bpy.data.images.remove(probe)
