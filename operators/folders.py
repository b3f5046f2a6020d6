"""The folder of the jobs and their files: show it, and what it holds."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_rpt


class TRELLIS2_OT_folder_open(bpy.types.Operator):
    """Show the folder of the jobs and their files in the file browser of the system"""

    bl_idname = "trellis2.folder_open"
    bl_label = "Open Folder"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.core.folders import default_folder, shown_folder

        folder = default_folder()
        if not folder.is_dir():
            self.report({"INFO"}, pgettext_rpt("There are no jobs yet"))
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=str(shown_folder(folder)))
        return {"FINISHED"}


class TRELLIS2_OT_folder_measure(bpy.types.Operator):
    """Find out how much room the jobs and their files take"""

    bl_idname = "trellis2.folder_measure"
    bl_label = "Measure Folder"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.core.folders import default_folder
        from ..trellis_addon.scene.setup import storage

        if bpy.app.background:
            self.report({"INFO"}, str(storage.measure(default_folder())))
        else:
            storage.measure_later(default_folder())
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory((TRELLIS2_OT_folder_open, TRELLIS2_OT_folder_measure))
