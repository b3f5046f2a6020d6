"""The last stop, and the only one with `bpy`: a GLB becomes an object that is ready to use.

Each name is loaded when it is first used, so that a panel that only looks at an object loads nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assets import lay_out_grid, mark_asset, save_to_library
    from .catalog import catalogs_in, ensure_catalog, library_folders
    from .export import export_original, original_of
    from .height import height_of, set_height
    from .importer import import_asset
    from .judging import verdict
    from .lods import lods_of, make_lods, remove_lods
    from .provenance import read_provenance, settings_of
    from .rebuilding import rebake
    from .render import render_object
    from .statistics import Statistics, measure, recall, remember
    from .texture_size import shrink_textures

_HOMES = {
    "Statistics": ".statistics",
    "catalogs_in": ".catalog",
    "ensure_catalog": ".catalog",
    "export_original": ".export",
    "height_of": ".height",
    "import_asset": ".importer",
    "lay_out_grid": ".assets",
    "library_folders": ".catalog",
    "lods_of": ".lods",
    "make_lods": ".lods",
    "mark_asset": ".assets",
    "measure": ".statistics",
    "original_of": ".export",
    "read_provenance": ".provenance",
    "rebake": ".rebuilding",
    "recall": ".statistics",
    "remember": ".statistics",
    "remove_lods": ".lods",
    "render_object": ".render",
    "save_to_library": ".assets",
    "set_height": ".height",
    "settings_of": ".provenance",
    "shrink_textures": ".texture_size",
    "verdict": ".judging",
}

__all__ = [
    "Statistics",
    "catalogs_in",
    "ensure_catalog",
    "export_original",
    "height_of",
    "import_asset",
    "lay_out_grid",
    "library_folders",
    "lods_of",
    "make_lods",
    "mark_asset",
    "measure",
    "original_of",
    "read_provenance",
    "rebake",
    "recall",
    "remember",
    "remove_lods",
    "render_object",
    "save_to_library",
    "set_height",
    "settings_of",
    "shrink_textures",
    "verdict",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __package__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
