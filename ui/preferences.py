"""The extension's preferences: the key and the service. Nothing of this is ever stored in a .blend."""

from __future__ import annotations

import sys

import bpy
from bpy.props import StringProperty

from .. import __package__ as base_package
from ..trellis_addon.errors import FieldError
from ..trellis_addon.keys import find_key


class TRELLIS2_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = base_package

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

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "api_key")
        source = remote_key_source()
        if source not in ("", "preferences"):
            layout.label(text=f"The key from the {source} is used", icon="CHECKMARK")
        row = layout.row(align=True)
        row.operator("trellis2.test_key", icon="KEYINGSET")
        row.operator("trellis2.key_to_keyring")
        answer = _answer()
        if answer:
            layout.label(text=answer)
        row = layout.row(align=True)
        row.operator("trellis2.spending_limit")
        layout.separator()
        layout.prop(self, "service_url", placeholder="http://gpu-box:8000/v1")
        layout.prop(self, "service_token")


def _answer() -> str:
    """What came of Test Key, if the module that asks has ever been needed."""
    history = sys.modules.get(f"{base_package}.trellis_addon.scene.history")
    return history.known.account if history else ""


def preferences() -> TRELLIS2_AP_preferences | None:
    addon = bpy.context.preferences.addons.get(base_package)
    return addon.preferences if addon else None


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


register, unregister = bpy.utils.register_classes_factory((TRELLIS2_AP_preferences,))
