"""The panel of the selected asset: where it came from, what it is made of, and what can be done with it.

Nothing is measured here: the numbers were kept on the object by Measure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bpy
from bpy.app.translations import pgettext_iface

from .job_panels import backend_name
from .layout import SubPanel, fact, wrapped
from .rebake import draw_budgets, draw_rebake, draw_texturing

if TYPE_CHECKING:
    from ..trellis_addon.scene import Statistics

_LEVEL_ICONS = {"GOOD": "CHECKMARK", "INFO": "INFO", "WARNING": "ERROR"}
_STAGES = {
    "texture": "Texture",
    "finish": "Mesh and Textures",
    "change": "A Part",
    "vary": "A Variation",
    "edit": "Edited",
    "all": "Everything",
    "rest": "From the Rough Shape",
}
# The rules of a contract that a new surface with new maps keeps.
_MADE_ANEW = frozenset({"watertight", "uvs", "materials", "maps"})
_ALPHA = {"OPAQUE": "Opaque", "MASK": "Cut Out", "BLEND": "See-Through"}


class TRELLIS2_PT_asset(SubPanel, bpy.types.Panel):
    bl_label = "Selected Asset"
    bl_order = 6
    bl_options: set[str] = set()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.object is not None and "trellis2_provenance" in context.object

    def draw(self, context: bpy.types.Context) -> None:
        """What can be done comes first: it is to be reached without scrolling."""
        layout, obj = self.layout, context.object
        is_mesh = obj.type == "MESH"
        row = layout.row(align=True)
        row.operator("trellis2.repeat", text="Repeat", icon="FILE_REFRESH")
        row.operator("trellis2.more_like_this", text="More Like This", icon="DUPLICATE")
        if is_mesh:
            row.operator("trellis2.vary", text="", icon="MOD_NOISE")
        if is_mesh:
            draw_budgets(layout)
            _draw_tools(layout)
            draw_texturing(layout, context)
            draw_rebake(layout, context)
        _draw_engine(layout, obj, context)
        if is_mesh:
            kept = _draw_verdict(layout, obj, context)
            if kept is not None and (body := _part(layout, "statistics", pgettext_iface("Statistics"))):
                _draw_statistics(body, obj, kept, context)
            _draw_levels(layout, obj, context)
            if body := _part(layout, "standing", pgettext_iface("Orientation")):
                _draw_standing(body)
            if body := _part(layout, "contract", pgettext_iface("Contract")):
                _draw_contract(body, obj, context)
            if body := _part(layout, "stages", pgettext_iface("Stages")):
                _draw_stages(body, obj, context)
        if body := _part(layout, "provenance", pgettext_iface("Where It Came From")):
            _draw_provenance(body, obj, context)


def _part(layout: bpy.types.UILayout, name: str, label: str) -> Any:
    """A part of the panel that is closed at first; what to draw in where it is open."""
    header, body = layout.panel(f"trellis2_asset_{name}", default_closed=True)
    header.label(text=label, translate=False)
    return body


def _draw_engine(layout: bpy.types.UILayout, obj: bpy.types.Object, context: bpy.types.Context) -> None:
    """What has made it, and what was done otherwise than asked."""
    from ..trellis_addon.jobs.job import notes_in
    from ..trellis_addon.scene.importing.provenance import read_provenance
    from ..trellis_addon.scene.words import engine_name

    known = read_provenance(obj)
    engine = str(known.get("engine", ""))
    is_draft = engine.startswith("draft:")
    if engine:
        layout.label(text=engine_name(engine), icon="INFO" if is_draft else "CHECKMARK", translate=False)
    for note in notes_in(known):
        wrapped(layout, note, context, icon="INFO")


def _draw_provenance(layout: bpy.types.UILayout, obj: bpy.types.Object, context: bpy.types.Context) -> None:
    from ..trellis_addon.scene.importing.provenance import read_provenance

    known = read_provenance(obj)
    column = layout.column(align=True)
    cost = known.get("cost_usd")
    price = pgettext_iface("{cost} US dollars").format(cost=f"{cost:.4f}") if cost else ""
    fact(column, pgettext_iface("Image"), known.get("image"), context)
    fact(column, pgettext_iface("Seed"), known.get("seed"), context)
    fact(column, pgettext_iface("Backend"), backend_name(str(known.get("backend", ""))), context)
    fact(column, pgettext_iface("Cost"), price, context)
    fact(column, pgettext_iface("Made"), str(known.get("created", "")).replace("T", " ")[:16], context)
    fact(column, pgettext_iface("Level of Detail"), obj.get("trellis2_lod_level"), context)
    if distance := obj.get("trellis2_lod_distance"):
        fact(
            column,
            pgettext_iface("Shown From"),
            pgettext_iface("{distance} m").format(distance=f"{distance:.3g}"),
            context,
        )


def _draw_verdict(layout: bpy.types.UILayout, obj: bpy.types.Object, context: bpy.types.Context) -> Statistics | None:
    """What the numbers mean, or a button that gets them; returns the numbers, if there are any."""
    from ..trellis_addon.scene import recall, verdict

    kept = recall(obj)
    if kept is None:
        layout.operator("trellis2.measure", icon="VIEWZOOM")
        return None
    found, is_current = kept
    if is_current:
        for level, sentence in verdict(found):
            wrapped(layout, sentence, context, icon=_LEVEL_ICONS[level])
    else:
        row = layout.row()
        row.label(text="The mesh has changed since", icon="INFO")
        row.operator("trellis2.measure", text="Measure", icon="FILE_REFRESH")
    return found


def _draw_statistics(
    layout: bpy.types.UILayout, obj: bpy.types.Object, found: Statistics, context: bpy.types.Context
) -> None:
    column = layout.column(align=True)
    surface = found.surface
    fact(column, pgettext_iface("Triangles"), f"{surface.triangles:,}", context)
    fact(column, pgettext_iface("Vertices"), f"{surface.vertices:,}", context)
    fact(column, pgettext_iface("Parts"), f"{surface.components:,}", context)
    fact(column, pgettext_iface("Open Edges"), f"{surface.open_edges:,}", context)
    fact(column, pgettext_iface("Non-Manifold"), f"{surface.non_manifold_edges:,}", context)
    fact(column, pgettext_iface("Size"), _size(obj, context), context)
    fact(column, pgettext_iface("Textures"), _textures(found), context)
    fact(column, pgettext_iface("Alpha"), pgettext_iface(_ALPHA[found.alpha]), context)
    if surface.uv_area is not None:
        fact(column, pgettext_iface("UV Area"), f"{surface.uv_area:.0%}", context)


def _draw_stages(layout: bpy.types.UILayout, obj: bpy.types.Object, context: bpy.types.Context) -> None:
    """What can be made of what was kept; the buttons say themselves why they are off."""
    from ..trellis_addon.scene.importing.provenance import read_provenance
    from ..trellis_addon.stages import is_rough

    source = read_provenance(obj).get("source")
    if isinstance(source, dict):
        stage = pgettext_iface(_STAGES[_stage_of(source)])
        fact(layout.column(align=True), pgettext_iface("Made Again"), stage, context)
    column = layout.column(align=True)
    if is_rough(read_provenance(obj)):
        column.operator("trellis2.go_on", icon="PLAY")
    column.operator("trellis2.texture_again", text="Texture Again...", icon="BRUSH_DATA")
    column.operator("trellis2.change_part", text="Change a Part...", icon="MOD_BOOLEAN")
    column.operator("trellis2.vary", text="Variations...", icon="MOD_NOISE")
    column.operator("trellis2.finish_again", text="Finish Again...", icon="MOD_REMESH")
    layout.operator("trellis2.export_stages", text="Export Voxels...", icon="EXPORT")


def _draw_levels(layout: bpy.types.UILayout, obj: bpy.types.Object, context: bpy.types.Context) -> None:
    """Each level with its triangles, how far its form is off, and from where on that is less than a pixel."""
    from ..trellis_addon.scene.asset.lods import levels_of

    found = [level for level in levels_of(obj) if level.level]
    if not found or not (body := _part(layout, "levels", pgettext_iface("Levels of Detail"))):
        return
    column = body.column(align=True)
    for level in found:
        text = pgettext_iface("{triangles} triangles, {error} mm off: a pixel at {distance} m, {share} of the picture")
        said = text.format(
            triangles=f"{level.triangles:,}",
            error=f"{1000 * level.error:.2g}",
            distance=f"{level.distance:.3g}",
            share=f"{level.screen:.0%}",
        )
        fact(column, f"LOD{level.level}", said, context)


def _draw_standing(layout: bpy.types.UILayout) -> None:
    row = layout.row(align=True)
    row.label(text="Front Is")
    for axis in ("+X", "-X", "+Y", "-Y"):
        row.operator("trellis2.front_is", text=axis, translate=False).axis = axis
    row = layout.row(align=True)
    row.label(text="Turn")
    for axis in "XYZ":
        row.operator("trellis2.turn", text=axis, translate=False).axis = axis
    layout.operator_menu_enum("trellis2.set_origin", "origin", icon="OBJECT_ORIGIN")
    column = layout.column(align=True)
    column.operator("trellis2.drop_to_ground", icon="TRIA_DOWN_BAR")
    column.operator("trellis2.apply_transform", icon="CON_TRANSFORM")


def _draw_contract(layout: bpy.types.UILayout, obj: bpy.types.Object, context: bpy.types.Context) -> None:
    """What is asked for, what of it is broken, and the buttons that mend it."""
    from ..trellis_addon.scene.asset.contracts import MENDED, recall_findings

    chosen = context.scene.trellis2.contract
    row = layout.row(align=True)
    row.prop(context.scene.trellis2, "contract", text="")
    row.operator("trellis2.contract_open", text="", icon="FILEBROWSER")
    kept = recall_findings(obj, chosen)
    is_current = kept is not None and kept[1]
    layout.operator("trellis2.check_contract", icon="FILE_REFRESH" if kept else "CHECKMARK")
    if kept is None:
        return
    found = kept[0]
    if not is_current:
        layout.label(text="It has changed since", icon="INFO")
        return
    if not found:
        layout.label(text="It keeps the contract", icon="CHECKMARK")
    for finding in found:
        wrapped(layout, finding.sentence, context, icon="ERROR")
    if any(finding.rule in MENDED for finding in found):
        layout.operator("trellis2.mend_contract", icon="MODIFIER")
    if any(finding.rule in _MADE_ANEW for finding in found):
        layout.operator("trellis2.rebake", icon="MOD_REMESH")


def _stage_of(source: dict[str, Any]) -> str:
    stage = source.get("stage")
    return stage if stage in _STAGES else "all"


def _draw_tools(layout: bpy.types.UILayout) -> None:
    column = layout.column(align=True)
    column.operator("trellis2.set_height", text="Set Height...", icon="EMPTY_SINGLE_ARROW")
    column.operator("trellis2.bake_lods", text="Levels of Detail...", icon="MOD_DECIM")
    column.operator("trellis2.make_collision", icon="MESH_CUBE")
    column.operator_menu_enum("trellis2.shrink_textures", "size", icon="TEXTURE")
    column = layout.column(align=True)
    column.operator("trellis2.mark_asset", icon="ASSET_MANAGER")
    column.operator("trellis2.save_to_library", text="Save to Library...", icon="FILE_TICK")
    column.operator("trellis2.export_asset", text="Export...", icon="EXPORT")
    column.operator("trellis2.export_original", text="Export Original GLB...", icon="FILE_3D")


def _size(obj: bpy.types.Object, context: bpy.types.Context) -> str:
    """Width, depth and height, in the scene's units, as they are now."""
    units = context.scene.unit_settings
    sides = obj.dimensions * (units.scale_length or 1.0)
    if units.system == "NONE":
        return " × ".join(f"{side:.3g}" for side in sides)
    return " × ".join(bpy.utils.units.to_string(units.system, "LENGTH", side, precision=3) for side in sides)


def _textures(found: Statistics) -> str:
    if not found.textures:
        return pgettext_iface("None")
    largest = max(max(texture.width, texture.height) for texture in found.textures)
    text = pgettext_iface("{count}, up to {size} px, {memory} MB")
    return text.format(count=len(found.textures), size=largest, memory=round(found.texture_memory / 2**20))


register, unregister = bpy.utils.register_classes_factory((TRELLIS2_PT_asset,))
