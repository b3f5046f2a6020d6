"""Which nodes a material is made of, in its groups as well."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

RAYS = ("AMBIENT_OCCLUSION", "BEVEL")  # see what stands around
# What these give depends on which object is looked at, and where it stands.
_OF_OBJECTS = ("OBJECT_INFO", "PARTICLE_INFO", "CAMERA", "VECT_TRANSFORM", *RAYS)
_OF_PLACES = {"NEW_GEOMETRY": ("Position", "Incoming"), "TEX_COORD": ("Window", "Camera", "Reflection")}


def trees_of(material: bpy.types.Material) -> Iterator[bpy.types.NodeTree]:
    """A material's tree, and those of its groups, each once."""
    waiting, seen = [material.node_tree], set()
    while waiting:
        tree = waiting.pop()
        if tree is None or tree in seen:
            continue
        seen.add(tree)
        yield tree
        waiting += [node.node_tree for node in tree.nodes if node.type == "GROUP"]


def nodes_of(material: bpy.types.Material) -> Iterator[bpy.types.Node]:
    for tree in trees_of(material):
        yield from tree.nodes


def has_node(material: bpy.types.Material, kinds: tuple[str, ...]) -> bool:
    """Whether a material has a node of these kinds."""
    return any(node.type in kinds for node in nodes_of(material))


def depends_on_place(material: bpy.types.Material) -> bool:
    """Whether two objects that share a mesh may look different in a material."""
    for node in nodes_of(material):
        used = {socket.name for socket in node.outputs if socket.is_linked}
        if node.type in _OF_OBJECTS or used & set(_OF_PLACES.get(node.type, ())):
            return True
        if node.type == "TEX_COORD" and (node.object is not None or node.from_instancer):
            return True
        if node.type == "ATTRIBUTE" and node.attribute_type != "GEOMETRY":
            return True
    return False
