"""A former material that is seen through stays so: its alpha and glass are of the form, which no picture tells.

The new material is then a copy of the former one, with the new textures in place of its colours and all that made them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy

_CLEAR = ("BSDF_TRANSPARENT", "BSDF_GLASS", "BSDF_REFRACTION")
_KEPT = ("Alpha", "Transmission Weight", "IOR")  # of the inputs of a Principled BSDF


def is_seen_through(material: bpy.types.Material | None) -> bool:
    """Whether something is to be seen through a surface with this material, which is made of a Principled BSDF at least
    in part: to another one there is nothing that new textures could be given to."""
    if material is None or material.node_tree is None:
        return False
    nodes = _reached(material)
    shaders = [node for node in nodes if node.type == "BSDF_PRINCIPLED"]
    return bool(shaders) and (
        any(node.type in _CLEAR for node in nodes) or any(_is_clear(shader) for shader in shaders)
    )


def copied(material: bpy.types.Material, name: str) -> tuple[bpy.types.Material, list[bpy.types.Node]]:
    """A copy with nothing left of the colours, and its Principled BSDFs."""
    made = material.copy()
    made.name = name
    nodes = made.node_tree.nodes
    fresh = nodes.new("ShaderNodeBsdfPrincipled")
    for shader in (node for node in nodes if node.type == "BSDF_PRINCIPLED"):
        for socket, plain in zip(shader.inputs, fresh.inputs, strict=True):
            if socket.name in _KEPT:
                continue
            for link in list(socket.links):
                made.node_tree.links.remove(link)
            if hasattr(socket, "default_value"):
                socket.default_value = plain.default_value
    nodes.remove(fresh)
    used = {node.name for node in _reached(made)}
    for node in list(nodes):
        if node.name not in used and node.type != "FRAME":
            nodes.remove(node)
    return made, [node for node in nodes if node.type == "BSDF_PRINCIPLED"]


def _is_clear(shader: bpy.types.Node) -> bool:
    alpha, light = shader.inputs["Alpha"], shader.inputs["Transmission Weight"]
    return bool(alpha.is_linked or alpha.default_value < 1.0 or light.is_linked or light.default_value > 0.0)


def _reached(material: bpy.types.Material) -> list[Any]:
    """The nodes that make the surface, but for those that make nothing of it but colours."""
    outputs = [node for node in material.node_tree.nodes if node.type == "OUTPUT_MATERIAL"]
    found: dict[str, Any] = {node.name: node for node in outputs}
    waiting = list(outputs)
    while waiting:
        for node in _before(waiting.pop()):
            if node.name not in found:
                found[node.name] = node
                waiting.append(node)
    return list(found.values())


def _before(node: Any) -> Iterator[Any]:
    for socket in node.inputs:
        if node.type == "OUTPUT_MATERIAL" and socket.name != "Surface":
            continue
        if node.type == "BSDF_PRINCIPLED" and socket.name not in _KEPT:
            continue
        for link in socket.links:
            yield link.from_node
