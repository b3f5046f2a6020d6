"""The page of the extension in Blender's preferences."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface

from ..addon.loaded import loaded
from ..addon.name import EXTENSION
from ..addon.preferences import (
    Preferences,
    preferences,
    remote_key_source,
    reset_library,
    service_url,
    tell_library_all,
)
from ..addon.service_answers import answer_of, machines_of
from ..addon.variables import DATA_FOLDER
from ..trellis_addon.core.keys import has_keyring
from ..trellis_addon.scene.words import translate
from . import local_setup, rebake

KEY_SITE = "https://runware.ai/"  # where accounts and keys are made


class TRELLIS2_AP_preferences(Preferences, bpy.types.AddonPreferences):
    bl_idname = EXTENSION

    def draw(self, context: bpy.types.Context) -> None:
        self.layout.row().prop(self, "page", expand=True)
        help_row = self.layout.row(align=True)
        help_row.operator("trellis2.manual", icon="HELP")
        help_row.operator("trellis2.copy_fault_report", icon="COPYDOWN")
        if self.page == "LOCAL":
            rebake.draw_packages(self.layout.box().column(), context)
            local_setup.draw(self.layout, self, context)
            return
        pages = {
            "REMOTE": (self._draw_remote,),
            "SERVICE": (self._draw_service,),
            "ASSETS": (self._draw_placement, self._draw_library),
            "FILES": (self._draw_files,),
        }
        for draw in pages[self.page]:
            column = self.layout.box().column()
            column.use_property_split = True
            column.use_property_decorate = False
            draw(column, context)

    def _draw_remote(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        layout.prop(self, "api_key")
        layout.operator("wm.url_open", text="Get a Key at runware.ai", icon="URL").url = KEY_SITE
        source = remote_key_source()
        if source not in ("", "preferences"):
            text = pgettext_iface("The key from the environment is used")
            if source == "keyring":
                text = pgettext_iface("The key from the system's keyring is used")
            layout.label(text=text, translate=False, icon="CHECKMARK")
        row = layout.row(align=True)
        row.operator("trellis2.test_key", icon="KEYINGSET")
        if has_keyring():
            row.operator("trellis2.key_to_keyring")
        row.operator("trellis2.spending_limit")
        history = loaded("scene.history")
        if history is None:
            return
        if history.known.account:
            layout.label(text=translate(history.known.account), translate=False)
        for period, amount in history.known.spent.items():
            limit = history.known.limits.get(period)
            layout.label(text=spent_line(period, amount, limit), translate=False, icon="BLANK1")

    def _draw_service(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        layout.prop(self, "service_url", placeholder="http://gpu-box:8000/v1")
        layout.prop(self, "service_token")
        row = layout.row()
        row.enabled = bool(service_url())
        row.operator("trellis2.test_service", icon="URL")
        answer, icon = answer_of(service_url())
        if answer:
            layout.label(text=translate(answer), translate=False, icon=icon)
        for machine in machines_of(service_url()):
            layout.label(text=translate(machine), translate=False, icon="BLANK1")

    def _draw_placement(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        layout.prop(self, "height")
        layout.prop(self, "drop_place")
        layout.prop(self, "collection", placeholder="The scene's own")

    def _draw_library(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        layout.prop(self, "auto_mark")
        layout.prop(self, "asset_library")
        layout.prop(self, "asset_catalog")

    def _draw_files(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        from ..trellis_addon.core.folders import default_folder

        row = layout.row()
        row.enabled = not DATA_FOLDER.is_given()
        row.prop(self, "data_folder", placeholder=str(default_folder()))
        folder = str(default_folder())
        if DATA_FOLDER.is_given():
            text = pgettext_iface("The environment says {folder}").format(folder=folder)
            layout.label(text=text, translate=False, icon="INFO")
        row = layout.row(align=True)
        row.operator("trellis2.folder_open", icon="FILE_FOLDER")
        row.operator("trellis2.folder_measure", icon="FILE_REFRESH")
        storage = loaded("scene.setup.storage")
        if storage and storage.known.folder == folder:
            text = pgettext_iface("{size} in {count} jobs").format(size=storage.known, count=storage.known.jobs)
            layout.label(text=text, translate=False, icon="BLANK1")
        layout.prop(self, "assistants")
        door = loaded("scene.door.open")
        if door is not None and door.is_open():
            text = pgettext_iface("Assistants of yours can work in this scene")
            layout.label(text=text, translate=False, icon="UNLOCKED")
        layout.prop(self, "log_level")
        layout.prop(self, "show_developer")


def spent_line(period: str, amount: float, limit: float | None) -> str:
    """What was spent in a period, and the limit where there is one, in words."""
    values = {"amount": f"{amount:.2f}", "limit": f"{limit or 0.0:.2f}"}
    if period == "day":
        if limit is None:
            return pgettext_iface("Spent today: {amount} US dollars").format(**values)
        return pgettext_iface("Spent today: {amount} of {limit} US dollars").format(**values)
    if limit is None:
        return pgettext_iface("Spent this month: {amount} US dollars").format(**values)
    return pgettext_iface("Spent this month: {amount} of {limit} US dollars").format(**values)


_classes = (TRELLIS2_AP_preferences,)


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)
    stored = preferences()
    if stored is not None:
        tell_library_all(stored)


def unregister() -> None:
    reset_library()
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
