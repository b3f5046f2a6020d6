"""Wiring materials as a TRELLIS.2 asset needs them, whatever the importer made of the file's word."""

from __future__ import annotations

from collections import Counter

import bpy

from ...formats.glb.alpha import BLEND, OPAQUE, material_alpha
from ..rules import colour


def wire_materials(obj: bpy.types.Object, glb: bytes) -> None:
    """Check every material of the object: Principled BSDF, colour spaces, alpha only where it is below 1.

    `glb` is the file that the object was imported from.
    """
    materials = list(dict.fromkeys(slot.material for slot in obj.material_slots if slot.material))
    for material, kind in zip(materials, _kinds_of(materials, glb), strict=True):
        principled = principled_of(material)
        if principled is None:
            continue
        _set_colour_spaces(principled)
        _name_images(principled, obj.name)
        _wire_alpha(material, principled, kind)
        _show_in_solid(material, principled)
        material.name = obj.name
    for image in images_of(obj):
        if image.packed_file is None and image.has_data:
            image.pack()


def principled_of(material: bpy.types.Material) -> bpy.types.ShaderNode | None:
    tree = material.node_tree
    return next((node for node in tree.nodes if node.type == "BSDF_PRINCIPLED"), None) if tree else None


def images_of(obj: bpy.types.Object) -> list[bpy.types.Image]:
    """The images that the object's materials show."""
    found: dict[str, bpy.types.Image] = {}
    for slot in obj.material_slots:
        if slot.material and slot.material.node_tree:
            for node in slot.material.node_tree.nodes:
                if node.type == "TEX_IMAGE" and node.image:
                    found[node.image.name] = node.image
    return list(found.values())


def _kinds_of(materials: list[bpy.types.Material], glb: bytes) -> list[str]:
    """What each material's alpha is; the importer keeps the file's names and makes them unique by a number."""
    from ...formats.glb.check import split_glb

    kinds = material_alpha(glb)
    if len(kinds) == 1:
        return kinds * len(materials)
    # unnamed ones get these names from the importer
    names = [m.get("name", f"Material_{n}") for n, m in enumerate(split_glb(glb)[0].get("materials", []))]
    found, seen = [], Counter[str]()
    for material in materials:
        name = material.name
        if name not in names and name[-4:-3] == "." and name[-3:].isdigit():
            name = name[:-4]
        matches = [kind for other, kind in zip(names, kinds, strict=True) if other == name] or [OPAQUE]
        # several of one name come in the file's order
        found.append(matches[min(seen[name], len(matches) - 1)])
        seen[name] += 1
    return found


def _set_colour_spaces(principled: bpy.types.ShaderNode) -> None:
    """Base colour and emission are colours; everything else is data."""
    for socket in principled.inputs:
        coloured = socket.name in ("Base Color", "Emission Color")
        for image in images_behind(socket):
            # one image may serve alpha as well as colour: colour decides
            if coloured:
                colour.set_colour(image)
            elif socket.name != "Alpha":
                colour.set_data(image)


def _name_images(principled: bpy.types.ShaderNode, name: str) -> None:
    """ "helmet Base Color" says more in the image list than the importer's "Image_0.003"."""
    for socket in principled.inputs:
        if socket.name in ("Base Color", "Normal", "Emission Color"):
            for image in images_behind(socket):
                image.name = f"{name} {socket.name}"
        elif socket.name == "Roughness":
            for image in images_behind(socket):
                image.name = f"{name} Metallic Roughness"


def images_behind(socket: bpy.types.NodeSocket) -> list[bpy.types.Image]:
    found = []
    waiting = [link.from_node for link in socket.links]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node.name in seen:
            continue
        seen.add(node.name)
        if node.type == "TEX_IMAGE" and node.image:
            found.append(node.image)
        waiting.extend(link.from_node for entry in node.inputs for link in entry.links)
    return found


def _wire_alpha(material: bpy.types.Material, principled: bpy.types.ShaderNode, kind: str) -> None:
    links = material.node_tree.links
    alpha = principled.inputs["Alpha"]
    if kind == OPAQUE:
        for link in list(alpha.links):
            links.remove(link)
        alpha.default_value = 1.0
        material.surface_render_method = "DITHERED"
        return
    if not alpha.is_linked:
        node = _node_behind(principled.inputs["Base Color"])
        if node is not None:
            links.new(node.outputs["Alpha"], alpha)
    # Dithered sorts cut-outs right; blended is smooth where light really passes through.
    material.surface_render_method = "BLENDED" if kind == BLEND else "DITHERED"


def _show_in_solid(material: bpy.types.Material, principled: bpy.types.ShaderNode) -> None:
    """Solid shading by texture shows the active node's picture: the base colour's.

    Its mean for Solid shading by material would be worth having, but unpacking a texture for it takes too long here.
    """
    if (node := _node_behind(principled.inputs["Base Color"])) is not None:
        material.node_tree.nodes.active = node


def _node_behind(socket: bpy.types.NodeSocket) -> bpy.types.ShaderNode | None:
    waiting = [link.from_node for link in socket.links]
    while waiting:
        node = waiting.pop()
        if node.type == "TEX_IMAGE":
            return node
        waiting.extend(link.from_node for entry in node.inputs for link in entry.links)
    return None
