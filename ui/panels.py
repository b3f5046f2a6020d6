"""The N-panel. Drawing reads; it never changes anything."""

from __future__ import annotations

import functools

import bpy

from ..trellis_addon.engines.base import trellis2_available
from ..trellis_addon.settings import SAMPLERS, SETTABLE, Field
from . import preferences
from .job_panels import minded_fields
from .layout import Panel, SubPanel
from .presets import TRELLIS2_PT_presets

_TASK_ROWS = ("number_results", "seed")


class TRELLIS2_PT_main(Panel, bpy.types.Panel):
    bl_label = "TRELLIS.2"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        state = context.scene.trellis2
        layout.template_ID_preview(state, "image", open="image.open", rows=3, cols=5, hide_buttons=False)
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(state, "backend")
        _draw_backend(column, state.backend)
        button = layout.column()
        button.scale_y = 1.6
        button.operator("trellis2.generate", text=f"Generate {_result_word(state)}", icon="MESH_MONKEY")
        if state.backend == "remote":
            layout.label(text=f"About {_price(state.settings.number_results)}")


class TRELLIS2_PT_settings(SubPanel, bpy.types.Panel):
    bl_label = "Settings"
    bl_order = 1

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        TRELLIS2_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        _draw_fields(self.layout, context, [f for f in SETTABLE if f.name in _TASK_ROWS or f.group == "settings"])


class TRELLIS2_PT_placement(SubPanel, bpy.types.Panel):
    bl_label = "Placement"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(context.scene.trellis2, "asset_name", placeholder="From the image")
        layout.prop(context.scene.trellis2, "height")


class TRELLIS2_PT_delivery(SubPanel, bpy.types.Panel):
    bl_label = "Delivery"
    bl_order = 3

    def draw(self, context: bpy.types.Context) -> None:
        _draw_fields(self.layout, context, [f for f in SETTABLE if f.group == "" and f.name not in _TASK_ROWS])


def _sampler_panel(group: str, heading: str) -> type:
    """One sub-panel for one of the model's samplers."""

    def draw(self, context: bpy.types.Context) -> None:  # type: ignore[no-untyped-def]
        _draw_fields(self.layout, context, [f for f in SETTABLE if f.group == group])

    name = f"TRELLIS2_PT_{group.lower()}"
    body = {"bl_idname": name, "bl_label": heading, "bl_parent_id": "TRELLIS2_PT_settings", "draw": draw}
    return type(name, (SubPanel, bpy.types.Panel), body)


def _draw_backend(layout: bpy.types.UILayout, choice: str) -> None:
    """What the artist should know of the choice, before it is too late."""
    if choice == "draft":
        layout.label(text="A quick relief, no AI model", icon="INFO")
    elif choice == "local" and not trellis2_available():
        layout.label(text="No weights installed: the draft answers", icon="INFO")
    elif choice == "remote" and not bpy.app.online_access:
        layout.label(text="Online access is off", icon="ERROR")
        layout.operator("trellis2.online_access", icon="PREFERENCES")
    elif choice == "remote" and preferences.remote_key_source() == "":
        layout.label(text="No API key", icon="ERROR")
        layout.operator("trellis2.preferences", icon="PREFERENCES")


def _draw_fields(layout: bpy.types.UILayout, context: bpy.types.Context, fields: list[Field]) -> None:
    """Settings, each with an arrow that takes it back to not set."""
    layout.use_property_split = True
    layout.use_property_decorate = False
    group = context.scene.trellis2.settings
    minded = minded_fields()
    for field in fields:
        row = layout.row(align=True)
        row.alert = field.path in minded
        is_set = group.is_property_set(field.name)
        placeholder = {"seed": "Random"}.get(field.name)
        row.prop(group, field.name, **({"placeholder": placeholder} if placeholder else {}))
        arrow = row.row(align=True)
        arrow.enabled = is_set
        arrow.operator(
            "trellis2.unset", text="", icon="LOOP_BACK" if is_set else "BLANK1", emboss=False
        ).field = field.name


@functools.cache
def _price(results: int) -> str:
    from ..trellis_addon.jobs.money import expected_price

    return str(expected_price(results))


def _result_word(state: bpy.types.PropertyGroup) -> str:
    count = state.settings.number_results
    kind = "Draft" if state.backend == "draft" else "Asset"
    return f"{count} {kind}s" if count > 1 else kind


_classes = (
    TRELLIS2_PT_main,
    TRELLIS2_PT_settings,
    *(_sampler_panel(group, heading) for group, heading in SAMPLERS.items()),
    TRELLIS2_PT_placement,
    TRELLIS2_PT_delivery,
)

register, unregister = bpy.utils.register_classes_factory(_classes)
