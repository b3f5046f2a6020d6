"""One of many processes that make the assets of one folder, on one machine or on a farm: `batch FOLDER --shared`.

None of them knows the others. Each takes what is free, and then what a dead one has left; it ends when every picture
has an asset, or has failed. It may be killed at any moment, and started again, or not.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..api import finish, prepare_task
from ..client.backends import Backend
from ..core.errors import (
    Cancelled,
    DeviceMemoryError,
    EngineError,
    InputError,
    Interrupted,
    JobError,
    RefusedError,
    StoreError,
    TakenError,
    TrellisError,
)
from ..core.machine.parallel import IN_FLIGHT, as_ready
from ..core.messages import message
from ..core.progress import Progress
from ..formats.glb.check import check_glb_file
from ..images import WHOLE, readable
from ..jobs.job import Asset, Job, State
from ..jobs.money import move_to_sending
from ..jobs.runner import FORGOTTEN_AFTER
from ..jobs.store import JobStore
from ..task.settings import Settings
from ..task.task import new_uuid
from .lease import STALE, Lease, Leases
from .presence import Presence
from .rows import Row, Shard, convert, objects_in, row_of, told
from .run import Report
from .shared import Attempt, Failure, Run, SharedFolder

log = logging.getLogger(__name__)

LOOK = 1.0  # seconds between two looks at what others have
TRIES = 3  # attempts at a picture whose engine failed, where that costs nothing
DEATHS = 8  # workers in a row that may die of a picture, or of something else meanwhile
STRIKES = 3  # pictures in a row that fail for what is this machine's own fault, or its service's
_TAKEN = 30  # looks at a job that another program of this machine still holds


def run_shared(
    folder: Path,
    backend: Backend,
    settings: Settings,
    *,
    model: str | None = None,
    whole: bool = False,
    shard: Shard | None = None,
    retry_failed: bool = False,
    stale: float = STALE,
    store: JobStore | None = None,
    report: Report = lambda row, stage, share: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[Row]:
    """Make an asset of every picture in `folder` together with whoever does the same; see `shared` for where they go.

    Blocks until all pictures of the folder, or of its `shard`, are made or have failed. Needs no `bpy`, but for
    pictures that Blender alone can read. `retry_failed`: what had failed before is tried again. `stale`: seconds
    without a sign of life after which another machine's worker is taken for dead. `report` and `is_stopped` as in
    `run_batch`. Raises `OutputError` where the folder cannot be used, and `TrellisError` when so much fails for no
    fault of the pictures' that this machine had better leave them to others.
    """
    objects = objects_in(folder, shard)
    if not objects:
        return []
    model = backend.check_model(model or backend.default_model)
    run = Run(settings, model, whole)
    shared = SharedFolder(objects[0][0].parent)
    shared.prepare()
    shared.keep_run(run)
    rows = [row_of(image, views, settings, model, whole, is_remote=backend.is_remote) for image, views in objects]
    presence = Presence()
    try:
        with Leases(shared.leases, presence, stale=stale) as leases:
            worker = _Worker(shared, leases, presence, backend, run, store or JobStore(), retry_failed, report)
            worker.run(rows, is_stopped)
    finally:
        presence.close()
    return rows


class _Worker:
    def __init__(
        self,
        shared: SharedFolder,
        leases: Leases,
        presence: Presence,
        backend: Backend,
        run: Run,
        store: JobStore,
        retry_failed: bool,
        report: Report,
    ) -> None:
        self._shared, self._leases, self._presence = shared, leases, presence
        self._backend, self._run, self._store = backend, run, store
        self._report = report
        self._retry_failed = retry_failed
        self._forgiven: dict[str, int] = {}  # how many attempts had failed when this began
        self._strikes = 0
        self._refused: Exception | None = None
        self._lock = threading.Lock()

    def run(self, rows: list[Row], is_stopped: Callable[[], bool]) -> None:
        """Until each row has a state; raises `TrellisError` where this machine had better stop."""
        for row in rows:
            if row.state:
                self._report(row, "Done", 1.0)
            elif self._retry_failed:
                self._forgiven[row.fingerprint] = len(self._shared.attempts(row.fingerprint))
        start = hash(self._presence.worker) % len(rows)  # each begins somewhere else
        rows = rows[start:] + rows[:start]
        self._sort_out(rows, "reused")
        self._find_given_up(rows)
        with tempfile.TemporaryDirectory(prefix="trellis2-batch-") as converted:
            for row in [row for row in rows if not row.state]:
                convert(row, Path(converted))
                if row.state:
                    self._report(row, "Done", 1.0)
            while still := [row for row in rows if not row.state]:
                found_any = self._work_on_free(still, is_stopped)
                if self._is_over(is_stopped):
                    break
                if not found_any:
                    time.sleep(LOOK)
                self._sort_out(still, "elsewhere")
                self._find_given_up(still)
        for row in rows:  # what failed here may have been made by others
            if row.state == "failed" and row.fingerprint and self._shared.has(row.fingerprint):
                row.state, row.message = "", ""
        self._sort_out(rows, "elsewhere")
        if self._refused is not None:
            raise TrellisError(
                "This machine makes no more of {folder}: {count} pictures in a row failed for no fault of theirs. "
                "{reason}",
                folder=self._shared.pictures,
                count=STRIKES,
                reason=told(self._refused),
            )

    def _work_on_free(self, rows: list[Row], is_stopped: Callable[[], bool]) -> bool:
        """Make what nobody has; whether there was anything."""
        free = [row for row in rows if self._leases.is_free(_lease_of(row), again=self._retries(row))]
        for row, outcome in as_ready(free, self._work_on, IN_FLIGHT, lambda: self._is_over(is_stopped)):
            if isinstance(outcome, Exception):
                row.fail(outcome)
            if row.state:
                self._report(row, "Done", 1.0)
        return bool(free)

    def _is_over(self, is_stopped: Callable[[], bool]) -> bool:
        return self._refused is not None or is_stopped()

    def _sort_out(self, rows: list[Row], state: str) -> None:
        """Fill in what is there of the rows that have no state."""
        done = self._shared.done()
        for row in rows:
            if not row.state and self._shared.has(row.fingerprint, done) and self._take_over(row, state):
                self._report(row, "Done", 1.0)

    def _find_given_up(self, rows: list[Row]) -> None:
        """Of what others had: what they have given up."""
        for row in rows:
            if row.state or self._retries(row) or not self._leases.is_over(_lease_of(row)):
                continue
            if (failure := self._last_failure(self._shared.attempts(row.fingerprint), 0)) is not None:
                row.state, row.message = "failed", failure.message
                self._report(row, "Done", 1.0)

    def _last_failure(self, attempts: list[Attempt], forgiven: int) -> Failure | None:
        """Why nobody need try again; None where somebody may."""
        failed = [each.failure for each in attempts[forgiven:] if each.failure and not each.failure.is_void]
        final = [failure for failure in failed if failure.is_final]
        return (final or failed)[-1] if final or len(failed) >= TRIES else None

    def _take_over(self, row: Row, state: str) -> bool:
        """Fill in what was made of the row; False where it cannot be read."""
        made = self._shared.result(row.fingerprint)
        if made is None:
            return False
        row.state, row.assets, row.seconds, row.triangles = state, made.assets, made.seconds, made.triangles
        row.worker, row.thumbnail = made.worker, made.thumbnail
        return True

    def _retries(self, row: Row) -> bool:
        """Whether it may be taken although somebody has given it up."""
        return bool(self._forgiven.get(row.fingerprint))

    def _work_on(self, row: Row) -> None:
        """Take the row's picture, if nobody else has it, and make its asset; without a state it is another's."""
        if self._shared.has(row.fingerprint):
            return
        lease = self._leases.take(_lease_of(row), again=self._retries(row))
        if lease is None:
            return
        with lease:
            if self._shared.has(row.fingerprint):
                lease.over()
                return
            attempt = self._attempt(row, lease)
            if attempt.failure is not None:
                row.state, row.message = "failed", attempt.failure.message
                lease.over()
                return
            started = time.monotonic()
            try:
                self._make(row, attempt, Progress(lambda stage, share: self._report(row, stage, share)), started)
            except (Cancelled, Interrupted):
                raise
            except Exception as error:
                if self._fail(row, attempt, error):
                    lease.over()
                raise
            self._strikes = 0
            lease.over()

    def _attempt(self, row: Row, lease: Lease) -> Attempt:
        """The attempt to go on with, or a new one; with its failure where it was the last."""
        attempts = self._shared.attempts(row.fingerprint)
        failure = self._last_failure(attempts, self._forgiven.get(row.fingerprint, 0))
        if failure is not None:
            return replace(attempts[-1], failure=failure)
        if attempts and attempts[-1].failure is None:
            attempt = attempts[-1]
        else:
            number = len(attempts) + 1
            attempt = self._shared.begin(row.fingerprint, number, new_uuid(), self._presence.worker)
        if lease.deaths >= DEATHS:
            sentence = message(
                "It is given up: {count} workers died while they made it. Its task is {uuid}; --retry-failed tries "
                "again.",
                count=lease.deaths,
                uuid=attempt.uuid,
            )
            attempt = replace(attempt, failure=Failure(sentence, is_final=True))
            self._shared.end(row.fingerprint, attempt, Failure(sentence, is_final=True))
        return attempt

    def _make(self, row: Row, attempt: Attempt, progress: Progress, started: float) -> None:
        paid = self._backend.is_remote
        # of what was sent long ago, a service may have forgotten that it was paid
        fresh = not paid or attempt.is_ours or self._shared.age_of(row.fingerprint, attempt) < FORGOTTEN_AFTER
        job = self._job(row, attempt, progress)
        asset = self._finish(job, progress, may_send=fresh)
        variations = asset.variations or (asset,)
        job = self._store.get(attempt.uuid) or job
        row.seconds = time.monotonic() - started
        triangles = sum(check_glb_file(each.path).triangles for each in variations)
        facts = {
            "picture": readable(row.image.name),
            "views": {view: readable(path.name) for view, path in row.views.items()},
            "worker": self._presence.worker,
            "seconds": round(row.seconds, 3),
            "triangles": triangles,
            "uuid": attempt.uuid,
            "attempt": attempt.number,
            "backend": self._backend.name,
            "run": self._run.id,
        }
        is_ours = self._shared.put_result(row.fingerprint, variations, job.thumbnail, facts)
        if not self._take_over(row, "made" if is_ours else "elsewhere"):
            raise TrellisError(
                "What was made of {name} cannot be read in {folder}.", name=row.name, folder=self._shared.root
            )

    def _job(self, row: Row, attempt: Attempt, progress: Progress) -> Job:
        """The attempt's job in this machine's own list: begun here before, or written down now."""
        job = self._store.get(attempt.uuid)
        if job is None:
            progress.update("Preparing", 0.0)
            prepared = prepare_task(
                row.source or row.image,
                self._backend,
                self._run.settings,
                model=self._run.model,
                name=row.name,
                uuid=attempt.uuid,
                subject=WHOLE if self._run.whole else None,
                views=row.views,
            )
            batch = readable(str(self._shared.root))
            job = prepared.write_down(self._store, self._backend, batch=batch, fingerprint=row.fingerprint)
        if job.is_paid and not attempt.is_ours and job.state is State.WAITING:
            # another machine may have sent it, and paid: it is asked for first
            job = self._store.move(move_to_sending(self._store, job), State.UNCERTAIN)
        return job

    def _finish(self, job: Job, progress: Progress, *, may_send: bool) -> Asset:
        """As `api.finish`; what another program of this machine is just letting go of is waited for."""
        for looks in range(_TAKEN + 1):
            try:
                return finish(job, self._backend, self._store, progress, may_send=may_send)
            except TakenError:
                if looks == _TAKEN:
                    raise
                time.sleep(LOOK)
                job = self._store.get(job.uuid) or job
        raise AssertionError

    def _fail(self, row: Row, attempt: Attempt, error: Exception) -> bool:
        """Write down how an attempt ended; whether nobody need try again. What is no fault of the picture's is left to
        others."""
        failure = _failure_of(error, self._backend.is_remote)
        is_over = False
        if failure is None:
            job = self._store.get(attempt.uuid)
            if job is not None and job.state in (State.FAILED, State.CANCELLED):  # it was never accepted
                failure = Failure(told(error), is_void=True)
            elif isinstance(error, TakenError) and not self._backend.is_remote:
                failure = Failure(told(error), is_void=True)  # by a program that stands still
        if failure is not None:
            self._shared.end(row.fingerprint, attempt, failure)
            is_over = failure.is_final
        with self._lock:
            self._strikes = 0 if isinstance(error, InputError) else self._strikes + 1
            if self._strikes >= STRIKES:
                self._refused = error
        return is_over


def _failure_of(error: Exception, is_paid: bool) -> Failure | None:
    """What an error says about the picture; None where it is about this machine, its network, its account."""
    if isinstance(error, (InputError, RefusedError)):
        return Failure(told(error), is_final=True)
    if isinstance(error, (StoreError, TakenError, DeviceMemoryError)):
        return None
    if isinstance(error, (EngineError, JobError)) or not isinstance(error, TrellisError):
        return Failure(told(error), is_final=is_paid)
    return None


def _lease_of(row: Row) -> str:
    return row.fingerprint[:32]
