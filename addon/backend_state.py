"""What the artist should know of a backend: whether it can answer, what it costs, what stands in its way."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface

from ..trellis_addon.core.addresses import without_login
from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.engines.registry import trellis2_available
from ..trellis_addon.task.settings import DRAFT_FIELDS, OWN_IN_PANEL, Field
from .loaded import loaded, worker_status
from .local_words import card_words, duration_range, worker_state
from .preferences import remote_key_source, service_url
from .properties import read_settings
from .service_answers import answer_of, machines_of

NEARLY = 0.8  # of a spending limit
_FRESH = 5.0  # seconds for which what the disk said holds
_ASKING = ("trellis2.test_key", "trellis2.test_service", "trellis2.ask_device")


@dataclass(frozen=True)
class Line:
    """A line of the panel; `operator` is the button that helps, `label` what is written on it if not its own name.

    What is no error, and has no label, has its button beside it, as an icon.
    """

    text: str
    icon: str = "INFO"
    operator: str = ""
    label: str = ""

    @property
    def operator_icon(self) -> str:
        """Asking again has another icon than changing something."""
        return "FILE_REFRESH" if self.operator in _ASKING else "PREFERENCES"


def state_lines(choice: str) -> list[Line]:
    """How the backend is, as far as it is known without asking it."""
    return {"draft": _draft, "local": _local, "remote": _remote, "service": _service}[choice]()


def problems(state: bpy.types.PropertyGroup) -> list[Line]:
    """What would make the service refuse, or us before it, told before it is asked."""
    return obstacles(state) or (limit_lines(state) if state.backend == "remote" else [])


def obstacles(state: bpy.types.PropertyGroup) -> list[Line]:
    """What has to be put right first: nothing can be sent."""
    if state.backend == "service" and not service_url():
        label = pgettext_iface("Enter Address...")
        return [Line(pgettext_iface("No address of a service"), "ERROR", "trellis2.preferences", label)]
    if state.backend != "remote":
        return []
    if not bpy.app.online_access:
        return [Line(pgettext_iface("Online access is off"), "ERROR", "trellis2.online_access")]
    if not remote_key_source():
        return [Line(pgettext_iface("No API key"), "ERROR", "trellis2.preferences")]
    return []


def limit_lines(state: bpy.types.PropertyGroup) -> list[Line]:
    """Whether the next job would pass a spending limit, or is near one."""
    history = loaded("scene.history")
    if history is None:
        return []
    found = []
    price = _price(state.settings.number_results).high
    for period, limit in history.known.limits.items():
        spent = history.known.spent.get(period, 0.0)
        values = {"spent": f"{spent:.2f}", "limit": f"{limit:.2f}"}
        if spent + price > limit + 1e-9:
            text = (
                pgettext_iface("Limit reached: {spent} of {limit} US dollars today")
                if period == "day"
                else pgettext_iface("Limit reached: {spent} of {limit} US dollars this month")
            )
            found.append(Line(text.format(**values), "ERROR", "trellis2.spending_limit"))
        elif spent > NEARLY * limit:
            text = (
                pgettext_iface("Near the limit: {spent} of {limit} US dollars today")
                if period == "day"
                else pgettext_iface("Near the limit: {spent} of {limit} US dollars this month")
            )
            found.append(Line(text.format(**values), "INFO", "trellis2.spending_limit"))
    return found


def price_of(state: bpy.types.PropertyGroup, pictures: int = 1) -> str:
    """What so many pictures may cost with the panel's settings, in words; empty where nothing is paid."""
    if state.backend != "remote":
        return ""
    price = _price(pictures * state.settings.number_results)
    text = pgettext_iface("{low} to {high} US dollars")
    return text.format(low=f"{price.low:.2f}", high=f"{price.high:.2f}")


@functools.cache
def _price(results: int) -> Any:
    from ..trellis_addon.jobs.money import expected_price

    return expected_price(results)


def _draft() -> list[Line]:
    return [Line(pgettext_iface("A quick relief, no AI model"))]


def is_draft(state: bpy.types.PropertyGroup) -> bool:
    """Whether the draft engine will answer: chosen, or because the local backend is not set up."""
    return state.backend == "draft" or (state.backend == "local" and not _available(int(time.monotonic() / _FRESH)))


