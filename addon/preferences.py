"""The extension's preferences: the key, the service, and how the artist likes things. Nothing of it is in a .blend."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, StringProperty

from ..trellis_addon.core.addresses import complete
from ..trellis_addon.core.errors import FieldError, TrellisError
from ..trellis_addon.core.keys import find_key
from . import handover, logs
from .loaded import loaded
from .local_properties import LocalProperties, tell_library
from .name import EXTENSION
from .numbers import is_place, number_of, saved_number
from .variables import BLENDER, DATA_FOLDER, LOCAL_FOLDER, LOCAL_PYTHON, WEIGHTS

if TYPE_CHECKING:
    from ..trellis_addon.client.backends import Backend
    from ..trellis_addon.jobs.job import Job

# The scene's choice of where to run -> the page that it is set up on.
PAGE_OF = {"draft": "LOCAL", "local": "LOCAL", "remote": "REMOTE", "service": "SERVICE"}


def _library_items(self: Any, context: bpy.types.Context | None) -> list[tuple[str, str, str, str, int]]:
    global _kept_items  # Blender does not keep the strings alive itself
    _kept_items = [("LOCAL", "Current File", "New assets are marked in the .blend that they are in", "NONE", 0)]
    libraries = bpy.context.preferences.filepaths.asset_libraries
    _kept_items += [(one.name, one.name, one.path, "NONE", number_of(one.name)) for one in libraries if one.name]
    return _kept_items


_kept_items: list[tuple[str, str, str, str, int]] = []


def _name_library(stored: Preferences) -> None:
    """Choose by its name the library that 0.1.0 has saved the place of."""
    saved = saved_number(stored, "asset_library")
    if saved is not None and is_place(saved):
        names = [library.name for library in bpy.context.preferences.filepaths.asset_libraries if library.name]
        stored.asset_library = names[saved - 1] if saved <= len(names) else "LOCAL"


# Functions, and no lambdas: what Blender makes of an annotation has not this module's names.
def _use_data_folder(self: Preferences, context: bpy.types.Context) -> None:
    if handover.is_taking():
        return
    DATA_FOLDER.use(bpy.path.abspath(self.data_folder))
    handover.keep(self)


def _tidy_service_url(self: Preferences, context: bpy.types.Context) -> None:
    """Show the address as it is used. A password in it goes where a token is kept, and not into every list of jobs."""
    login, _, place = self.service_url.rpartition("@")
    if login:
        password = login.partition("://")[2].partition(":")[2]
        if password and not self.service_token:
            self.service_token = password
    tidy = complete(login.partition("://")[0] + "://" + place if "://" in login else place)
    if tidy != self.service_url:
        self.service_url = tidy


def _set_log_level(self: Preferences, context: bpy.types.Context) -> None:
    logs.set_level(self.log_level)


def _let_assistants_in(self: Preferences, context: bpy.types.Context) -> None:
    use_door(self)


class Preferences(LocalProperties):
    """Mixed into the class that Blender knows, which also draws them (`ui/preferences.py`)."""

    page: EnumProperty(
        name="Page",
        items=[
            ("LOCAL", "Local GPU", "TRELLIS.2 on this computer", 0),
            ("REMOTE", "Remote", "TRELLIS.2 at Runware: the key, and what may be spent", 1),
            ("SERVICE", "Service", "At an address of your own, such as a studio's computer with a large card", 2),
            ("ASSETS", "New Assets", "How they come to stand, and where they are kept", 3),
            ("FILES", "Files", "Where jobs and their files are kept", 4),
        ],
    )

    api_key: StringProperty(
        name="API Key",
        description="Your Runware API key; empty takes the environment variable RUNWARE_API_KEY",
        subtype="PASSWORD",
    )
    service_url: StringProperty(
        name="Service",
        description="Address of a service of your own, such as http://gpu-box:8000/v1",
        update=_tidy_service_url,
    )
    service_token: StringProperty(
        name="Token", description="The token that your service was started with", subtype="PASSWORD"
    )
    data_folder: StringProperty(
        name="Data Folder",
        description="Where jobs and their files are kept, even without the extension; empty takes your data folder",
        subtype="DIR_PATH",
        update=_use_data_folder,
    )
    height: FloatProperty(
        name="Height",
        description="How tall new assets stand, in scenes where no other height is set",
        default=1.0,
        min=0.001,
        max=1000.0,
        unit="LENGTH",
    )
    drop_place: EnumProperty(
        name="Dropped Pictures",
        description="Where the asset of a picture comes to stand that is dropped onto the viewport",
        items=[
            ("POINTER", "Where Dropped", "On the surface, or the ground, under the mouse", 0),
            ("CURSOR", "At 3D Cursor", "At the 3D cursor, wherever the picture was dropped", 1),
        ],
    )
    collection: StringProperty(
        name="Collection",
        description="Collection that new assets come into, made when it is needed; empty takes the scene's own",
    )
    auto_mark: BoolProperty(
        name="Mark as Asset", description="Mark each new asset for the Asset Browser, with preview, tags and licence"
    )
    asset_library: EnumProperty(
        name="Library", description="The asset library that new assets are kept in", items=_library_items
    )
    asset_catalog: StringProperty(
        name="Catalog", description="The catalog that new assets are filed under", default="TRELLIS.2"
    )
    show_developer: BoolProperty(
        name="Developer Options",
        description="Show what programs need beside the asset: where results are delivered, and how",
    )
    assistants: BoolProperty(
        name="Let Assistants In",
        description="Programs of yours on this computer, such as the server for assistants, may import, place, "
        "measure, make game ready and export in the open scene, and nothing else. Each change can be undone",
        update=_let_assistants_in,
    )
    log_level: EnumProperty(
        name="Console Shows",
        description="What this extension writes to the console",
        items=logs.LEVELS,
        update=_set_log_level,
    )


def preferences() -> Preferences | None:
    addon = bpy.context.preferences.addons.get(EXTENSION)
    return addon.preferences if addon else None


def enabled_preferences() -> Preferences:
    """The preferences, for an operator whose `poll` has made sure that the extension is enabled."""
    stored = preferences()
    assert stored is not None
    return stored


def service_url() -> str:
    """The address of a service of one's own, completed; empty where none is entered."""
    stored = preferences()
    return complete(stored.service_url) if stored and stored.service_url.strip() else ""


