"""The history: place, repeat, fetch and remove jobs that are in the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import bpy
from bpy.app.translations import pgettext_data, pgettext_iface, pgettext_rpt
from bpy.props import IntProperty, StringProperty

from ..addon.picture_state import CORRECTIONS, VIEWS
from ..addon.preferences import backend_for_job, backend_of, service_url
from ..addon.properties import write_settings
from ..trellis_addon.core.addresses import without_login
from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.scene.words import translate
from .assets import OnGenerated
from .mixin import Mixin
from .placing import target_in_view
from .sources import use_picture

if TYPE_CHECKING:
    from ..trellis_addon.jobs.job import Job
    from ..trellis_addon.jobs.store import JobStore
    from ..trellis_addon.task.settings import Settings


class _OnJob(Mixin):
    """What the buttons beside a job share; each one's `run(context, job, store)` does the work."""

    bl_options = {"INTERNAL"}

    job: StringProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.jobs.store import JobStore
        from ..trellis_addon.scene.session import history

        store = JobStore()
        job = store.get(self.job)
        try:
            if job is None:
                raise TrellisError("This job is not in the list any more.")
            self.run(context, job, store)
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        if not bpy.app.background:
            history.read_store()
        return {"FINISHED"}


def make_again(
    context: bpy.types.Context,
    job: Job,
    store: JobStore,
    settings: Settings | None = None,
    *,
    from_picture: bool = False,
) -> None:
    """A new job of the same picture, with the same settings or these, at the 3D cursor.

    One that went on from what was kept of another does so again, or `from_picture` begins anew.
    """
    from ..trellis_addon.api import retry
    from ..trellis_addon.scene import resume
    from ..trellis_addon.task.task import new_uuid

    uuid = new_uuid()
    target = target_in_view(context, uuid=uuid, name=job.name)
    again = retry(job, store, target=target.to_json(), uuid=uuid, settings=settings, from_picture=from_picture)
    resume.finish_into(again, backend_for_job(again), target)


class TRELLIS2_OT_job_menu(bpy.types.Operator):
    """What can be done with this job"""

    bl_idname = "trellis2.job_menu"
    bl_label = "Job"
    bl_options = {"INTERNAL"}

    job: StringProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        uuid = self.job
        if bpy.app.background:  # Blender comes down where it draws a menu without a window
            return {"CANCELLED"}

        def draw(menu: bpy.types.UIPopupMenu, context: bpy.types.Context) -> None:
            menu.layout.operator_context = "INVOKE_DEFAULT"  # so that deleting asks first
            for operator, icon in _ACTIONS:
                menu.layout.operator(operator, icon=icon).job = uuid

        context.window_manager.popup_menu(draw)
        return {"FINISHED"}


_ACTIONS = (
    ("trellis2.job_import", "IMPORT"),
    ("trellis2.job_retry", "FILE_REFRESH"),
    ("trellis2.job_edit", "GREASEPENCIL"),
    ("trellis2.job_reveal", "FILE_FOLDER"),
    ("trellis2.job_details", "COPYDOWN"),
    ("trellis2.job_delete", "TRASH"),
)


class TRELLIS2_OT_job_import(_OnJob, bpy.types.Operator):
    """Place this asset at the 3D cursor; what is not here yet is asked for, and not paid again"""

    bl_idname = "trellis2.job_import"
    bl_label = "Import"
    bl_options = {"INTERNAL", "UNDO"}

    def run(self, context: bpy.types.Context, job: Job, store: JobStore) -> None:
        from ..trellis_addon.scene import resume
        from ..trellis_addon.scene.session import arrival

        if job.assets and all(asset.path.is_file() for asset in job.assets):
            arrival.deliver(job.assets, target_in_view(context))
        else:
            resume.finish_into(job, backend_for_job(job), target_in_view(context), may_send=False)


