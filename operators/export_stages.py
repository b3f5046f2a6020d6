"""Exporting what the selected asset was decoded from: its voxels, or its mesh before it was simplified."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
from bpy.app.translations import pgettext_rpt
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.runtime.child import local_python
from ..trellis_addon.scene.words import translate
from .assets import OnAsset
from .rework import WHY_NOT, is_draft

if TYPE_CHECKING:
    from ..trellis_addon.jobs.job import Asset


class _Work:
    """One export; apart from the operator, which Blender may free before the thread has ended."""

    def __init__(self, asset: Asset, path: Path, overwrite: bool) -> None:
        self.asset, self.path, self.overwrite = asset, path, overwrite
        self.stop, self.is_over = threading.Event(), threading.Event()
        self.problem: Exception | None = None

    def run(self) -> None:
        from ..trellis_addon.core.progress import Progress
        from ..trellis_addon.stages import export_stages

        progress = Progress(is_cancelled=self.stop.is_set)
        try:
            export_stages(self.asset, self.path, overwrite=self.overwrite, progress=progress)
        except (TrellisError, OSError) as error:
            self.problem = error
        finally:
            self.is_over.set()


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
            ("vxz", "Voxels (.vxz)", "Sparse voxels with their material, small and in bytes"),
            ("npz", "Voxels (.npz)", "The same as arrays of numbers, large and exact"),
            ("glb", "Dense Mesh (.glb)", "Millions of triangles with colours at their corners"),
            ("ply", "Dense Mesh (.ply)", "The same, with metalness and roughness as well"),
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
        from ..trellis_addon.scene import rework

        work = _Work(rework.asset_of(context.object), self._path(), self.overwrite)
        if bpy.app.background:
            work.run()
            return self._tell(work)
        self._work = work
        threading.Thread(target=work.run, daemon=True).start()
        self._timer = context.window_manager.event_timer_add(0.2, window=context.window)
        context.window_manager.modal_handler_add(self)
        self.report({"INFO"}, pgettext_rpt("Exporting to {path}").format(path=work.path))
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """The artist goes on working; the end of it is told."""
        if event.type != "TIMER" or not self._work.is_over.is_set():
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self._timer)
        return self._tell(self._work)

    def cancel(self, context: bpy.types.Context) -> None:
        """Another file is opened, or Blender ends."""
        self._work.stop.set()
        context.window_manager.event_timer_remove(self._timer)

    def _tell(self, work: _Work) -> set[str]:
        if work.problem is not None:
            self.report({"ERROR"}, translate(work.problem))
            return {"CANCELLED"}
        self.report({"INFO"}, pgettext_rpt("Exported to {path}").format(path=work.path))
        return {"FINISHED"}

    def _path(self) -> Path:
        path = Path(bpy.path.abspath(self.filepath))
        known = (".vxz", ".npz", ".glb", ".ply")
        return path if path.suffix.lower() in known else path.with_name(f"{path.name}.{self.kind}")


register, unregister = bpy.utils.register_classes_factory((TRELLIS2_OT_export_stages,))
