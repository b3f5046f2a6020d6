"""Long calls in threads: what they report goes to the assistant, and a cancelled call cancels the job."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio import from_thread, to_thread

from ..core.errors import TrellisError, unforeseen
from ..core.progress import Progress

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context

_Result = TypeVar("_Result")
_STEP = 0.01  # of the whole way: more often nobody wants to hear of it


async def in_thread(context: Context, do: Callable[[Progress], _Result]) -> _Result:
    """What `do` returns, from a thread of its own; its errors as sentences for the assistant (`ToolError`)."""
    from mcp.server.mcpserver.exceptions import ToolError

    stop = threading.Event()
    told = ("", -1.0)

    def report(stage: str, share: float) -> None:
        nonlocal told
        if stage == told[0] and share < told[1] + _STEP:
            return
        told = (stage, share)
        if not stop.is_set():
            from_thread.run(context.report_progress, 100.0 * share, 100.0, str(stage))

    async def watch() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stop.set()  # the call was cancelled, or is over

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            found = await to_thread.run_sync(do, Progress(report, stop.is_set))
            group.cancel_scope.cancel()
    except* (TrellisError, ToolError) as errors:
        raise ToolError(str(_first(errors))) from None
    except* Exception as errors:
        raise ToolError(str(unforeseen(_first(errors)))) from _first(errors)
    return found


def _first(errors: BaseExceptionGroup[Any]) -> Exception:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
