"""The N-panel. Drawing reads; it never changes anything.

What changes by itself, the queue above all, stands below what does not: no button goes away from under the mouse.
"""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface

from ..addon.backend_state import Line, counts, expectations, is_draft, price_of, problems, state_lines
from ..addon.picture_state import refusal
from ..addon.preferences import preferences
from ..addon.properties import IN_PANEL, is_locked
from ..trellis_addon.task.settings import SAMPLERS, SETTABLE, Field
from .job_panels import refused_fields
from .layout import Panel, SubPanel, setting, wrapped
from .picture import draw_picture, draw_warnings
from .presets import TRELLIS2_PT_presets
from .views import draw_view_warnings

_TASK_ROWS = ("number_results", "seed")
_ON_DEMAND = ("faces", "quads")


class TRELLIS2_PT_main(Panel, bpy.types.Panel):
    bl_label = "TRELLIS.2"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        self.layout.operator("trellis2.manual", text="", icon="HELP", emboss=False)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        state = context.scene.trellis2
        draw_picture(layout, context)
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        row = column.row(align=True)
        row.prop(state, "backend")
        row.operator("trellis2.preferences", text="", icon="PREFERENCES")
        _draw_lines(layout, state_lines(state.backend), context)
        draw_warnings(layout, context)
        draw_view_warnings(layout, context)
        _draw_lines(layout, problems(state), context)
        button = layout.column()
        button.scale_y = 1.6
        button.enabled = state.image is not None and refusal(state) is None
        button.operator("trellis2.generate", text=_button_text(state), translate=False, icon="MESH_MONKEY")
        if price := price_of(state):
            wrapped(layout, pgettext_iface("About {price}").format(price=price), context)
        _draw_lines(layout, expectations(state), context)


class TRELLIS2_PT_settings(SubPanel, bpy.types.Panel):
    bl_label = "Settings"
    bl_order = 2

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        TRELLIS2_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        _draw_fields(self.layout, context, [f for f in IN_PANEL if f.name in _TASK_ROWS or f.group == "settings"])


class TRELLIS2_PT_placement(SubPanel, bpy.types.Panel):
    bl_label = "Placement"
    bl_order = 3

    def draw(self, context: bpy.types.Context) -> None:
        state, column = context.scene.trellis2, self.layout.column()
        setting(column, state, "asset_name", placeholder="From the image")
        setting(column, state, "height")
        setting(column, state, "face_view")


class TRELLIS2_PT_delivery(SubPanel, bpy.types.Panel):
    """For programs that are told of results, or sent them: nothing of it is needed to have an asset in the scene."""

    bl_label = "Delivery"
    bl_order = 4

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        stored = preferences()
        is_asked = context.scene.trellis2.backend in ("remote", "service")
        return is_asked and stored is not None and stored.show_developer

    def draw(self, context: bpy.types.Context) -> None:
        _draw_fields(self.layout, context, [f for f in SETTABLE if f.group == "" and f.name not in _TASK_ROWS])


def _sampler_panel(group: str, heading: str) -> type:
    """One sub-panel for one of the model's samplers."""

    def draw(self, context: bpy.types.Context) -> None:  # type: ignore[no-untyped-def]
        _draw_fields(self.layout, context, [f for f in SETTABLE if f.group == group])

    def poll(cls: type, context: bpy.types.Context) -> bool:
        return not is_draft(context.scene.trellis2)

    name = f"TRELLIS2_PT_{group.lower()}"
    body = {
        "bl_idname": name,
        "bl_label": heading,
        "bl_parent_id": "TRELLIS2_PT_settings",
        "draw": draw,
        "poll": classmethod(poll),
    }
    return type(name, (SubPanel, bpy.types.Panel), body)


def _draw_lines(layout: bpy.types.UILayout, lines: list[Line], context: bpy.types.Context) -> None:
    """What is known, each with its button beside it; below what is wrong stands the button that helps, once."""
    for number, line in enumerate(lines):
        if line.icon != "ERROR" and not line.label:
            row = layout.row(align=True)
            wrapped(row, line.text, context, 0.88 if line.operator else 1.0, icon=line.icon)
            if line.operator:
                row.operator(line.operator, text="", icon=line.operator_icon, emboss=False)
            continue
        wrapped(layout, line.text, context, icon=line.icon)
        if line.operator in [other.operator for other in lines[number + 1 :]]:
            continue
        if line.label:
            layout.operator(line.operator, text=line.label, translate=False, icon=line.operator_icon)
        else:
            layout.operator(line.operator, icon=line.operator_icon)


def _draw_fields(layout: bpy.types.UILayout, context: bpy.types.Context, fields: list[Field]) -> None:
    """Settings, each with an arrow that takes it back to not set."""
    group = context.scene.trellis2.settings
    minded = refused_fields()
    for field in fields:
        if not counts(context.scene.trellis2, field):
            continue
        row = layout.row(align=True)
        row.alert = field.path in minded
        if field.name == "seed":
            setting(row, group, "seed", placeholder="Random")
            row.operator("trellis2.seed_lock", text="", icon="LOCKED" if is_locked(group) else "UNLOCKED", emboss=False)
            continue
        is_set = group.is_property_set(field.name)
        if field.name in _ON_DEMAND and not is_set:
            _draw_demand(row, field)
            continue
        setting(row, group, field.name)
        if field.name == "faces":
            row.operator_menu_enum("trellis2.choose_budget", "budget", text="", icon="DOWNARROW_HLT")
        arrow = row.row(align=True)
        arrow.enabled = is_set
        arrow.operator(
            "trellis2.unset", text="", icon="LOOP_BACK" if is_set else "BLANK1", emboss=False
        ).field = field.name


def _draw_demand(row: bpy.types.UILayout, field: Field) -> None:
    """What has no value of its own until it is asked for."""
    if field.name == "faces":
        row.operator_menu_enum("trellis2.choose_budget", "budget", text="Game Budget", icon="MESH_ICOSPHERE")
    else:
        row.operator("trellis2.choose_quads", icon="MESH_GRID")


def _button_text(state: bpy.types.PropertyGroup) -> str:
    count = state.settings.number_results
    if is_draft(state):
        text = pgettext_iface("Generate {count} Drafts") if count > 1 else pgettext_iface("Generate Draft")
    else:
        text = pgettext_iface("Generate {count} Assets") if count > 1 else pgettext_iface("Generate Asset")
    return text.format(count=count)


_classes = (
    TRELLIS2_PT_main,
    TRELLIS2_PT_settings,
    *(_sampler_panel(group, heading) for group, heading in SAMPLERS.items()),
    TRELLIS2_PT_placement,
    TRELLIS2_PT_delivery,
)

register, unregister = bpy.utils.register_classes_factory(_classes)
