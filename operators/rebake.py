"""Remesh and rebake what is selected into one clean asset."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
from bpy.props import EnumProperty, IntProperty

from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.runtime.child import local_python
from ..trellis_addon.scene.words import translate

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..trellis_addon.core.progress import Progress
    from ..trellis_addon.jobs.job import Asset


class TRELLIS2_OT_rebake(bpy.types.Operator):
    """Make one clean, textured asset of the selected objects; they stay as they are"""

    bl_idname = "trellis2.rebake"
    bl_label = "Remesh and Rebake Selected"
    bl_options = {"REGISTER"}  # the scene changes later, in an undo step of its own

    resolution: EnumProperty(
        name="Resolution",
        description="Voxels along the longest side",
        items=[("256", "256", "", 0), ("512", "512", "", 1), ("1024", "1024", "", 2), ("1536", "1536", "", 3)],
        default="1024",
    )
    texture_size: EnumProperty(
        name="Texture Size",
        description="Texels along each side of the textures",
        items=[("1024", "1024", "", 0), ("2048", "2048", "", 1), ("4096", "4096", "", 2)],
        default="2048",
    )
    faces: IntProperty(
        name="Triangles", description="The most triangles of the result", default=100_000, min=1000, max=1_000_000
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not any(obj.type == "MESH" for obj in context.selected_objects):
            cls.poll_message_set("Select at least one mesh object")
            return False
        python = local_python()
        is_there = (
            os.path.isfile(python) if python != sys.executable else importlib.util.find_spec("fast_simplification")
        )
        if not is_there:
            cls.poll_message_set("Enter the Python of the local backend in the extension's preferences")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.images import clean_name
        from ..trellis_addon.scene.asset import rebuilding
        from ..trellis_addon.scene.session import arrival
        from ..trellis_addon.scene.target import SESSION, Target
        from ..trellis_addon.task.task import new_uuid

        objects = list(context.selected_objects)
        name = clean_name(f"{(context.active_object or objects[0]).name} Rebuilt")
        folder = Path(bpy.app.tempdir)  # which Blender removes when it ends
        source, rebuilt = (folder / f"{new_uuid()}.glb" for _ in range(2))
        try:
            place = rebuilding.export_selection(objects, source)
            target = Target(context.scene.name, bpy.data.filepath, place, None, SESSION)
            sizes = {"resolution": int(self.resolution), "texture_size": int(self.texture_size), "faces": self.faces}

            def make(progress: Progress, report: Callable[[str], None]) -> Asset:
                return rebuilding.rebuilt_asset(source, rebuilt, name, progress, **sizes)

            arrival.run(name, make, target)
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}


def _in_menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator("trellis2.rebake")


def register() -> None:
    bpy.utils.register_class(TRELLIS2_OT_rebake)
    bpy.types.VIEW3D_MT_object_convert.append(_in_menu)


def unregister() -> None:
    bpy.types.VIEW3D_MT_object_convert.remove(_in_menu)
    bpy.utils.unregister_class(TRELLIS2_OT_rebake)
