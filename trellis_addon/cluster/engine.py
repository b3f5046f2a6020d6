"""The same as an engine of this process: what is asked, sent to an actor; what is made, fetched from it.

Pictures and results travel in pieces, of which so many are under way at a time, whatever the cluster's size: Ray keeps
each in shared memory until it has arrived.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core.errors import Cancelled, EngineError, LostWorkerError
from ..core.progress import Progress
from ..engines.engine import Made, Order
from .actor import FAILED, LEAVE, LOST, MADE, PICTURE, STAGE, TAKE, RemoteOrder

if TYPE_CHECKING:
    from .members import Member

log = logging.getLogger(__name__)

PIECE = 4 * 2**20  # bytes
_PIECES = threading.BoundedSemaphore(32)  # under way at a time, of all results
_NEWS = 1.0  # seconds that an actor waits for something to say
_OBEYS = 20.0  # seconds that an engine may take to look up after it was told to stop


class ClusterEngine:
    """The engine for `model` in one process of the cluster. Raises `LostWorkerError` besides what an engine does: the
    process, or its machine, is gone, and another one may make the same."""

    projects_itself = True  # pictures onto what it makes (`engines.projection.onto`), over there

    def __init__(self, member: Member, model: str) -> None:
        self.model = model
        self._member = member

    def generate(self, order: Order, progress: Progress) -> Made:
        """See `engines.engine.Engine`. `progress.siblings` are not looked at: others may be making them."""
        job = _Job(self._member, progress)
        with self._member.working():
            try:
                return job.run(self.model, order)
            except LostWorkerError as error:
                error.is_blamed = not self._member.is_handed_over
                self._member.lose(error.message)
                raise
            finally:
                job.end()

    def release(self) -> None:
        self._member.call("release")


class _Job:
    """One result in the making, over there."""

    def __init__(self, member: Member, progress: Progress) -> None:
        self._member = member
        self._progress = progress
        self._name = uuid.uuid4().hex
        self._is_told = False  # to stop

    def run(self, model: str, order: Order) -> Made:
        pictures = {"image": order.image} if order.image is not None else {}
        pictures |= {f"view:{name}": view for name, view in order.views.items()}
        for part, picture in pictures.items():
            self._send(part, picture.tobytes())
        for part, data in (("latents", order.latents), ("mesh", order.mesh)):
            if data is not None:
                self._send(part, data)
        sizes = {part: picture.size for part, picture in pictures.items()}
        shows = self._progress.on_picture is not None
        bare = replace(order, image=None, views={}, latents=None, mesh=None)
        self._ask("begin", self._name, RemoteOrder(model, bare, sizes, shows))
        heard = grants = 0
        told = 0.0
        while True:
            if self._progress.is_cancelled():
                told = told or time.monotonic()
                self._tell_to_stop(told)
            for number, event in self._member.call("news", self._name, heard, grants, _NEWS, look=self._look):
                heard = number
                kind, *what = event
                if kind == MADE:
                    self._progress.check()
                    return self._fetch(*what)
                if kind == STAGE:
                    self._report(*what)
                elif kind == PICTURE:
                    self._progress.picture(lambda png=what[0]: png, what[1])  # type: ignore[misc]
                elif kind in (LEAVE, TAKE):
                    grants += self._move(kind)
                else:
                    raise self._failure(kind, *what)

    def end(self) -> None:
        """Nothing more is wanted of it."""
        self._member.doing.pop(self._name, None)
        self._member.tell("forget", self._name)

    def _report(self, stage: str, share: float) -> None:
        self._member.doing[self._name] = (stage, share)
        if not self._progress.is_cancelled():
            self._progress.update(stage, share)

    def _move(self, kind: str) -> int:
        """Leave the device, or take it again; 1 where that was done, 0 where the work stops instead."""
        try:
            self._progress.leave_device() if kind == LEAVE else self._progress.take_device()
        except Cancelled:
            return 0
        return 1

    def _tell_to_stop(self, since: float) -> None:
        """An engine looks up now and then; one that does not is ended, unless that would end somebody else's work."""
        if not self._is_told:
            self._is_told = True
            self._member.tell("cancel", self._name)
        elif time.monotonic() - since > _OBEYS and self._member.busy == 1:
            self._member.end()
            raise Cancelled("The task was cancelled.")

    def _failure(self, kind: str, what: Any, traceback: str = "") -> Exception:
        if kind == LOST:
            self._member.give_up(what)
            return LostWorkerError(what)
        if kind == FAILED and isinstance(what, Exception):
            if traceback:
                log.error("An engine on %s failed:\n%s", self._member.node.name, traceback)
            return what
        return EngineError("The engine failed ({what}); the service's log has the details.", what=str(kind))

    def _send(self, part: str, data: bytes) -> None:
        for start in range(0, max(len(data), 1), PIECE):
            with _PIECES:
                self._ask("add", self._name, part, start, data[start : start + PIECE])
            self._progress.check()

    def _fetch(self, sizes: Mapping[str, int], facts: dict[str, Any], model: str, seconds: float) -> Made:
        def whole(part: str) -> bytes:
            held = bytearray()
            while len(held) < sizes[part]:
                with _PIECES:
                    held += self._ask("piece", self._name, part, len(held), PIECE)
            return bytes(held)

        made = Made(whole("glb"), whole("latents") if "latents" in sizes else None, facts)
        self._member.has_made(seconds, model)
        return made

    def _ask(self, method: str, *arguments: Any) -> Any:
        return self._member.call(method, *arguments)

    def _look(self) -> bool:
        """Whether to look at the work again, before there is news: it is to stop, and has not been told."""
        return self._progress.is_cancelled() and not self._is_told