def remote_key_source() -> str:
    """Where the key of the remote API comes from: "preferences", "environment", "keyring", or empty."""
    stored = preferences()
    _, source = find_key(stored.api_key if stored else "")
    return "preferences" if source == "given" else source


def backend_of(choice: str) -> Backend:
    """The library's `Backend` for the panel's choice, with the key or token that belongs to it."""
    from ..trellis_addon.client.backends import Backend, service_address

    stored = preferences()
    online = bpy.app.online_access
    if choice == "service":
        if not (stored and service_url()):
            raise FieldError("service", "", "enter the address of your service in the extension's preferences")
        return Backend(service_address(service_url()), stored.service_token, online)
    return Backend(choice, stored.api_key if stored and choice == "remote" else "", online)


def backend_for_job(job: Job) -> Backend:
    """The `Backend` that a stored job was sent to, with the key or token that is set now."""
    from ..trellis_addon.api import backend_of as library_backend
    from ..trellis_addon.client.backends import is_same_service

    stored = preferences()
    if job.is_paid:
        return library_backend(job, stored.api_key if stored else "", bpy.app.online_access)
    # the token of one's own service goes to that service only
    token = stored.service_token if stored and is_same_service(service_url(), job.backend) else ""
    return library_backend(job, token, bpy.app.online_access)


def tell_library_all(stored: Preferences) -> None:
    """What is set counts from now on, and what an older version has set."""
    _name_library(stored)
    handover.take(stored)
    DATA_FOLDER.use(bpy.path.abspath(stored.data_folder))
    BLENDER.use(bpy.app.binary_path)
    tell_library(stored)
    logs.set_level(stored.log_level)
    use_door(stored)


def use_door(stored: Preferences) -> None:
    """Let assistants into the scene, or no more; never without a window, where nobody would see what they do."""
    door = loaded("scene.door.open")
    if door is not None:
        door.shut_door()
    if stored.assistants and not bpy.app.background:
        from ..trellis_addon.scene.door.open import open_door

        try:
            open_door(lambda job: str(backend_for_job(job).key))
        except TrellisError as error:
            logging.getLogger(__name__).warning("%s", error)


def reset_library() -> None:
    """As if nothing had ever been set."""
    for variable in (BLENDER, DATA_FOLDER, LOCAL_FOLDER, LOCAL_PYTHON, WEIGHTS):
        variable.reset()
    door = loaded("scene.door.open")
    if door is not None:
        door.shut_door()
    logs.reset()
