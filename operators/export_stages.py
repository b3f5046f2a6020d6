"""Exporting what the selected asset was decoded from: its voxels, or its mesh before it was simplified."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_rpt
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.runtime.child import local_python
from ..trellis_addon.scene.words import translate
from .assets import OnAsset
from .rework import WHY_NOT, is_draft


class TRELLIS2_OT_export_stages(OnAsset, bpy.types.Operator):
    """Export what the selected asset was decoded from: its voxels, or its mesh before it was simplified"""

    bl_idname = "trellis2.export_stages"
    bl_label = "Export Voxels"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.vxz;*.npz;*.glb;*.ply", options={"HIDDEN"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    kind: EnumProperty(
        name="Format",
        description="What is written, where the file's name does not say it",
        items=[
            ("vxz", "Voxels (.vxz)", "Sparse voxels with their material, small and in bytes", 0),
            ("npz", "Voxels (.npz)", "The same as arrays of numbers, large and exact", 1),
            ("glb", "Dense Mesh (.glb)", "Millions of triangles with colours at their corners", 2),
            ("ply", "Dense Mesh (.ply)", "The same, with metalness and roughness as well", 3),
        ],
    )
    overwrite: BoolProperty(
        name="Overwrite", description="Replace a file of this name that is there", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        from ..trellis_addon.scene.importing.provenance import read_provenance
        from ..trellis_addon.stages import obstacle

        if why := "draft" if is_draft(context.object) else obstacle(read_provenance(context.object)):
            cls.poll_message_set(pgettext_rpt(WHY_NOT[why]))
            return False
        python = local_python()
        is_there = os.path.isfile(python) if python != sys.executable else importlib.util.find_spec("torch")
        if not is_there:
            cls.poll_message_set("The local GPU backend is not installed on this computer: see the preferences")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        from ..trellis_addon.images import clean_name

        folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
        self.filepath = str(folder / f"{clean_name(context.object.name)}.{self.kind}")
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.core.progress import Progress
        from ..trellis_addon.scene import exports, rework
        from ..trellis_addon.stages import export_stages

        asset, path, overwrite = rework.asset_of(context.object), self._path(), self.overwrite

        def export(progress: Progress) -> Path:
            return export_stages(asset, path, overwrite=overwrite, progress=progress)

        if not bpy.app.background:
            exports.start(path.name, export, _told)
            return {"FINISHED"}
        try:
            self.report({"INFO"}, _told(export(Progress())))
        except (TrellisError, OSError) as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def _path(self) -> Path:
        path = Path(bpy.path.abspath(self.filepath))
        known = (".vxz", ".npz", ".glb", ".ply")
        return path if path.suffix.lower() in known else path.with_name(f"{path.name}.{self.kind}")


def _told(path: Path) -> str:
    return pgettext_rpt("Exported to {path}").format(path=path)


register, unregister = bpy.utils.register_classes_factory((TRELLIS2_OT_export_stages,))
