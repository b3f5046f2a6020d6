"""The process on a machine of the cluster: an engine, its jobs, and what they say.

Every call can be made again without doing anything twice, because a call whose answer was lost may have been done. A
job's events have numbers, and are kept until the service says that it has them; a picture's pieces say where they
belong.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.configuration import configuration, overrule, tell_this_process
from ..core.errors import TrellisError
from ..core.machine.device_faults import why_lost
from ..core.progress import Place, Progress
from ..engines.engine import Engine, Made, Order
from ..engines.failures import as_sentence
from ..runtime.device_variables import device_variables

log = logging.getLogger(__name__)

STAGE, PICTURE, LEAVE, TAKE, MADE, FAILED, LOST = "stage", "picture", "leave", "take", "made", "failed", "lost"
AT_ONCE = 8  # calls of the service that are answered at the same time; most of them wait
_LAST_WORDS = 5.0  # seconds in which the service can fetch why this process ends
_LOST_CODE = 75
_LOOK = 0.1
_STEP = 60.0


@dataclass(frozen=True)
class RemoteOrder:
    """What is to be made with which model. What is large in it comes in pieces: `sizes` are the pictures' width and
    height, by the pieces' name. `shows`: whether anybody looks at early pictures of it."""

    model: str
    order: Order  # without pictures, latents and mesh
    sizes: Mapping[str, tuple[int, int]]
    shows: bool = False


@dataclass
class _Job:
    parts: dict[str, bytearray] = field(default_factory=dict)
    events: list[tuple[int, tuple[Any, ...]]] = field(default_factory=list)
    count: int = 0  # of events so far
    grants: int = 0  # of moves to another place that the service has allowed
    cancelled: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)
    made: dict[str, bytes] = field(default_factory=dict)
    is_started: bool = False

    def say(self, *event: Any) -> None:
        with self.changed:
            if event[0] == STAGE and self.events and self.events[-1][1][:2] == event[:2]:
                self.events.pop()  # the same stage, further on: nobody needs to know how far it was before
            self.count += 1
            self.events.append((self.count, event))
            self.changed.notify_all()


class _RemotePlace(Place):
    """The seat at the device, which the service gives."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._asked = 0

    def leave(self, check: Callable[[], None]) -> None:
        self._ask(LEAVE, check)

    def take(self, check: Callable[[], None]) -> None:
        self._ask(TAKE, check)

    def _ask(self, what: str, check: Callable[[], None]) -> None:
        self._asked += 1
        self._job.say(what)
        with self._job.changed:
            while not self._job.changed.wait_for(lambda: self._job.grants >= self._asked, _LOOK):
                check()


class EngineActor:
    """One engine's process. The service has one piece of work done at a time, and the next when it has left the device
    (`engines.engine.Engine`).

    `create_engine(model)` makes engines; `wishes` are what the service's command line says for all machines
    (`core.configuration.overrule`).
    """

    def __init__(self, create_engine: Callable[[str], Engine], wishes: Mapping[str, str]) -> None:
        # A process of Ray's, whose environment is nobody else's; read by PyTorch when it is loaded.
        tell_this_process(device_variables(configuration().variables))
        overrule(**wishes)
        self._create_engine = create_engine
        self._engines: dict[str, Engine] = {}
        self._jobs: dict[str, _Job] = {}
        self._lock = threading.Lock()
        self._is_ending = threading.Event()

    def hello(self) -> int:
        """The process's number: it is there."""
        return os.getpid()

    def watch(self) -> None:
        """Answers never: whoever waits for it hears when the process ends."""
        while not self._is_ending.wait(_STEP):
            pass

    def add(self, name: str, part: str, start: int, piece: bytes) -> None:
        """Bytes of a job's picture, or of its latents, from `start` on."""
        held = self._job(name).parts.setdefault(part, bytearray())
        held[start : start + len(piece)] = piece

    def begin(self, name: str, remote: RemoteOrder) -> None:
        """Begin a job whose parts are here."""
        job = self._job(name)
        with self._lock:
            if job.is_started:
                return
            job.is_started = True
        threading.Thread(target=self._run, args=(job, remote), name=f"trellis-job-{name[:8]}", daemon=True).start()

    def news(self, name: str, heard: int, grants: int, wait: float) -> list[tuple[int, tuple[Any, ...]]]:
        """The events after number `heard`, as soon as there is one; none after `wait` seconds."""
        job = self._job(name)
        with job.changed:
            job.grants = max(job.grants, grants)
            job.changed.notify_all()
            job.events = [event for event in job.events if event[0] > heard]
            job.changed.wait_for(lambda: job.events, wait)
            return list(job.events)

    def cancel(self, name: str) -> None:
        self._job(name).cancelled.set()

    def piece(self, name: str, part: str, start: int, size: int) -> bytes:
        """Bytes of what was made."""
        return self._job(name).made[part][start : start + size]

    def forget(self, name: str) -> None:
        """The service has what was made."""
        with self._lock:
            self._jobs.pop(name, None)

    def release(self) -> None:
        """Give the device back."""
        for engine in list(self._engines.values()):
            engine.release()

    def _job(self, name: str) -> _Job:
        with self._lock:
            return self._jobs.setdefault(name, _Job())

    def _run(self, job: _Job, remote: RemoteOrder) -> None:
        began = time.monotonic()
        try:
            made = self._make(job, remote)
            job.made = {"glb": made.glb} | ({"latents": made.latents} if made.latents is not None else {})
            sizes = {part: len(data) for part, data in job.made.items()}
            job.say(MADE, sizes, dict(made.facts), self._engines[remote.model].model, time.monotonic() - began)
        except BaseException as error:
            if cause := why_lost(error):
                log.error("The device is lost: %s", cause, exc_info=error)
                job.say(LOST, cause)
                time.sleep(_LAST_WORDS)
                os._exit(_LOST_CODE)
            told = "" if isinstance(error, TrellisError) else "".join(traceback.format_exception(error))
            job.say(FAILED, as_sentence(error), told)
        finally:
            job.parts = {}

    def _make(self, job: _Job, remote: RemoteOrder) -> Made:
        from PIL import Image

        from ..engines.projection.onto import generate_with_pictures

        def picture(part: str) -> Image.Image:
            return Image.frombytes("RGBA", remote.sizes[part], bytes(job.parts.pop(part)))

        def file(part: str) -> bytes | None:
            return bytes(job.parts.pop(part)) if part in job.parts else None

        engine = self._engines.get(remote.model)
        if engine is None:
            engine = self._engines[remote.model] = self._create_engine(remote.model)
        order = replace(
            remote.order,
            image=picture("image") if "image" in remote.sizes else None,
            views={part.removeprefix("view:"): picture(part) for part in remote.sizes if part.startswith("view:")},
            latents=file("latents"),
            mesh=file("mesh"),
        )
        progress = Progress(lambda stage, share: job.say(STAGE, stage, share), job.cancelled.is_set, _RemotePlace(job))
        if remote.shows:
            progress.on_picture = lambda png, number: job.say(PICTURE, png, number)
        return generate_with_pictures(engine, order, progress)
