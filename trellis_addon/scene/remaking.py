"""What takes the place of objects, made while the artist goes on: begun here, it arrives by the queue."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import bpy

from ..core.progress import Progress
from ..images import clean_name
from ..jobs.job import Asset, Job
from ..jobs.store import JobStore
from ..stages import source_of
from . import rework
from .rebaking.game import game_options, has_latents, lighter
from .session import arrival
from .target import SESSION, Target

KeyOf = Callable[[Job], str]


def work_folder() -> Path:
    """One that Blender removes when it ends."""
    return Path(tempfile.mkdtemp(dir=bpy.app.tempdir))


def begin(
    scene: bpy.types.Scene,
    objects: Sequence[bpy.types.Object],
    name: str,
    make: Callable[[Progress], Asset],
    *,
    hides_sources: bool = False,
    levels: str = "",
) -> None:
    """Have it made in a thread; it comes in the place of these objects, or as the levels of the one."""
    target = Target(
        scene.name,
        bpy.data.filepath,
        (0.0, 0.0, 0.0),
        None,
        SESSION,
        sources=tuple(obj.session_uid for obj in objects),
        hides_sources=hides_sources,
        levels=levels,
    )
    arrival.run(name, lambda progress, report: make(progress), target)


def begin_game_ready(scene: bpy.types.Scene, obj: bpy.types.Object, budget: str, label: str, key_of: KeyOf) -> None:
    """Have an object brought within a budget, which the artist knows by its `label`; the new one takes its place.

    `key_of` has the key or token for the job that it was made by. Main thread only. Raises `TrellisError`.
    """
    name = clean_name(f"{obj.name} {label}")
    key, is_kept = "", has_latents(obj)
    if is_kept:
        key = key_of(source_of(rework.asset_of(obj), JobStore())[0])
    make = lighter(obj, work_folder(), name, game_options(obj, budget), is_kept=is_kept, key=key)
    begin(scene, [obj], name, make, hides_sources=True)
