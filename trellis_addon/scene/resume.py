"""After a crash, a restart or another file: what the panel began goes on by itself."""

from __future__ import annotations

from collections.abc import Callable

import bpy
from bpy.app.translations import pgettext_n

from ..client.backends import Backend
from ..core.progress import Progress
from ..jobs.job import Asset, Job, State
from ..jobs.store import JobStore
from . import pump
from .place import placeholder
from .session import arrival, queue
from .target import SESSION, Target

Backends = Callable[[Job], Backend]


def go_on(backend_for: Backends, on_taken: Callable[[], None] = lambda: None) -> None:
    """Look into the store, in a thread, and take up what is there; main thread only.

    What somebody else works on is passed over, and `on_taken` told: the threads of what was loaded before an upgrade
    hold their jobs for a moment yet, and another Blender may end before its job does.

    Jobs of scripts and batches have no target: their scripts take them up. A card that stands in the open file is
    taken for a wish, whatever became of its job: it may have been delivered into a file that was never saved.
    """
    cards = {card[placeholder.PROPERTY] for card in placeholder.all_cards()}

    def work() -> Callable[[], None]:
        store = JobStore()
        begun = [job for job in store.unfinished() if Target.from_json(job.target)]
        ready = [job for job in store.undelivered() if Target.from_json(job.target)]
        known = {job.uuid for job in (*begun, *ready)}
        asked_for = [job for uuid in cards - known if (job := store.get(uuid)) is not None]
        claimed = [job for job in begun if store.is_claimed(job)]
        free = [job for job in begun if job not in claimed]
        return lambda: taken_up([*ready, *asked_for, *free], claimed)

    def taken_up(jobs: list[Job], claimed: list[Job]) -> None:
        _take_up(jobs, backend_for)
        if not all(map(_is_known, claimed)):
            on_taken()

    pump.in_thread(work)


def _take_up(jobs: list[Job], backend_for: Backends) -> None:
    for job in jobs:
        if _is_known(job):
            continue
        target = Target.from_json(job.target)
        if target is None or placeholder.find(job.uuid):
            # the card says where, even of a job that another program has begun
            height = target.height if target else 1.0
            target = Target(bpy.context.scene.name, bpy.data.filepath, (0.0, 0.0, 0.0), height, SESSION, job.uuid)
        if job.state is State.READY and all(asset.path.is_file() for asset in job.assets):
            queue.offer(job, target)
        elif job.state in (State.FAILED, State.CANCELLED):
            queue.list_failed(job, target)
        else:
            if target.file and target.has_scene and not target.is_open and not job.task.latents:
                target.stand_card(job.name)  # begun after the file was saved for the last time
            # asked for, and not sent: what never left Blender waits for the artist's Retry
            make = _finisher(job, backend_for(job), pgettext_n("Begun in a former session."), may_send=False)
            queue.start(job.name, make, target, is_resumed=True, kind=job.kind)


def _is_known(job: Job) -> bool:
    """Whether the queue has the job, and what it belongs to: it may have been done since the store was read."""
    found = queue.of_card(job.uuid)
    if found is None:
        return False
    has_arrived = found.state == "done" and not placeholder.find(job.uuid)
    return found.state in queue.WAITS or found.state == "kept" or has_arrived


def finish_into(job: Job, backend: Backend, target: Target, *, may_send: bool = True) -> None:
    """Take a job of the store to its end and import it at `target`; in a window it returns at once.

    Without `may_send` it is asked for only: see `api.finish`.
    """
    arrival.run(job.name, _finisher(job, backend, "", may_send=may_send), target, kind=job.kind)


def _finisher(job: Job, backend: Backend, message: str, *, may_send: bool) -> queue.Make:
    def make(progress: Progress, report: queue.Report) -> Asset:
        from ..api import finish

        report(message)
        queue.show_picture(job.uuid, job.thumbnail)
        return finish(job, backend, JobStore(), progress, may_send=may_send)

    return make
