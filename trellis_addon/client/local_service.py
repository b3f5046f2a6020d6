"""Our own services on this machine: started when they are needed, watched, and started again when they die.

The draft's is this program's alone and ends with it. The worker of the local backend is shared by all programs of the
user that ask for it, and ends with the last of them: one graphics card need not hold the model twice.
"""

from __future__ import annotations

import atexit
import os
import threading

from ..core.errors import EngineError, ServiceError
from ..core.messages import message
from ..core.progress import Progress
from .supervisor import Supervisor
from .worker_home import PrivateHome, SharedHome
from .worker_process import LocalService, start_process
from .worker_status import WorkerStatus

__all__ = [
    "LocalService",
    "WorkerStatus",
    "local_service",
    "start_service",
    "start_worker",
    "stop_local_services",
    "stop_worker",
    "worker_status",
]

WORKER = "auto"  # the engine of the local backend
_ENDED = message("The local services have been ended; the job goes on another time.")

_supervisors: dict[str, Supervisor] = {}
_lock = threading.Lock()
_is_over = threading.Event()  # this program ends: a job that is still at it may not start another one


def local_service(engine: str, progress: Progress | None = None) -> LocalService:
    """The service with this `--engine`, started when it is not running; the same one until it ends.

    Blocks for about a second on the first call, and while one that died is being started again. Raises `EngineError`
    when it does not start, or dies time and again; its sentence tells the cause.
    """
    return _supervisor(engine).service(progress or Progress())


def lasting_service(engine: str, progress: Progress) -> LocalService:
    """The service, for work under way there: as `local_service`, but what was stopped on purpose stays so.

    Raises `ServiceError` where it was, which leaves the work for another time.
    """
    supervisor = _supervisors.get(engine)
    if supervisor is None:
        raise ServiceError(_ENDED)
    return supervisor.service(progress, go_on=True)


def worker_status() -> WorkerStatus:
    """How the local backend's worker is; asks nobody and waits for nothing."""
    supervisor = _supervisors.get(WORKER)
    return supervisor.status if supervisor is not None else WorkerStatus()


def start_worker() -> WorkerStatus:
    """Start the local backend's worker, or find it; blocks, and raises, as `local_service`."""
    local_service(WORKER)
    return worker_status()


def stop_worker() -> None:
    """End the local backend's worker, whoever uses it; blocks until it has ended. Its tasks wait for the next one."""
    _supervisor(WORKER).stop(for_all=True)


def stop_local_services() -> None:
    """For the end of this program: its services end, and the worker with them unless another program uses it."""
    with _lock:
        supervisors = list(_supervisors.values())
        _supervisors.clear()
    for supervisor in supervisors:
        supervisor.stop()


@atexit.register
def _end_with_program() -> None:
    _is_over.set()
    stop_local_services()


_of_the_parent: list[dict[str, Supervisor]] = []  # kept: their locks, let go of, would be let go of in the parent too


def _begin_anew() -> None:
    """In a process that was forked, as `multiprocessing` does on Linux: the threads that watch are the parent's."""
    global _supervisors, _lock
    _of_the_parent.append(_supervisors)
    _supervisors, _lock = {}, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def start_service(engine: str) -> LocalService:
    """A service of one's own that nobody watches, to be stopped by whoever asked for it; raises `EngineError`."""
    return start_process(engine)


def _supervisor(engine: str) -> Supervisor:
    if engine not in ("auto", "draft", "trellis2"):
        raise EngineError('There is no local service with the engine "{engine}".', engine=engine)
    with _lock:
        if _is_over.is_set():
            raise ServiceError(_ENDED)
        if engine not in _supervisors:
            home = PrivateHome() if engine == "draft" else SharedHome(engine)
            _supervisors[engine] = Supervisor(engine, home)
        return _supervisors[engine]
