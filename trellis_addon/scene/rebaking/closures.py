"""What a shader tree does at each point of a surface, as colours and numbers that can be baked as they are.

A tree mixes closures (BSDFs, emission); glTF has one metallic-roughness surface. Each closure is told as such a
surface, mixtures as the mean of their parts by how much is seen of each, and what emits adds up.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import bpy

from .sockets import ONE, ZERO, Value, add, clamped, complement, divide, is_constant, mix, multiply, number, value_of


@dataclass(frozen=True)
class Shading:
    """Metallic-roughness values at each point. `transmission` is how much of what is behind shines through."""

    base: Value = ZERO
    metallic: Value = ZERO
    roughness: Value = ONE
    alpha: Value = ONE
    emission: Value = ZERO
    transmission: Value = ZERO


NAMES = tuple(field.name for field in fields(Shading))
_HALF = number(0.5)
# How a closure's own sockets are called, the first that it has.
_COLOURS = ("Base Color", "Color")
_METALS = ("BSDF_GLOSSY", "BSDF_ANISOTROPIC", "BSDF_METALLIC")
_GLASS = ("BSDF_GLASS", "BSDF_REFRACTION")


def surface_of(tree: bpy.types.NodeTree, output: bpy.types.Node) -> Shading:
    """The surface that a material's output shows. Groups in the tree become its own, and small nodes are added."""
    return _Reader().at(tree, output.inputs["Surface"], ())


class _Reader:
    """`way` is the groups that a tree lies in: (tree outside, group node), the outermost first."""

    def at(self, tree: bpy.types.NodeTree, socket: bpy.types.NodeSocket, way: tuple[Any, ...]) -> Shading:
        """The surface that comes into a socket."""
        link = next((link for link in socket.links if link.is_valid and not link.is_muted), None)
        if link is None:
            return Shading()
        node, source = link.from_node, link.from_socket
        if node.type == "REROUTE":
            return self.at(tree, node.inputs[0], way)
        if node.mute:
            inner = next((link.from_socket for link in node.internal_links if link.to_socket == source), None)
            return self.at(tree, inner, way) if inner is not None else Shading()
        if source.type != "SHADER":  # a colour in a shader's place shines
            return Shading(emission=source)
        if node.type == "GROUP" and node.node_tree is not None:
            return self._in_group(tree, node, source, way)
        if node.type == "GROUP_INPUT" and way:
            return self._outside(tree, node, source, way)
        if node.type == "MIX_SHADER":
            shaders = [self.at(tree, inp, way) for inp in node.inputs if inp.type == "SHADER"]
            return _mixed(tree, clamped(tree, value_of(tree, node.inputs[0])), *shaders)
        if node.type == "ADD_SHADER":
            return _added(tree, *(self.at(tree, inp, way) for inp in node.inputs))
        return _closure(tree, node)

    def _in_group(
        self, tree: bpy.types.NodeTree, node: bpy.types.Node, source: bpy.types.NodeSocket, way: tuple[Any, ...]
    ) -> Shading:
        """A group's result: its tree is made the node's own, and gives each value out by a socket of its own."""
        inner = node.node_tree = node.node_tree.copy()
        output = next((n for n in inner.nodes if n.type == "GROUP_OUTPUT" and n.is_active_output), None)
        if output is None:
            return Shading()
        within = _by_identifier(output.inputs, source.identifier)
        found = self.at(inner, within, (*way, (tree, node)))

        def out(value: Value) -> Value:
            if is_constant(value):
                return value
            added = inner.interface.new_socket("Value", in_out="OUTPUT", socket_type=_kind(value)).identifier
            inner.links.new(value, _by_identifier(output.inputs, added))
            return _by_identifier(node.outputs, added)

        return Shading(**{name: out(getattr(found, name)) for name in NAMES})

    def _outside(
        self, tree: bpy.types.NodeTree, node: bpy.types.Node, source: bpy.types.NodeSocket, way: tuple[Any, ...]
    ) -> Shading:
        """What a group is given: found outside of it, and handed in by a socket of its own."""
        outer, group = way[-1]
        outside = _by_identifier(group.inputs, source.identifier)
        found = self.at(outer, outside, way[:-1])

        def into(value: Value) -> Value:
            if is_constant(value):
                return value
            added = tree.interface.new_socket("Value", in_out="INPUT", socket_type=_kind(value)).identifier
            outer.links.new(value, _by_identifier(group.inputs, added))
            return _by_identifier(node.outputs, added)

        return Shading(**{name: into(getattr(found, name)) for name in NAMES})


