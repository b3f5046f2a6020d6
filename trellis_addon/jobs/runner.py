"""Taking one job from waiting to ready: send, poll, download, check. Blocks; run it in a thread.

Whatever happens, and wherever this is stopped, the store says what to do next, and doing it never
pays twice: the taskUUID is written down before the task leaves, and every later attempt uses it.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..client.client import Client
from ..client.replies import Reply, error_from
from ..errors import (
    BackendError,
    BusyError,
    Cancelled,
    DamagedFileError,
    JobError,
    NetworkError,
    RefusedError,
    ServiceError,
    TimedOutError,
    TrellisError,
)
from ..progress import Progress
from ..task import Result, Task
from ..version import VERSION
from .job import Asset, Job, State
from .money import check_limits
from .store import NOT_KEPT, JobStore

log = logging.getLogger(__name__)

# Export alone can take minutes on the reference; a queue in front of it, longer.
TIME_LIMIT = 45 * 60.0
UPLOAD_ABOVE = 2**20  # characters: larger pictures are uploaded once and named by their UUID
SILENCE = 20.0  # seconds without a word about the task before its details are asked for
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

    Raises what went wrong, after writing it into the store. Trouble on the way (network, a service out
    of order, a damaged download) leaves the job where it is: run it again to go on, without paying again.
    """
    progress = progress or Progress()
    with store.claim(job) as current:
        runner = _Runner(current, store, client, progress, clock, time_limit)
        try:
            return runner.run()
        except Cancelled:
            if runner.job.state is not State.WAITING:
                client.cancel(runner.job.uuid)
            if not runner.job.state.is_over:
                store.move(runner.job, State.CANCELLED)
            raise
        except (NetworkError, ServiceError, BusyError, DamagedFileError, OSError) as error:
            store.note(runner.job, str(error))
            raise
        except TrellisError as error:
            if not runner.job.state.is_over:
                store.move(runner.job, State.FAILED, error=str(error))
            raise


