"""The last stop, and the only one with `bpy`: a GLB becomes an object that is ready to use.

Each name is loaded when it is first used, so that a panel that only looks at an object loads nothing else.

sources          where a picture can come from, in Blender
images           Blender's image datablocks as pictures for a task
masks            a mask to paint on
marking          what was marked of a picture's subject
image_editor     an Image Editor beside what the artist looks at
cutout_preview   how a picture will be cut out, before it is used

session          the queue of a session with everybody who listens to it
background       the frame of whatever goes on in a thread: a bar, an end, a way to stop
pump             what threads have to say, heard on the main thread
queue            generations that run while the artist works
target           where a finished asset belongs, told at the start
rework           going on from what was kept of an object
remaking         what takes the place of objects, made while the artist goes on
rough            the rest of rough shapes that were chosen from several
previews         small pictures of results to choose from
arrival          the end of a generation: its results into the scene
resume           after a crash or in another file, what was begun goes on
history          what the panel shows of earlier jobs and of the account
exports          what is written out and takes long, with a line in the queue
device           the device that a local generation would run on

place            where an asset comes to stand, and what stands there until it comes
importing        from a GLB to one clean object
texturing        objects that are there get the look of a picture
rebaking         objects as they look become one clean asset
asset            what can be done with it afterwards
delivery         files that other programs take as they are
door             assistants in the open scene, where the preferences let them in
setup            what the preferences show and do about this machine

rules            what Blender, as people have set it up, asks: modes and links, metres, colour spaces
render           a studio picture of one object
files            whole .blend files, for scripts
words            the library's sentences in the language of the interface
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .asset.catalog import catalogs_in, ensure_catalog, library_folders
    from .asset.collision import collision_of, make_collision, remove_collision
    from .asset.contracts import asset_facts, check_contract, mend
    from .asset.export import export_original, original_of
    from .asset.height import height_of, set_height
    from .asset.judging import verdict
    from .asset.library import lay_out_grid, mark_asset, save_to_library
    from .asset.lods import lods_of, make_lods, remove_lods
    from .asset.orientation import apply_transform, drop_to_ground, set_front, set_origin, turn
    from .asset.statistics import Statistics, measure, recall, remember
    from .asset.texture_size import shrink_textures
    from .delivery.exporting import export_asset
    from .images import load_image
    from .importing.importer import import_asset
    from .importing.provenance import fingerprints, read_provenance, settings_of
    from .rebaking.game import game_ready
    from .rebaking.levels import bake_lods
    from .rebaking.rebuilding import rebake
    from .render import render_object
    from .texturing.asking import texture

_HOMES = {
    "Statistics": ".asset.statistics",
    "apply_transform": ".asset.orientation",
    "asset_facts": ".asset.contracts",
    "bake_lods": ".rebaking.levels",
    "catalogs_in": ".asset.catalog",
    "check_contract": ".asset.contracts",
    "drop_to_ground": ".asset.orientation",
    "ensure_catalog": ".asset.catalog",
    "collision_of": ".asset.collision",
    "export_asset": ".delivery.exporting",
    "export_original": ".asset.export",
    "fingerprints": ".importing.provenance",
    "game_ready": ".rebaking.game",
    "height_of": ".asset.height",
    "import_asset": ".importing.importer",
    "lay_out_grid": ".asset.library",
    "library_folders": ".asset.catalog",
    "load_image": ".images",
    "lods_of": ".asset.lods",
    "make_collision": ".asset.collision",
    "make_lods": ".asset.lods",
    "mark_asset": ".asset.library",
    "measure": ".asset.statistics",
    "mend": ".asset.contracts",
    "original_of": ".asset.export",
    "read_provenance": ".importing.provenance",
    "rebake": ".rebaking.rebuilding",
    "recall": ".asset.statistics",
    "remember": ".asset.statistics",
    "remove_collision": ".asset.collision",
    "remove_lods": ".asset.lods",
    "render_object": ".render",
    "save_to_library": ".asset.library",
    "set_front": ".asset.orientation",
    "set_height": ".asset.height",
    "set_origin": ".asset.orientation",
    "settings_of": ".importing.provenance",
    "shrink_textures": ".asset.texture_size",
    "texture": ".texturing.asking",
    "turn": ".asset.orientation",
    "verdict": ".asset.judging",
}

__all__ = [
    "Statistics",
    "apply_transform",
    "asset_facts",
    "bake_lods",
    "catalogs_in",
    "check_contract",
    "collision_of",
    "drop_to_ground",
    "ensure_catalog",
    "export_asset",
    "export_original",
    "fingerprints",
    "game_ready",
    "height_of",
    "import_asset",
    "lay_out_grid",
    "library_folders",
    "load_image",
    "lods_of",
    "make_collision",
    "make_lods",
    "mark_asset",
    "measure",
    "mend",
    "original_of",
    "read_provenance",
    "rebake",
    "recall",
    "remember",
    "remove_collision",
    "remove_lods",
    "render_object",
    "require_blender",
    "save_to_library",
    "set_front",
    "set_height",
    "set_origin",
    "settings_of",
    "shrink_textures",
    "texture",
    "turn",
    "verdict",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __package__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def require_blender() -> None:
    """Raise `TrellisError` where there is no Blender to write a .blend or to render with."""
    if importlib.util.find_spec("bpy") is None:
        from ..core.errors import TrellisError

        raise TrellisError(
            "Writing a .blend and rendering need Blender: run this as `blender --command trellis2 ...`, or install "
            "the bpy module; a .glb can be written without."
        )


def __dir__() -> list[str]:
    return sorted(__all__)
