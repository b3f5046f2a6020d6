"""Where an asset can be seen: not every collection of a scene is shown, and some views show a few objects only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import bpy
from mathutils import Vector

_ROOM = 1.25  # around what is looked at, of its size
_SENSOR = 36.0  # millimetres of a viewport's camera, which shows twice of what a camera of its lens does


def open_home(wanted: bpy.types.Collection, scene: bpy.types.Scene) -> bpy.types.Collection:
    """The collection to put something into that shall be seen and chosen: `wanted`, or where it is hidden, left out of
    the view layer, not selectable or another file's, the nearest above it that is not; at last the scene's own.
    """
    layer = _layer_of(scene)
    layer.update()  # only then it knows what is hidden
    above = _way_to(layer.layer_collection, wanted)
    if not above:  # of another scene, or not linked yet
        return wanted
    while len(above) > 1 and not _is_open(above):
        above.pop()
    return above[-1].collection


def join_local_views(objects: Iterable[bpy.types.Object]) -> None:
    """Have objects seen in the 3D viewports that are in Local View, which show what was chosen at its start alone."""
    objects = list(objects)
    for layer, space in _local_views():
        layer.update()  # what it does not know yet cannot join
        for obj in objects:
            if layer.objects.get(obj.name) == obj:
                obj.local_view_set(space, True)


def look_at(area: bpy.types.Area, objects: Sequence[bpy.types.Object]) -> None:
    """Have a 3D viewport show these objects whole, from the side that it looks from; out of a camera, if it is in one.

    By its numbers, not by Blender's operator, which would need the viewport for its context.
    """
    layer = bpy.context.view_layer
    layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    corners = []
    for obj in objects:
        seen = obj.evaluated_get(depsgraph)
        corners += [seen.matrix_world @ Vector(corner) for corner in seen.bound_box]
    if not corners:
        return
    low = Vector([min(each) for each in zip(*corners, strict=True)])
    high = Vector([max(each) for each in zip(*corners, strict=True)])
    space = area.spaces.active
    region = next(region for region in area.regions if region.type == "WINDOW")
    wide, tall = max(region.width, 1), max(region.height, 1)
    least = math.atan(_SENSOR / space.lens * min(wide, tall) / max(wide, tall))  # half of the narrower angle
    radius = max((high - low).length / 2, 1e-4) * _ROOM
    for view in dict.fromkeys((space.region_3d, *space.region_quadviews)):
        if view.view_perspective == "CAMERA":
            view.view_perspective = "PERSP"
        view.view_location = (low + high) / 2
        distance = radius / (math.tan(least) if view.view_perspective == "ORTHO" else math.sin(least))
        view.view_distance = max(distance, space.clip_start * 2)


def _layer_of(scene: bpy.types.Scene) -> bpy.types.ViewLayer:
    """The view layer that the artist has before the eyes."""
    shown = (window.view_layer for window in bpy.context.window_manager.windows if window.scene == scene)
    return next(shown, scene.view_layers[0])


def _way_to(layer: bpy.types.LayerCollection, wanted: bpy.types.Collection) -> list[bpy.types.LayerCollection]:
    """From the scene's own collection down to the one wanted; empty where it is not below."""
    if layer.collection == wanted:
        return [layer]
    ways = ([layer, *way] for child in layer.children if (way := _way_to(child, wanted)))
    return min(ways, key=lambda way: not _is_open(way), default=[])


def _is_open(way: list[bpy.types.LayerCollection]) -> bool:
    collection = way[-1].collection
    return (
        collection.is_editable
        and collection.override_library is None
        and all(not layer.exclude and layer.is_visible for layer in way[1:])
        and not any(layer.collection.hide_select for layer in way)
    )


def _local_views() -> Iterator[tuple[bpy.types.ViewLayer, bpy.types.SpaceView3D]]:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for space in area.spaces:
                if space.type == "VIEW_3D" and space.local_view is not None:
                    yield window.view_layer, space
