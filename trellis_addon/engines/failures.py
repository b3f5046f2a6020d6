"""Anything that an engine may raise, as an error with a sentence."""

from __future__ import annotations

import logging

from ..core.errors import Cancelled, EngineError, TrellisError
from ..core.machine.device_faults import is_out_of_memory

log = logging.getLogger(__name__)


def as_sentence(error: BaseException) -> TrellisError:
    """The error where it is one of ours, else one that says the same in a sentence; its traceback goes to the log."""
    if isinstance(error, Cancelled):
        return Cancelled("The task was cancelled.")
    if isinstance(error, TrellisError):
        log.warning("A task failed: %s", error)
        return error
    log.error("A task failed unexpectedly", exc_info=error)
    if is_out_of_memory(error):
        return EngineError(
            "This machine has not enough memory for the task; choose a smaller resolution, texture or face count."
        )
    what = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split())[:200])))
    return EngineError("The engine failed ({what}); the service's log has the details.", what=what)
