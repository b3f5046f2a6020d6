"""The N-panel. Drawing reads; it never changes anything."""

from __future__ import annotations

import bpy

from ..trellis_addon.settings import SAMPLERS, SETTABLE, Field
from . import preferences

_TASK_ROWS = ("number_results", "seed")


class _Panel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "TRELLIS.2"


class _Sub(_Panel):
    bl_parent_id = "TRELLIS2_PT_main"
    bl_options = {"DEFAULT_CLOSED"}


class TRELLIS2_PT_main(_Panel, bpy.types.Panel):
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


class TRELLIS2_PT_queue(_Sub, bpy.types.Panel):
    bl_label = "Queue"
    bl_options: set[str] = set()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        from ..trellis_addon.scene.queue import generations

        return bool(generations())

    def draw(self, context: bpy.types.Context) -> None:
        from ..trellis_addon.scene.queue import generations

        for generation in generations():
            box = self.layout.box()
            row = box.row(align=True)
            if generation.state == "running":
                row.progress(factor=generation.share, text=f"{generation.name}: {generation.stage}")
                row.operator("trellis2.cancel", text="", icon="X").generation = generation.id
                _wrapped(box, generation.message)
                continue
            icon = {"done": "CHECKMARK", "failed": "ERROR", "cancelled": "CANCEL", "kept": "FILE_TICK"}[generation.state]
            row.label(text=generation.name, icon=icon)
            if generation.assets and generation.state in ("kept", "failed"):
                row.operator("trellis2.import_kept", text="Import").generation = generation.id
            row.operator("trellis2.forget", text="", icon="X").generation = generation.id
            _wrapped(box, generation.message)


class TRELLIS2_PT_settings(_Sub, bpy.types.Panel):
    bl_label = "Settings"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        self.layout.operator_menu_enum("trellis2.preset", "preset", text="", icon="PRESET")

    def draw(self, context: bpy.types.Context) -> None:
        _draw_fields(self.layout, context, [f for f in SETTABLE if f.name in _TASK_ROWS or f.group == "settings"])


class TRELLIS2_PT_placement(_Sub, bpy.types.Panel):
    bl_label = "Placement"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(context.scene.trellis2, "asset_name", placeholder="From the image")
        layout.prop(context.scene.trellis2, "height")


class TRELLIS2_PT_delivery(_Sub, bpy.types.Panel):
    bl_label = "Delivery"

    def draw(self, context: bpy.types.Context) -> None:
        _draw_fields(self.layout, context, [f for f in SETTABLE if f.group == "" and f.name not in _TASK_ROWS])


def _sampler_panel(group: str, heading: str) -> type:
    """One sub-panel for one of the model's samplers."""

    def draw(self, context: bpy.types.Context) -> None:  # type: ignore[no-untyped-def]
        _draw_fields(self.layout, context, [f for f in SETTABLE if f.group == group])

    name = f"TRELLIS2_PT_{group.lower()}"
    body = {"bl_idname": name, "bl_label": heading, "bl_parent_id": "TRELLIS2_PT_settings", "draw": draw}
    return type(name, (_Sub, bpy.types.Panel), body)


class TRELLIS2_PT_provenance(_Sub, bpy.types.Panel):
    bl_label = "Selected Asset"
    bl_options: set[str] = set()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        from ..trellis_addon.scene.provenance import PROPERTY

        return context.object is not None and PROPERTY in context.object

    def draw(self, context: bpy.types.Context) -> None:
        from ..trellis_addon.scene.provenance import read_provenance

        layout = self.layout
        known = read_provenance(context.object)
        engine = str(known.get("engine", ""))
        layout.label(text=f"engine: {engine}", icon="INFO" if engine.startswith("draft:") else "CHECKMARK")
        column = layout.column(align=True)
        cost = known.get("cost_usd")
        for label, value in (
            ("Image", known.get("image")),
            ("Seed", known.get("seed")),
            ("Backend", known.get("backend")),
            ("Cost", f"{cost:.4f} US dollars" if isinstance(cost, (int, float)) and known.get("backend") == "remote" else None),
            ("Made", str(known.get("created", "")).replace("T", " ")[:16]),
        ):
            if value not in (None, ""):
                split = column.split(factor=0.3)
                split.label(text=label)
                split.label(text=str(value))
        layout.operator("trellis2.repeat", icon="FILE_REFRESH")


def _draw_backend(layout: bpy.types.UILayout, choice: str) -> None:
    """What the artist should know of the choice, before it is too late."""
    if choice == "draft":
        layout.label(text="A quick relief, no AI model", icon="INFO")
    elif choice == "local":
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
    for field in fields:
        row = layout.row(align=True)
        is_set = group.is_property_set(field.name)
        placeholder = {"seed": "Random"}.get(field.name)
        row.prop(group, field.name, **({"placeholder": placeholder} if placeholder else {}))
        arrow = row.row(align=True)
        arrow.enabled = is_set
        arrow.operator("trellis2.unset", text="", icon="LOOP_BACK" if is_set else "BLANK1", emboss=False).field = field.name


def _result_word(state: bpy.types.PropertyGroup) -> str:
    count = state.settings.number_results
    kind = "Draft" if state.backend == "draft" else "Asset"
    return f"{count} {kind}s" if count > 1 else kind


def _wrapped(layout: bpy.types.UILayout, text: str, width: int = 44) -> None:
    import textwrap

    column = layout.column(align=True)
    column.scale_y = 0.75
    for line in textwrap.wrap(text, width):
        column.label(text=line)


_classes = (
    TRELLIS2_PT_main,
    TRELLIS2_PT_queue,
    TRELLIS2_PT_settings,
    *(_sampler_panel(group, heading) for group, heading in SAMPLERS.items()),
    TRELLIS2_PT_placement,
    TRELLIS2_PT_delivery,
    TRELLIS2_PT_provenance,
)

register, unregister = bpy.utils.register_classes_factory(_classes)
