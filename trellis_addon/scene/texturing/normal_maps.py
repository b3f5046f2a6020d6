"""The normal map of a former material on the one that takes its place: it is of the form, which stays."""

from __future__ import annotations

from dataclasses import dataclass

import bpy


@dataclass(frozen=True)
class NormalMap:
    """A picture in tangent space, on the UV map `layer`, and how it is read."""

    image: bpy.types.Image
    layer: str
    strength: float
    interpolation: str
    extension: str


def normal_map_of(material: bpy.types.Material | None, mesh: bpy.types.Mesh) -> NormalMap | None:
    """The normal map of a material; None where it has none, or one that a picture on a UV map alone does not make."""
    if material is None or material.node_tree is None:
        return None
    shader = next((node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"), None)
    bump = None if shader is None else _before(shader.inputs["Normal"])
    if bump is None or bump.type != "NORMAL_MAP" or bump.space != "TANGENT" or bump.inputs["Strength"].is_linked:
        return None
    texture = _before(bump.inputs["Color"])
    if texture is None or texture.type != "TEX_IMAGE" or texture.image is None or texture.projection != "FLAT":
        return None
    at = _before(texture.inputs["Vector"])
    shown = next((layer.name for layer in mesh.uv_layers if layer.active_render), "")
    if at is None:
        layer = shown
    elif at.type == "UVMAP":
        layer = at.uv_map or shown
    elif at.type == "TEX_COORD" and texture.inputs["Vector"].links[0].from_socket.name == "UV":
        layer = shown
    else:
        return None
    if layer not in mesh.uv_layers:
        return None
    strength = float(bump.inputs["Strength"].default_value)
    return NormalMap(texture.image, layer, strength, texture.interpolation, texture.extension)


def add_normal_map(material: bpy.types.Material, found: NormalMap) -> None:
    """Have a material of ours read it; the picture is the same block, and not a copy."""
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    uv, texture, bump = (nodes.new(f"ShaderNode{kind}") for kind in ("UVMap", "TexImage", "NormalMap"))
    uv.uv_map, uv.location = found.layer, (-900, -300)
    texture.image, texture.label, texture.location = found.image, "Normal", (-600, -300)
    texture.interpolation, texture.extension = found.interpolation, found.extension
    bump.uv_map, bump.location = found.layer, (-300, -300)
    bump.inputs["Strength"].default_value = found.strength
    links.new(uv.outputs[0], texture.inputs["Vector"])
    links.new(texture.outputs["Color"], bump.inputs["Color"])
    links.new(bump.outputs["Normal"], shader.inputs["Normal"])


def _before(socket: bpy.types.NodeSocket) -> bpy.types.Node | None:
    """The node that a socket takes its value from, whatever reroutes lie between."""
    while socket.is_linked:
        node = socket.links[0].from_node
        if node.type != "REROUTE":
            return node
        socket = node.inputs[0]
    return None
