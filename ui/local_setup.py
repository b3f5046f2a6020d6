"""The local backend in the preferences: from what this computer has to a running worker, and back out again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import bpy
from bpy.app.translations import pgettext_iface

from ..addon.loaded import loaded, worker_status
from ..addon.local_properties import choices
from ..addon.local_words import (
    computer_lines,
    group_words,
    needs_words,
    room_words,
    step_words,
    weights_words,
    worker_words,
)
from ..addon.preferences import preferences
from ..addon.variables import LOCAL_FOLDER, LOCAL_PYTHON, WEIGHTS
from ..trellis_addon.core.sizes import size_words
from .layout import wrapped

if TYPE_CHECKING:
    from ..addon.preferences import Preferences
    from ..trellis_addon.scene.background import Work
    from ..trellis_addon.scene.setup.local_setup import Setup, WeightsGroup

_SHARE = 0.94  # of the region's width, inside a box
_GROUP_ICONS = {"complete": "CHECKMARK", "damaged": "ERROR"}


def draw(layout: bpy.types.UILayout, stored: Any, context: bpy.types.Context) -> None:
    """The whole page. Where nobody has looked at this computer yet, that is asked for."""
    setup = loaded("scene.setup.local_setup")
    found = setup.known() if setup else None
    if found is None:
        look_soon()
        layout.label(text="Looking at This Computer ...", icon="SORTTIME")
        return
    is_busy = loaded("scene.setup.local_work").is_running()
    _draw_computer(layout, stored, found, is_busy, context)
    if found.is_ready and not loaded("scene.setup.local_work").is_running("install"):
        _draw_weights(layout, stored, found, is_busy, context)
        _draw_worker(layout, found, is_busy, context)
    else:
        _draw_install(layout, stored, found, is_busy, context)
    _draw_doctor(layout, found, is_busy, context)
    if not loaded("scene.setup.local_work").is_running("install"):
        _draw_remove(layout, found, is_busy, context)


def look_soon() -> None:
    """Have the computer looked at as soon as the drawing is over, which itself must not do anything."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_look):
        bpy.app.timers.register(_look, first_interval=0.0)


def _look() -> None:
    from ..trellis_addon.scene.setup import local_setup

    stored = preferences()
    if stored is not None and not local_setup.is_looking():
        local_setup.look_later(choices(stored))


def _draw_computer(
    layout: bpy.types.UILayout, stored: Preferences, found: Setup, is_busy: bool, context: bpy.types.Context
) -> None:
    """What there is to run on, and where everything goes."""
    box = _box(layout, pgettext_iface("This Computer"))
    for number, (text, icon) in enumerate(computer_lines(found)):
        row = box.row(align=True)
        wrapped(row, text, context, 0.88 if number == 0 else _SHARE, icon=icon)
        if number == 0:
            row.operator("trellis2.local_look", text="", icon="FILE_REFRESH", emboss=False)
    column = _fields(box)
    row = column.row()
    row.enabled = not is_busy and not LOCAL_FOLDER.is_given()
    row.prop(stored, "local_folder", placeholder=str(found.folder.root))
    root = str(found.folder.root)
    if LOCAL_FOLDER.is_given():
        text = pgettext_iface("The environment says {folder}").format(folder=root)
        wrapped(box, text, context, _SHARE, icon="INFO")
    elif stored.local_folder.strip() and root.startswith(
        os.path.join(os.path.abspath(bpy.path.abspath(stored.local_folder)), "")
    ):
        text = pgettext_iface("Other things are in that folder, so that this one in it is used: {folder}")
        wrapped(box, text.format(folder=root), context, _SHARE, icon="INFO")
    if found.is_outdated:
        text = pgettext_iface("The packages are of another build or version than they should be")
        wrapped(box, text, context, _SHARE, icon="INFO")
        box.operator("trellis2.local_install", text="Update Packages", icon="FILE_REFRESH").weights = False
    _draw_expert(box, stored, found, is_busy, context)


def _draw_expert(
    box: bpy.types.UILayout, stored: Preferences, found: Setup, is_busy: bool, context: bpy.types.Context
) -> None:
    row = box.row()
    row.alignment = "LEFT"
    is_open = stored.show_local_expert
    row.prop(stored, "show_local_expert", icon="TRIA_DOWN" if is_open else "TRIA_RIGHT", emboss=False)
    if not is_open:
        return
    column = _fields(box)
    column.enabled = not is_busy
    column.prop(stored, "local_build")
    column.prop(stored, "local_wheels", placeholder=pgettext_iface("From the package index"))
    for name, variable in (("local_python", LOCAL_PYTHON), ("weights", WEIGHTS)):
        row = column.row()
        row.enabled = not variable.is_given()
        row.prop(stored, name)


