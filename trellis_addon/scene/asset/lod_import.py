"""Files of ours whose nodes are one asset's levels of detail: they come in as such, in the place that the file has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import bpy

from ...core.errors import InputError
from ...formats.glb.check import check_glb
from ...formats.glb.scenes import roots_apart
from ...jobs.job import Asset
from ..importing.importer import import_asset
from .lods import BY_DISTANCE, take_levels


def import_in_place(asset: Asset, **options: Any) -> bpy.types.Object:
    """The object where the file has it, with its levels of detail where the file has some; `options` and errors as of
    `import_asset`."""
    finest, *coarser = _objects_of(asset, roots_apart(asset.path.read_bytes()), options)
    if coarser:
        take_levels(finest, coarser)
    return finest


def import_levels_of(obj: bpy.types.Object, asset: Asset, arrange: str = BY_DISTANCE) -> list[bpy.types.Object]:
    """What the file holds as the levels of an object that is there, and is the finest itself.

    Levels that are no lighter than it are left out. Raises `InputError` where none is, and as `make_lods` does.
    """
    most = len(obj.data.loops) - 2 * len(obj.data.polygons)
    lighter = [glb for glb in roots_apart(asset.path.read_bytes()) if check_glb(glb).triangles < most]
    if not lighter:
        raise InputError('"{name}" is as light as its levels would be; ask for fewer triangles.', name=obj.name)
    made = _objects_of(asset, lighter, {})
    take_levels(obj, made, arrange)
    return made


def _objects_of(asset: Asset, roots: Sequence[bytes], options: dict[str, Any]) -> list[bpy.types.Object]:
    made = []
    for number, glb in enumerate(roots):
        path = asset.path
        if len(roots) > 1 or path.read_bytes() != glb:
            path = asset.path.with_name(f"level{number}.glb")
            path.write_bytes(glb)
        made.append(import_asset(replace(asset, path=path), height=None, keeps_place=True, **options))
    return made
