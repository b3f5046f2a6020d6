"""A few things at the same time, each as it gets ready."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

IN_FLIGHT = 4  # jobs at the same time: what the platform likes to see from one user

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def as_ready(
    items: Iterable[Item],
    work: Callable[[Item], Outcome],
    at_once: int,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Item, Outcome | Exception]]:
    """(item, result or exception) of each, in the order they finish.

    The threads are daemons: what stops the program stops them, wherever they are. When the caller takes no
    more, or `is_stopped` says so, what has not begun is not begun; in the latter case that is the end.
    """
    todo: queue.SimpleQueue[Item] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Item, Outcome | Exception]] = queue.SimpleQueue()
    count = 0
    for item in items:
        todo.put(item)
        count += 1

    def run() -> None:
        while True:
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((item, work(item)))
            except Exception as error:
                done.put((item, error))
            except BaseException as error:  # SystemExit and the like: whoever waits must hear of the end
                done.put((item, RuntimeError(f"It was ended by {type(error).__name__}.")))
                return

    for _ in range(min(at_once, count)):
        threading.Thread(target=run, daemon=True).start()
    try:
        for _ in range(count):
            ready = _get(done, is_stopped)
            if ready is None:
                return
            yield ready
    finally:
        _empty(todo)


def _empty(todo: queue.SimpleQueue[Item]) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            todo.get_nowait()


def _get(
    done: queue.SimpleQueue[tuple[Item, Outcome | Exception]], is_stopped: Callable[[], bool]
) -> tuple[Item, Outcome | Exception] | None:
    while not is_stopped():
        try:
            return done.get(timeout=0.2)  # a bare get() would not let Ctrl-C through on Windows
        except queue.Empty:
            continue
    return None
