"""Calls to an actor, and why one is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..core.errors import LostWorkerError
from ..core.messages import Message, message

MACHINE_GONE = message("its machine is gone")
_LOOK = 0.1  # seconds between two looks at whether to go on waiting
_AWAY = 20.0  # seconds after which an actor that cannot be reached is given up
_AGAIN = 0.5  # seconds until it is asked again


def wait_for(
    call: Callable[[], Any], why_gone: Callable[[], Message | None], look: Callable[[], bool] = lambda: False
) -> Any:
    """The answer of an actor to `call()`; [] where `look` says to look up meanwhile.

    Asked again where it cannot be reached for a moment. Raises `LostWorkerError` where it is gone.
    """
    import ray
    from ray import exceptions

    away = (exceptions.ActorUnavailableError, exceptions.ObjectLostError, exceptions.RaySystemError)
    since = 0.0
    while True:
        try:
            reference = call()
            while not ray.wait([reference], timeout=_LOOK)[0]:
                if (gone := why_gone()) is not None:
                    raise LostWorkerError(gone)
                if look():
                    return []
            return ray.get(reference)
        except away as error:
            since = since or time.monotonic()
            if (gone := why_gone()) is not None:
                raise LostWorkerError(gone) from error
            if time.monotonic() - since > _AWAY:
                raise LostWorkerError(message("it could not be reached any more")) from error
            time.sleep(_AGAIN)
        except exceptions.RayActorError as error:
            raise LostWorkerError(why_gone() or cause_of(error)) from error


def cause_of(error: BaseException) -> Message:
    """Why an actor has ended, as a part of a sentence, of what Ray says of it."""
    said = str(error).lower()
    if "creation task failed" in said or "error raised in its creation" in said or "__init__" in said:
        return message("it could not begin ({reason})", reason=str(error).strip().splitlines()[-1].strip()[:200])
    if "its node has died" in said or "node was terminated" in said:
        return MACHINE_GONE
    if "oom" in said or "low on memory" in said:
        return message("the system ended it, because the machine's memory was used up")
    return message("it was ended by force, or crashed")
