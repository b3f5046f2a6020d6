"""Help: the manual that came with the extension, and what to send along with a fault."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_rpt

from ..addon.help import fault_report, manual_page


class TRELLIS2_OT_manual(bpy.types.Operator):
    """Open the manual in the web browser; it came with the extension, so nothing is asked of the network"""

    bl_idname = "trellis2.manual"
    bl_label = "Manual"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if manual_page() is None:
            cls.poll_message_set("This copy was not built, so the manual is not in it: see docs/manual.md")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        page = manual_page()
        assert page is not None
        bpy.ops.wm.url_open(url=page.as_uri())
        return {"FINISHED"}


class TRELLIS2_OT_copy_fault_report(bpy.types.Operator):
    """Copy what helps to find a fault: versions, system, the last failed jobs and warnings; no key, token or picture"""

    bl_idname = "trellis2.copy_fault_report"
    bl_label = "Report a Fault"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = fault_report()
        self.report(
            {"INFO"},
            pgettext_rpt("The report is in the clipboard: send it to whoever gave you TRELLIS.2, or looks after it"),
        )
        return {"FINISHED"}


_classes = (TRELLIS2_OT_manual, TRELLIS2_OT_copy_fault_report)


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
