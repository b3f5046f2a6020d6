"""The statistics in plain words: what an asset is good for as it is, and what helps where it is not."""

from __future__ import annotations

from bpy.app.translations import pgettext_rpt

from .statistics import Statistics

# How a sentence is meant; the panel has an icon for each.
GOOD, INFO, WARNING = "GOOD", "INFO", "WARNING"

HEAVY_TRIANGLES = 100_000  # game engines and the web want less for one object
HEAVY_TEXTURES = 128 * 2**20  # bytes in use: more than two maps of 4096 x 4096


def verdict(found: Statistics) -> list[tuple[str, str]]:
    """(level, sentence) pairs, what matters most first, in the language of Blender's interface."""
    surface = found.surface
    if not surface.triangles:
        return [(WARNING, pgettext_rpt("There is no surface"))]
    said = _soundness(found)
    if surface.components > 1:
        text = pgettext_rpt("{count} separate parts: Mesh > Separate > By Loose Parts takes them apart")
        said.append((INFO, text.format(count=f"{surface.components:,}")))
    if surface.triangles > HEAVY_TRIANGLES:
        said.append((INFO, pgettext_rpt("Heavy for real-time: make levels of detail")))
    if found.texture_memory > HEAVY_TEXTURES:
        said.append((INFO, pgettext_rpt("Large textures for real-time: shrink them")))
    if surface.uv_area is None and found.textures:
        said.append((WARNING, pgettext_rpt("No UV map: the textures cannot be shown")))
    return said


def _soundness(found: Statistics) -> list[tuple[str, str]]:
    surface = found.surface
    said = []
    if surface.non_manifold_edges:
        text = pgettext_rpt("More than two faces meet at {count} edges: not for printing or simulating")
        said.append((WARNING, text.format(count=f"{surface.non_manifold_edges:,}")))
    if surface.flipped_edges:
        text = pgettext_rpt("Neighbours face opposite ways at {count} edges: Mesh > Normals > Recalculate Outside")
        said.append((WARNING, text.format(count=f"{surface.flipped_edges:,}")))
    if surface.open_edges:
        text = pgettext_rpt("Open at {count} edges: fine for rendering, not for printing")
        said.append((INFO, text.format(count=f"{surface.open_edges:,}")))
    if not said:
        said.append((GOOD, pgettext_rpt("Closed and clean: ready to print or simulate")))
    return said