class _Runner:
    def __init__(
        self, job: Job, store: JobStore, client: Client, progress: Progress, clock: Callable[[], float], limit: float
    ) -> None:
        self.job = job
        self.store = store
        self.client = client
        self.progress = progress
        self.clock = clock
        self.give_up = clock() + limit
        self.limit = limit

    def run(self) -> Job:
        reply = Reply()
        if self.job.state is State.READY:
            return self.job
        if self.job.state in (State.FAILED, State.CANCELLED):
            self._move(State.RUNNING)
        elif self.job.state is State.WAITING:
            reply = self._send()
        elif self.job.state is State.SENDING:
            self._move(State.UNCERTAIN)  # the process that sent it is gone
        if self.job.state is State.UNCERTAIN:
            reply = self._settle()
        elif not reply.known:
            reply = self._poll(self.progress)
        results = self._wait(reply)
        assets = self._download(results)
        costs = [result.cost for result in results if result.cost is not None]
        self.job = self.store.move(self.job, State.READY, cost=sum(costs) if costs else None, assets=assets)
        return self.job

    def _move(self, state: State) -> None:
        self.job = self.store.move(self.job, state)

    def _send(self) -> Reply:
        """Send for the first time."""
        if self.job.is_paid:
            check_limits(self.store, self.job.settings)
        task = self._with_upload(self.job.task)
        self._move(State.SENDING)
        self.progress.update("Sending", 0.0)
        try:
            reply = self._submit(task)
        except (NetworkError, ServiceError, BusyError):
            self._move(State.UNCERTAIN)
            raise
        except Cancelled:
            self._move(State.UNCERTAIN)
            raise
        self._move(State.RUNNING)
        return reply

    def _settle(self) -> Reply:
        """Find out whether a task was accepted; if nobody knows of it, send it, under the same taskUUID."""
        self.progress.update("Asking what became of it", 0.0)
        reply = self.client.poll(self.job.uuid, self.progress)
        if not reply.known and self.client.remote:
            details, _ = self.client.details(self.job.uuid, self.progress)
            reply = details or reply
        if not reply.known:
            reply = self._submit(self._with_upload(self.job.task))
        self._move(State.RUNNING)
        return reply

    def _submit(self, task: Task) -> Reply:
        if self.job.task.image == NOT_KEPT:
            raise JobError(f'The job "{self.job.name}" cannot be sent from here: its picture was not kept.')
        try:
            return self.client.submit(task, self.progress)
        except RefusedError as error:
            if task is self.job.task or "media" not in error.code.lower():
                raise
            # The upload is not there any more: the picture itself does as well.
            _forget_upload(self.store, self.client.url, task.image)
            return self.client.submit(self.job.task, self.progress)

    def _with_upload(self, task: Task) -> Task:
        """The task with its large picture uploaded, once for all jobs that use it."""
        if len(task.image) < UPLOAD_ABOVE or not task.image.startswith("data:") or not self.client.remote:
            return task
        digest = hashlib.sha256(task.image.encode()).hexdigest()
        uuid = _find_upload(self.store, self.client.url, digest)
        if not uuid:
            self.progress.update("Uploading", 0.0)
            uuid = self.client.upload(task.image, self.progress)
        _keep_upload(self.store, self.client.url, digest, uuid)
        return replace(task, image=uuid)

    def _wait(self, reply: Reply) -> list[Result]:
        """Poll until every result is there; results come in any order, several times, over several replies."""
        wanted = self.job.settings.value("number_results")
        progress = self.progress.part(0.0, 1.0 - _DOWNLOAD_SHARE)
        results: dict[str, Result] = {}
        # Our own service answers at once; the platform asks for 1 s and growing.
        pause, longest = (1.0, 10.0) if self.client.remote else (0.1, 0.5)
        heard = self.clock()
        while True:
            results.update((result.key, result) for result in reply.results)
            if len(results) >= wanted:
                break
            if reply.errors and len(results) + len(reply.errors) >= (wanted if results else 1):
                if not results:
                    raise error_from(reply.errors[0])
                log.warning("%d of %d results failed: %s", len(reply.errors), wanted, error_from(reply.errors[0]))
                break
            if reply.known:
                heard = self.clock()
            elif self.clock() - heard > (SILENCE if self.client.remote else 0.0):
                # An empty answer never means that the task is lost; its details say what holds.
                reply = self._ask_again()
                heard = self.clock()
                continue
            if self.clock() > self.give_up:
                raise TimedOutError(
                    f"The service has not finished after {self.limit / 60:.0f} minutes; the job stays in the list "
                    "and can be asked for again."
                )
            progress.update(reply.stage or "Generating", (reply.progress or 0) / 100)
            self.client.pause(pause, progress)
            pause = min(pause * 1.5, longest)
            reply = self._poll(progress)
        return sorted(results.values(), key=lambda result: result.index)[:wanted]

    def _poll(self, progress: Progress) -> Reply:
        try:
            return self.client.poll(self.job.uuid, progress)
        except RefusedError as error:
            if "notfound" not in error.code.lower():
                raise
            return Reply()

    def _ask_again(self) -> Reply:
        if not self.client.remote:
            # Our own service forgets its tasks when it ends; running one again costs nothing.
            return self._submit(self.job.task)
        try:
            details, _ = self.client.details(self.job.uuid, self.progress)
        except BackendError as error:
            log.info("The details could not be had: %s", error)
            details = None
        return details if details is not None else Reply(known=True)

    def _download(self, results: list[Result]) -> tuple[Asset, ...]:
        assets = []
        progress = self.progress.part(1.0 - _DOWNLOAD_SHARE, 1.0)
        for position, result in enumerate(results):
            span = progress.part(position / len(results), (position + 1) / len(results))
            suffix = f"-{position + 1}" if len(results) > 1 else ""
            path = self.client.download(result, self.job.folder / f"asset{suffix}.glb", span)
            asset = Asset(path, self.job.name, provenance_of(self.job, result))
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
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **({"fingerprint": job.fingerprint} if job.fingerprint else {}),
        "generator": f"TRELLIS.2 for Blender {VERSION}",
    }


def _find_upload(store: JobStore, service: str, digest: str) -> str:
    # the platform deletes an upload 30 days after its last use
    since = store.clock() - 25 * 86400
    with store.connection() as connection:
        row = connection.execute(
            "SELECT media_uuid FROM uploads WHERE service = ? AND sha256 = ? AND used > ?", (service, digest, since)
        ).fetchone()
    return row["media_uuid"] if row else ""


def _keep_upload(store: JobStore, service: str, digest: str, uuid: str) -> None:
    with store.connection() as connection:
        connection.execute("REPLACE INTO uploads VALUES (?, ?, ?, ?)", (service, digest, uuid, store.clock()))


def _forget_upload(store: JobStore, service: str, uuid: str) -> None:
    with store.connection() as connection:
        connection.execute("DELETE FROM uploads WHERE service = ? AND media_uuid = ?", (service, uuid))
