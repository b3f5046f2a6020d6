"""One object that shows the level of detail for its distance from the camera: a small group of geometry nodes.

And how far away a level is to take over: where what it does to the form is as small as a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree

from ..importing.placement import positions
from ..rules.units import metres_per_unit

GROUP = "TRELLIS.2 Level of Detail"
MOST_LEVELS = 6  # beside the object itself
PIXELS = 1.0  # of error where a level takes over
_POINTS = 5_000  # of each surface that the other is compared at
_WORST = 0.99  # of these are no further from it than the error
_DEFAULT_ANGLE, _DEFAULT_HEIGHT = math.radians(22.9), 1080  # of Blender's own camera, upright, and its picture


def deviation(fine: bpy.types.Mesh, coarse: bpy.types.Mesh) -> float:
    """How far the two surfaces are apart, in their own units: of the points of both 99 % are no further away."""
    found = []
    for mesh, other in ((fine, coarse), (coarse, fine)):
        tree = _tree(other)
        points = positions(mesh)
        chosen = points[np.unique(np.linspace(0, len(points) - 1, min(_POINTS, len(points))).astype(int))]
        found += [distance for *_, distance in map(tree.find_nearest, chosen.tolist()) if distance is not None]
    return float(np.quantile(found, _WORST)) if found else 0.0


def distance_for(error: float, scene: bpy.types.Scene, pixels: float = PIXELS) -> float:
    """From which distance on an error is no larger than so many pixels, in the unit that it is in.

    In the picture of the scene's camera, or where there is none, in that of Blender's own camera at 1080 lines.
    """
    angle, height = _view_of(scene)
    return error * height / (2 * pixels * math.tan(angle / 2))


def screen_share(size: float, distance: float, scene: bpy.types.Scene) -> float:
    """How much of the picture's height something of this size takes from so far away, both in the same unit; 1 where
    it takes all of it. Engines switch levels by it: Unity's LOD Group and Unreal's screen size do."""
    angle, _ = _view_of(scene)
    return min(size / max(2 * distance * math.tan(angle / 2), 1e-30), 1.0)


def _view_of(scene: bpy.types.Scene) -> tuple[float, float]:
    """The upright angle that the picture of the scene's camera shows, in radians, and its height in pixels."""
    angle, height = _DEFAULT_ANGLE, float(_DEFAULT_HEIGHT)
    if scene.camera is not None and scene.camera.type == "CAMERA" and scene.camera.data.type == "PERSP":
        render = scene.render
        wide, height = render.resolution_x * render.pixel_aspect_x, render.resolution_y * render.pixel_aspect_y
        angle = 2 * math.atan(math.tan(scene.camera.data.angle / 2) * min(height / wide, 1.0))
        height = render.resolution_y * render.resolution_percentage / 100
    return angle, height


def switch_by_distance(obj: bpy.types.Object, levels: Sequence[bpy.types.Object], distances: Sequence[float]) -> None:
    """Have the object show each of the levels from a distance on, in metres, and itself before the first."""
    unswitch(obj)
    modifier = obj.modifiers.new(GROUP, "NODES")
    modifier.node_group = _group()
    names = {item.name: item.identifier for item in modifier.node_group.interface.items_tree}
    for number, (level, distance) in enumerate(zip(levels, distances, strict=True), start=1):
        _set(modifier, names[f"Level {number}"], level)
        _set(modifier, names[f"From {number}"], distance / metres_per_unit(bpy.context.scene))


def unswitch(obj: bpy.types.Object) -> None:
    """Have it show itself at any distance."""
    for modifier in [each for each in obj.modifiers if is_switch(each)]:
        obj.modifiers.remove(modifier)


def is_switch(modifier: bpy.types.Modifier) -> bool:
    return modifier.type == "NODES" and modifier.node_group is not None and modifier.node_group.name.startswith(GROUP)


@contextmanager
def as_themselves(objects: Sequence[bpy.types.Object]) -> Iterator[None]:
    """While it lasts these show themselves, wherever the camera is."""
    switches = [each for obj in objects for each in obj.modifiers if is_switch(each)]
    before = [(each, each.show_viewport, each.show_render) for each in switches]
    try:
        for each in switches:
            each.show_viewport = each.show_render = False
        if switches:
            bpy.context.view_layer.update()
        yield
    finally:
        still = {each for obj in objects for each in obj.modifiers}
        for each, viewport, render in before:
            if each in still:  # else it was removed meanwhile
                each.show_viewport, each.show_render = viewport, render