def _draw_install(
    layout: bpy.types.UILayout, stored: Preferences, found: Setup, is_busy: bool, context: bpy.types.Context
) -> None:
    """One button for everything that is missing, and over it what has to be said first."""
    box = _box(layout, pgettext_iface("Installation"))
    work = loaded("scene.setup.local_work").current("install")
    if _is_at_work(box, work, context):
        return
    is_begun = found.state is not None and not found.state.complete
    for note in found.plan.notes if found.plan else ():
        wrapped(box, note, context, _SHARE, icon="BLANK1")
    for obstacle in found.plan.obstacles if found.plan else ():
        wrapped(box, obstacle, context, _SHARE, icon="ERROR")
    if found.problem:
        wrapped(box, found.problem, context, _SHARE, icon="ERROR")
    column = _fields(box)
    column.enabled = not is_busy
    _draw_source(column, stored)
    _draw_terms(box, stored, found)
    wrapped(box, needs_words(found, bool(stored.local_wheels.strip())), context, _SHARE, icon="INFO")
    _draw_room(box, found, context)
    if _is_offline(stored, found):
        wrapped(box, pgettext_iface("Online access is off"), context, _SHARE, icon="ERROR")
        box.operator("trellis2.online_access", icon="PREFERENCES")
    label = pgettext_iface("Install and Download")
    if work is not None and work.state == "failed":
        label = pgettext_iface("Try Again")
    elif is_begun:
        label = pgettext_iface("Go On")
    row = box.row(align=True)
    row.scale_y = 1.4
    row.operator("trellis2.local_install", text=label, translate=False, icon="IMPORT")


def _draw_source(column: bpy.types.UILayout, stored: Preferences) -> None:
    """What is to be made at, and where its weights come from."""
    row = column.row(align=True)
    row.prop(stored, "local_resolutions", expand=True)
    column.prop(stored, "local_mask")
    column.prop(stored, "local_source")
    if stored.local_source == "MIRROR":
        column.prop(stored, "local_mirror", placeholder="http://files.studio/trellis2")
    elif stored.local_source == "FOLDER":
        column.prop(stored, "local_copy")


def _draw_terms(box: bpy.types.UILayout, stored: Preferences, found: Setup) -> None:
    """The terms that have to be accepted before the weights are fetched, until they are."""
    if found.terms:
        row = box.split(factor=0.7, align=True)
        row.prop(stored, "accept_dinov3")
        row.operator("trellis2.local_licence", text="Read It...", icon="URL").address = found.terms


def _draw_room(box: bpy.types.UILayout, found: Setup, context: bpy.types.Context) -> None:
    if text := room_words(found):
        wrapped(box, text, context, _SHARE, icon="ERROR")


def _is_at_work(box: bpy.types.UILayout, work: Work | None, context: bpy.types.Context) -> bool:
    """Draw how far the work is, or what it failed of; whether it goes on, and there is nothing else to show."""
    if work is None:
        return False
    if work.state == "failed":
        wrapped(box, work.message, context, _SHARE, icon="ERROR", alert=True)
    elif work.state == "running":
        _draw_work(box, work, context)
    return work.state == "running"


def _draw_work(box: bpy.types.UILayout, work: Work, context: bpy.types.Context) -> None:
    """How far it is, and the button that stops it."""
    row = box.row(align=True)
    row.progress(factor=work.share, text=f"{work.share:.0%}", translate=False)
    row.operator("trellis2.local_cancel", text="", icon="X")
    words = pgettext_iface("Cancelling") if work.is_stopping else step_words(work.stage)
    wrapped(box, words, context, _SHARE, icon="SORTTIME")


def _draw_weights(
    layout: bpy.types.UILayout, stored: Preferences, found: Setup, is_busy: bool, context: bpy.types.Context
) -> None:
    box = _box(layout, pgettext_iface("Weights"))
    if found.own_weights:
        text = pgettext_iface("Your own are used: {folder}").format(folder=found.own_weights)
        wrapped(box, text, context, _SHARE, icon="CHECKMARK")
        return
    column = _fields(box)
    column.enabled = not is_busy
    _draw_source(column, stored)
    table = box.column(align=True)
    for line in found.weights:
        _draw_group(table, line, is_busy)
    for line in found.weights:
        if line.problem:
            wrapped(box, line.problem, context, _SHARE, icon="ERROR")
    if found.origins:
        text = pgettext_iface("From {names}").format(names=", ".join(found.origins))
        wrapped(box, ". ".join((text, *found.credits)), context, _SHARE, icon="BLANK1")
    work = loaded("scene.setup.local_work").current("install", "weights", "remove_weights")
    if _is_at_work(box, work, context):
        return
    if found.has_weights:
        return
    _draw_terms(box, stored, found)
    _draw_room(box, found, context)
    if _is_offline(stored, found):
        wrapped(box, pgettext_iface("Online access is off"), context, _SHARE, icon="ERROR")
        box.operator("trellis2.online_access", icon="PREFERENCES")
    text = pgettext_iface("Download {size}").format(size=size_words(found.to_fetch))
    if work is not None and work.state in ("failed", "cancelled"):
        text = pgettext_iface("Go On")
    row = box.row()
    row.scale_y = 1.4
    row.operator("trellis2.local_weights", text=text, translate=False, icon="IMPORT")


