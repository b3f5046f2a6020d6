"""A place to import into: whole or not at all.

What an importer makes is made in a scene of its own. If anything fails, everything that was not
there before is removed again, whatever kind of datablock it is; if it succeeds, what nothing uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy

# Not an importer's to make; 5.2 lists them a second time, with everything else, in `all_ids`.
_NOT_OURS = ("all_ids", "libraries", "screens", "window_managers")


@contextmanager
def staging_scene() -> Iterator[bpy.types.Scene]:
    """A temporary scene that operators work in; on an exception all new datablocks are removed."""
    before, scenes = _snapshot(), set(bpy.data.scenes)
    scene = bpy.data.scenes.new("TRELLIS.2 Staging")
    try:
        # Without an object to edit: the artist may be in Edit Mode, and an importer would try to leave it.
        with bpy.context.temp_override(
            scene=scene,
            view_layer=scene.view_layers[0],
            collection=scene.collection,
            active_object=None,
            object=None,
            edit_object=None,
        ):
            yield scene
    except BaseException:
        _remove(_snapshot() - before)
        raise
    # a failed import removes the scene with everything else; an importer may have made others
    for made in set(bpy.data.scenes) - scenes:
        bpy.data.scenes.remove(made)
    # an animation's action has a fake user, and once it is gone others may lose theirs
    while loose := {block for block in _snapshot() - before if block.users <= block.use_fake_user}:
        _remove(loose)


def _snapshot() -> set[bpy.types.ID]:
    """Every datablock in the file."""
    found: set[bpy.types.ID] = set()
    for name in dir(bpy.data):
        blocks = getattr(bpy.data, name)
        if isinstance(blocks, bpy.types.bpy_prop_collection) and name not in _NOT_OURS:
            found.update(block for block in blocks if isinstance(block, bpy.types.ID))
    return found


def _remove(blocks: set[bpy.types.ID]) -> None:
    if blocks:
        bpy.data.batch_remove(list(blocks))
