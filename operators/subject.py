"""The subject of a picture, marked by hand: a box around it, and strokes where the box alone is not enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy
from bpy.props import FloatVectorProperty, StringProperty

from ..addon.picture_state import chosen_image
from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.scene.words import translate
from .mask import OnImage

if TYPE_CHECKING:
    from ..trellis_addon.scene.image_editor import Place
    from ..trellis_addon.scene.marking import Drag, Session

_BRUSH = 9  # pixels of the screen, before the interface's scale
_LEAST_DRAG = 6  # pixels of the screen: less is a click


class TRELLIS2_OT_mark_subject(OnImage, bpy.types.Operator):
    """Draw a box around the subject, in an Image Editor beside the panel; it is cut out of any background"""

    bl_idname = "trellis2.mark_subject"
    bl_label = "Mark the Subject..."
    bl_options = {"REGISTER", "UNDO"}

    box: FloatVectorProperty(
        name="Box",
        description="Left, top, right and bottom in the picture's pixels, from its upper left",
        size=4,
        options={"SKIP_SAVE"},
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        from ..trellis_addon.scene.image_editor import show_beside
        from ..trellis_addon.scene.rules import overrides
        from ..trellis_addon.scene.rules.guards import require_own

        if self.properties.is_property_set("box"):
            return self.execute(context)
        image, window = chosen_image(context.scene.trellis2), context.window

        def go_there(place: Place) -> None:
            if overrides.ARE_SAFE and place[0] != window:
                with bpy.context.temp_override(window=place[0], area=place[1]):
                    bpy.ops.trellis2.mark_in_editor("INVOKE_DEFAULT")

        try:
            require_own(image)
            # the mouse in another window can only be followed from there
            place = show_beside(context, image, then=go_there, may_open=overrides.ARE_SAFE)
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        if place[0] == window:
            bpy.ops.trellis2.mark_in_editor("INVOKE_DEFAULT")
        return {"CANCELLED"}  # nothing has changed yet, so that there is nothing to undo

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene import marking
        from ..trellis_addon.scene.rules.guards import require_own

        image = chosen_image(context.scene.trellis2)
        try:
            require_own(image)
            marking.set_box(image, self.box)
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class TRELLIS2_OT_mark_in_editor(OnImage, bpy.types.Operator):
    """Draw a box around the subject, then strokes over what belongs to it, or with Ctrl over what does not"""

    bl_idname = "trellis2.mark_in_editor"
    bl_label = "Mark the Subject"
    bl_options = {"INTERNAL", "UNDO"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        from ..trellis_addon.scene import marking

        image = chosen_image(context.scene.trellis2)
        # whichever area it was called from: its own context stays that one's
        shown = [area for area in context.screen.areas if area.type == "IMAGE_EDITOR" and _shows(area, image)]
        if not shown or marking.session() is not None:
            return {"CANCELLED"}
        self._area = context.area if context.area in shown else shown[0]
        self._marks = marking.begin(image)
        self._first = marking.take_down(image)
        context.window_manager.modal_handler_add(self)
        self._area.tag_redraw()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        from ..trellis_addon.scene import marking

        marks, area = self._marks, self._area
        image = chosen_image(context.scene.trellis2)
        is_there = area in list(context.screen.areas) and area.type == "IMAGE_EDITOR"
        is_over = not is_there or marking.session() is not marks
        if is_over or image is None or image.name != marks.image or not _shows(area, image):
            return self._end(context, {"FINISHED", "PASS_THROUGH"})
        if marks.drag is not None:
            return self._drag(event, image, marks)
        if event.type in ("RET", "NUMPAD_ENTER") and event.value == "PRESS":
            return self._end(context, {"FINISHED"})
        if event.type == "ESC" and event.value == "PRESS":
            marking.put_back(image, self._first)
            return self._end(context, {"CANCELLED"})
        is_here = _is_over_picture(area, event)
        if event.type == "LEFTMOUSE" and event.value in ("PRESS", "DOUBLE_CLICK"):
            if not is_here:
                # a click elsewhere is the end of it, as of typing into a field; but not one into the editor's own tools
                return {"PASS_THROUGH"} if _is_in(area, event) else self._end(context, _DONE)
            is_box = event.shift or (marking.box_of(image) is None and not event.ctrl)
            side = 0 if is_box else -1 if event.ctrl else 1
            radius = _BRUSH * context.preferences.system.ui_scale * _pixels_per_point(area, image)
            marks.drag = marking.Drag(side, radius, [_pixel(area, event, image)])
            return {"RUNNING_MODAL"}
        if event.type == "Z" and event.ctrl and event.value == "PRESS" and is_here and marks.before:
            marking.put_back(image, marks.before.pop())
            area.tag_redraw()
            return {"RUNNING_MODAL"}
        return {"PASS_THROUGH"}

    def cancel(self, context: bpy.types.Context) -> None:
        from ..trellis_addon.scene import marking

        marking.end()

    def _drag(self, event: bpy.types.Event, image: bpy.types.Image, marks: Session) -> set[str]:
        drag, area = marks.drag, self._area
        assert drag is not None
        area.tag_redraw()
        if event.type == "ESC":
            marks.drag = None
        elif event.type in ("MOUSEMOVE", "INBETWEEN_MOUSEMOVE"):
            point = _pixel(area, event, image)
            drag.points = [drag.points[0], point] if drag.side == 0 else [*drag.points, point]
        elif event.type == "LEFTMOUSE" and event.value == "RELEASE":
            marks.drag = None
            self._mark(image, marks, drag)
        return {"RUNNING_MODAL"}

    def _mark(self, image: bpy.types.Image, marks: Session, drag: Drag) -> None:
        from ..trellis_addon.scene import marking

        before = marking.take_down(image)
        try:
            if drag.side:
                marking.add_stroke(image, marking.Stroke(drag.side, drag.radius, tuple(drag.points)))
            else:
                (left, top), (right, bottom) = drag.points[0], drag.points[-1]
                least = _LEAST_DRAG * _pixels_per_point(self._area, image)
                if abs(right - left) < least or abs(bottom - top) < least:
                    return
                marking.set_box(image, (left, top, right, bottom))
        except TrellisError as error:
            self.report({"WARNING"}, translate(error))
            return
        marks.before.append(before)

    def _end(self, context: bpy.types.Context, result: set[str]) -> set[str]:
        from ..trellis_addon.scene import marking

        if marking.session() is self._marks:
            marking.end()
        for area in context.screen.areas if context.screen else ():
            area.tag_redraw()
        return result


_DONE = {"FINISHED", "PASS_THROUGH"}


class TRELLIS2_OT_take_whole(OnImage, bpy.types.Operator):
    """Cut nothing out: the background becomes part of the asset"""

    bl_idname = "trellis2.take_whole"
    bl_label = "Take It Whole"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.rules.guards import require_own

        image = chosen_image(context.scene.trellis2)
        try:
            require_own(image)
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        image.trellis2.cutout = "WHOLE"
        return {"FINISHED"}


class TRELLIS2_OT_mark_failed(bpy.types.Operator):
    """Put this picture into the panel, and draw a box around its subject"""

    bl_idname = "trellis2.mark_failed"
    bl_label = "Mark the Subject..."
    bl_options = {"INTERNAL", "UNDO"}

    generation: StringProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.session import queue
        from ..trellis_addon.scene.sources import image_of_file

        line = queue.find(self.generation)
        if line is None or line.source is None:
            return {"CANCELLED"}
        try:
            context.scene.trellis2.image = image_of_file(line.source)
            context.scene.trellis2.shown = "FRONT"
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        queue.forget(line)  # it begins anew with Generate
        if not bpy.app.background:
            bpy.ops.trellis2.mark_subject("INVOKE_DEFAULT")
        return {"FINISHED"}


def _shows(area: bpy.types.Area, image: bpy.types.Image) -> bool:
    return bool(area.spaces.active.image == image)


def _region(area: bpy.types.Area) -> bpy.types.Region:
    return next(region for region in area.regions if region.type == "WINDOW")


def _pixel(area: bpy.types.Area, event: bpy.types.Event, image: bpy.types.Image) -> tuple[float, float]:
    """The picture's pixel under the mouse, from its upper left."""
    region = _region(area)
    x, y = region.view2d.region_to_view(event.mouse_x - region.x, event.mouse_y - region.y)
    return x * image.size[0], (1.0 - y) * image.size[1]


def _pixels_per_point(area: bpy.types.Area, image: bpy.types.Image) -> float:
    """How many of the picture's pixels one of the screen's is wide."""
    view = _region(area).view2d
    return float(abs(view.region_to_view(100, 0)[0] - view.region_to_view(0, 0)[0]) / 100 * image.size[0])


def _is_over_picture(area: bpy.types.Area, event: bpy.types.Event) -> bool:
    """Whether the mouse is over the editor itself, not its toolbars, which may lie over it."""
    over = [region.type for region in area.regions if _is_in(region, event)]
    return over == ["WINDOW"]


def _is_in(place: bpy.types.Area | bpy.types.Region, event: bpy.types.Event) -> bool:
    return bool(
        place.width > 1
        and place.height > 1
        and place.x <= event.mouse_x < place.x + place.width
        and place.y <= event.mouse_y < place.y + place.height
    )


register, unregister = bpy.utils.register_classes_factory(
    (TRELLIS2_OT_mark_subject, TRELLIS2_OT_mark_in_editor, TRELLIS2_OT_mark_failed, TRELLIS2_OT_take_whole)
)
