"""What the local backend's state is called: words for the preferences and the panel, made of plain data."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from bpy.app.translations import pgettext_iface

from ..trellis_addon.core.sizes import size_words
from ..trellis_addon.scene.words import translate

# What the library calls the steps of its work -> words for people.
STEPS = {
    "Looking for the packages": "Looking for the Packages",
    "Downloading Python": "Downloading Python",
    "Downloading": "Downloading",
    "Checking": "Checking",
    "Checking the packages": "Checking the Packages",
    "Making the environment": "Making the Environment",
    "Installing": "Installing",
    "Trying it": "Trying It",
    "Copying the library": "Copying the Library",
    "Compiling for this computer": "Compiling for This Computer",
    "Installed": "Installed",
    "Removing": "Removing",
}
# What the library calls the groups of the weights -> words for people.
GROUPS = {
    "Rough Shape and Decoders": "Rough Shape and Decoders",
    "Sparse Structure Decoder": "Sparse Structure Decoder",
    "DINOv3 Image Features": "DINOv3 Image Features",
    "Shape at 512": "Shape at 512",
    "Texture at 512": "Texture at 512",
    "Shape at 1024": "Shape at 1024",
    "Texture at 1024": "Texture at 1024",
    "BiRefNet Mask": "BiRefNet Mask",
    "Shape Encoder": "Shape Encoder",
}
# "Downloading 1.2 of 16.1 GB, 38 MB/s, 6 min left"
_DOWNLOAD = re.compile(
    r"(?P<what>\D+) (?P<done>[\d.]+) of (?P<total>[\d.]+ \w?B)(, (?P<speed>[^,]+)/s)?(, (?P<left>.+) left)?"
)
_MANY_CARDS = 4
_UNTOLD = ("", "auto")  # a worker that has had nothing to do yet


def computer_lines(found: Any) -> list[tuple[str, str]]:
    """(text, icon): the cards, why this build of PyTorch, the disk."""
    cards = [card for card in found.machine.cards if card.kind != "intel"][:_MANY_CARDS]
    lines = [(card_words(card), "CHECKMARK") for card in cards]
    if not cards:
        text = pgettext_iface("No graphics card for this: it will run on the processor, slowly")
        lines.append((text, "INFO"))
    elif found.plan is not None and found.plan.build is not None:
        lines.append((found.plan.build.reason, "BLANK1"))
    if found.own_python:
        text = pgettext_iface("Your own Python is used: {path}")
        lines.append((text.format(path=found.own_python), "CHECKMARK"))
    elif found.state is not None and found.state.complete:
        text = pgettext_iface("PyTorch {torch} is installed, with Python {python}")
        lines.append((text.format(torch=found.state.torch, python=found.state.python), "CHECKMARK"))
    text = pgettext_iface("{size} free on the disk").format(size=size_words(found.free))
    return [*lines, (text, "BLANK1")]


def card_words(card: Any) -> str:
    """A card's name, memory and driver, as far as they are known."""
    words = [card.name]
    if card.total and card.free:
        text = pgettext_iface("{free} of {total} GB of memory free")
        words.append(text.format(free=f"{card.free / 2**30:.0f}", total=f"{card.total / 2**30:.0f}"))
    elif card.total:
        words.append(pgettext_iface("{total} GB of memory").format(total=f"{card.total / 2**30:.0f}"))
    if card.driver:
        words.append(pgettext_iface("driver {version}").format(version=card.driver))
    return ", ".join(words)


def needs_words(found: Any, has_wheels: bool) -> str:
    """What one press of the button downloads and takes, and from where."""
    packages = found.plan.download if found.plan is not None else 0
    values = {
        "packages": size_words(packages),
        "weights": size_words(found.to_fetch),
        "disk": size_words((found.plan.disk if found.plan is not None else 0) + found.to_fetch),
    }
    if has_wheels:
        text = pgettext_iface(
            "Packages from your folder and {weights} of weights, {disk} of disk; nothing is installed into Blender"
        )
    else:
        text = pgettext_iface(
            "Downloads {packages} from the package index and {weights} of weights, and takes {disk} of disk;"
            " nothing is installed into Blender"
        )
    return text.format(**values)


