"""What an exporter takes: the objects that are selected, for as long as it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import bpy


@contextmanager
def only_selected(objects: Sequence[bpy.types.Object]) -> Iterator[None]:
    """While it lasts just these are selected, the first of them active: an exporter asks the objects themselves."""
    layer = bpy.context.view_layer
    before = [obj for obj in layer.objects if obj.select_get(view_layer=layer)]
    active = layer.objects.active
    try:
        for obj in layer.objects:
            obj.select_set(obj in objects, view_layer=layer)
        yield
    finally:
        for obj in layer.objects:
            obj.select_set(obj in before, view_layer=layer)
        layer.objects.active = active