class TRELLIS2_OT_job_retry(_OnJob, bpy.types.Operator):
    """Make it once more with the same picture and settings; on the remote API it is paid again"""

    bl_idname = "trellis2.job_retry"
    bl_label = "Generate Again"
    bl_options = {"INTERNAL", "UNDO"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """It stands in a menu, where one press too many must not cost anything."""
        from ..trellis_addon.jobs.store import JobStore

        job = JobStore().get(self.job)
        if job is not None and job.is_paid:
            return context.window_manager.invoke_confirm(self, event)
        return self.execute(context)

    def run(self, context: bpy.types.Context, job: Job, store: JobStore) -> None:
        make_again(context, job, store)


# The button that makes it again, by the job's kind; of an asset of a picture it is Generate, which stands beside it.
_BUTTONS = {
    "mesh": "Texture Selected Mesh",
    "change": "Change a Part",
    "vary": "Variations",
    "texture": "Texture Again",
    "finish": "Finish Again",
    "rest": "Go On from Rough Shape",
}


class TRELLIS2_OT_job_edit(_OnJob, bpy.types.Operator):
    """Take its picture and settings back into the panel, to change something and generate again"""

    bl_idname = "trellis2.job_edit"
    bl_label = "Edit and Retry"
    bl_options = {"INTERNAL", "UNDO"}

    def run(self, context: bpy.types.Context, job: Job, store: JobStore) -> None:
        from ..trellis_addon.scene.target import Target
        from ..trellis_addon.task.views import FRONT

        if not job.picture:
            raise TrellisError('"{name}" cannot be edited: its picture was not kept.', name=job.name)
        state = context.scene.trellis2
        views = {view: _picture_of(job, view) for view in job.views if view in VIEWS}
        use_picture(context.scene, _picture_of(job, FRONT), views)
        write_settings(state.settings, job.settings)
        state.asset_name = job.name
        if (target := Target.from_json(job.target)) is not None and target.height and not job.kind:
            state.height = target.height
        state.edited, state.edited_kind = job.uuid, job.kind
        if job.backend in ("draft", "local", "remote"):
            state.backend = job.backend
        else:
            state.backend = "service"
            if job.backend != service_url():
                words = pgettext_rpt("It was made at {address}, which is not the service in the preferences")
                self.report({"WARNING"}, words.format(address=without_login(job.backend)))
        if len(views) < len(job.views):
            self.report({"WARNING"}, pgettext_rpt("The panel has no place for some of its views: they are left out"))
        if job.kind:
            _select(context, _made_of(job))
            words = pgettext_rpt("Its picture and settings are in the panel; {button} makes it again")
            self.report({"INFO"}, words.format(button=pgettext_iface(_BUTTONS[job.kind], "Operator")))


def _picture_of(job: Job, view: str) -> bpy.types.Image:
    """A job's picture of a view, with what was corrected of it beside it, to be corrected further."""
    from ..trellis_addon.images import WHOLE, read_image_bytes
    from ..trellis_addon.scene import sources
    from ..trellis_addon.task.views import FRONT

    kept = job.uncorrected.get(view)
    text = kept or (job.picture if view == FRONT else job.views[view])
    name = job.name if view == FRONT else f"{job.name} {view}"
    image = sources.image_of_bytes(read_image_bytes(text, allow_network=bpy.app.online_access)[0], name)
    facts = job.chosen.get(view)
    told = facts if isinstance(facts, dict) else {}
    if told.get("cutout") == WHOLE:
        image.trellis2.cutout = "WHOLE"
    for correction in CORRECTIONS if kept else ():
        if isinstance(share := told.get(correction), (int, float)):
            setattr(image.trellis2, correction, 100.0 * share)
    return image


def _made_of(job: Job) -> list[bpy.types.Object]:
    """The objects of the open file that a job was about: those that it textured, or the asset that it went on from."""
    from ..trellis_addon.scene import read_provenance
    from ..trellis_addon.scene.texturing.giving import PROVENANCE

    def told(obj: bpy.types.Object) -> str:
        if job.kind != "mesh":
            return str(read_provenance(obj).get("task_uuid", ""))
        try:
            found = json.loads(obj.get(PROVENANCE, "{}"))
        except (TypeError, ValueError):
            return ""
        return str(found.get("task_uuid", "")) if isinstance(found, dict) else ""

    wanted = job.uuid if job.kind == "mesh" else str(job.source.get("task_uuid", ""))
    return [obj for obj in bpy.data.objects if obj.type == "MESH" and wanted and told(obj) == wanted]


def _select(context: bpy.types.Context, objects: list[bpy.types.Object]) -> None:
    """Select these alone, as far as they are to be seen; where there are none, all stays."""
    if context.mode != "OBJECT":
        return
    there = [obj for obj in objects if obj.visible_get(view_layer=context.view_layer)]
    if not there:
        return
    for obj in context.selected_objects:
        obj.select_set(False)
    for obj in there:
        obj.select_set(True)
    context.view_layer.objects.active = there[0]


class TRELLIS2_OT_more_like_this(OnGenerated, bpy.types.Operator):
    """Make variations of the selected asset: its picture and settings, with other seeds; the remote API is paid"""

    bl_idname = "trellis2.more_like_this"
    bl_label = "More Like This"
    bl_options = {"UNDO"}

    count: IntProperty(name="Variations", default=4, min=1, max=10, options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.jobs.store import JobStore
        from ..trellis_addon.scene import read_provenance

        store = JobStore()
        try:
            job = store.get(str(read_provenance(context.object).get("task_uuid")))
            if job is None:
                raise TrellisError("The job that made this asset is not in the list any more: its picture is needed.")
            settings = job.settings.replace(seed=None, number_results=self.count)
            make_again(context, job, store, settings, from_picture=True)
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class TRELLIS2_OT_job_delete(_OnJob, bpy.types.Operator):
    """Delete this job and its files; what stands in scenes stays"""

    bl_idname = "trellis2.job_delete"
    bl_label = "Delete Job"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def run(self, context: bpy.types.Context, job: Job, store: JobStore) -> None:
        store.delete(job)


class TRELLIS2_OT_job_reveal(_OnJob, bpy.types.Operator):
    """Show this job's files in the file browser of the system"""

    bl_idname = "trellis2.job_reveal"
    bl_label = "Reveal Files"

    def run(self, context: bpy.types.Context, job: Job, store: JobStore) -> None:
        bpy.ops.wm.path_open(filepath=str(job.folder))


class TRELLIS2_OT_job_details(_OnJob, bpy.types.Operator):
    """Copy what is known of this job to the clipboard, for a report; the key is never part of it"""

    bl_idname = "trellis2.job_details"
    bl_label = "Copy Details"

    def run(self, context: bpy.types.Context, job: Job, store: JobStore) -> None:
        request = job.task.to_request()
        request["inputs"] = dict.fromkeys(request["inputs"], "(left out)")
        facts = {"state": job.state, "backend": job.backend, "error": job.error, "cost": job.cost, "request": request}
        context.window_manager.clipboard = json.dumps(facts, indent=2)


class TRELLIS2_OT_job_fetch(bpy.types.Operator):
    """Fetch the asset of a task by its taskUUID, whichever program sent it; nothing is paid"""

    bl_idname = "trellis2.job_fetch"
    bl_label = "Fetch by Task UUID"
    bl_options = {"REGISTER"}

    uuid: StringProperty(name="Task UUID", options={"SKIP_SAVE"})
    backend: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.api import fetch
        from ..trellis_addon.scene.session import arrival
        from ..trellis_addon.task.task import check_uuid

        uuid = self.uuid.strip()
        try:
            check_uuid(uuid)
            backend = backend_of(self.backend or context.scene.trellis2.backend)
            make = lambda progress, report: fetch(uuid, backend=backend.name, key=backend.key)  # noqa: E731
            arrival.run(pgettext_data("Task {uuid}").format(uuid=uuid[:8]), make, target_in_view(context))
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class TRELLIS2_OT_history_refresh(bpy.types.Operator):
    """Read the list of jobs again"""

    bl_idname = "trellis2.history_refresh"
    bl_label = "Refresh"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.session import history

        history.read_store()
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory(
    (
        TRELLIS2_OT_job_menu,
        TRELLIS2_OT_job_import,
        TRELLIS2_OT_job_retry,
        TRELLIS2_OT_job_edit,
        TRELLIS2_OT_more_like_this,
        TRELLIS2_OT_job_delete,
        TRELLIS2_OT_job_reveal,
        TRELLIS2_OT_job_details,
        TRELLIS2_OT_job_fetch,
        TRELLIS2_OT_history_refresh,
    )
)
