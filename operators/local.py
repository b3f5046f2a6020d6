"""The local backend: installing it, its weights, its worker, testing it, and taking it away again.

Each button's work goes on in a thread; called by a script, without a window, it is done when the operator returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface, pgettext_rpt
from bpy.props import BoolProperty, StringProperty

from ..addon.loaded import loaded, worker_status
from ..addon.local_properties import choices
from ..addon.local_words import group_words
from ..addon.preferences import Preferences, enabled_preferences, preferences
from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.core.sizes import size_words
from ..trellis_addon.scene.words import translate
from .mixin import Mixin


class _Work(Mixin):
    """What the buttons share that begin a work: one at a time, and errors as sentences."""

    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if preferences() is None:
            cls.poll_message_set("The extension is not enabled")
            return False
        if _is_running():
            cls.poll_message_set("Something is being done already: wait, or cancel it")
            return False
        return cls.why_not()

    @classmethod
    def why_not(cls) -> bool:
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            self.begin()
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def begin(self) -> None:
        raise NotImplementedError


class TRELLIS2_OT_local_look(_Work, bpy.types.Operator):
    """Look again at what this computer has, and what is installed"""

    bl_idname = "trellis2.local_look"
    bl_label = "Look Again"

    def begin(self) -> None:
        from ..trellis_addon.scene.setup import local_setup

        local_setup.look_later(choices(enabled_preferences()))


class TRELLIS2_OT_local_install(_Work, bpy.types.Operator):
    """Put PyTorch and what else is needed into the folder, and download the weights"""

    bl_idname = "trellis2.local_install"
    bl_label = "Install and Download"

    weights: BoolProperty(
        name="Weights", description="Download the weights of the chosen resolutions as well", default=True
    )

    @classmethod
    def why_not(cls) -> bool:
        stored = enabled_preferences()
        if not _may_download(cls, stored, is_local=bool(stored.local_wheels.strip())):
            return False
        found = _found()
        if found is not None and found.plan is not None and found.plan.obstacles:
            cls.poll_message_set("Something stands in the way: it is said above")
            return False
        return True

    def begin(self) -> None:
        from ..trellis_addon.scene.setup import local_setup

        local_setup.install(choices(enabled_preferences()), weights=self.weights)


class TRELLIS2_OT_local_cancel(bpy.types.Operator):
    """Stop; what is there is kept, and gone on with next time"""

    bl_idname = "trellis2.local_cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _is_running()

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.setup import local_work

        local_work.cancel()
        return {"FINISHED"}


class TRELLIS2_OT_local_weights(_Work, bpy.types.Operator):
    """Download the weights that the chosen resolutions lack; what broke off goes on"""

    bl_idname = "trellis2.local_weights"
    bl_label = "Download Weights"

    @classmethod
    def why_not(cls) -> bool:
        stored = enabled_preferences()
        return _may_download(cls, stored, is_local=stored.local_source == "FOLDER")

    def begin(self) -> None:
        from ..trellis_addon.scene.setup import local_setup

        local_setup.fetch_weights(choices(enabled_preferences()))


class TRELLIS2_OT_local_remove_weights(_Work, bpy.types.Operator):
    """Delete these weights from the disk; they can be downloaded again"""

    bl_idname = "trellis2.local_remove_weights"
    bl_label = "Remove Weights"

    group: StringProperty(options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        found = _found()
        line = next((line for line in found.weights if line.group == self.group), None) if found else None
        if line is None:
            return self.execute(context)
        return context.window_manager.invoke_confirm(
            self,
            event,
            title=pgettext_iface("Remove {name}?").format(name=group_words(line.label)),
            message=pgettext_iface("{size} of disk become free").format(size=size_words(line.here)),
            confirm_text=pgettext_iface("Remove"),
        )

    def begin(self) -> None:
        from ..trellis_addon.scene.setup import local_setup

        local_setup.remove_weights(self.group, choices(enabled_preferences()))


class TRELLIS2_OT_local_licence(bpy.types.Operator):
    """Open the text of these terms in the web browser"""

    bl_idname = "trellis2.local_licence"
    bl_label = "Read the Licence"
    bl_options = {"INTERNAL"}

    address: StringProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.address.startswith("https://"):
            return {"CANCELLED"}
        bpy.ops.wm.url_open(url=self.address)
        return {"FINISHED"}


class TRELLIS2_OT_worker_start(_Work, bpy.types.Operator):
    """Start the worker now; it also starts by itself with the first job"""

    bl_idname = "trellis2.worker_start"
    bl_label = "Start"

    @classmethod
    def why_not(cls) -> bool:
        if _worker_state() in ("starting", "running"):
            cls.poll_message_set("The worker runs already")
            return False
        return True

    def begin(self) -> None:
        from ..trellis_addon.scene.setup import local_setup

        local_setup.start_worker(choices(enabled_preferences()))


class TRELLIS2_OT_worker_stop(bpy.types.Operator):
    """Stop the worker, so that the graphics card's memory is free; jobs that it has begun go on later"""

    bl_idname = "trellis2.worker_stop"
    bl_label = "Stop"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if _worker_state() not in ("starting", "running"):
            cls.poll_message_set("The worker does not run")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.setup import local_setup

        local_setup.stop_worker()
        return {"FINISHED"}


