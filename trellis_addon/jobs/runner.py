"""Taking one job from waiting to ready: send, poll, download, check. Blocks; run it in a thread."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..client.client import Client
from ..client.replies import Reply, error_from
from ..errors import BackendError, Cancelled, NetworkError, TrellisError
from ..progress import Progress
from ..task import Result
from ..version import VERSION
from .job import Asset, Job, State
from .store import JobStore

log = logging.getLogger(__name__)

# Export alone can take minutes on the reference; a queue in front of it, longer.
TIME_LIMIT = 45 * 60.0
_DOWNLOAD_SHARE = 0.1  # of the progress bar


def run_job(
    job: Job,
    store: JobStore,
    client: Client,
    progress: Progress | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    time_limit: float = TIME_LIMIT,
) -> Job:
    """The job in its final state READY, with its assets. Goes on from whatever state the job is in.

    Raises what went wrong after writing it into the store. A fault of the network leaves the job
    as it is, RUNNING: run it again to go on without paying again.
    """
    progress = progress or Progress()
    if job.state is State.READY:
        return job
    if job.state.is_over:
        raise TrellisError(f'The job "{job.name}" is {job.state} and cannot go on; generate again.')
    try:
        if job.state is State.WAITING:
            job = store.move(job, State.SENDING)
        if job.state is State.SENDING:
            progress.update("Sending", 0.0)
            # Sending again after a lost answer is safe: the taskUUID is the same, see `Client.submit`.
            reply = client.submit(job.task, progress)
            job = store.move(job, State.RUNNING)
        else:
            reply = Reply()
        results = _wait_for_results(job, client, reply, progress.part(0.0, 1.0 - _DOWNLOAD_SHARE), clock, time_limit)
        assets = _download(job, client, results, progress.part(1.0 - _DOWNLOAD_SHARE, 1.0))
        costs = [result.cost for result in results if result.cost is not None]
        return store.move(job, State.READY, cost=sum(costs) if costs else None, assets=assets)
    except Cancelled:
        if job.state is State.RUNNING:
            client.cancel(job.uuid)
        store.move(job, State.CANCELLED)
        raise
    except NetworkError:
        # Nothing is known to be lost: the store keeps the state, and the next run goes on from it.
        raise
    except TrellisError as error:
        store.move(job, State.FAILED, error=str(error))
        raise


def _wait_for_results(
    job: Job, client: Client, reply: Reply, progress: Progress, clock: Callable[[], float], time_limit: float
) -> list[Result]:
    wanted = job.settings.value("number_results")
    results: dict[str, Result] = {}
    give_up = clock() + time_limit
    # Our own service answers at once; the platform asks for 1 s and growing.
    pause, longest = (1.0, 10.0) if client.remote else (0.1, 0.5)
    while True:
        results.update((result.key, result) for result in reply.results)
        if len(results) >= wanted:
            break
        if reply.errors and len(results) + len(reply.errors) >= wanted:
            if not results:
                raise error_from(reply.errors[0])
            log.warning("%d of %d results failed", len(reply.errors), wanted)
            break
        if reply.errors and not reply.results and not results:
            raise error_from(reply.errors[0])
        if clock() > give_up:
            raise NetworkError(
                f"The service has not finished after {time_limit / 60:.0f} minutes; the job stays in the list and "
                "can be asked for again.", code="timeout"
            )  # fmt: skip
        share = (reply.progress or 0) / 100
        progress.update(reply.stage or "Generating", share)
        client.pause(pause, progress)
        pause = min(pause * 1.5, longest)
        try:
            reply = client.poll(job.uuid, progress)
        except BackendError as error:
            if isinstance(error, NetworkError) or error.code not in ("taskNotFound",):
                raise
            reply = Reply()
        if not reply.known and not client.remote:
            # Our own service forgets its tasks when it ends; running one again costs nothing.
            reply = client.submit(job.task, progress)
    return sorted(results.values(), key=lambda result: result.index)


def _download(job: Job, client: Client, results: list[Result], progress: Progress) -> tuple[Asset, ...]:
    assets = []
    for position, result in enumerate(results):
        span = progress.part(position / len(results), (position + 1) / len(results))
        suffix = f"-{position + 1}" if len(results) > 1 else ""
        path = client.download(result, job.folder / f"asset{suffix}.glb", span)
        asset = Asset(path, job.name, provenance_of(job, result))
        asset.save_provenance()
        assets.append(asset)
    return tuple(replace(asset, variations=tuple(assets)) for asset in assets)


def provenance_of(job: Job, result: Result) -> dict[str, Any]:
    """What is kept with an asset for good; no secrets, no picture, no address that expires."""
    return {
        "task_uuid": job.uuid,
        "result_index": result.index,
        "file_uuid": result.file_uuid,
        "model": job.task.model,
        "engine": result.engine or job.task.model,
        "backend": job.backend,
        "seed": result.seed if result.seed is not None else job.settings.get("seed"),
        "settings": job.settings.to_request(),
        "cost_usd": result.cost,
        "image": job.name,
        "image_sha256": job.image_sha256,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **({"fingerprint": job.fingerprint} if job.fingerprint else {}),
        "generator": f"TRELLIS.2 for Blender {VERSION}",
    }
