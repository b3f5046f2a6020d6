"""What an exporter takes: the objects that are selected and seen, for as long as it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import bpy

_HIDING = ("hide_viewport", "hide_render", "hide_select")


@contextmanager
def only_selected(objects: Sequence[bpy.types.Object]) -> Iterator[None]:
    """While it lasts just these are selected, the first of them active: an exporter asks the objects themselves.

    An exporter passes over what is hidden, excluded or of another scene, and says nothing: while it lasts all of them
    are seen in this one.
    """
    layer = bpy.context.view_layer
    before = [obj for obj in layer.objects if obj.select_get(view_layer=layer)]
    active = layer.objects.active
    with ExitStack() as stack:
        for obj in objects:
            stack.enter_context(_unhidden(obj))
        stack.enter_context(_in_this_scene(objects))
        layer.update()
        try:
            for obj in layer.objects:
                obj.select_set(obj in objects, view_layer=layer)
            yield
        finally:
            for obj in layer.objects:
                obj.select_set(obj in before, view_layer=layer)
            layer.objects.active = active


@contextmanager
def _unhidden(obj: bpy.types.Object) -> Iterator[None]:
    layer = bpy.context.view_layer
    is_hidden = obj.hide_get(view_layer=layer)
    kept = {name: getattr(obj, name) for name in _HIDING if getattr(obj, name)} if obj.is_editable else {}
    for name in kept:
        setattr(obj, name, False)
    if is_hidden:
        obj.hide_set(False, view_layer=layer)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(obj, name, value)
        if is_hidden:
            obj.hide_set(True, view_layer=layer)


@contextmanager
def _in_this_scene(objects: Sequence[bpy.types.Object]) -> Iterator[None]:
    """A collection of those that no other one shows here."""
    scene, layer = bpy.context.scene, bpy.context.view_layer
    missing = [obj for obj in objects if not obj.visible_get(view_layer=layer)]
    if not missing or not scene.is_editable:
        yield
        return
    shelf = bpy.data.collections.new("TRELLIS.2 Export")
    try:
        scene.collection.children.link(shelf)
        for obj in missing:
            shelf.objects.link(obj)
        yield
    finally:
        bpy.data.collections.remove(shelf)
