"""Where an asset can be seen: not every collection of a scene is shown, and some views show a few objects only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import bpy


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
