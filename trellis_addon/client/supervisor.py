"""Keeping one service alive for this program: found or started, watched, started again."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from ..core.errors import EngineError, ServiceError
from ..core.messages import message
from ..core.processes import STEP, wait
from ..core.progress import Progress
from ..core.version import VERSION
from ..service.handshake import mismatch
from ..service.lifetime import presence
from ..service.lifetime.restarts import Restarts
from .asking import ask_service, ask_to_stop
from .worker_home import Home
from .worker_process import STOP_TIMEOUT, LocalService, end_process, start_process
from .worker_status import WorkerState, WorkerStatus

log = logging.getLogger(__name__)

_LOOK = 0.05  # seconds between two looks at whether it is there again
_ASK = 3.0  # seconds between two questions how it is
_GRACE = 1.5  # seconds in which whoever started it may do so again
_LEAVING = 2.0  # seconds that the end of this program may wait for the service's
_CLOSING = 8.0  # seconds that one which is ending may still hold its folder


@dataclass
class _Run:
    """The time from one start on somebody's word to the end of it, through all restarts."""

    stop: threading.Event
    wake: threading.Event


class Supervisor:
    """See the module. `status` may be read at any time, from any thread."""

    def __init__(self, engine: str, home: Home) -> None:
        self.status = WorkerStatus()
        self._engine = engine
        self._home = home
        self._lock = threading.RLock()  # held while the service is looked for, started or ended
        self._service: LocalService | None = None
        self._facts: dict[str, Any] = {}  # what it has told of itself
        self._run: _Run | None = None
        self._was_stopped = False  # by this program
        self._restarts = Restarts(lambda: (home.folder if home.folder.name else None, home.log))

    def service(self, progress: Progress, *, go_on: bool = False) -> LocalService:
        """The service when it runs; started where it does not, and waited for where it is being started again.

        `go_on` is for work under way: what was stopped on purpose, or has failed, is not started for it. Raises
        `EngineError` with the cause, `ServiceError` where it was stopped, `Cancelled`.
        """
        while True:
            progress.check()
            status, service = self.status, self._service
            if status.state is WorkerState.RUNNING and service is not None:
                if self._is_there(service, go_on):
                    if go_on or not self._should_be_another():
                        return service
                    self._renew(service)
                    return self._service or service
            elif status.state is WorkerState.STARTING:
                if status.cause:
                    progress.say(message("The worker ended: {cause}; it is started again", cause=status.cause))
            elif go_on and status.state is WorkerState.FAILED:
                raise EngineError(status.cause)
            elif go_on and self._was_stopped:
                raise ServiceError("The local worker was stopped; run the job again to go on with it.")
            else:
                self._begin()
                continue
            time.sleep(_LOOK)

    def stop(self, *, for_all: bool = False) -> None:
        """End it: for this program, or `for_all` that use it. Blocks until it has ended, where it does."""
        if self._run is not None:
            self._run.stop.set()
            self._run.wake.set()
        waited = 0.0
        while not self._lock.acquire(timeout=STEP):
            waited += STEP
            if not for_all and waited >= _LEAVING:
                return  # it is just being started, and ends by itself when this program does
        try:
            self._was_stopped = True
            service, self._service, self._run = self._service, None, None
            if service is None and for_all and self._home.mark is not None:
                told = self._home.found()
                service = LocalService(told["url"], told["token"], pid=int(told["pid"])) if told else None
            if service is not None:
                self._end(service, for_all)
            self._home.leave()
            self._set(WorkerStatus(cause=self.status.cause, restarts=self.status.restarts))
        finally:
            self._lock.release()

    # Starting

    def _begin(self) -> None:
        """Start it on somebody's word."""
        with self._lock:
            if self.status.state in (WorkerState.STARTING, WorkerState.RUNNING):
                return
            self._was_stopped = False
            self._set(WorkerStatus(WorkerState.STARTING, since=time.time(), restarts=self.status.restarts))
            self._restarts.asked_for()
            run = _Run(threading.Event(), threading.Event())
            try:
                self._home.enter()
                self._find_or_start()
            except EngineError as error:
                self._home.leave()
                self._set(replace(self.status, state=WorkerState.FAILED, cause=error.message))
                raise
            except BaseException:
                self._home.leave()
                self._set(WorkerStatus())
                raise
            self._run = run
        threading.Thread(target=self._watch, args=(run,), name="trellis-watch", daemon=True).start()

    def _find_or_start(self) -> None:
        """A service that answers: one that runs already, or a new one where the last one was."""
        with self._lock, self._home.starting():
            told = self._home.found()
            if told:
                facts = ask_service(told["url"], told["token"])
                if facts is not None and self._can_stay(told, facts):
                    self._take(LocalService(told["url"], told["token"], pid=int(told["pid"])), facts, told)
                    return
                if facts is None and told["pid"] not in {end["pid"] for end in presence.ends(self._home.folder)}:
                    self._restarts.has_ended(int(told["pid"]), None)
            former = self._service
            # The same port, so that addresses of files hold; a new token, as who knows who answered there meanwhile.
            url = told.get("url") or (former.url if former is not None else "")
            self._restarts.begins()
            service = self._start(urlsplit(url).port or 0)
            self._take(service, {}, self._home.found() or {"mark": self._home.mark})

    def _can_stay(self, told: dict[str, Any], facts: dict[str, Any]) -> bool:
        """Whether a service that runs will do; one that should be another ends where it has nothing to do."""
        problem = mismatch(facts, message("The local worker")) if facts else ""
        if not problem and not self._is_other(told):
            return True
        if facts.get("unfinished", 1):
            if problem:
                raise EngineError(
                    "{problem} It is still at work for another program: wait for that, or end it.", problem=problem
                )
            return True  # it can do the work as well, and will be another one when it has done it
        ask_to_stop(told["url"], told["token"])
        return False

    def _start(self, port: int) -> LocalService:
        home = self._home
        end = time.monotonic() + _CLOSING
        while True:
            try:
                return start_process(self._engine, folder=home.folder, log_file=home.log, mark=home.mark, port=port)
            except EngineError as error:
                if "Another service is using" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.3)  # the last one has not let go yet

    def _take(self, service: LocalService, facts: dict[str, Any], told: dict[str, Any]) -> None:
        self._service, self._facts = service, dict(told)
        running = replace(self.status, state=WorkerState.RUNNING, url=service.url, pid=service.pid, since=time.time())
        self._set(running)
        self._learn(service, facts or ask_service(service.url, service.token) or {})

    # Watching

    def _watch(self, run: _Run) -> None:
        try:
            self._keep_up(run)
        except Exception as error:  # nobody may wait for what nobody watches
            log.exception("The local service is watched no more")
            cause = message(
                "The local service cannot be watched ({kind}); the console says more.", kind=type(error).__name__
            )
            self._give_up(run, replace(self.status, state=WorkerState.FAILED, cause=cause))

    def _keep_up(self, run: _Run) -> None:
        while (service := self._service) is not None:
            has_ended = self._wait_for_end(service, run)
            if run.stop.is_set() or not has_ended:
                return
            cause = self._why(service)
            if not cause:  # somebody has asked for it
                self._give_up(run, WorkerStatus(restarts=self.status.restarts))
                return
            log.warning("The local service ended: %s.", cause)
            restarts = self.status.restarts + 1
            again = WorkerStatus(WorkerState.STARTING, since=time.time(), cause=cause, restarts=restarts)
            if not self._tell(run, again) or not self._start_again(run):
                return

    def _wait_for_end(self, service: LocalService, run: _Run) -> bool:
        """Block until it ends (True), or is not to be watched any more."""
        if service.process is not None:
            process = service.process

            def wait_for_it() -> None:
                wait(process)
                run.wake.set()

            threading.Thread(target=wait_for_it, name="trellis-wait", daemon=True).start()
        while not run.stop.is_set():
            run.wake.wait(_ASK)
            run.wake.clear()
            if service.process is not None and service.process.poll() is not None:
                return True
            facts = ask_service(service.url, service.token)
            if facts is None and service.process is None:
                return True
            self._learn(service, facts or {})
        return False

    def _why(self, service: LocalService) -> str:
        """Why it ended, which is written down; empty where it was asked to."""
        folder = self._home.folder
        if service.process is not None:
            code = service.process.returncode
            return "" if code == 0 else self._restarts.has_ended(service.pid, code)
        told = self._home.found()
        if not told:
            return ""
        time.sleep(_GRACE)
        known = {end["pid"]: end["cause"] for end in presence.ends(folder)}
        return known.get(service.pid) or self._restarts.has_ended(service.pid, None)

    def _start_again(self, run: _Run) -> bool:
        """Whether it runs again, after a while."""
        while True:
            pause = self._restarts.pause()
            if pause is None:
                sentence = message(
                    "The local worker ended {count} times in a row and is not started again by itself. The last time: "
                    "{cause}"
                    if self.status.cause.endswith(".")
                    else "The local worker ended {count} times in a row and is not started again by itself. The last "
                    "time: {cause}.",
                    count=self._restarts.in_a_row(),
                    cause=self.status.cause,
                )
                self._give_up(run, replace(self.status, state=WorkerState.FAILED, cause=sentence))
                return False
            if run.stop.wait(pause):
                return False
            try:
                with self._lock:
                    if run.stop.is_set():
                        return False
                    self._home.enter()
                    self._find_or_start()
                return True
            except EngineError as error:
                log.warning("%s", error)
                self._restarts.has_not_started(str(error).rstrip("."))
                self._tell(run, replace(self.status, cause=error.message))

    def _tell(self, run: _Run, status: WorkerStatus) -> bool:
        """Whether this is still to be told: what has been stopped meanwhile stays so."""
        with self._lock:
            if not run.stop.is_set():
                self._set(status)
            return not run.stop.is_set()

    def _set(self, status: WorkerStatus) -> None:
        assert self.status.may_become(status), f"from {self.status.state} to {status.state}"
        self.status = status

    def _give_up(self, run: _Run, status: WorkerStatus) -> None:
        with self._lock:
            if self._tell(run, status):
                self._service = self._run = None
                self._home.leave()

    def _is_there(self, service: LocalService, ask: bool) -> bool:
        """Whether it still runs, as far as is known, or by an answer of its own."""
        if service.process is not None:
            return service.running
        if ask and ask_service(service.url, service.token) is None:
            if self._run is not None:
                self._run.wake.set()
            return False
        return True

    # Another one in its place

    def _should_be_another(self) -> bool:
        return self._home.mark is not None and (self._home.is_outdated() or self._is_other(self._facts))

    def _is_other(self, told: dict[str, Any]) -> bool:
        """Whether the worker was started with other wishes than ours, or from older code."""
        version = str(told.get("version") or "")
        return told.get("mark") != self._home.mark or _number(version) < _number(VERSION)

    def _renew(self, service: LocalService) -> None:
        """Start another one in its place, once it has nothing to do."""
        facts = ask_service(service.url, service.token)
        if facts and not facts.get("unfinished", 1):
            self.stop(for_all=True)
            self._begin()

    # Ending

    def _end(self, service: LocalService, for_all: bool) -> None:
        if self._home.mark is None:
            service.stop()
            return
        self._home.leave()
        if not for_all and presence.is_used(self._home.folder):
            return
        ask_to_stop(service.url, service.token)
        if service.process is not None and for_all:
            end_process(service.process)
            return
        # Nobody need wait long for one that is busy: it ends by itself when it sees that nobody uses it.
        end = time.monotonic() + (STOP_TIMEOUT if for_all else _LEAVING)
        while self._still_runs(service) and time.monotonic() < end:
            time.sleep(_LOOK)

    def _still_runs(self, service: LocalService) -> bool:
        if service.process is not None:
            return service.running
        return ask_service(service.url, service.token) is not None

    def _learn(self, service: LocalService, facts: dict[str, Any]) -> None:
        """Take over what it says of itself."""
        devices, waiting = facts.get("devices"), facts.get("unfinished")
        with self._lock:
            if facts and service is self._service and self.status.state is WorkerState.RUNNING:
                self.status = replace(
                    self.status,
                    version=str(facts.get("version") or ""),
                    device=", ".join(map(str, devices)) if isinstance(devices, list) else "",
                    waiting=waiting if isinstance(waiting, int) else 0,
                )


def _number(version: str) -> tuple[int, ...]:
    """A version to compare; () for one that is not told."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
