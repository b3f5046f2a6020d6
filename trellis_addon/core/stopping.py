"""The signals that ask a program to end: Ctrl-C, a scheduler's polite end, a terminal that is closed.

They are answered alike: whoever is at work is interrupted as by Ctrl-C, cleans up, and says so.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # the last is Windows', of Ctrl-Break and a console that closes

Handler = Callable[[int, FrameType | None], None]


@contextmanager
def answered(answer: Handler) -> Iterator[None]:
    """Have these signals answered, but for a closed terminal where nobody cares for that, as under `nohup`.

    Only the main thread can; in any other nothing is changed.
    """
    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        previous = {number: signal.getsignal(number) for number in numbers if not _is_passed_over(number)}
    for number in previous:
        signal.signal(number, answer)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _is_passed_over(number: int) -> bool:
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def interrupting() -> Iterator[None]:
    """Within, the first of these signals raises `KeyboardInterrupt`; what comes after it lets the cleaning up be done.

    A second Ctrl-C is a person's, who will not wait: it raises again.
    """
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if not stopped or number == signal.SIGINT:
            stopped = True
            raise KeyboardInterrupt

    with answered(stop):
        yield
