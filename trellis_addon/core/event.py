"""Something that happens, told to all who asked to hear of it: so that who causes it need not know them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Event(Generic[P]):
    """Listeners are called in the order in which they came; what one raises, the teller gets when all have heard."""

    def __init__(self) -> None:
        self._listeners: list[Callable[P, object]] = []

    def __call__(self, listener: Callable[P, object]) -> Callable[P, object]:
        """Have a function hear of it; as a decorator it leaves the function as it is."""
        if listener not in self._listeners:
            self._listeners.append(listener)
        return listener

    def tell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        problems: list[Exception] = []
        for listener in self._listeners:
            try:
                listener(*args, **kwargs)
            except Exception as problem:
                problems.append(problem)
        if problems:
            raise problems[0]
