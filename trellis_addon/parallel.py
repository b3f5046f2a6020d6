"""A few things at the same time, each as it gets ready."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def as_ready(
    items: Iterable[Item], work: Callable[[Item], Outcome], at_once: int
) -> Iterator[tuple[Item, Outcome | Exception]]:
    """(item, result or exception) of each, in the order they finish.

    The threads are daemons: what stops the program stops them, wherever they are.
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

    for _ in range(min(at_once, count)):
        threading.Thread(target=run, daemon=True).start()
    for _ in range(count):
        yield _get(done)


def _get(done: queue.SimpleQueue[tuple[Item, Outcome | Exception]]) -> tuple[Item, Outcome | Exception]:
    while True:
        try:
            return done.get(timeout=0.2)  # a bare get() would not let Ctrl-C through on Windows
        except queue.Empty:
            continue
