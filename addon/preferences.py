"""The extension's preferences: the key, the service, and how the artist likes things. Nothing of it is in a .blend."""

from __future__ import annotations

import sys
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface
from bpy.props import BoolProperty, EnumProperty, FloatProperty, StringProperty

from .. import __package__ as base_package
from ..trellis_addon.client.keys import find_key
from ..trellis_addon.core.errors import FieldError
from ..trellis_addon.scene.words import said
from ..ui import local_setup
from . import logs
from .local_properties import LocalProperties, tell_library
from .variables import DATA_FOLDER, LOCAL_FOLDER, LOCAL_PYTHON, WEIGHTS

# The scene's choice of where to run -> the page that it is set up on.
PAGE_OF = {"draft": "LOCAL", "local": "LOCAL", "remote": "REMOTE", "service": "SERVICE"}


def _library_items(self: Any, context: bpy.types.Context | None) -> list[tuple[str, str, str]]:
    global _kept_items  # Blender does not keep the strings alive itself
    _kept_items = [("LOCAL", "Current File", "New assets are marked in the .blend that they are in")]
    libraries = bpy.context.preferences.filepaths.asset_libraries
    _kept_items += [(library.name, library.name, library.path) for library in libraries if library.name]
    return _kept_items


_kept_items: list[tuple[str, str, str]] = []


# Functions, and no lambdas: what Blender makes of an annotation has not this module's names.
def _use_data_folder(self: TRELLIS2_AP_preferences, context: bpy.types.Context) -> None:
    DATA_FOLDER.use(bpy.path.abspath(self.data_folder))


def _set_log_level(self: TRELLIS2_AP_preferences, context: bpy.types.Context) -> None:
    logs.set_level(self.log_level)


