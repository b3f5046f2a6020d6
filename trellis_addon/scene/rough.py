"""Rough shapes that were chosen from go on: each becomes a job of its own, in the place where they were asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

import bpy

from ..core.progress import Progress
from ..jobs.job import Asset, Job
from ..jobs.store import JobStore
from ..stages import prepare_going_on, source_of
from ..task.settings import Settings
from ..task.task import new_uuid
from .place import placeholder, waiting
from .rules.units import metres_per_unit
from .session import arrival, queue
from .target import Target

if TYPE_CHECKING:
    from ..api import PreparedTask
    from ..client.backends import Backend

BESIDE = 1.5  # heights from one card to the next, as for several pictures


def go_on(
    generation: queue.Generation, picked: Collection[int], target: Target, key_of: Callable[[Job], str]
) -> list[str]:
    """Begin the rest of these of a generation's rough shapes, whose line goes; the taskUUIDs of the jobs.

    The first comes where the generation's card stands, the others at its right. Those not picked stay in the history.
    Raises `TrellisError` before anything has changed.
    """
    store, found = JobStore(), []
    for number in sorted(picked):
        asset, uuid = generation.assets[number], new_uuid()
        key = key_of(source_of(asset, store)[0])
        task = prepare_going_on(asset, Settings(), store, uuid=uuid, key=key, allow_network=bpy.app.online_access)
        found.append((uuid, asset.name, *task))
    cards = placeholder.find(target.card)
    first = tuple(cards[0].matrix_world.translation) if cards else target.location
    targets = [_place(target, first, uuid, name, number) for number, (uuid, name, *_) in enumerate(found)]
    queue.forget_line(generation, is_over=True)
    arrival.mark_delivered(generation.assets)
    for (uuid, name, prepared, backend), place in zip(found, targets, strict=True):
        arrival.run(name, partial(_make, uuid, prepared, backend, place), place, kind=prepared.kind)
    return [uuid for uuid, *_ in found]


def _place(target: Target, first: tuple[float, float, float], uuid: str, name: str, number: int) -> Target:
    """Where the chosen shape of this number comes: the first takes over what stands there for all."""
    if number == 0 and target.card and target.is_open:
        for card in placeholder.find(target.card):
            placeholder.rename(card, uuid)
        waiting.rename(target.card, uuid)
        return dataclasses.replace(target, card=uuid)
    unit = metres_per_unit(target.scene) if target.scene is not None else 1.0
    x, y, z = first
    place = (x + number * BESIDE * (target.height or 1.0) / unit, y, z)
    beside = dataclasses.replace(target, card=uuid, location=place)
    if not bpy.app.background:
        beside.stand_card(name)
    return beside


def _make(
    uuid: str, prepared: PreparedTask, backend: Backend, target: Target, progress: Progress, report: queue.Report
) -> Asset:
    from ..api import finish

    store = JobStore()
    job = prepared.write_down(store, backend, target=target.to_json())
    queue.show_picture(uuid, job.thumbnail)
    return finish(job, backend, store, progress)
