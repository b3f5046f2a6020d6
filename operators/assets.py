"""What can be done with assets that are there: import a GLB, repeat, open the right preferences."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_rpt
from bpy.props import StringProperty

from ..addon.name import EXTENSION
from ..addon.preferences import PAGE_OF, preferences
from ..addon.properties import write_settings
from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.scene.words import translate
from .mixin import Mixin


class OnAsset(Mixin):
    """For operators on an object whose making is known."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        from ..trellis_addon.scene.importing.provenance import PROPERTY

        if context.object is None or PROPERTY not in context.object:
            cls.poll_message_set("Select an asset that was made by this extension")
            return False
        return True


class OnGenerated(OnAsset):
    """For operators that go on from the picture and settings that an object was generated with."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        from ..trellis_addon.scene.importing.provenance import was_generated

        if not super().poll(context):
            return False
        if not was_generated(context.object):
            cls.poll_message_set("It was not generated of a picture, so there is nothing to repeat")
            return False
        return True


class TRELLIS2_OT_import_glb(bpy.types.Operator):
    """Import a GLB as one clean object, standing at the 3D cursor"""

    bl_idname = "trellis2.import_glb"
    bl_label = "Import TRELLIS.2 Asset"
    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.glb", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene import arrival, import_asset, remember
        from ..trellis_addon.scene.place.showing import join_local_views
        from ..trellis_addon.scene.rules.units import metres_per_unit

        height = context.scene.trellis2.height * metres_per_unit(context.scene)
        try:
            arrival.require_free()
            obj = import_asset(bpy.path.abspath(self.filepath), height=height)
            remember(obj)
            join_local_views([obj])
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        self.report({"INFO"}, pgettext_rpt("Imported {name}").format(name=obj.name))
        return {"FINISHED"}


class TRELLIS2_OT_repeat(OnGenerated, bpy.types.Operator):
    """Put the settings and the seed that made the selected asset back into the panel"""

    bl_idname = "trellis2.repeat"
    bl_label = "Repeat with These Settings"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene import settings_of
        from ..trellis_addon.scene.importing.provenance import unknown_settings
        from ..trellis_addon.task.former import passed_over

        try:
            write_settings(context.scene.trellis2.settings, settings_of(context.object))
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        if unknown := unknown_settings(context.object):
            self.report({"WARNING"}, translate(passed_over(unknown)))
        return {"FINISHED"}


class TRELLIS2_OT_online_access(bpy.types.Operator):
    """Show where online access is switched on"""

    bl_idname = "trellis2.online_access"
    bl_label = "Allow Online Access..."
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.preferences.active_section = "SYSTEM"
        if bpy.app.background:  # there is no window to show it in
            return {"CANCELLED"}
        bpy.ops.screen.userpref_show("INVOKE_DEFAULT")
        return {"FINISHED"}


class TRELLIS2_OT_preferences(bpy.types.Operator):
    """Show this extension's preferences"""

    bl_idname = "trellis2.preferences"
    bl_label = "Enter API Key..."
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if (stored := preferences()) is not None:
            stored.page = PAGE_OF[context.scene.trellis2.backend]
        bpy.ops.preferences.addon_show(module=EXTENSION)
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory(
    (TRELLIS2_OT_import_glb, TRELLIS2_OT_repeat, TRELLIS2_OT_online_access, TRELLIS2_OT_preferences)
)
