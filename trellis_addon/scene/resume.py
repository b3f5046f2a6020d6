"""After a crash or a restart: what the panel began in a former session goes on by itself."""

from __future__ import annotations

from collections.abc import Callable

from ..client.backends import Backend
from ..jobs.job import Asset, Job
from ..jobs.store import JobStore
from ..progress import Progress
from . import queue


def go_on(backend_for: Callable[[Job], Backend]) -> None:
    """Look into the store, in a thread, and take up what is there; main thread only.

    Jobs of scripts and batches have no target: their scripts take them up.
    """

    def work() -> Callable[[], None]:
        store = JobStore()
        begun = [job for job in store.unfinished() if queue.Target.from_json(job.target)]
        ready = [job for job in store.undelivered() if queue.Target.from_json(job.target)]
        return lambda: _take_up(begun, ready, backend_for)

    queue.in_thread(work)


def _take_up(begun: list[Job], ready: list[Job], backend_for: Callable[[Job], Backend]) -> None:
    for job in ready:
        if (target := queue.Target.from_json(job.target)) is not None:
            queue.keep(job, target)
    for job in begun:
        if (target := queue.Target.from_json(job.target)) is not None:
            queue.start(
                job.name, _finisher(job, backend_for(job), "Begun in a former session."), target, is_resumed=True
            )


def finish_into(job: Job, backend: Backend, target: queue.Target) -> None:
    """Take a job of the store to its end and import it at `target`; in a window it returns at once."""
    queue.run(job.name, _finisher(job, backend, ""), target)


def _finisher(job: Job, backend: Backend, message: str) -> queue.Make:
    def make(progress: Progress, report: queue.Report) -> Asset:
        from ..api import finish

        report(message)
        return finish(job, backend, JobStore(), progress)

    return make