class TRELLIS2_AP_preferences(LocalProperties, bpy.types.AddonPreferences):
    bl_idname = base_package

    page: EnumProperty(  # type: ignore[valid-type]
        name="Page",
        items=[
            ("LOCAL", "Local GPU", "TRELLIS.2 on this computer"),
            ("REMOTE", "Remote API", "TRELLIS.2 at Runware: the key, and what may be spent"),
            ("SERVICE", "Your Service", "At an address of your own, such as a studio's computer with a large card"),
            ("ASSETS", "New Assets", "How they come to stand, and where they are kept"),
            ("FILES", "Files", "Where jobs and their files are kept"),
        ],
    )

    api_key: StringProperty(  # type: ignore[valid-type]
        name="API Key",
        description="Your Runware API key; empty takes the environment variable RUNWARE_API_KEY",
        subtype="PASSWORD",
    )
    service_url: StringProperty(  # type: ignore[valid-type]
        name="Service", description="Address of a service of your own, such as http://gpu-box:8000/v1"
    )
    service_token: StringProperty(  # type: ignore[valid-type]
        name="Token", description="The token that your service was started with", subtype="PASSWORD"
    )
    data_folder: StringProperty(  # type: ignore[valid-type]
        name="Data Folder",
        description="Where jobs and their files are kept, even without the extension; empty takes your data folder",
        subtype="DIR_PATH",
        update=_use_data_folder,
    )
    height: FloatProperty(  # type: ignore[valid-type]
        name="Height",
        description="How tall new assets stand, in scenes where no other height is set",
        default=1.0,
        min=0.001,
        max=1000.0,
        unit="LENGTH",
    )
    drop_place: EnumProperty(  # type: ignore[valid-type]
        name="Dropped Pictures",
        description="Where the asset of a picture comes to stand that is dropped onto the viewport",
        items=[
            ("POINTER", "Where Dropped", "On the surface, or the ground, under the mouse"),
            ("CURSOR", "At 3D Cursor", "At the 3D cursor, wherever the picture was dropped"),
        ],
    )
    collection: StringProperty(  # type: ignore[valid-type]
        name="Collection",
        description="Collection that new assets come into, made when it is needed; empty takes the scene's own",
    )
    auto_mark: BoolProperty(  # type: ignore[valid-type]
        name="Mark as Asset", description="Mark each new asset for the Asset Browser, with preview, tags and licence"
    )
    asset_library: EnumProperty(  # type: ignore[valid-type]
        name="Library", description="The asset library that new assets are kept in", items=_library_items
    )
    asset_catalog: StringProperty(  # type: ignore[valid-type]
        name="Catalog", description="The catalog that new assets are filed under", default="TRELLIS.2"
    )
    log_level: EnumProperty(  # type: ignore[valid-type]
        name="Console Shows",
        description="What this extension writes to the console",
        items=logs.LEVELS,
        update=_set_log_level,
    )

    def draw(self, context: bpy.types.Context) -> None:
        self.layout.row().prop(self, "page", expand=True)
        if self.page == "LOCAL":
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
        source = remote_key_source()
        if source not in ("", "preferences"):
            text = pgettext_iface("The key from the environment is used")
            if source == "keyring":
                text = pgettext_iface("The key from the system's keyring is used")
            layout.label(text=text, translate=False, icon="CHECKMARK")
        row = layout.row(align=True)
        row.operator("trellis2.test_key", icon="KEYINGSET")
        row.operator("trellis2.key_to_keyring")
        row.operator("trellis2.spending_limit")
        history = _history()
        if history is None:
            return
        if history.known.account:
            layout.label(text=said(history.known.account), translate=False)
        for period, amount in history.known.spent.items():
            limit = history.known.limits.get(period)
            layout.label(text=spent_line(period, amount, limit), translate=False, icon="BLANK1")

    def _draw_service(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        layout.prop(self, "service_url", placeholder="http://gpu-box:8000/v1")
        layout.prop(self, "service_token")
        row = layout.row()
        row.enabled = bool(self.service_url.strip())
        row.operator("trellis2.test_service", icon="URL")
        service = sys.modules.get(f"{base_package}.operators.service")
        answer, icon = service.answer_of(self.service_url.strip()) if service else ("", "NONE")
        if answer:
            layout.label(text=said(answer), translate=False, icon=icon)

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
        storage = sys.modules.get(f"{base_package}.trellis_addon.scene.storage")
        if storage and storage.known.folder == folder:
            text = pgettext_iface("{size} in {count} jobs").format(size=storage.known, count=storage.known.jobs)
            layout.label(text=text, translate=False, icon="BLANK1")
        layout.prop(self, "log_level")


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


def _history() -> Any:
    """What is known of money and account, if anything was ever asked: drawing alone loads nothing."""
    return sys.modules.get(f"{base_package}.trellis_addon.scene.history")


def preferences() -> TRELLIS2_AP_preferences | None:
    addon = bpy.context.preferences.addons.get(base_package)
    return addon.preferences if addon else None


def service_url() -> str:
    """The address of a service of one's own; empty where none is entered."""
    stored = preferences()
    return stored.service_url.strip() if stored else ""


def remote_key_source() -> str:
    """Where the key of the remote API comes from: "preferences", "environment", "keyring", or empty."""
    stored = preferences()
    _, source = find_key(stored.api_key if stored else "")
    return "preferences" if source == "given" else source


def backend_of(choice: str):  # type: ignore[no-untyped-def]
    """The library's `Backend` for the panel's choice, with the key or token that belongs to it."""
    from ..trellis_addon.client.backends import Backend

    stored = preferences()
    online = bpy.app.online_access
    if choice == "service":
        if not (stored and stored.service_url):
            raise FieldError("service", "", "enter the address of your service in the extension's preferences")
        return Backend(stored.service_url, stored.service_token, online)
    return Backend(choice, stored.api_key if stored and choice == "remote" else "", online)


def backend_for_job(job):  # type: ignore[no-untyped-def]
    """The `Backend` that a stored job was sent to, with the key or token that is set now."""
    from ..trellis_addon.api import backend_of as library_backend

    stored = preferences()
    if job.is_paid:
        return library_backend(job, stored.api_key if stored else "", bpy.app.online_access)
    # the token of one's own service goes to that service only
    is_service = stored is not None and stored.service_url == job.backend
    return library_backend(job, stored.service_token if is_service else "", bpy.app.online_access)


_classes = (TRELLIS2_AP_preferences,)


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)
    stored = preferences()
    if stored is not None:
        DATA_FOLDER.use(bpy.path.abspath(stored.data_folder))
        tell_library(stored)
        logs.set_level(stored.log_level)


def unregister() -> None:
    for variable in (DATA_FOLDER, LOCAL_FOLDER, LOCAL_PYTHON, WEIGHTS):
        variable.reset()
    logs.reset()
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
