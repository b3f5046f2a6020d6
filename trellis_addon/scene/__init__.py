"""The last stop, and the only one with `bpy`: a GLB becomes an object that is ready to use."""

from .assets import lay_out_grid, mark_asset
from .importer import import_asset
from .provenance import read_provenance, settings_of
from .render import render_object

__all__ = ["import_asset", "lay_out_grid", "mark_asset", "read_provenance", "render_object", "settings_of"]
