"""The buttons beside a line of the queue; what goes on at the start, and the end of everything that runs."""

from __future__ import annotations

import sys

import bpy
from bpy.props import StringProperty

from ..trellis_addon.errors import TrellisError
from .generate import target_here


class _OnGeneration:
    bl_options = {"INTERNAL"}

    generation: StringProperty(options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def find(self):  # type: ignore[no-untyped-def]
        from ..trellis_addon.scene import queue

        return queue.find(self.generation)


class TRELLIS2_OT_cancel(_OnGeneration, bpy.types.Operator):
    """Stop this generation; what the remote API has begun is paid for all the same"""

    bl_idname = "trellis2.cancel"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene import queue

        if generation := self.find():
            queue.cancel(generation)
        return {"FINISHED"}


class TRELLIS2_OT_forget(_OnGeneration, bpy.types.Operator):
    """Take this line off the list; its files stay"""

    bl_idname = "trellis2.forget"
    bl_label = "Remove from List"

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene import queue

        if generation := self.find():
            queue.forget(generation)
        return {"FINISHED"}


class TRELLIS2_OT_import_kept(_OnGeneration, bpy.types.Operator):
    """Place this finished asset at the 3D cursor of the open scene"""

    bl_idname = "trellis2.import_kept"
    bl_label = "Import"
    bl_options = {"INTERNAL", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene import queue

        generation = self.find()
        if generation is None:
            return {"CANCELLED"}
        try:
            queue.place(generation, target_here(context))
        except TrellisError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class TRELLIS2_OT_copy_details(_OnGeneration, bpy.types.Operator):
    """Copy what the service answered, for a report; the key is never part of it"""

    bl_idname = "trellis2.copy_details"
    bl_label = "Copy Details"

    def execute(self, context: bpy.types.Context) -> set[str]:
        if generation := self.find():
            context.window_manager.clipboard = generation.details or generation.message
        return {"FINISHED"}


_classes = (TRELLIS2_OT_cancel, TRELLIS2_OT_forget, TRELLIS2_OT_import_kept, TRELLIS2_OT_copy_details)

# Blender has to be up before anything of a former session goes on.
_WAKE_AFTER = 2.0


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)
    if not bpy.app.background:
        bpy.app.timers.register(_wake, first_interval=_WAKE_AFTER, persistent=True)


def _wake() -> None:
    """Go on with what a former session began and did not see the end of."""
    from ..trellis_addon.scene import history, resume
    from ..ui.preferences import backend_for_job

    resume.go_on(backend_for_job)
    history.read_store()


def unregister() -> None:
    if bpy.app.timers.is_registered(_wake):
        bpy.app.timers.unregister(_wake)
    # Only what was used has anything to end.
    library = __package__.rpartition(".")[0] + ".trellis_addon"
    if (queue := sys.modules.get(f"{library}.scene.queue")) is not None:
        queue.stop_all()
    if (services := sys.modules.get(f"{library}.client.local_service")) is not None:
        services.stop_local_services()
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
