"""Settings under a name: the published examples, three of our own, and the user's, as native Blender presets.

A preset is a small script, as Blender has it. Ours also unsets what it does not name: what was not
set is not sent, and a preset must not change that.
"""

from __future__ import annotations

from pathlib import Path

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel
from bpy.app.translations import pgettext_rpt
from bpy.props import StringProperty

from ..addon.properties import read_settings, write_settings
from ..trellis_addon.scene.words import translate
from ..trellis_addon.task.former import passed_over, preset_settings
from ..trellis_addon.task.presets import SUBDIR, preset_script

_FOLDER = str(Path(__file__).resolve().parents[1])  # it holds presets/trellis2/


class TRELLIS2_MT_presets(bpy.types.Menu):
    bl_label = "TRELLIS.2 Presets"
    preset_subdir = SUBDIR
    preset_operator = "trellis2.preset_use"
    draw = bpy.types.Menu.draw_preset


class TRELLIS2_PT_presets(PresetPanel, bpy.types.Panel):
    bl_label = "TRELLIS.2 Presets"
    preset_subdir = SUBDIR
    preset_operator = "trellis2.preset_use"
    preset_add_operator = "trellis2.preset_add"


class TRELLIS2_OT_preset_use(bpy.types.Operator):
    """Set what this preset names, and nothing else"""

    bl_idname = "trellis2.preset_use"
    bl_label = "Use Preset"
    bl_options = {"INTERNAL", "UNDO"}

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    menu_idname: StringProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        menu = self.menu_idname or TRELLIS2_MT_presets.__name__
        if not Path(self.filepath).is_file():  # removed since the menu was drawn
            self.report({"ERROR"}, pgettext_rpt("There is no file {path}").format(path=self.filepath))
            return {"CANCELLED"}
        try:
            found = preset_settings(Path(self.filepath).read_text(encoding="utf-8-sig"))
        except (OSError, ValueError):
            found = None
        if found is None:  # a script of the artist's own: Blender runs it, and says what is wrong
            return bpy.ops.script.execute_preset(filepath=self.filepath, menu_idname=menu)
        settings, unknown = found
        write_settings(context.scene.trellis2.settings, settings)
        getattr(bpy.types, menu).bl_label = bpy.path.display_name(Path(self.filepath).name, title_case=False)
        if unknown:
            self.report({"WARNING"}, translate(passed_over(unknown)))
        return {"FINISHED"}


class TRELLIS2_OT_preset_add(AddPresetBase, bpy.types.Operator):
    """Keep the settings under a name, or remove the preset"""

    bl_idname = "trellis2.preset_add"
    bl_label = "Add TRELLIS.2 Preset"
    preset_menu = "TRELLIS2_MT_presets"
    preset_subdir = SUBDIR

    def add(self, context: bpy.types.Context, filepath: str) -> None:
        settings = read_settings(context.scene.trellis2.settings)
        Path(filepath).write_text(preset_script(settings), encoding="utf-8")


_classes = (TRELLIS2_MT_presets, TRELLIS2_PT_presets, TRELLIS2_OT_preset_use, TRELLIS2_OT_preset_add)


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)
    bpy.utils.register_preset_path(_FOLDER)


def unregister() -> None:
    bpy.utils.unregister_preset_path(_FOLDER)
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
