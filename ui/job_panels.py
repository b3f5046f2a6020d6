"""The panels about what was begun: the queue of this session, the history, and where the selected asset came from."""

from __future__ import annotations

import time
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface

from ..addon.loaded import loaded
from ..addon.local_words import duration
from ..trellis_addon.core.addresses import without_login
from ..trellis_addon.scene.words import translate
from .layout import SubPanel, fact, wrapped
from .picture import UNTOLD
from .preferences import spent_line
from .thumbnails import icon_of, large_icon_of

_ICONS = {
    "done": "CHECKMARK",
    "ready": "CHECKMARK",
    "failed": "ERROR",
    "cancelled": "CANCEL",
    "kept": "FILE_TICK",
    "choose": "FILE_TICK",
    "uncertain": "QUESTION",
}

# The jobs' states -> words for people.
STATES = {
    "waiting": "Waiting",
    "sending": "Sending",
    "uncertain": "Uncertain",
    "running": "Running",
    "ready": "Ready",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
# The engines' names of what they do -> words for people.
STAGES = {
    # while it is under way to a service, and back
    "Waiting": "Waiting",
    "Preparing": "Preparing",
    "Uploading": "Uploading",
    "Sending": "Sending",
    "Asking what became of it": "Asking What Became of It",
    "Generating": "Generating",
    "Downloading": "Downloading",
    "Cancelling": "Cancelling",
    # the picture itself onto the texture
    "Projecting the picture": "Projecting the Picture",
    # the draft
    "mask": "Cutting Out",
    "height": "Shaping",
    "mesh": "Building the Mesh",
    "texture": "Painting",
    "material": "Painting",
    "glb": "Writing the File",
    # the model
    "Fetching the model": "Fetching the Model",
    "Loading the model": "Loading the Model",
    "Looking at the image": "Looking at the Image",
    "Finding the rough shape": "Finding the Rough Shape",
    "Shaping": "Shaping",
    "Refining the voxels": "Refining the Voxels",
    "Shaping in detail": "Shaping in Detail",
    "Reading the shape": "Reading the Shape",
    "Painting": "Painting",
    "Building the surface": "Building the Surface",
    "Colouring the surface": "Colouring the Surface",
    "Building the mesh": "Building the Mesh",
    "Decoding": "Decoding",
    "Writing the file": "Writing the File",
    # remeshing and rebaking
    "Reading the objects": "Reading the Objects",
    "Baking procedural materials": "Baking Procedural Materials",
    "Exporting": "Exporting",
    # finishing
    "voxels": "Making Voxels",
    "colours": "Reading Colours",
    "clean": "Cleaning the Mesh",
    "remesh": "Remeshing",
    "simplify": "Simplifying",
    "unwrap": "Unwrapping",
    "bake": "Baking Textures",
    "encode": "Packing Textures",
    "quality": "Checking the Result",
}
# What is done to what a line names, by the job's kind; of an asset of a picture the name alone will do.
KINDS = {
    "mesh": "Texture {name}",
    "change": "Change {name}",
    "vary": "Vary {name}",
    "texture": "Texture {name} Again",
    "finish": "Finish {name} Again",
    "rest": "Go On with {name}",
}
_EARLY = 2.9  # height of the picture beside the bar, in rows: as much as the bar and its two lines have
_MOST_DONE = 3  # lines of what is done: more would push the selected asset out of sight
_MOST_LINES = 50  # of the others, but for those at work: drawing hundreds takes longer than a frame
# The jobs' backends -> words for people; a service of one's own is shown by its address.
BACKENDS = {"draft": "Draft", "local": "Local GPU", "remote": "Remote"}


class TRELLIS2_PT_queue(SubPanel, bpy.types.Panel):
    bl_label = "Queue"
    bl_order = 5
    bl_options: set[str] = set()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(_generations() or _exports())

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        self.layout.operator("trellis2.clear_done", text="", icon="TRASH", emboss=False)

    def draw(self, context: bpy.types.Context) -> None:
        """Each line keeps its height while it goes on: what stands below does not move."""
        done = lines = left_out = 0
        for generation in _generations():
            if generation.state == "done":
                done += 1
                if done <= _MOST_DONE:
                    self._draw_done(generation, context)
                continue
            is_at_work = generation.state == "running" and generation.share > 0
            lines += 1
            if lines > _MOST_LINES and not (is_at_work or generation.state == "choose"):
                left_out += 1
                continue
            box = self.layout.box()
            row = box.row(align=True)
            if generation.state == "running":
                _draw_running(box, row, generation)
                wrapped(box, generation.message, context)
                continue
            words = line_name(generation.name, generation.kind)
            row.label(text=words, icon=_ICONS[generation.state], translate=False)
            self._draw_buttons(row, generation)
            if generation.is_unmarked and generation.source is not None:
                wrapped(box, pgettext_iface(UNTOLD), context)
                box.operator("trellis2.mark_failed", icon="SELECT_SET").generation = generation.id
            else:
                wrapped(box, generation.message, context)
            if generation.state in ("choose", "kept") and generation.is_choice:
                draw_results(box, generation, context)
        if left_out:
            words = pgettext_iface("{count} more lines").format(count=left_out)
            self.layout.label(text=words, icon="THREE_DOTS", translate=False)
        if done > _MOST_DONE:
            words = pgettext_iface("{count} more are done").format(count=done - _MOST_DONE)
            self.layout.label(text=words, icon="CHECKMARK", translate=False)
        for export in _exports():
            box = self.layout.box()
            row = box.row(align=True)
            if export.state == "running":
                _draw_bar(box, row, export)
                continue
            row.label(text=export.name, icon=_ICONS[export.state], translate=False)
            row.operator("trellis2.forget", text="", icon="X").generation = export.id
            wrapped(box, export.message, context)

    def _draw_done(self, generation: Any, context: bpy.types.Context) -> None:
        """One line, and what there is to say of it beside its engine, which the asset itself tells."""
        column = self.layout.column(align=True)
        row = column.row(align=True)
        row.label(text=line_name(generation.name, generation.kind), icon=_ICONS["done"], translate=False)
        self._draw_buttons(row, generation)
        if generation.has_news:
            wrapped(column, generation.message, context, icon="BLANK1")

    def _draw_buttons(self, row: bpy.types.UILayout, generation: Any) -> None:
        if generation.state == "done":
            row.operator("trellis2.show", text="", icon="ZOOM_SELECTED").generation = generation.id
        if len(generation.assets) == 1 and generation.state in ("kept", "failed") and not generation.is_rough:
            row.operator("trellis2.keep_results", text="Import").generation = generation.id
        elif generation.state in ("failed", "cancelled") and generation.picture is not None:
            row.operator("trellis2.retry", text="", icon="FILE_REFRESH").generation = generation.id
            row.operator("trellis2.job_edit", text="", icon="GREASEPENCIL").job = generation.target.card
        if generation.details:
            row.operator("trellis2.copy_details", text="", icon="COPYDOWN").generation = generation.id
        row.operator("trellis2.forget", text="", icon="X").generation = generation.id


def _draw_running(box: bpy.types.UILayout, row: bpy.types.UILayout, generation: Any) -> None:
    """The picture that it is made of, or what is being made as soon as that can be seen, beside how far it is."""
    picture = generation.early or generation.picture
    icon = icon_of(f"{picture}", picture) if picture is not None else 0
    if icon or generation.has_card:  # whose picture is on its way
        left = row.column()
        if icon:
            left.template_icon(icon_value=icon, scale=_EARLY)
        else:
            left.scale_y = _EARLY
            left.label(text="", icon="IMAGE_DATA")
        box = row.column(align=True)
        row = box.row(align=True)
    _draw_bar(box, row, generation)


def _draw_bar(box: bpy.types.UILayout, row: bpy.types.UILayout, work: Any) -> None:
    """How far it is, and the button that stops it."""
    words = line_name(work.name, getattr(work, "kind", ""))  # an export has none
    row.progress(factor=work.share, text=words, translate=False)
    row.operator("trellis2.cancel", text="", icon="X").generation = work.id
    column = box.column(align=True)
    column.scale_y = 0.75
    column.label(text=stage_name(work.stage), translate=False)
    column.label(text=pace_words(work), translate=False)


def draw_results(layout: bpy.types.UILayout, generation: Any, context: bpy.types.Context) -> None:
    """The results side by side, or one of them large and from all around, to tick those that are wanted."""
    if generation.shown is None:
        grid = layout.grid_flow(row_major=True, columns=2, even_columns=True, even_rows=True, align=False)
        for number, asset in enumerate(generation.assets):
            cell = grid.column(align=True)
            picture = generation.previews.get(number)
            _draw_icon(cell, icon_of(f"{asset.path}", picture) if picture else 0, 5.0)
            row = cell.row(align=True)
            _draw_tick(row, generation, number, f"{number + 1}")
            button = row.operator("trellis2.look_at_result", text="", icon="VIEWZOOM")
            button.generation, button.result = generation.id, number
    else:
        _draw_closely(layout, generation, context)
    row = layout.row(align=True)
    picked = len(generation.picked)
    if generation.is_rough:
        words = (
            pgettext_iface("Go On with {count}").format(count=picked) if picked else pgettext_iface("Go On with All")
        )
    else:
        words = pgettext_iface("Keep {count}").format(count=picked) if picked else pgettext_iface("Keep All")
    icon = "PLAY" if generation.is_rough else "IMPORT"
    row.operator("trellis2.keep_results", text=words, icon=icon, translate=False).generation = generation.id
    row.operator("trellis2.forget", text="Drop All", icon="TRASH").generation = generation.id


def _draw_closely(layout: bpy.types.UILayout, generation: Any, context: bpy.types.Context) -> None:
    """One result as large as the sidebar is wide, with arrows to turn it and to go to the next."""
    number, count = generation.shown, len(generation.assets)
    row = layout.row(align=True)
    _draw_step(row, "trellis2.look_at_result", "TRIA_LEFT", generation, result=(number - 1) % count)
    words = pgettext_iface("Result {number} of {count}").format(number=number + 1, count=count)
    _draw_tick(row, generation, number, words)
    _draw_step(row, "trellis2.look_at_result", "TRIA_RIGHT", generation, result=(number + 1) % count)
    row.separator()
    row.operator("trellis2.look_at_all", text="", icon="IMGDISPLAY").generation = generation.id
    turns = generation.turns.get(number)
    picture = turns[generation.view] if turns else generation.previews.get(number)
    width = (context.region.width / context.preferences.system.ui_scale - 70) / 20
    _draw_icon(layout.column(), large_icon_of(picture) if picture else 0, min(max(width, 6.0), 19.2))
    row = layout.row(align=True)
    row.enabled = bool(turns)
    _draw_step(row, "trellis2.turn_result", "LOOP_BACK", generation, step=-1)
    middle = row.row(align=True)
    middle.alignment = "CENTER"
    degrees = 360 * generation.view // len(turns) if turns else 0
    middle.label(text=f"{degrees}°" if turns else pgettext_iface("Looking ..."), translate=False)
    _draw_step(row, "trellis2.turn_result", "LOOP_FORWARDS", generation, step=1)
    column = layout.column(align=True)
    fact(column, pgettext_iface("Seed"), generation.assets[number].seed, context)
    triangles = generation.triangles.get(number)
    fact(column, pgettext_iface("Triangles"), f"{triangles:,}" if triangles else "", context)


def _draw_icon(layout: bpy.types.UILayout, icon: int, scale: float) -> None:
    if icon:
        layout.template_icon(icon_value=icon, scale=scale)
    else:
        layout.label(text="", icon="IMAGE_DATA")


def _draw_tick(layout: bpy.types.UILayout, generation: Any, number: int, words: str) -> None:
    is_picked = number in generation.picked
    button = layout.operator(
        "trellis2.pick_result",
        text=words,
        icon="CHECKBOX_HLT" if is_picked else "CHECKBOX_DEHLT",
        depress=is_picked,
        translate=False,
    )
    button.generation, button.result = generation.id, number


def _draw_step(layout: bpy.types.UILayout, operator: str, icon: str, generation: Any, **values: int) -> None:
    button = layout.operator(operator, text="", icon=icon)
    button.generation = generation.id
    for name, value in values.items():
        setattr(button, name, value)


def line_name(name: str, kind: str) -> str:
    """What a job is called where it stands in a list: by what is done to what its name says."""
    words = KINDS.get(kind)
    return pgettext_iface(words).format(name=name) if words else name


def progress_words(generation: Any) -> str:
    """How far a generation, or an export, is, in one line."""
    if generation.state == "failed":
        return pgettext_iface("Failed: see the queue")
    if generation.state == "cancelled":
        return pgettext_iface("Cancelled")
    if generation.state == "ready":
        return pgettext_iface("Ready")
    if generation.state == "choose" and generation.is_rough:
        return pgettext_iface("{count} rough shapes: choose in the queue").format(count=len(generation.assets))
    if generation.state == "choose":
        return pgettext_iface("{count} results: choose in the queue").format(count=len(generation.assets))
    return ", ".join(filter(None, (stage_name(generation.stage), pace_words(generation))))


def pace_words(generation: Any) -> str:
    """How far it is and how long it will still take, as far as that is known."""
    words = [f"{generation.share:.0%}"] if generation.share > 0 else []
    left = generation.seconds_left
    if left is not None:
        words.append(pgettext_iface("{time} left").format(time=duration(left)))
    return ", ".join(words)


def stage_name(stage: str) -> str:
    """What an engine calls a stage of its work, as a word for people; what is not known is shown as it is."""
    return pgettext_iface(STAGES[stage]) if stage in STAGES else translate(stage)


def backend_name(backend: str) -> str:
    """Where a job was sent to, as a word for people; a service of one's own by its address."""
    return pgettext_iface(BACKENDS[backend]) if backend in BACKENDS else without_login(backend)


class TRELLIS2_PT_history(SubPanel, bpy.types.Panel):
    bl_label = "History"
    bl_order = 7

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        self.layout.operator("trellis2.history_refresh", text="", icon="FILE_REFRESH", emboss=False)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        known = _known()
        for notice in known.notices[-3:] if known else ():
            wrapped(layout, notice, context, icon="ERROR", alert=True)
        if known:
            layout.prop(context.window_manager, "trellis2_search", text="", icon="VIEWZOOM")
        for job in known.foreign if known else ():
            _draw_foreign(layout.box().column(), job, context)
        if known and known.search and not (known.jobs or known.foreign):
            layout.label(text="None is named so", icon="INFO")
        for job in known.jobs if known else ():
            split = layout.box().split(factor=0.22)
            if thumbnail := icon_of(job.uuid, job.thumbnail):
                split.template_icon(icon_value=thumbnail, scale=2.6)
            else:
                split.label(icon="IMAGE_DATA")
            box = split.column()
            row = box.row(align=True)
            words = line_name(job.name, known.kinds.get(job.uuid, ""))
            row.label(text=words, translate=False, icon=_ICONS.get(job.state, "SORTTIME"))
            row.operator("trellis2.job_import", text="", icon="IMPORT", emboss=False).job = job.uuid
            row.operator("trellis2.job_menu", text="", icon="DOWNARROW_HLT", emboss=False).job = job.uuid
            for line in (_date(job), _results_line(job), _job_line(job)):
                wrapped(box, line, context, 0.75)
            if job.error:
                wrapped(box, job.error, context, 0.75)
        if known:
            for period, amount in known.spent.items():
                layout.label(text=spent_line(period, amount, known.limits.get(period)), translate=False)
        layout.operator("trellis2.job_fetch", icon="IMPORT")


def _draw_foreign(layout: bpy.types.UILayout, job: Any, context: bpy.types.Context) -> None:
    """A job that this version cannot read: what is known of it, and the way to its asset."""
    row = layout.row(align=True)
    row.label(text=job.name, translate=False, icon="QUESTION")
    if job.is_paid:
        button = row.operator("trellis2.job_fetch", text="", icon="IMPORT", emboss=False)
        button.uuid, button.backend = job.uuid, job.backend
    cost = pgettext_iface("{cost} US dollars").format(cost=f"{job.cost:.4f}") if job.cost else ""
    where = ", ".join(filter(None, (backend_name(job.backend), cost)))
    words = pgettext_iface("Made by another version, or damaged")
    if job.is_of_other_version:
        words = pgettext_iface("Made by version {version}: update this one to see all of it").format(
            version=job.written_by
        )
    for line in (_date(job), where, words):
        wrapped(layout, line, context, 0.75)


def refused_fields() -> set[str]:
    """The paths of the settings that a service has refused; their rows are shown in red."""
    return {generation.refused_field for generation in _generations() if generation.state == "failed"} - {""}


def _generations() -> list[Any]:
    """The queue, if anything was ever generated: drawing alone loads nothing."""
    queue = loaded("scene.queue")
    return queue.generations() if queue else []


def _exports() -> list[Any]:
    """What is written out of the scene, if anything ever was."""
    exports = loaded("scene.exports")
    return exports.exports() if exports else []


def _known() -> Any:
    history = loaded("scene.history")
    return history.known if history else None


def _date(job: Any) -> str:
    """When it was begun, by the clock on the wall."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(job.created))
    except (OverflowError, ValueError, OSError):  # a clock that was wrong, and a system that knows no such year
        return ""


def _results_line(job: Any) -> str:
    """How many results it has, and with which seed: the first one's, from which the others count."""
    count = len(job.assets) or job.settings.value("number_results")
    results = pgettext_iface("1 result") if count == 1 else pgettext_iface("{count} results").format(count=count)
    seed = job.assets[0].seed if job.assets else job.settings.get("seed")
    words = pgettext_iface("seed {seed}").format(seed=seed) if seed is not None else ""
    return ", ".join(filter(None, (results, words)))


def _job_line(job: Any) -> str:
    seconds = duration(job.duration) if job.duration is not None else ""
    # nought is not free: it may not be told yet
    cost = pgettext_iface("{cost} US dollars").format(cost=f"{job.cost:.4f}") if job.is_paid and job.cost else ""
    return ", ".join(filter(None, (pgettext_iface(STATES[job.state]), backend_name(job.backend), seconds, cost)))


register, unregister = bpy.utils.register_classes_factory((TRELLIS2_PT_queue, TRELLIS2_PT_history))
