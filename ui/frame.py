"""The outline and the frame of a picture, corrected where they are seen."""

from __future__ import annotations

import bpy

from ..addon.picture_state import chosen_image
from .layout import SubPanel


class TRELLIS2_PT_frame(SubPanel, bpy.types.Panel):
    """What is wrong with the outline or the frame is put right here, for each of the pictures."""

    bl_label = "Correct the Picture"
    bl_order = 0  # before the other views

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        image = chosen_image(context.scene.trellis2)
        return image is not None and image.type != "RENDER_RESULT"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        image = chosen_image(context.scene.trellis2)
        layout.enabled = image.is_editable
        choice = image.trellis2
        column = layout.column(align=True)
        outline = column.row(align=True)
        outline.enabled = choice.cutout != "WHOLE"
        outline.prop(choice, "grow", text="Grow the Outline")
        row = column.row(align=True)
        row.operator("trellis2.mask_paint", text="Paint to Add", icon="ADD").side = "ADD"
        row.operator("trellis2.mask_paint", text="Erase", icon="REMOVE").side = "ERASE"
        column = layout.column(align=True)
        column.prop(choice, "margin")
        row = column.row(align=True)
        row.prop(choice, "right", text="Right")
        row.prop(choice, "up", text="Up")
        layout.operator("trellis2.frame_reset", icon="LOOP_BACK")


register, unregister = bpy.utils.register_classes_factory((TRELLIS2_PT_frame,))
