"""What can be asked of where the work is done: a service of one's own, and this machine's graphics card."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import bpy
from bpy.app.translations import pgettext_rpt

from ..addon import service_answers
from ..addon.preferences import backend_of
from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.scene.words import translate

if TYPE_CHECKING:
    from ..trellis_addon.client.backends import Backend


class TRELLIS2_OT_test_service(bpy.types.Operator):
    """Ask your service whether it is there"""

    bl_idname = "trellis2.test_service"
    bl_label = "Test Service"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene import pump

        try:
            backend = backend_of("service")
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        if bpy.app.background:
            text, icon, cuts_out, machines = _ask(backend)
            service_answers.remember(backend.name, text, icon, cuts_out, machines)
            self.report({"INFO" if icon == "CHECKMARK" else "ERROR"}, translate(text))
            return {"FINISHED"} if icon == "CHECKMARK" else {"CANCELLED"}
        service_answers.remember(backend.name, pgettext_rpt("Asking ..."), "SORTTIME")

        def work() -> Callable[[], None]:
            answer = _ask(backend)
            return lambda: service_answers.remember(backend.name, *answer)

        pump.in_thread(work)
        return {"FINISHED"}


class TRELLIS2_OT_ask_device(bpy.types.Operator):
    """Ask the graphics card's driver for its memory"""

    bl_idname = "trellis2.ask_device"
    bl_label = "Ask Device"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.session import device

        device.ask_later()
        return {"FINISHED"}


def _ask(backend: Backend) -> tuple[str, str, bool | None, list[str]]:
    """The words, their icon, whether it cuts subjects out of photographs (None where it does not say), and a line for
    each machine behind it."""
    from ..trellis_addon.client.backends import connect
    from ..trellis_addon.client.machines import machines_of

    try:
        with connect(backend) as client:
            client.ping()
            about = client.about()
    except TrellisError as error:
        return error.message, "ERROR", None, []
    return pgettext_rpt("The service answers"), "CHECKMARK", about.get("maskModel") is True, machines_of(about)


_classes = (TRELLIS2_OT_test_service, TRELLIS2_OT_ask_device)


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)


def unregister() -> None:
    service_answers.forget_all()
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
