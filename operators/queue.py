"""The buttons beside a line of the queue; what goes on at the start, and the end of everything that runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import bpy
from bpy.app.handlers import persistent
from bpy.app.translations import pgettext_rpt
from bpy.props import IntProperty, StringProperty

from ..addon.loaded import loaded
from ..trellis_addon.core.errors import FieldError, TrellisError
from ..trellis_addon.core.messages import message
from ..trellis_addon.scene.words import translate
from .placing import largest_view, target_in_view

if TYPE_CHECKING:
    from ..trellis_addon.scene.queue import Generation

_OVER = ("done", "cancelled")  # the states of lines that nobody has to look at any more


class _OnGeneration:
    bl_options = {"INTERNAL"}

    generation: StringProperty(options={"SKIP_SAVE"})

    def find(self) -> Generation | None:
        from ..trellis_addon.scene.session import queue

        return queue.find(self.generation)


class TRELLIS2_OT_cancel(_OnGeneration, bpy.types.Operator):
    """Stop this generation; what the remote API has begun is paid for all the same"""

    bl_idname = "trellis2.cancel"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.session import queue

        if generation := self.find():
            queue.cancel(generation)
        elif (exports := loaded("scene.exports")) and (export := exports.find(self.generation)):
            exports.cancel(export)
        return {"FINISHED"}


class TRELLIS2_OT_forget(_OnGeneration, bpy.types.Operator):
    """Take this line off the list; its files stay"""

    bl_idname = "trellis2.forget"
    bl_label = "Remove from List"

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.session import queue

        if generation := self.find():
            queue.forget(generation)
        elif (exports := loaded("scene.exports")) and (export := exports.find(self.generation)):
            exports.forget(export)
        return {"FINISHED"}


class TRELLIS2_OT_clear_done(bpy.types.Operator):
    """Take every line off the list whose asset has arrived, or that was cancelled; the assets and files stay"""

    bl_idname = "trellis2.clear_done"
    bl_label = "Clear What Is Done"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        queue = loaded("scene.queue")
        if queue is None or not any(generation.state in _OVER for generation in queue.generations()):
            cls.poll_message_set("Nothing on the list is done")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.session import queue

        for generation in queue.generations():
            if generation.state in _OVER:
                queue.forget(generation)
        return {"FINISHED"}


class TRELLIS2_OT_keep_results(_OnGeneration, bpy.types.Operator):
    """Bring these results into the scene, or go on with these rough shapes; the others stay in the history"""

    bl_idname = "trellis2.keep_results"
    bl_label = "Keep Results"
    bl_options = {"INTERNAL", "UNDO"}

    results: StringProperty(
        name="Results",
        description="Their numbers, as in 1,3; empty for those that are ticked, or all",
        options={"SKIP_SAVE"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..addon.preferences import backend_for_job
        from ..trellis_addon.scene import rough
        from ..trellis_addon.scene.session import arrival

        generation = self.find()
        if generation is None or not generation.assets:
            return {"CANCELLED"}
        target = generation.target if generation.target.is_open else target_in_view(context)
        try:
            arrival.require_free()
            every = set(range(len(generation.assets)))
            picked = _numbers(self.results, len(generation.assets)) or generation.picked or every
            if generation.is_rough:
                rough.go_on(generation, picked, target, lambda job: backend_for_job(job).key)
            else:
                arrival.take(generation, picked, target)
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}


def _numbers(text: str, count: int) -> set[int]:
    """The results that a script names, counted from 1, as indices."""
    words = text.replace(",", " ").split()
    if not all(word.isdigit() and 1 <= int(word) <= count for word in words):
        raise FieldError("results", text, message("give numbers from 1 to {count}, as in 1,3", count=count))
    return {int(word) - 1 for word in words}


class TRELLIS2_OT_pick_result(_OnGeneration, bpy.types.Operator):
    """Tick this result, or untick it"""

    bl_idname = "trellis2.pick_result"
    bl_label = "Pick"

    result: IntProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        if generation := self.find():
            generation.picked ^= {self.result}
        return {"FINISHED"}


class TRELLIS2_OT_look_at_result(_OnGeneration, bpy.types.Operator):
    """Look at this result closely, from all around"""

    bl_idname = "trellis2.look_at_result"
    bl_label = "Look at Result"

    result: IntProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        if generation := self.find():
            generation.shown = self.result % max(len(generation.assets), 1)
        return {"FINISHED"}


class TRELLIS2_OT_look_at_all(_OnGeneration, bpy.types.Operator):
    """Look at all results, side by side"""

    bl_idname = "trellis2.look_at_all"
    bl_label = "All Results"

    def execute(self, context: bpy.types.Context) -> set[str]:
        if generation := self.find():
            generation.shown = None
        return {"FINISHED"}


class TRELLIS2_OT_turn_result(_OnGeneration, bpy.types.Operator):
    """Turn this result, to see it from another side"""

    bl_idname = "trellis2.turn_result"
    bl_label = "Turn"

    step: IntProperty(default=1, options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.previews import VIEWS

        if generation := self.find():
            generation.view = (generation.view + self.step) % VIEWS
        return {"FINISHED"}


class TRELLIS2_OT_retry(_OnGeneration, bpy.types.Operator):
    """Make it once more in the same place; on the remote API it is paid again"""

    bl_idname = "trellis2.retry"
    bl_label = "Retry"
    bl_options = {"INTERNAL", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..addon.preferences import backend_for_job
        from ..trellis_addon.api import retry
        from ..trellis_addon.jobs.store import JobStore
        from ..trellis_addon.scene import resume
        from ..trellis_addon.scene.place import placeholder, waiting
        from ..trellis_addon.scene.session import queue
        from ..trellis_addon.task.task import new_uuid

        generation = self.find()
        if generation is None:
            return {"CANCELLED"}
        store, uuid = JobStore(), new_uuid()
        job = store.get(generation.target.card)
        try:
            if job is None:
                raise TrellisError("It was never begun, so there is nothing to repeat: choose Generate.")
            target = dataclasses.replace(generation.target, card=uuid)
            again = retry(job, store, target=target.to_json(), uuid=uuid)
            for card in placeholder.find(generation.target.card):
                placeholder.rename(card, uuid)
            waiting.rename(generation.target.card, uuid)
            if generation.has_card and not target.is_open:  # taken away when it was cancelled
                target.stand_card(generation.name)
            generation.target = target
            queue.forget_line(generation)
            resume.finish_into(again, backend_for_job(again), target)
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class TRELLIS2_OT_show(_OnGeneration, bpy.types.Operator):
    """Select it, and move the view so that it is seen whole"""

    bl_idname = "trellis2.show"
    bl_label = "Show"
    bl_options = {"INTERNAL", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.mode != "OBJECT":
            cls.poll_message_set("Leave the edit first: it selects objects")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.place.showing import join_local_views, look_at
        from ..trellis_addon.scene.session import arrival

        generation = self.find()
        objects = arrival.objects_of(generation, context.view_layer) if generation else []
        if not objects:
            self.report({"WARNING"}, pgettext_rpt("It is not in this scene"))
            return {"CANCELLED"}
        for obj in context.view_layer.objects:
            obj.select_set(obj in objects)
        context.view_layer.objects.active = objects[0]
        area = context.area if context.area is not None and context.area.type == "VIEW_3D" else largest_view(context)
        if area is not None:
            join_local_views(objects)
            look_at(area, objects)
        return {"FINISHED"}


class TRELLIS2_OT_copy_details(_OnGeneration, bpy.types.Operator):
    """Copy what the service answered, for a report; the key is never part of it"""

    bl_idname = "trellis2.copy_details"
    bl_label = "Copy Details"

    def execute(self, context: bpy.types.Context) -> set[str]:
        if generation := self.find():
            context.window_manager.clipboard = generation.details or generation.message
        return {"FINISHED"}


_classes = (
    TRELLIS2_OT_cancel,
    TRELLIS2_OT_forget,
    TRELLIS2_OT_clear_done,
    TRELLIS2_OT_keep_results,
    TRELLIS2_OT_pick_result,
    TRELLIS2_OT_look_at_result,
    TRELLIS2_OT_look_at_all,
    TRELLIS2_OT_turn_result,
    TRELLIS2_OT_retry,
    TRELLIS2_OT_show,
    TRELLIS2_OT_copy_details,
)

# Blender has to be up before anything of a former session goes on.
_WAKE_AFTER = 2.0
# What somebody else works on is looked at again.
_LOOK_AGAIN = 20.0


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)
    if not bpy.app.background:
        bpy.app.timers.register(_wake, first_interval=_WAKE_AFTER, persistent=True)
    bpy.app.handlers.load_post.append(_on_load)
    for handlers in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        handlers.append(_on_undo)


def _wake() -> None:
    """Go on with what a former session began and did not see the end of."""
    from ..addon.preferences import backend_for_job
    from ..trellis_addon.scene import resume
    from ..trellis_addon.scene.session import history

    resume.go_on(backend_for_job, _wake_again)
    history.read_store()


def _wake_again() -> None:
    if not bpy.app.background and not bpy.app.timers.is_registered(_wake):
        bpy.app.timers.register(_wake, first_interval=_LOOK_AGAIN, persistent=True)


@persistent
def _on_load(*arguments: object) -> None:
    """Another file may have cards of its own, and the places that some results wait for."""
    if queue := loaded("scene.queue"):
        queue.look_again()
    if not bpy.app.background and not bpy.app.timers.is_registered(_wake):
        bpy.app.timers.register(_wake, first_interval=0.0, persistent=True)


@persistent
def _on_undo(*arguments: object) -> None:
    if queue := loaded("scene.queue"):
        queue.after_undo()


def unregister() -> None:
    for handlers in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        handlers.remove(_on_undo)
    bpy.app.handlers.load_post.remove(_on_load)
    if bpy.app.timers.is_registered(_wake):
        bpy.app.timers.unregister(_wake)
    # Only what was used has anything to end.
    if (exports := loaded("scene.exports")) is not None:
        exports.stop_all()
    if (queue := loaded("scene.queue")) is not None:
        queue.stop_all()
    if (pump := loaded("scene.pump")) is not None:
        pump.stop_pump()
    if (services := loaded("client.local_service")) is not None:
        services.stop_local_services()
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
