"""Levels of detail of an object that is there, each baked from its surface, with UVs and maps of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from ...core.errors import FieldError
from ...core.progress import Progress
from ..asset.lod_import import import_levels_of
from ..asset.lods import BY_DISTANCE, Level, check_chain, levels_of
from .game import game_options
from .rebuilding import rebuilt_asset, save_objects

RATIOS = (0.25, 0.06)
FEWEST = 12  # triangles of a level that still has a form


def bake_lods(
    obj: bpy.types.Object,
    ratios: Sequence[float] = RATIOS,
    *,
    arrange: str = BY_DISTANCE,
    texture_size: int = 1024,
    progress: Progress | None = None,
    **options: Any,
) -> list[Level]:
    """Levels of detail beside the object, which stays as it is and is the finest; waits for them.

    `ratios`: share of its triangles that each has at most, below 1 and falling; `arrange` as in `make_lods`, whose
    levels share the object's UVs and maps. `options` as in `rebake`. A chain made before is replaced. Raises
    `FieldError`, `InputError`, `EngineError`, `Cancelled`; then nothing has changed.
    """
    chosen = level_options(obj, ratios, arrange, texture_size, **options)
    with tempfile.TemporaryDirectory() as folder:
        copies = save_objects([obj], Path(folder))
        asset = rebuilt_asset(copies, obj.name, progress or Progress(), bpy.app.binary_path, **chosen)
        import_levels_of(obj, asset, arrange)
    return levels_of(obj)


def level_options(
    obj: bpy.types.Object, ratios: Sequence[float], arrange: str, texture_size: int, **options: Any
) -> dict[str, Any]:
    """What `rebake` is to be given for the levels of an object. Raises `InputError`, `FieldError`."""
    check_chain(obj, [1.0, *ratios], arrange)
    if not ratios:
        raise FieldError("ratios", list(ratios), "give shares above 0 and below 1, each smaller than the one before")
    triangles = len(obj.data.loops) - 2 * len(obj.data.polygons)
    faces = [round(triangles * ratio) for ratio in ratios]
    faces = [count for number, count in enumerate(faces) if count >= FEWEST and count not in faces[:number]]
    return game_options(obj, faces=faces or [FEWEST], texture_size=texture_size, **options)
