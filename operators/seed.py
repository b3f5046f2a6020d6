"""The lock beside the seed: the same again, or another each time."""

from __future__ import annotations

import random

import bpy

from ..addon.properties import is_locked
from ..trellis_addon.task.settings import RANDOM_SEED_MAX


class TRELLIS2_OT_seed_lock(bpy.types.Operator):
    """Locked, the seed that was typed, or that made the last asset, is used again; unlocked, each asset draws one"""

    bl_idname = "trellis2.seed_lock"
    bl_label = "Lock Seed"
    bl_options = {"INTERNAL", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        group = context.scene.trellis2.settings
        if is_locked(group):
            group.property_unset("seed")
        else:
            group.seed = str(_last_seed(context))
        return {"FINISHED"}


def _last_seed(context: bpy.types.Context) -> int:
    """The seed of the selected asset, or else of the newest that was made; without any, one drawn now."""
    from ..trellis_addon.jobs.store import JobStore
    from ..trellis_addon.scene.importing.provenance import PROPERTY, read_provenance

    if context.object is not None and PROPERTY in context.object:
        seed = read_provenance(context.object).get("seed")
        if isinstance(seed, int):
            return seed
    for job in JobStore().recent(20):
        for asset in job.assets:
            if asset.seed is not None:
                return int(asset.seed)
    return random.randint(0, RANDOM_SEED_MAX)


register, unregister = bpy.utils.register_classes_factory((TRELLIS2_OT_seed_lock,))