def counts(state: bpy.types.PropertyGroup, field: Field) -> bool:
    """Whether a setting makes a difference where the panel says that it runs."""
    if field in OWN_IN_PANEL and state.backend == "remote":
        return False
    return not is_draft(state) or field.name in DRAFT_FIELDS


def expectations(state: bpy.types.PropertyGroup) -> list[Line]:
    """How long it will take on this computer's device, and how much of its memory; nothing where nobody has asked."""
    module = loaded("scene.device")
    if state.backend != "local" or module is None or module.known().machine is None:
        return []
    if not _available(int(time.monotonic() / _FRESH)):
        return []
    try:
        worker = worker_status()
        found = module.expected(read_settings(state.settings), (worker.pid,) if worker and worker.pid else ())
    except TrellisError:  # a text that is no legal value: pressing the button says which
        return []
    card = module.known().card
    values = {"time": duration_range(*found.seconds), "memory": f"{found.memory / 2**30:.0f}"}
    if card is not None and card.total and found.memory:
        text = pgettext_iface("About {time}, {memory} of {total} GB")
        text = text.format(**values, total=f"{card.total / 2**30:.0f}")
    else:
        text = pgettext_iface("About {time}").format(**values)
    if not found.learned:
        learned = pgettext_iface("a first guess")
    elif found.runs == 1:
        learned = pgettext_iface("learned from one run")
    else:
        learned = pgettext_iface("learned from {count} runs").format(count=found.runs)
    lines = [Line(f"{text} ({learned})", "TIME")]
    if found.warning:
        lines.append(Line(found.warning, "INFO"))
    return lines


def _local() -> list[Line]:
    work = loaded("scene.setup.local_work")
    if work is not None and work.is_running("install", "weights"):
        text = pgettext_iface("Being set up: {share}").format(share=f"{work.current().share:.0%}")
        return [Line(text, "SORTTIME", "trellis2.preferences", pgettext_iface("Show..."))]
    # looked for on the disk, so not at every redraw
    if not _available(int(time.monotonic() / _FRESH)):
        text = pgettext_iface("Not set up yet: the draft answers")
        return [Line(text, "INFO", "trellis2.preferences", pgettext_iface("Set Up..."))]
    module = loaded("scene.device")
    found = module.known() if module else None
    if found is None or found.machine is None:
        return [Line(device() or pgettext_iface("The weights are installed"), "CHECKMARK", "trellis2.ask_device")]
    if found.card is None:
        lines = [Line(pgettext_iface("On the processor, slowly"), "INFO", "trellis2.ask_device")]
    else:
        lines = [Line(card_words(found.card), "CHECKMARK", "trellis2.ask_device")]
    text, icon = worker_state(worker_status())
    return [*lines, Line(text, icon, *(("trellis2.worker_start", pgettext_iface("Start")) if icon == "ERROR" else ()))]


@functools.lru_cache(maxsize=1)
def _available(moment: int) -> bool:
    return trellis2_available()


@functools.cache
def device() -> str:
    """The graphics card's name as Blender has it; empty without a window."""
    if bpy.app.background:
        return ""
    import gpu

    return str(gpu.platform.renderer_get()).split("/")[0].strip()


def _remote() -> list[Line]:
    source = {
        "preferences": pgettext_iface("Key from the preferences"),
        "environment": pgettext_iface("Key from the environment"),
        "keyring": pgettext_iface("Key from the system's keyring"),
    }.get(remote_key_source())
    if source is None or not bpy.app.online_access:
        return []  # `problems` says so
    answer = _account()
    return [Line(source, "CHECKMARK", "trellis2.test_key"), *([Line(answer, "BLANK1")] if answer else [])]


def _service() -> list[Line]:
    if not service_url():
        return []
    answer, icon = answer_of(service_url())
    machines = [Line(machine, "BLANK1") for machine in machines_of(service_url())]
    return [Line(answer or without_login(service_url()), icon, "trellis2.test_service"), *machines]


def _account() -> str:
    """What came of Test Key, if the module that asks has ever been needed."""
    history = loaded("scene.history")
    return history.known.account if history else ""
