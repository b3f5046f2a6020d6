"""Which materials Blender's glTF exporter takes over as they look: images and constants into a Principled BSDF."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy

_PLAIN_WRAPS = ("REPEAT", "EXTEND", "MIRROR")


def is_sayable(
    material: bpy.types.Material, also: Callable[[bpy.types.NodeSocket], bool] = lambda socket: False
) -> bool:
    """Whether glTF can express a material; anything that is in doubt cannot, and is baked, but what `also` says of a
    shader's linked socket."""
    if not has_nodes(material):
        return True
    output = output_of(material.node_tree)
    if output is None or not output.inputs["Surface"].is_linked:
        return True
    if output.inputs["Displacement"].is_linked:
        return False
    node = _source(output.inputs["Surface"])
    if node is None or node[0].type != "BSDF_PRINCIPLED" or node[0].mute:
        return False
    checks = {
        "Base Color": _is_colour,
        "Metallic": lambda socket: _is_channel(socket, "Blue"),
        "Roughness": lambda socket: _is_channel(socket, "Green"),
        "Alpha": _is_alpha,
        "Normal": _is_normal,
        "Emission Color": _is_colour,
    }
    linked = [socket for socket in node[0].inputs if socket.is_linked]
    return all(checks.get(socket.name, _is_nothing)(socket) or also(socket) for socket in linked)


def has_nodes(material: bpy.types.Material) -> bool:
    """Whether a material is made of nodes; before 5.0 it could have some and not use them."""
    return material.node_tree is not None and (bpy.app.version >= (5, 0) or material.use_nodes)


def give_nodes(material: bpy.types.Material) -> None:
    """Have a material made of nodes."""
    if bpy.app.version < (5, 0):
        material.use_nodes = True


def output_of(tree: bpy.types.NodeTree, engine: str = "") -> Any:
    """The material output that counts for an engine; for any where that has none."""
    targets = ("CYCLES", "EEVEE") if engine == "CYCLES" else ("EEVEE", "CYCLES")
    return next((node for target in targets if (node := tree.get_output_node(target)) is not None), None)


def _source(socket: bpy.types.NodeSocket) -> tuple[bpy.types.Node, bpy.types.NodeSocket] | None:
    """The node and the output that a socket is linked to, through reroutes; None where there is none."""
    while socket.is_linked:
        link = socket.links[0]
        if link.is_muted:
            return None
        if link.from_node.type != "REROUTE":
            return link.from_node, link.from_socket
        socket = link.from_node.inputs[0]
    return None


def _is_nothing(socket: bpy.types.NodeSocket) -> bool:
    return _source(socket) is None


def _is_image(socket: bpy.types.NodeSocket, output: str, is_right: Callable[[bpy.types.Image], bool]) -> bool:
    """Whether the socket takes an image's colour or alpha, laid on by UVs."""
    found = _source(socket)
    if found is None:
        return True
    node, source = found
    if node.type != "TEX_IMAGE" or node.mute or source.name != output:
        return False
    image = node.image
    is_still = image is not None and image.source in ("FILE", "GENERATED") and not image.is_float
    is_plain = node.projection == "FLAT" and node.extension in _PLAIN_WRAPS
    return is_still and is_plain and is_right(image) and _is_by_uv(node.inputs["Vector"])


def _is_colour(socket: bpy.types.NodeSocket) -> bool:
    return _is_image(socket, "Color", lambda image: not image.colorspace_settings.is_data)


def _is_alpha(socket: bpy.types.NodeSocket) -> bool:
    return _is_image(socket, "Alpha", lambda image: True)


def _is_data(image: bpy.types.Image) -> bool:
    return bool(image.colorspace_settings.is_data)


def _is_channel(socket: bpy.types.NodeSocket, name: str) -> bool:
    """Whether the socket takes the channel of an image that glTF has it in."""
    found = _source(socket)
    if found is None:
        return True
    node, source = found
    if node.type != "SEPARATE_COLOR" or node.mute or node.mode != "RGB" or source.name != name:
        return False
    return _is_image(node.inputs[0], "Color", _is_data)


def _is_normal(socket: bpy.types.NodeSocket) -> bool:
    found = _source(socket)
    if found is None:
        return True
    node = found[0]
    if node.type != "NORMAL_MAP" or node.mute or node.space != "TANGENT" or node.inputs["Strength"].is_linked:
        return False
    return _is_image(node.inputs["Color"], "Color", _is_data)


def _is_by_uv(socket: bpy.types.NodeSocket) -> bool:
    found = _source(socket)
    if found is None:
        return True
    node, source = found
    if node.mute:
        return False
    if node.type == "UVMAP":
        return not node.from_instancer
    if node.type == "TEX_COORD":
        return source.name == "UV" and not node.from_instancer
    if node.type != "MAPPING" or node.vector_type != "POINT":
        return False
    numbers = [node.inputs[name] for name in ("Location", "Rotation", "Scale")]
    is_flat = not any(number.is_linked for number in numbers) and not any(numbers[1].default_value[:2])
    return is_flat and _source(node.inputs["Vector"]) is not None and _is_by_uv(node.inputs["Vector"])
