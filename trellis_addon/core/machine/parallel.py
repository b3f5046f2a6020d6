"""Several things at the same time: each as it gets ready, or arithmetic on all cores."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TypeVar

IN_FLIGHT = 4  # jobs at the same time: what the platform likes to see from one user

_MOST_CORES = 32  # each takes memory of its own

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class _Here(threading.local):
    """Of this thread: whether it is one of several that `on_all_cores` has work on."""

    is_spread = False


_here = _Here()


def as_ready(
    items: Iterable[Item],
    work: Callable[[Item], Outcome],
    at_once: int,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Generator[tuple[Item, Outcome | Exception], None, None]:
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


def cores() -> int:
    """How many of the processor's cores this process may use at the same time."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, _MOST_CORES)


def on_all_cores(
    items: Sequence[Item],
    work: Callable[[Item], Outcome],
    told: Callable[[float], object] = lambda share: None,
    at_once: int | None = None,
    *,
    first_alone: bool = False,
) -> list[Outcome]:
    """The outcomes, in the items' order; raises the first exception that comes.

    For work that lets go of Python's lock: NumPy's loops, Warp's kernels, zlib, the codecs of pictures. `told(share)`
    is called in the caller's thread whenever one is done, and may raise to end it all. `at_once` is `cores()` where
    nothing is said; work that is done at the same time as other work already is not spread any further. With
    `first_alone` the first item is done before the others begin: what is made once and then shared is there by then.
    """
    at_once = cores() if at_once is None else at_once
    found: dict[int, Outcome] = {}
    alone = len(items) if at_once < 2 or len(items) < 2 or _here.is_spread else int(first_alone)
    for number in range(alone):
        found[number] = work(items[number])
        told((number + 1) / len(items))

    def do(number: int) -> Outcome:
        _here.is_spread = True
        return work(items[number])

    rest = as_ready(range(alone, len(items)), do, at_once)
    with contextlib.closing(rest):
        for number, outcome in rest:
            if isinstance(outcome, Exception):
                raise outcome
            found[number] = outcome
            told(len(found) / len(items))
    return [found[number] for number in range(len(items))]


def meanwhile(work: Callable[[], Outcome]) -> Callable[[], Outcome]:
    """Have `work` done beside what the caller goes on with; what is returned waits for its outcome, or raises its
    error.

    Where there is one core, or the caller is one of several already, it is done when it is asked for. It is not spread
    any further, and goes on to its end where nobody asks.
    """
    if cores() < 2 or _here.is_spread:
        return work

    done: queue.SimpleQueue[tuple[None, Outcome | Exception]] = queue.SimpleQueue()

    def run() -> None:
        _here.is_spread = True
        try:
            done.put((None, work()))
        except Exception as error:
            done.put((None, error))
        except BaseException as error:  # SystemExit and the like: whoever waits must hear of the end
            done.put((None, RuntimeError(f"It was ended by {type(error).__name__}.")))

    threading.Thread(target=run, daemon=True).start()

    def outcome() -> Outcome:
        ready = _get(done, lambda: False)
        assert ready is not None
        if isinstance(ready[1], Exception):
            raise ready[1]
        return ready[1]

    return outcome


def slices(count: int, size: int, first: int = 0) -> list[slice]:
    """0..count in pieces of `size`, the last one shorter, and one of `first` before them."""
    edges = [0, *range(min(first, count), count, size), count]
    return [slice(low, high) for low, high in itertools.pairwise(edges) if low < high]


def bands(count: int, least: int = 1) -> list[tuple[int, int]]:
    """0..count as (first, end) for as many cores as there are, each of `least` or more."""
    number = max(min(cores(), count // max(least, 1)), 1)
    edges = [count * part // number for part in range(number + 1)]
    return list(itertools.pairwise(edges))


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