def _tree(mesh: bpy.types.Mesh) -> BVHTree:
    mesh.calc_loop_triangles()
    faces = np.empty((len(mesh.loop_triangles), 3), np.int32)
    mesh.loop_triangles.foreach_get("vertices", faces.reshape(-1))
    return BVHTree.FromPolygons(positions(mesh).tolist(), faces.tolist(), all_triangles=True)


def _set(modifier: Any, identifier: str, value: object) -> None:
    if hasattr(modifier, "properties"):  # Blender 5.2
        getattr(modifier.properties.inputs, identifier).value = value
    else:
        modifier[identifier] = value


def _group() -> bpy.types.NodeTree:
    tree = bpy.data.node_groups.get(GROUP)
    return tree if tree is not None and tree.library is None else _new_group()


def _new_group() -> bpy.types.NodeTree:
    """Geometry -> itself, or of the levels that are given, the last one whose distance is reached."""
    tree = bpy.data.node_groups.new(GROUP, "GeometryNodeTree")
    tree.is_modifier = True
    sockets = tree.interface
    sockets.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    sockets.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    for number in range(1, MOST_LEVELS + 1):
        sockets.new_socket(f"Level {number}", in_out="INPUT", socket_type="NodeSocketObject")
        distance = sockets.new_socket(f"From {number}", in_out="INPUT", socket_type="NodeSocketFloat")
        distance.subtype, distance.min_value = "DISTANCE", 0.0
    given, out = tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
    camera = _info(tree, tree.nodes.new("GeometryNodeInputActiveCamera").outputs[0])
    itself = _info(tree, tree.nodes.new("GeometryNodeSelfObject").outputs[0])
    away = tree.nodes.new("ShaderNodeVectorMath")
    away.operation = "DISTANCE"
    tree.links.new(camera.outputs["Location"], away.inputs[0])
    tree.links.new(itself.outputs["Location"], away.inputs[1])
    is_seen = _is_there(tree, camera)
    shown = given.outputs["Geometry"]
    for number in range(1, MOST_LEVELS + 1):
        level = _info(tree, given.outputs[f"Level {number}"])
        far = tree.nodes.new("FunctionNodeCompare")
        far.data_type, far.operation = "FLOAT", "GREATER_EQUAL"
        tree.links.new(away.outputs["Value"], far.inputs[0])
        tree.links.new(given.outputs[f"From {number}"], far.inputs[1])
        switch = tree.nodes.new("GeometryNodeSwitch")
        switch.input_type = "GEOMETRY"
        tree.links.new(_both(tree, _both(tree, is_seen, _is_there(tree, level)), far.outputs[0]), switch.inputs[0])
        tree.links.new(shown, switch.inputs[1])
        tree.links.new(level.outputs["Geometry"], switch.inputs[2])
        shown = switch.outputs[0]
    tree.links.new(shown, out.inputs[0])
    for number, node in enumerate(tree.nodes):  # from left to right, for whoever looks into it
        node.location = (200 * (number // 4), -250 * (number % 4))
    return tree


def _info(tree: bpy.types.NodeTree, of: bpy.types.NodeSocket) -> bpy.types.Node:
    """What is known of an object, its geometry as the object itself has it."""
    node = tree.nodes.new("GeometryNodeObjectInfo")
    node.transform_space = "ORIGINAL"
    tree.links.new(of, node.inputs["Object"])
    return node


def _is_there(tree: bpy.types.NodeTree, info: bpy.types.Node) -> bpy.types.NodeSocket:
    """Whether there is such an object: where there is none its scale is 0."""
    size = tree.nodes.new("ShaderNodeVectorMath")
    size.operation = "LENGTH"
    tree.links.new(info.outputs["Scale"], size.inputs[0])
    some = tree.nodes.new("FunctionNodeCompare")
    some.data_type, some.operation = "FLOAT", "GREATER_THAN"
    tree.links.new(size.outputs["Value"], some.inputs[0])
    some.inputs[1].default_value = 0.0
    return some.outputs[0]


def _both(tree: bpy.types.NodeTree, a: bpy.types.NodeSocket, b: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    node = tree.nodes.new("FunctionNodeBooleanMath")
    node.operation = "AND"
    tree.links.new(a, node.inputs[0])
    tree.links.new(b, node.inputs[1])
    return node.outputs[0]
