"""How the picture is cut out: look again, and a mask to paint on."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_rpt

from ..addon.picture_state import CORRECTIONS, chosen_image, is_corrected
from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.scene.words import translate
from .mixin import Mixin


class OnImage(Mixin):
    """What the operators share: they work on the panel's image."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if chosen_image(context.scene.trellis2) is None:
            cls.poll_message_set("Choose an image first")
            return False
        return True


class TRELLIS2_OT_image_check(OnImage, bpy.types.Operator):
    """Look at the picture again, after it or its mask was painted on"""

    bl_idname = "trellis2.image_check"
    bl_label = "Check Image"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene import cutout_preview

        image = chosen_image(context.scene.trellis2)
        if not bpy.app.background:
            cutout_preview.look_later(image)
            return {"FINISHED"}
        found = cutout_preview.look(image)
        if found.error:
            self.report({"ERROR"}, translate(found.error))
            return {"CANCELLED"}
        for warning in found.warnings:
            self.report({"WARNING"}, translate(warning))
        return {"FINISHED"}


def _make_mask(image: bpy.types.Image) -> None:
    """Have the picture cut out by a mask of its own, which shows what was cut out before."""
    from ..trellis_addon.scene.masks import new_mask
    from ..trellis_addon.scene.rules.guards import require_own

    require_own(image)  # what is chosen for it is kept with it
    image.trellis2.mask = new_mask(image)
    image.trellis2.cutout = "MASK"


class TRELLIS2_OT_mask_new(OnImage, bpy.types.Operator):
    """Make a mask to paint on in the Image Editor: white is the subject, black is left out"""

    bl_idname = "trellis2.mask_new"
    bl_label = "New Mask"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            _make_mask(chosen_image(context.scene.trellis2))
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class TRELLIS2_OT_mask_paint(OnImage, bpy.types.Operator):
    bl_description = (
        "Paint in an Image Editor beside the panel what belongs to the subject, white, or what does not, black. "
        "Without a mask, one is made of what is cut out now"
    )
    bl_idname = "trellis2.mask_paint"
    bl_label = "Paint the Mask..."
    bl_options = {"REGISTER", "UNDO"}

    side: bpy.props.EnumProperty(
        name="Paint",
        description="What the brush does",
        items=[
            ("ADD", "Add", "White: what is painted belongs to the subject", 0),
            ("ERASE", "Erase", "Black: what is painted is left out", 1),
        ],
        default="ERASE",
        options={"SKIP_SAVE"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.image_editor import set_brush, show_beside

        image = chosen_image(context.scene.trellis2)
        if bpy.app.background:
            self.report({"ERROR"}, pgettext_rpt("Painting needs a window"))
            return {"CANCELLED"}
        is_white, has_mask = self.side == "ADD", image.trellis2.cutout == "MASK" and image.trellis2.mask is not None
        try:
            if not has_mask:
                _make_mask(image)
            show_beside(context, image.trellis2.mask, "PAINT", then=lambda place: set_brush(white=is_white))
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"CANCELLED"} if has_mask else {"FINISHED"}  # nothing to undo where nothing was made


class TRELLIS2_OT_frame_reset(OnImage, bpy.types.Operator):
    """Take back what was corrected of this picture's outline and frame"""

    bl_idname = "trellis2.frame_reset"
    bl_label = "Reset"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if not is_corrected(chosen_image(context.scene.trellis2)):
            cls.poll_message_set("Nothing was corrected")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        choice = chosen_image(context.scene.trellis2).trellis2
        for name in CORRECTIONS:
            choice.property_unset(name)
        choice.cutout = "AUTO"  # which has it looked at
        return {"FINISHED"}


class TRELLIS2_OT_mask_open(OnImage, bpy.types.Operator):
    """Take a picture file for the mask: its transparency, or else its brightness, is what the subject is"""

    bl_idname = "trellis2.mask_open"
    bl_label = "Open Mask"
    bl_options = {"REGISTER", "UNDO"}

    filepath: bpy.props.StringProperty(name="Mask File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_image: bpy.props.BoolProperty(default=True, options={"HIDDEN"})
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from pathlib import Path

        from ..trellis_addon.scene.rules.guards import require_own
        from ..trellis_addon.scene.sources import image_of_file

        image = chosen_image(context.scene.trellis2)
        try:
            require_own(image)
            image.trellis2.mask = image_of_file(Path(bpy.path.abspath(self.filepath)))
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        image.trellis2.cutout = "MASK"
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory(
    (
        TRELLIS2_OT_image_check,
        TRELLIS2_OT_mask_new,
        TRELLIS2_OT_mask_paint,
        TRELLIS2_OT_mask_open,
        TRELLIS2_OT_frame_reset,
    )
)