def _by_identifier(sockets: bpy.types.bpy_prop_collection, identifier: str) -> bpy.types.NodeSocket:
    return next(socket for socket in sockets if socket.identifier == identifier)


def _kind(socket: bpy.types.NodeSocket) -> str:
    return {"VALUE": "NodeSocketFloat", "RGBA": "NodeSocketColor"}.get(socket.type, "NodeSocketVector")


def _mixed(tree: bpy.types.NodeTree, factor: Value, a: Shading, b: Shading) -> Shading:
    """The mean by how much is seen of each: what is transparent has no say in the colour."""
    seen_a = multiply(tree, complement(tree, factor), a.alpha)
    seen_b = multiply(tree, factor, b.alpha)
    if a.alpha == ONE and b.alpha == ONE:
        alpha, share = ONE, factor
    else:
        alpha = add(tree, seen_a, seen_b)
        share = ONE if seen_a == ZERO else ZERO if seen_b == ZERO else divide(tree, seen_b, alpha)
    values = {name: mix(tree, share, getattr(a, name), getattr(b, name)) for name in NAMES if name != "alpha"}
    return Shading(**values, alpha=alpha)


def _added(tree: bpy.types.NodeTree, a: Shading, b: Shading) -> Shading:
    """Light adds up; two surfaces that are added are shown as their mean."""
    emission = add(tree, a.emission, b.emission)
    for one, other in ((a, b), (b, a)):
        if replace(one, emission=ZERO) == Shading():  # nothing but light
            return replace(other, emission=emission)
    return replace(_mixed(tree, _HALF, a, b), emission=emission)


def _closure(tree: bpy.types.NodeTree, node: bpy.types.Node) -> Shading:
    """One BSDF, by what its sockets are called."""

    def given(*names: str, default: Value) -> Value:
        found = next((node.inputs[name] for name in names if name in node.inputs), None)
        return default if found is None else value_of(tree, found)

    colour, roughness = given(*_COLOURS, default=number(0.8)), given("Roughness", default=ONE)
    if node.type == "BSDF_PRINCIPLED":
        shine = multiply(tree, given("Emission Color", default=ZERO), given("Emission Strength", default=ZERO))
        return Shading(
            base=colour,
            metallic=given("Metallic", default=ZERO),
            roughness=roughness,
            alpha=given("Alpha", default=ONE),
            emission=shine,
            transmission=given("Transmission Weight", default=ZERO),
        )
    if node.type in ("EMISSION", "BACKGROUND"):
        return Shading(emission=multiply(tree, colour, given("Strength", default=ONE)))
    if node.type == "BSDF_TRANSPARENT":
        return Shading(base=colour, alpha=ZERO)
    if node.type == "EEVEE_SPECULAR":
        clear = given("Transparency", default=ZERO)
        shine = given("Emissive Color", default=ZERO)
        return Shading(base=colour, roughness=roughness, alpha=complement(tree, clear), emission=shine)
    if node.type in _METALS:
        return Shading(base=colour, metallic=ONE, roughness=roughness)
    if node.type in _GLASS:
        return Shading(base=colour, roughness=roughness, transmission=ONE)
    if node.type == "HOLDOUT":
        return Shading()
    return Shading(base=colour)  # diffuse and its kin
