"""Remesh and Rebake where a mesh is selected, and the packages that it needs, until they are here."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.app.translations import pgettext_iface

from ..addon.local_words import step_words
from ..trellis_addon.core.sizes import size_words
from .layout import SubPanel, wrapped

_BUDGETS = {"hero": "Hero", "prop": "Prop", "mobile": "Mobile", "background": "Background"}


class TRELLIS2_PT_mesh(SubPanel, bpy.types.Panel):
    bl_label = "Selected Mesh"
    bl_order = 6
    bl_options: set[str] = set()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        obj = context.object
        return obj is not None and obj.type == "MESH" and "trellis2_provenance" not in obj and obj.select_get()

    def draw(self, context: bpy.types.Context) -> None:
        draw_budgets(self.layout)
        draw_texturing(self.layout, context)
        draw_rebake(self.layout, context)


def draw_texturing(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The button that textures the mesh, and the one back to its former material where there is one."""
    from ..trellis_addon.scene.texturing.former import has_former

    row = layout.row(align=True)
    row.operator("trellis2.texture_mesh", text="Texture from Picture...", icon="BRUSH_DATA")
    if has_former(context.object):
        row.operator("trellis2.former_material", text="", icon="LOOP_BACK")


def draw_rebake(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The button, or what has to be got first."""
    from ..trellis_addon.runtime.child import has_finishing

    if has_finishing() and _running() is None:
        layout.operator("trellis2.rebake", text="Remesh and Rebake...", icon="MOD_REMESH")
        return
    row = layout.row()
    row.enabled = False
    row.operator("trellis2.rebake", text="Remesh and Rebake...", icon="MOD_REMESH")
    _draw_getting(layout, context)


def draw_budgets(layout: bpy.types.UILayout) -> None:
    """A button for each budget of a game; they ask for the packages where these are not here."""
    from ..trellis_addon.contract.budgets import BUDGETS

    column = layout.column(align=True)
    column.label(text="Game Ready", icon="MESH_ICOSPHERE")
    grid = column.grid_flow(row_major=True, columns=2, even_columns=True, align=True)
    for name, budget in BUDGETS.items():
        count = f"{budget.faces // 1000}k" if budget.faces >= 1000 else f"{budget.faces}"
        grid.operator(
            "trellis2.game_ready", text=f"{pgettext_iface(_BUDGETS[name])} {count}", translate=False
        ).budget = name


def draw_packages(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """For the preferences: whether the packages are here, and the way to get or remove them."""
    from ..trellis_addon.runtime.child import has_finishing
    from ..trellis_addon.runtime.layout import finishing_folder

    layout.label(text="Remesh and Rebake")
    if _running() is not None or not has_finishing():
        _draw_getting(layout, context)
        return
    if not finishing_folder().is_installed:
        layout.label(text="The local backend's packages are used", icon="CHECKMARK")
        return
    found = _found()
    if found is not None:
        text = pgettext_iface("{size} in {folder}").format(size=size_words(found.used), folder=found.folder)
        wrapped(layout, text, context, 0.94, icon="CHECKMARK")
    layout.operator("trellis2.finishing_remove", icon="TRASH")


def _draw_getting(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """How far it is; or what failed, how large it is, and the button."""
    from ..trellis_addon.scene.setup import finishing_setup, local_work

    column = layout.column(align=True)
    work = local_work.current(finishing_setup.INSTALL, finishing_setup.REMOVE)
    if work is not None and work.state == "running":
        row = column.row(align=True)
        row.progress(factor=work.share, text=f"{work.share:.0%}", translate=False)
        row.operator("trellis2.local_cancel", text="", icon="X")
        words = pgettext_iface("Cancelling") if work.is_stopping else step_words(work.stage)
        wrapped(column, words, context, 0.94, icon="SORTTIME")
        return
    if work is not None and work.state == "failed":
        wrapped(column, work.message, context, 0.94, icon="ERROR", alert=True)
    found = _found()
    if found is None:
        return
    if found.obstacle:
        wrapped(column, found.obstacle, context, 0.94, icon="ERROR")
        return
    text = pgettext_iface("It needs packages that are downloaded once: {size}, without PyTorch")
    wrapped(column, text.format(size=size_words(found.download)), context, 0.94, icon="INFO")
    if not bpy.app.online_access:
        wrapped(column, pgettext_iface("Online access is off"), context, 0.94, icon="ERROR")
        column.operator("trellis2.online_access", icon="PREFERENCES")
        return
    column.operator("trellis2.finishing_install", text="Get Packages...", icon="IMPORT")


def _running() -> Any:
    from ..trellis_addon.scene.setup import finishing_setup, local_work

    work = local_work.current(finishing_setup.INSTALL, finishing_setup.REMOVE)
    return work if work is not None and work.state == "running" else None


def _found() -> Any:
    """What is known of the packages; where nobody has looked, that is asked for, as drawing itself must not do it."""
    from ..trellis_addon.scene.setup import finishing_setup

    if finishing_setup.known() is None and not bpy.app.timers.is_registered(_look):
        bpy.app.timers.register(_look, first_interval=0.0)
    return finishing_setup.known()


def _look() -> None:
    from ..trellis_addon.scene.setup import finishing_setup

    finishing_setup.look_later()


def register() -> None:
    bpy.utils.register_class(TRELLIS2_PT_mesh)


def unregister() -> None:
    if bpy.app.timers.is_registered(_look):
        bpy.app.timers.unregister(_look)
    bpy.utils.unregister_class(TRELLIS2_PT_mesh)