def _draw_group(table: bpy.types.UILayout, line: WeightsGroup, is_busy: bool) -> None:
    """One line of the table: what, how large, under which licence, whether it is here."""
    row = table.row(align=True)
    split = row.split(factor=0.46, align=True)
    icon = _GROUP_ICONS.get(line.state) or ("IMPORT" if line.is_needed else "BLANK1")
    split.label(text=group_words(line.label), translate=False, icon=icon)
    split = split.split(factor=0.2, align=True)
    split.label(text=size_words(line.size), translate=False)
    split = split.split(factor=0.5, align=True)
    split.operator("trellis2.local_licence", text=line.licence, translate=False, emboss=False).address = line.address
    split.label(text=weights_words(line), translate=False)
    remove = row.row(align=True)
    remove.enabled = line.here > 0 and not is_busy
    remove.operator("trellis2.local_remove_weights", text="", icon="TRASH", emboss=False).group = line.group


def _draw_worker(layout: bpy.types.UILayout, found: Setup, is_busy: bool, context: bpy.types.Context) -> None:
    box = _box(layout, pgettext_iface("Worker"))
    for text, icon in worker_words(worker_status()):
        wrapped(box, text, context, _SHARE, icon=icon)
    work = loaded("scene.setup.local_work").current("worker")
    if work is not None and work.state == "failed":
        wrapped(box, work.message, context, _SHARE, icon="ERROR", alert=True)
    row = box.row(align=True)
    row.operator("trellis2.worker_start", icon="PLAY")
    row.operator("trellis2.worker_stop", icon="SNAP_FACE")


def _draw_doctor(layout: bpy.types.UILayout, found: Setup, is_busy: bool, context: bpy.types.Context) -> None:
    box = _box(layout, pgettext_iface("Doctor"))
    if _is_at_work(box, loaded("scene.setup.local_work").current("doctor"), context):
        return
    report = loaded("scene.setup.local_setup").report()
    if report is not None:
        if not report.problems:
            wrapped(box, pgettext_iface("Nothing is wrong"), context, _SHARE, icon="CHECKMARK")
        for problem in report.problems:
            wrapped(box, problem.what, context, _SHARE, icon="ERROR")
            wrapped(box, problem.cure, context, _SHARE, icon="BLANK1")
    row = box.row(align=True)
    row.operator("trellis2.local_doctor", icon="VIEWZOOM")
    row.operator("trellis2.local_copy_report", icon="COPYDOWN")


def _draw_remove(layout: bpy.types.UILayout, found: Setup, is_busy: bool, context: bpy.types.Context) -> None:
    work = loaded("scene.setup.local_work").current("remove")
    if found.state is None and work is None:
        return
    box = _box(layout, pgettext_iface("Removing It Again"))
    if work is not None and work.state == "running":
        _draw_work(box, work, context)
        return
    if work is not None:
        text = work.message
        if work.state == "done":
            freed = size_words(loaded("scene.setup.local_setup").freed())
            text = pgettext_iface("{size} were freed").format(size=freed)
        wrapped(box, text, context, _SHARE, icon="CHECKMARK" if work.state == "done" else "ERROR")
    if found.state is None:
        return
    text = pgettext_iface("{size} in {folder}").format(size=size_words(found.used), folder=found.folder.root)
    wrapped(box, text, context, _SHARE, icon="BLANK1")
    box.operator("trellis2.local_remove", icon="TRASH")


def _is_offline(stored: Preferences, found: Setup) -> bool:
    """Whether what is missing has to come over the net, and may not."""
    if bpy.app.online_access:
        return False
    needs_packages = not found.is_ready and not stored.local_wheels.strip()
    return needs_packages or (not found.has_weights and stored.local_source != "FOLDER")


def _box(layout: bpy.types.UILayout, heading: str) -> bpy.types.UILayout:
    box = layout.box()
    box.label(text=heading, translate=False)
    return box


def _fields(box: bpy.types.UILayout) -> bpy.types.UILayout:
    column = box.column()
    column.use_property_split = True
    column.use_property_decorate = False
    return column


def unregister() -> None:
    if bpy.app.timers.is_registered(_look):
        bpy.app.timers.unregister(_look)


def register() -> None:
    pass
