"""The key and the money: test the key, keep it in the system's keyring, limit what is spent."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, FloatProperty

from ..addon.preferences import backend_of, enabled_preferences, preferences, remote_key_source
from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.scene.words import translate


class TRELLIS2_OT_test_key(bpy.types.Operator):
    """Ask the remote API whether it accepts the key, and for the balance"""

    bl_idname = "trellis2.test_key"
    bl_label = "Test Key"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not bpy.app.online_access:
            cls.poll_message_set("Online access is off: switch it on in Preferences > System")
            return False
        if not remote_key_source():
            cls.poll_message_set("There is no API key to test")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.session import history

        history.ask_account(backend_of("remote"))
        return {"FINISHED"}


class TRELLIS2_OT_key_to_keyring(bpy.types.Operator):
    """Move the key from Blender's preferences, where it is plain text, into the system's keyring"""

    bl_idname = "trellis2.key_to_keyring"
    bl_label = "Keep in System Keyring"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        from ..trellis_addon.core.keys import has_keyring

        stored = preferences()
        if not has_keyring():
            cls.poll_message_set("No system keyring can be used from this Blender")
            return False
        return bool(stored and stored.api_key)

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.core.keys import keep_in_keyring

        stored = enabled_preferences()
        keep_in_keyring(stored.api_key)
        stored.api_key = ""
        return {"FINISHED"}


class TRELLIS2_OT_spending_limit(bpy.types.Operator):
    """Set the most that may be spent on the remote API; checked before anything is sent"""

    bl_idname = "trellis2.spending_limit"
    bl_label = "Spending Limit"
    bl_options = {"REGISTER"}

    period: EnumProperty(
        name="Period", items=[("day", "A Day", "By local time", 0), ("month", "A Month", "By local time", 1)]
    )
    amount: FloatProperty(
        name="US Dollars", description="The most to spend; below 0 takes the limit away", default=5.0, min=-1.0, step=50
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.jobs.money import set_limit
        from ..trellis_addon.jobs.store import JobStore
        from ..trellis_addon.scene.session import history

        try:
            set_limit(JobStore(), self.period, None if self.amount < 0 else round(self.amount, 2))
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        if not bpy.app.background:
            history.read_store()
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory(
    (TRELLIS2_OT_test_key, TRELLIS2_OT_key_to_keyring, TRELLIS2_OT_spending_limit)
)
