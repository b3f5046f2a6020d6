"""What is made of other objects takes their place: they are hidden, and it is what is selected."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence

import bpy


def take_place_of(
    scene: bpy.types.Scene, made: Sequence[bpy.types.Object], sources: Collection[int], *, is_hiding: bool
) -> None:
    """Hide the sources of `made` where asked for, and select it, unless the artist has selected something else since.

    `sources` are numbers of this session (`ID.session_uid`), which renaming does not change; what is gone is gone.
    """
    found = [obj for obj in scene.objects if obj.session_uid in sources]
    for layer in scene.view_layers:
        layer.update()
        selected = {obj for obj in layer.objects if obj.select_get(view_layer=layer)}
        if selected <= set(found):
            for obj in selected:
                obj.select_set(False, view_layer=layer)
            for obj in made:
                if obj.name in layer.objects:
                    obj.select_set(True, view_layer=layer)
                    layer.objects.active = obj
        if is_hiding:
            for obj in found:
                if obj.name in layer.objects:
                    obj.hide_set(True, view_layer=layer)
    if is_hiding:
        for obj in found:
            with contextlib.suppress(AttributeError):  # another file's
                obj.hide_render = True
