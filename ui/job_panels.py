"""The panels about what was begun: the queue of this session, the history, and where the selected asset came from."""

from __future__ import annotations

import sys
from typing import Any

import bpy

from .. import __package__ as base_package
from .layout import SubPanel, wrapped
from .thumbnails import icon_of

_PERIODS = {"day": "Spent today", "month": "Spent this month"}
_ICONS = {
    "done": "CHECKMARK",
    "ready": "CHECKMARK",
    "failed": "ERROR",
    "cancelled": "CANCEL",
    "kept": "FILE_TICK",
    "uncertain": "QUESTION",
}


class TRELLIS2_PT_queue(SubPanel, bpy.types.Panel):
    bl_label = "Queue"
    bl_order = 0
    bl_options: set[str] = set()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(_generations())

    def draw(self, context: bpy.types.Context) -> None:
        for generation in _generations():
            box = self.layout.box()
            row = box.row(align=True)
            if generation.state == "running":
                row.progress(factor=generation.share, text=f"{generation.name}: {generation.stage}")
                row.operator("trellis2.cancel", text="", icon="X").generation = generation.id
                wrapped(box, generation.message, context)
                continue
            row.label(text=generation.name, icon=_ICONS[generation.state])
            if generation.assets and generation.state in ("kept", "failed"):
                row.operator("trellis2.import_kept", text="Import").generation = generation.id
            if generation.details:
                row.operator("trellis2.copy_details", text="", icon="COPYDOWN").generation = generation.id
            row.operator("trellis2.forget", text="", icon="X").generation = generation.id
            wrapped(box, generation.message, context)


class TRELLIS2_PT_history(SubPanel, bpy.types.Panel):
    bl_label = "History"
    bl_order = 5

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        self.layout.operator("trellis2.history_refresh", text="", icon="FILE_REFRESH", emboss=False)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        known = _known()
        layout.operator("trellis2.job_fetch", icon="IMPORT")
        for job in known.jobs if known else ():
            split = layout.box().split(factor=0.22)
            if icon := icon_of(job.uuid, job.thumbnail):
                split.template_icon(icon_value=icon, scale=2.6)
            else:
                split.label(icon="IMAGE_DATA")
            box = split.column()
            row = box.row(align=True)
            row.label(text=job.name, icon=_ICONS.get(job.state, "SORTTIME"))
            for operator, icon in (
                ("trellis2.job_import", "IMPORT"),
                ("trellis2.job_retry", "FILE_REFRESH"),
                ("trellis2.job_reveal", "FILE_FOLDER"),
                ("trellis2.job_details", "COPYDOWN"),
                ("trellis2.job_delete", "TRASH"),
            ):
                row.operator(operator, text="", icon=icon, emboss=False).job = job.uuid
            wrapped(box, _job_line(job), context, 0.75)
            if job.error:
                wrapped(box, job.error, context, 0.75)
        if known:
            for period, amount in known.spent.items():
                limit = f" of {known.limits[period]:.2f}" if period in known.limits else ""
                layout.label(text=f"{_PERIODS[period]}: {amount:.2f}{limit} US dollars")


class TRELLIS2_PT_provenance(SubPanel, bpy.types.Panel):
    bl_label = "Selected Asset"
    bl_order = 4
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
            ("Cost", f"{cost:.4f} US dollars" if cost else None),
            ("Made", str(known.get("created", "")).replace("T", " ")[:16]),
        ):
            if value not in (None, ""):
                split = column.split(factor=0.3)
                split.label(text=label)
                split.label(text=str(value))
        layout.operator("trellis2.repeat", icon="FILE_REFRESH")


def minded_fields() -> set[str]:
    """The paths of the settings that a service has refused; their rows are shown in red."""
    return {generation.minds for generation in _generations() if generation.state == "failed"} - {""}


def _generations() -> list[Any]:
    """The queue, if anything was ever generated: drawing alone loads nothing."""
    queue = sys.modules.get(f"{base_package}.trellis_addon.scene.queue")
    return queue.generations() if queue else []


def _known() -> Any:
    history = sys.modules.get(f"{base_package}.trellis_addon.scene.history")
    return history.known if history else None


def _job_line(job: Any) -> str:
    from ..trellis_addon.jobs.money import cost_of

    seconds = f"{job.duration:.0f} s" if job.duration is not None else ""
    return ", ".join(filter(None, (job.state, job.backend, seconds, cost_of(job))))


register, unregister = bpy.utils.register_classes_factory(
    (TRELLIS2_PT_queue, TRELLIS2_PT_history, TRELLIS2_PT_provenance)
)
