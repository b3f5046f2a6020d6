"""The extension's preferences: the key and the service. Nothing of this is ever stored in a .blend."""

from __future__ import annotations

import os

import bpy
from bpy.props import StringProperty

from .. import __package__ as base_package
from ..trellis_addon.errors import FieldError


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
        if remote_key_source() == "environment":
            layout.label(text="RUNWARE_API_KEY is used", icon="CHECKMARK")
        layout.prop(self, "service_url")
        layout.prop(self, "service_token")


def preferences() -> TRELLIS2_AP_preferences | None:
    addon = bpy.context.preferences.addons.get(base_package)
    return addon.preferences if addon else None


def remote_key_source() -> str:
    """Where the key of the remote API comes from: "preferences", "environment", or empty."""
    stored = preferences()
    if stored and stored.api_key:
        return "preferences"
    return "environment" if os.environ.get("RUNWARE_API_KEY") else ""


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


register, unregister = bpy.utils.register_classes_factory((TRELLIS2_AP_preferences,))
