"""Values of a shader tree: constants, computed at once, or sockets, for which small nodes are added."""

from __future__ import annotations

from typing import Any

import bpy

Vector = tuple[float, float, float]
Value = Any  # a `Vector`, of which a number is three times the same, or a socket

ZERO: Vector = (0.0, 0.0, 0.0)
ONE: Vector = (1.0, 1.0, 1.0)


def is_constant(value: Value) -> bool:
    return isinstance(value, tuple)


def number(value: float) -> Vector:
    return (float(value),) * 3


def value_of(tree: bpy.types.NodeTree, socket: bpy.types.NodeSocket) -> Value:
    """What an input has: its constant, or the socket that it is linked to, as a number where it takes one."""
    link = next((link for link in socket.links if link.is_valid and not link.is_muted), None)
    if link is None:
        default = socket.default_value
        return number(default) if isinstance(default, int | float) else (default[0], default[1], default[2])
    if socket.type == "VALUE" and link.from_socket.type != "VALUE":
        # a colour becomes a number by its luminance, which Blender does where they are linked
        return _math(tree, "ADD", link.from_socket, ZERO)
    return link.from_socket


def clamped(tree: bpy.types.NodeTree, value: Value) -> Value:
    """The number between 0 and 1."""
    if is_constant(value):
        return tuple(min(max(x, 0.0), 1.0) for x in value)
    socket = _math(tree, "ADD", value, ZERO)
    socket.node.use_clamp = True
    return socket


def multiply(tree: bpy.types.NodeTree, a: Value, b: Value) -> Value:
    if is_constant(a) and is_constant(b):
        return tuple(x * y for x, y in zip(a, b, strict=True))
    if ZERO in (a, b):
        return ZERO
    if ONE in (a, b):
        return b if a == ONE else a
    return _vector_math(tree, "MULTIPLY", a, b)


def add(tree: bpy.types.NodeTree, a: Value, b: Value) -> Value:
    if is_constant(a) and is_constant(b):
        return tuple(x + y for x, y in zip(a, b, strict=True))
    if ZERO in (a, b):
        return b if a == ZERO else a
    return _vector_math(tree, "ADD", a, b)


def complement(tree: bpy.types.NodeTree, value: Value) -> Value:
    """1 - value."""
    return add(tree, ONE, multiply(tree, value, number(-1.0)))


def divide(tree: bpy.types.NodeTree, a: Value, b: Value) -> Value:
    """a / b; 0 where b is 0."""
    if is_constant(b):
        return multiply(tree, a, tuple(1 / x if x else 0.0 for x in b))
    if a == ZERO:
        return ZERO
    return _vector_math(tree, "DIVIDE", a, b)


def mix(tree: bpy.types.NodeTree, factor: Value, a: Value, b: Value) -> Value:
    """a where the factor is 0, b where it is 1."""
    if a == b or factor == ZERO:
        return a
    if factor == ONE:
        return b
    return add(tree, multiply(tree, complement(tree, factor), a), multiply(tree, factor, b))


def _vector_math(tree: bpy.types.NodeTree, operation: str, a: Value, b: Value) -> bpy.types.NodeSocket:
    node = tree.nodes.new("ShaderNodeVectorMath")
    return _operate(tree, node, operation, a, b)


def _math(tree: bpy.types.NodeTree, operation: str, a: Value, b: Value) -> bpy.types.NodeSocket:
    node = tree.nodes.new("ShaderNodeMath")
    return _operate(tree, node, operation, a, b)


def _operate(
    tree: bpy.types.NodeTree, node: bpy.types.Node, operation: str, a: Value, b: Value
) -> bpy.types.NodeSocket:
    node.operation = operation
    for socket, value in zip(node.inputs, (a, b), strict=False):
        if not is_constant(value):
            tree.links.new(value, socket)
        else:
            socket.default_value = value if socket.type == "VECTOR" else value[0]
    return node.outputs[0]
