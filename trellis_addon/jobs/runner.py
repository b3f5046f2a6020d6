"""Taking one job from waiting to ready: send, poll, download, check. Blocks; run it in a thread.

Whatever happens, and wherever this is stopped, the store says what to do next, and doing it never
pays twice: the taskUUID is written down before the task leaves, and every later attempt uses it.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..client.client import Client
from ..client.replies import Reply, error_from, is_of_service
from ..core.errors import (
    AccessError,
    ApiKeyError,
    BackendError,
    BalanceError,
    BusyError,
    Cancelled,
    ContentError,
    DamagedFileError,
    EngineError,
    ImageError,
    Interrupted,
    JobError,
    NetworkError,
    RefusedError,
    ServiceError,
    StoreError,
    TimedOutError,
    TrellisError,
    UnsentError,
)
from ..core.files import unlink
from ..core.machine.awake import WakingClock, awake
from ..core.messages import all_to_wire, from_wire, message
from ..core.progress import Progress
from ..core.version import VERSION
from ..formats.glb.check import check_glb_file
from ..task.task import Result, Task, check_published
from .job import NOT_KEPT, Asset, Job, State, latents_path
from .money import check_limits, move_to_sending
from .store import JobStore, reason

log = logging.getLogger(__name__)

# Without an end. Export alone can take minutes on the reference; a queue in front of it, longer. Sleep does not count,
# nor what a service of the user's own says it is at work.
TIME_LIMIT = 45 * 60.0
UPLOAD_ABOVE = 2**20  # characters: larger pictures are uploaded once and named by their UUID
SILENCE = 20.0  # seconds without a word about the task before its details are asked for
FORGOTTEN_AFTER = 2 * 86400.0  # seconds since it was sent: then a task that its service does not find is gone
FRESH = 600.0  # seconds since it was sent: a service that does not know a task yet may be about to
QUESTIONS = 6  # times that such a service is asked, with growing waits
PATIENCE = 5  # times that a service may say of itself, not of the task, that it is out of order
PROVENANCE_FORMAT = 1  # grows when a key comes to mean something else; without one it is 0.1.0's, which is read as this
_DOWNLOAD_SHARE = 0.1  # of the progress bar


def run_job(
    job: Job,
    store: JobStore,
    client: Client,
    progress: Progress | None = None,
    *,
    may_send: bool = True,
    clock: Callable[[], float] = time.monotonic,
    time_limit: float = TIME_LIMIT,
) -> Job:
    """The job in its final state READY, with its assets. Goes on from whatever state the job is in.

    Raises what went wrong, after writing it into the store. Trouble on the way (network, a service out
    of order, a damaged download, a full disk, a key that is not accepted any more) leaves the job where
    it is: run it again to go on, without paying again. Where nothing of a paid task has left this machine, that is
    the end of it: it is never sent, and paid, on a later day by itself.

    `may_send`: whether somebody asks for its being sent, as Generate, Retry and a batch do. Where nobody does, a paid
    job is only asked for; one that its service does not know fails with an `UnsentError`.
    """
    progress = progress or Progress()
    with store.claim(job) as current, _awake(current):
        runner = _Runner(current, store, client, progress, may_send, clock, time_limit)
        try:
            return runner.run()
        except Interrupted:
            raise  # nobody has given the job up
        except Cancelled as error:
            unsent = _is_unsent(runner.job, error)
            if not unsent:
                client.cancel(runner.job.uuid)
            _write_down(store, runner.job, State.CANCELLED, unsent=unsent)
            raise
        except (NetworkError, ServiceError, BusyError, DamagedFileError, StoreError) as error:
            unsent = runner.job.is_paid and _is_unsent(runner.job, error)
            _write_down(store, runner.job, State.FAILED if unsent else None, error.message, unsent=unsent)
            raise
        except OSError as error:
            told = StoreError(
                'The files of "{name}" cannot be written ({reason}); see that the disk has room, and run the job '
                "again: it goes on from where it is.",
                name=job.name,
                reason=reason(error),
            )
            _write_down(store, runner.job, None, told.message)
            raise told from error
        except (ApiKeyError, AccessError, BalanceError) as error:
            # Before the task is accepted that is the end; of a task that was, it says nothing.
            accepted = runner.job.state in (State.UNCERTAIN, State.RUNNING)
            _write_down(store, runner.job, None if accepted else State.FAILED, error.message)
            raise
        except TrellisError as error:
            _write_down(store, runner.job, State.FAILED, error.message)
            raise


def _awake(job: Job) -> AbstractContextManager[None]:
    """A machine falls asleep in the middle of what takes minutes; a draft is made before it could."""
    return nullcontext() if job.backend == "draft" else awake("making an asset")


def give_up_unsent(job: Job, store: JobStore, error: TrellisError | None = None) -> None:
    """End a job that was never sent, so that it is not sent, and paid, on a later day by itself.

    Nothing is done to one that was sent meanwhile. Raises `error`, or an `UnsentError` that says how it is sent after
    all; `TakenError` while another program works on the job.
    """
    with store.claim(job) as current:
        if current.state is State.WAITING:
            told = error or _never_sent(job)
            _write_down(store, current, State.CANCELLED if isinstance(told, Cancelled) else State.FAILED, told.message)
            raise told


def _never_sent(job: Job) -> UnsentError:
    return UnsentError(
        '"{name}" was never sent, so nothing was paid; choose Retry, or generate it again, to have it made.',
        name=job.name,
    )


def _is_unsent(job: Job, error: TrellisError) -> bool:
    """Whether nothing of the task has left this machine."""
    if job.state is State.WAITING:
        return not isinstance(error, StoreError)
    return job.state is State.SENDING and error.unsent


def _write_down(store: JobStore, job: Job, state: State | None, error: str = "", *, unsent: bool = False) -> None:
    """How a job ended (None: it goes on another time). A store that fails must not hide what went wrong."""
    try:
        if state is None or job.state.is_over:
            store.note(job, error or job.error)
        else:
            store.move(job, state, error=error, unsent=unsent)
    except JobError as problem:
        log.warning("It cannot be written down what became of the job %s: %s", job.uuid, problem)


class _Runner:
    def __init__(
        self,
        job: Job,
        store: JobStore,
        client: Client,
        progress: Progress,
        may_send: bool,
        clock: Callable[[], float],
        limit: float,
    ) -> None:
        self.job = job
        self.may_send = may_send or not job.is_paid
        self.store = store
        self.client = client
        self.progress = progress
        self.clock = WakingClock(clock)
        self.give_up = self.clock() + limit
        self.limit = limit
        self.shortfall = ""  # why there is less than was asked for

    def run(self) -> Job:
        reply = Reply()
        if self.job.state is State.READY:
            self._restore_files()
            return self.job
        if self.job.state in (State.FAILED, State.CANCELLED):
            reply = self._recall()
        elif self.job.state is State.WAITING:
            reply = self._send()
        elif self.job.state is State.SENDING:
            self._move(State.UNCERTAIN)  # the process that sent it is gone
        if self.job.state is State.UNCERTAIN:
            reply = self._settle()
        elif self.job.state is State.RUNNING and not reply.known:
            reply = self.client.poll(self.job.uuid, self.progress)
        results = self._wait(reply)
        assets = self._download(results)
        costs = [result.cost for result in results if result.cost is not None]
        cost = sum(costs) if costs else None
        self.job = self.store.move(self.job, State.READY, cost=cost, assets=assets, error=self.shortfall)
        return self.job

    def _move(self, state: State) -> None:
        self.job = self.store.move(self.job, state)

    def _send(self) -> Reply:
        """Send for the first time."""
        if not self.may_send:
            raise _never_sent(self.job)
        if self.client.remote:
            check_published(self.job.task)
        if self.job.is_paid:
            check_limits(self.store, self.job.settings)  # before the picture is uploaded; what counts comes below
        task = self._with_upload(self.job.task)
        self.job = move_to_sending(self.store, self.job)
        self.progress.update("Sending", 0.0)
        try:
            reply = self._submit(task)
        except (NetworkError, ServiceError, BusyError, Cancelled) as error:
            if not (self.job.is_paid and error.unsent):
                self._move(State.UNCERTAIN)
            raise
        self._move(State.RUNNING)
        return reply

    def _settle(self) -> Reply:
        """Find out whether a task was accepted; if nobody knows of it, send it, under the same taskUUID.

        Not after days: then its service may have forgotten it, and would take it, and its price, for a new one.
        """
        self.progress.update("Asking what became of it", 0.0)
        reply = self._ask()
        if not reply.known and self.client.remote and self._is_long_ago():
            raise JobError(
                'The service knows nothing of "{name}" any more, and it may have been paid; ask its support for '
                "task {uuid}, or retry it as a new job.",
                name=self.job.name,
                uuid=self.job.uuid,
            )
        if not reply.known and not self.may_send:
            reply = self._ask_patiently()
        if not reply.known:
            reply = self._submit(self._with_upload(self.job.task))
        self._move(State.RUNNING)
        return reply

    def _ask_patiently(self) -> Reply:
        """The same question again and again, of a task that may only just have been sent; `UnsentError` in the end."""
        is_fresh = abs(self.store.clock() - (self.job.sent or 0.0)) < FRESH
        for attempt in range(QUESTIONS if is_fresh else 0):
            self.client.wait(attempt, self.progress)
            reply = self._ask()
            if reply.known:
                return reply
        raise UnsentError(
            'The service knows nothing of "{name}": it seems that it never got there. Choose Retry, or generate '
            "it again, to have it made.",
            name=self.job.name,
        )

    def _is_long_ago(self) -> bool:
        """Whether it was sent so long ago, or by a clock so wrong, that its service may have forgotten it."""
        age = self.store.clock() - (self.job.sent or self.job.created)
        return not -FORGOTTEN_AFTER <= age <= FORGOTTEN_AFTER

    def _recall(self) -> Reply:
        """Ask for a job that was given up, or reported as failed: it may have been made all the same."""
        reply = self._ask()
        if not reply.known and self.client.remote:
            raise JobError(
                'The service knows nothing of "{name}", so there is nothing to fetch; retry it as a new job.',
                name=self.job.name,
            )
        self._move(State.RUNNING)
        return reply

    def _ask(self) -> Reply:
        """What the service knows of the task, whatever its age."""
        reply = self.client.poll(self.job.uuid, self.progress)
        if not reply.known:
            reply = self.client.details(self.job.uuid, self.progress)[0] or reply
        return reply

    def _restore_files(self) -> None:
        """Fetch again what was deleted of a job that is ready, as long as its service has it."""
        missing = [asset for asset in self.job.assets if not asset.path.is_file()]
        if not missing:
            return
        found = {result.file_uuid: result for result in self._ask().results}
        for asset in missing:
            result = found.get(str(asset.provenance.get("file_uuid")))
            if result is None:
                raise JobError(
                    'The files of "{name}" were deleted, and its service has them no more.', name=self.job.name
                )
            self.client.download(result, asset.path, self.progress)
            asset.save_provenance()

    def _submit(self, task: Task) -> Reply:
        if self.job.task.image == NOT_KEPT:
            raise JobError('The job "{name}" cannot be sent from here: its picture was not kept.', name=self.job.name)
        try:
            return self.client.submit(task, self.progress)
        except (RefusedError, ImageError) as error:
            is_about_picture = isinstance(error, ImageError) or "media" in error.code.lower() or "image" in error.field
            if task.image == self.job.task.image or isinstance(error, ContentError) or not is_about_picture:
                raise
            # The upload is not there any more: the picture itself does as well.
            self.store.forget_upload(self.client.url, task.image)
            return self.client.submit(self.job.task, self.progress)

    def _with_upload(self, task: Task) -> Task:
        """The task with its large picture uploaded, once for all jobs that use it."""
        if len(task.image) < UPLOAD_ABOVE or not task.image.startswith("data:") or not self.client.remote:
            return task
        digest = digest_of(task.image)
        uuid = self.store.find_upload(self.client.url, digest)
        if not uuid:
            self.progress.update("Uploading", 0.0)
            try:
                uuid = self.client.upload(task.image, self.progress)
            except (RefusedError, ServiceError) as error:
                if isinstance(error, ContentError):
                    raise
                log.info("The picture goes with the task, its upload was not taken: %s", error)
                return task
        self.store.keep_upload(self.client.url, digest, uuid)
        return replace(task, image=uuid)

    def _wait(self, reply: Reply) -> list[Result]:
        """Poll until every result is there; results come in any order, several times, over several replies."""
        wanted = self.job.settings.value("number_results")
        progress = self.progress.part(0.0, 1.0 - _DOWNLOAD_SHARE)
        results: dict[str, Result] = {}
        shown: dict[int, bytes] = {}  # early pictures, by result
        # Never much longer than a tenth of the time already waited: soon for short jobs, few for long ones. Our own
        # service answers at once; the platform asks for 1 s and growing.
        shortest, longest = (1.0, 10.0) if self.client.remote else (0.1, 0.5)
        began = self.clock()
        silence = SILENCE if self.client.remote else 0.0
        heard = news = self.clock()  # the last word about the task, the last result of it
        out_of_order = 0
        share = 0.0
        while True:
            before = len(results)
            results.update((result.key, result) for result in reply.results)
            news = self.clock() if len(results) > before else news
            failures = [error for error in reply.errors if _is_final(error) or out_of_order >= PATIENCE]
            out_of_order = out_of_order + 1 if reply.errors and not failures else 0
            if len(results) >= wanted:
                break
            if failures and not reply.pending:
                # One error may stand for all results, or for one of several that are still to come.
                all_told = len(results) + len(failures) >= wanted or reply.is_history
                if all_told or self.clock() - news > SILENCE:
                    if not results:
                        raise _failure(failures[0])
                    self._fall_short(
                        message(
                            "{results} of {wanted} results came. {reason}",
                            results=len(results),
                            wanted=wanted,
                            reason=_failure(failures[0]),
                        )
                    )
                    break
            if reply.known:
                heard = self.clock()
                if reply.pending and not self.client.remote:
                    self.give_up = heard + self.limit  # at work, on a machine that may be slow: the processor alone is
            elif self.clock() - heard > silence:
                # An empty answer never means that the task is lost; its details say what holds.
                reply = self._ask_again()
                heard, silence = self.clock(), SILENCE
                continue
            if self.clock() > self.give_up:
                if results:
                    self._fall_short(
                        message(
                            "{results} of {wanted} results came; the others took longer than {minutes:.0f} minutes.",
                            results=len(results),
                            wanted=wanted,
                            minutes=self.limit / 60,
                        )
                    )
                    break
                raise TimedOutError(
                    "The service has not finished after {minutes:.0f} minutes; the job stays in the list and can "
                    "be asked for again.",
                    minutes=self.limit / 60,
                )
            over = min((len(results) + len(failures)) / wanted, 1.0)
            share = max(share, over + (1.0 - over) * (reply.progress or 0) / 100)
            progress.update(reply.stage or "Generating", share)
            for number, png in reply.pictures.items():
                if shown.get(number) != png:
                    shown[number] = png
                    progress.picture(partial(shown.__getitem__, number), number)
            self.client.pause(min(max(0.1 * (self.clock() - began), shortest), longest), progress)
            reply = self.client.poll(self.job.uuid, progress)
        return _in_order(results.values())[:wanted]

    def _fall_short(self, sentence: str) -> None:
        log.warning("%s: %s", self.job.name, sentence)
        self.shortfall = sentence

    def _ask_again(self) -> Reply:
        """What the details say of a task that polling gives no word of."""
        try:
            details, _ = self.client.details(self.job.uuid, self.progress)
        except (NetworkError, ServiceError, BusyError, RefusedError) as error:
            log.info("The details could not be had: %s", error)
            return Reply(known=True)
        if details is None and not self.client.remote:
            # Our own service forgets its tasks when it ends; running one again costs nothing.
            return self._submit(self.job.task)
        if details is None and self._is_long_ago():
            raise JobError(
                'The service knows nothing of "{name}" any more; ask its support for task {uuid}, or retry it as '
                "a new job.",
                name=self.job.name,
                uuid=self.job.uuid,
            )
        return details or Reply(known=True)

    def _download(self, results: list[Result]) -> tuple[Asset, ...]:
        assets = []
        progress = self.progress.part(1.0 - _DOWNLOAD_SHARE, 1.0)
        for position, result in enumerate(results):
            span = progress.part(position / len(results), (position + 1) / len(results))
            suffix = f"-{position + 1}" if len(results) > 1 else ""
            path = self.job.folder / f"asset{suffix}.glb"
            asset = Asset(path, self.job.name, provenance_of(self.job, result, self.shortfall))
            if not _is_here(asset):
                unlink(latents_path(path))  # of another run, which drew another seed
                self.client.download(result, path, span)
                asset.save_provenance()
            self._keep_latents(result, path, span)
            assets.append(asset)
        return tuple(replace(asset, variations=tuple(assets)) for asset in assets)

    def _keep_latents(self, result: Result, asset: Path, progress: Progress) -> None:
        """Fetch what a result was decoded from, to go on from another day; an asset does without."""
        path = latents_path(asset)
        if not result.latents_url or self.client.remote or path.is_file():
            return
        try:
            self.client.download_latents(result, path, progress)
        except (BackendError, DamagedFileError, OSError) as error:
            log.warning('The latents of "%s" could not be fetched: %s', self.job.name, error)


def _is_final(error: Mapping[str, Any]) -> bool:
    """Whether an error in a reply is about the task: a service that is busy or ailing may get over it."""
    return not is_of_service(error)


def _failure(error: Mapping[str, Any]) -> TrellisError:
    """The exception for a task that was accepted and failed: by then nothing is refused or out of order."""
    found = error_from(error)
    is_of_task = isinstance(found, (BusyError, ServiceError)) or type(found) is RefusedError
    if is_of_task or (isinstance(found, (ApiKeyError, AccessError, BalanceError)) and error.get("status") == "error"):
        said = from_wire(str(error.get("message") or error.get("code")), error)
        return EngineError("The generation failed: {reply}", reply=said if said.values else said[:300])
    return found


def _in_order(results: Iterable[Result]) -> list[Result]:
    """The results by their index; where the service does not tell one, by their seeds, which count up."""
    ordered = sorted(results, key=lambda result: (result.index, result.seed or 0))
    if len({result.index for result in ordered}) == len(ordered):
        return ordered
    ordered.sort(key=lambda result: result.seed or 0)
    return [replace(result, index=position) for position, result in enumerate(ordered)]


def _is_here(asset: Asset) -> bool:
    """Whether an earlier run has fetched this very file already."""
    try:
        known = Asset.from_file(asset.path).provenance.get("file_uuid")
        is_it = bool(known) and known == asset.provenance["file_uuid"]
        return is_it and bool(check_glb_file(asset.path, with_skins=True))
    except (DamagedFileError, OSError):
        return False


def digest_of(picture: str) -> str:
    """The SHA-256 of a picture as a task sends it."""
    return hashlib.sha256(picture.encode()).hexdigest()


def provenance_of(job: Job, result: Result, shortfall: str = "") -> dict[str, Any]:
    """What is kept with an asset for good; no secrets, no picture, no address that expires."""
    notes = [*result.notes, *([shortfall] if shortfall else [])]
    return {
        "format": PROVENANCE_FORMAT,
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
        **({"mesh_sha256": digest_of(job.task.mesh)} if job.task.mesh else {}),
        **({"views": {name: digest_of(text) for name, text in views.items()}} if (views := job.views) else {}),
        **({"pictures": chosen} if (chosen := job.chosen) else {}),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **({"performance": dict(result.performance)} if result.performance else {}),
        **({"notes": notes, "note_templates": all_to_wire(notes)} if notes else {}),
        **({"source": dict(source)} if (source := job.source) else {}),
        **({"fingerprint": job.fingerprint} if job.fingerprint else {}),
        "generator": f"TRELLIS.2 for Blender {VERSION}",
    }