def room_words(found: Any) -> str:
    """What to say where it will not fit on the disk; empty where it does."""
    needed = found.to_fetch + (found.plan.disk if found.plan is not None and not found.is_ready else 0)
    if not found.free or needed <= found.free:
        return ""
    text = pgettext_iface("It needs {needed}, and {free} are free: free some space, or choose another folder")
    return text.format(needed=size_words(needed), free=size_words(found.free))


def group_words(label: str) -> str:
    """What the library calls a group of weights, in the artist's language."""
    return pgettext_iface(GROUPS.get(label, label))


def weights_words(line: Any) -> str:
    """Whether one line of the weights is here."""
    if line.state == "complete":
        return pgettext_iface("Downloaded")
    if line.state == "damaged":
        return pgettext_iface("Damaged")
    if line.here > 0:
        return pgettext_iface("{share} here").format(share=f"{line.here / max(line.size, 1):.0%}")
    return pgettext_iface("To Download") if line.is_needed else pgettext_iface("Not Needed")


def worker_words(status: Any) -> list[tuple[str, str]]:
    """(text, icon): how the worker is; None where nobody has ever started one."""
    if status is None or status.state == "stopped":
        return [(pgettext_iface("The worker is stopped: it starts by itself with the first job"), "BLANK1")]
    if status.state == "starting":
        return [worker_state(status)]
    if status.state == "running":
        since = datetime.fromtimestamp(status.since).strftime("%H:%M")
        values = {"device": status.device, "time": since, "version": status.version}
        if status.device not in _UNTOLD:
            text = pgettext_iface("The worker has been running on {device} since {time}, version {version}")
        else:
            text = pgettext_iface("The worker has been running since {time}, version {version}")
        lines = [(text.format(**values), "CHECKMARK")]
        if status.restarts and status.cause:
            text = pgettext_iface("Started again: {cause}").format(cause=translate(status.cause))
            lines.append((text, "INFO"))
        return lines
    return [worker_state(status)]


def worker_state(status: Any) -> tuple[str, str]:
    """(text, icon): how the worker is, in a line of the panel."""
    state = status.state if status is not None else "stopped"
    if state == "failed":
        return pgettext_iface("The worker has ended: {cause}").format(cause=translate(status.cause)), "ERROR"
    if state == "starting" and status.cause:
        return pgettext_iface("The worker is started again: {cause}").format(cause=translate(status.cause)), "SORTTIME"
    words = {
        "stopped": (pgettext_iface("Worker stopped"), "BLANK1"),
        "starting": (pgettext_iface("Worker starting"), "SORTTIME"),
        "running": (pgettext_iface("Worker running"), "CHECKMARK"),
    }
    return words[state]


def duration_range(low: float, high: float) -> str:
    """Two durations in words, one where they are nearly the same."""
    if high < 1.5 * low:
        return duration((low + high) / 2)
    first, last = duration(low), duration(high)
    return first if first == last else pgettext_iface("{low} to {high}").format(low=first, high=last)


def duration(seconds: float) -> str:
    if seconds < 59.5:
        return pgettext_iface("{seconds} s").format(seconds=max(round(seconds), 1))
    if seconds < 5400:
        return pgettext_iface("{minutes} min").format(minutes=round(seconds / 60))
    return pgettext_iface("{hours} h").format(hours=round(seconds / 3600))


def step_words(stage: str) -> str:
    """A stage of the library's, in the artist's language as far as its words are known."""
    found = _DOWNLOAD.fullmatch(stage)
    if found is None:
        return pgettext_iface(STEPS.get(stage, stage)) if stage else pgettext_iface("Beginning")
    values = found.groupdict()
    what = pgettext_iface(STEPS.get(values["what"], values["what"]))
    text = pgettext_iface("{what}: {done} of {total}").format(what=what, done=values["done"], total=values["total"])
    if values["speed"]:
        text += ", " + pgettext_iface("{speed} a second").format(speed=values["speed"])
    if values["left"]:
        text += ", " + pgettext_iface("{time} left").format(time=values["left"])
    return text