class TRELLIS2_OT_local_doctor(_Work, bpy.types.Operator):
    """Test everything for half a minute, and say what is wrong and how it is mended"""

    bl_idname = "trellis2.local_doctor"
    bl_label = "Examine"

    selftest: BoolProperty(name="Self-Test", description="Compute something on the device as well", default=True)

    def begin(self) -> None:
        from ..trellis_addon.scene.setup import local_setup

        local_setup.examine(choices(enabled_preferences()), selftest=self.selftest)
        report = local_setup.report()
        if bpy.app.background and report is not None:
            self.report({"WARNING"} if report.problems else {"INFO"}, str(report))


class TRELLIS2_OT_local_copy_report(bpy.types.Operator):
    """Copy the doctor's report, for a support thread; keys and tokens are never part of it"""

    bl_idname = "trellis2.local_copy_report"
    bl_label = "Copy Report"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        setup = loaded("scene.setup.local_setup")
        if setup is None or setup.report() is None:
            cls.poll_message_set("There is no report yet: press Examine")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.setup import local_setup

        context.window_manager.clipboard = str(local_setup.report())
        self.report({"INFO"}, pgettext_rpt("The report is in the clipboard"))
        return {"FINISHED"}


class TRELLIS2_OT_local_remove(_Work, bpy.types.Operator):
    """Delete everything that the local backend has brought, and nothing else"""

    bl_idname = "trellis2.local_remove"
    bl_label = "Remove Everything..."

    keep_weights: BoolProperty(
        name="Keep the Weights",
        description="They are the largest part, and need not be downloaded again then",
        options={"SKIP_SAVE"},
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(
            self, title=pgettext_iface("Remove the Local Backend?"), confirm_text=pgettext_iface("Remove")
        )

    def draw(self, context: bpy.types.Context) -> None:
        found = _found()
        if found is not None:
            column = self.layout.column(align=True)
            weights = sum(line.here for line in found.weights) if self.keep_weights else 0
            text = pgettext_iface("{size} will be deleted in").format(size=size_words(max(found.used - weights, 0)))
            column.label(text=text, translate=False, icon="TRASH")
            column.label(text=str(found.folder.root), translate=False, icon="BLANK1")
        self.layout.prop(self, "keep_weights")

    def begin(self) -> None:
        from ..trellis_addon.scene.setup import local_setup

        local_setup.remove(choices(enabled_preferences()), keep_weights=self.keep_weights)


def _may_download(cls: type[bpy.types.Operator], stored: Preferences, *, is_local: bool) -> bool:
    """Whether the network may be used, where it is needed, and the terms are accepted; the button says why not."""
    if not bpy.app.online_access and not is_local:
        cls.poll_message_set("Online access is off: switch it on in Preferences > System")
        return False
    if _lacks_acceptance(stored):
        cls.poll_message_set("The terms of DINOv3 are not accepted: read them, and tick the box")
        return False
    return True


def _lacks_acceptance(stored: Any) -> bool:
    found = _found()
    is_accepted = found is not None and not found.terms
    return not (stored.accept_dinov3 or is_accepted)


def _is_running() -> bool:
    work = loaded("scene.setup.local_work")
    return work is not None and work.is_running()


def _found() -> Any:
    setup = loaded("scene.setup.local_setup")
    return setup.known() if setup else None


def _worker_state() -> str:
    status = worker_status()
    return status.state if status else "stopped"


_classes = (
    TRELLIS2_OT_local_look,
    TRELLIS2_OT_local_install,
    TRELLIS2_OT_local_cancel,
    TRELLIS2_OT_local_weights,
    TRELLIS2_OT_local_remove_weights,
    TRELLIS2_OT_local_licence,
    TRELLIS2_OT_worker_start,
    TRELLIS2_OT_worker_stop,
    TRELLIS2_OT_local_doctor,
    TRELLIS2_OT_local_copy_report,
    TRELLIS2_OT_local_remove,
)


_WATCH_EVERY = 1.0  # seconds


@dataclass
class _Shown:
    worker: Any = None


_shown = _Shown()


def _watch() -> float:
    """The worker also starts and ends without anybody's pressing a button: what shows it is redrawn then.

    And a file that is opened may say that it runs on this computer, whose device the panel shows.
    """
    status = worker_status()
    if status != _shown.worker:
        from ..trellis_addon.scene.background import redraw

        _shown.worker = status
        redraw()
    state = getattr(bpy.context.scene, "trellis2", None)
    if state is not None and state.backend == "local":
        from ..trellis_addon.scene.session import device

        device.ask_once()
    return _WATCH_EVERY


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)
    if not bpy.app.background:
        bpy.app.timers.register(_watch, first_interval=_WATCH_EVERY, persistent=True)


def unregister() -> None:
    if bpy.app.timers.is_registered(_watch):
        bpy.app.timers.unregister(_watch)
    # an installation that goes on is broken off, to be gone on with another time
    if (work := loaded("scene.setup.local_work")) is not None:
        work.stop_all()
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
