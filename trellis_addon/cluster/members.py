"""The machines of a cluster and the processes on them, as data."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..core.messages import Message, message
from .calls import wait_for

JOINS, USED, EMPTY, UNFIT, DRAINS, DRAINED, GONE = "joins", "used", "empty", "unfit", "drains", "drained", "gone"
"""How it stands with a machine: it is being asked what it has; works; has nothing to work with; is not used, for a
reason; takes nothing new; is idle for good; is away."""

_CLOSES = 10.0  # seconds that the station of a lost process may take to close: the pool looks every half a second
_RECENT = 20  # results that the speed of a machine is told by


@dataclass
class Node:
    """A machine. `about` is what it says of itself (`node.describe`), `why` why it stands so."""

    id: str
    host: str
    address: str
    resources: dict[str, float]
    state: str = JOINS
    why: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)
    made: int = 0
    seconds: list[float] = field(default_factory=list)
    ends: int = 0  # of processes, in a row without a result
    not_before: float = 0.0  # when processes may be started again, by the monotonic clock
    named: str = ""  # for what reason it was named in the log as not used

    @property
    def name(self) -> str:
        return f"{self.host} ({self.id[:6]})"

    def has_made(self, seconds: float) -> None:
        self.made += 1
        self.ends = 0
        self.seconds = [*self.seconds[1 - _RECENT :], seconds]

    def as_json(self) -> dict[str, Any]:
        """What a table says of it."""
        found = {key: self.about.get(key) for key in ("version", "code", "python", "ray", "weightsMark")}
        doing = [f"{stage} {share:.0%}" for member in self.members for stage, share in list(member.doing.values())]
        return {
            "id": self.id,
            "name": self.name,
            "host": self.host,
            "address": self.address,
            "state": self.state,
            "why": str(self.why),
            "cards": [card["name"] for card in self.about.get("cards", ())] or _pretended(self.resources),
            "cardMemory": sum(card["memory"] for card in self.about.get("cards", ())),
            "memory": self.about.get("memory", 0),
            **found,
            "workers": sum(member.station is not None for member in self.members),
            "running": doing,
            "made": self.made,
            "seconds": round(sum(self.seconds) / len(self.seconds), 2) if self.seconds else None,
        }


def _pretended(resources: dict[str, float]) -> list[str]:
    """The cards that Ray knows of, where the driver tells none."""
    kind = next((name.partition(":")[2] for name in resources if name.startswith("accelerator_type:")), "GPU")
    return [kind] * int(resources.get("GPU", 0))


class Member:
    """A process on a machine, as the service knows it: reached by an actor of Ray's."""

    _numbers = itertools.count(1)

    def __init__(self, node: Node, actor: Any) -> None:
        self.node = node
        self.number = next(self._numbers)
        self.doing: dict[str, tuple[str, float]] = {}
        """Jobs that it works on: stage, and how much is done."""
        self.station: int | None = None  # of the service's workers; None until it is ready
        self.is_handed_over = False
        self.is_noted = False  # that it has ended
        self.ready = actor.hello.remote()
        self.watched = actor.watch.remote()
        self._actor = actor
        self._gone: Message | None = None
        self._busy = 0
        self._closed = threading.Event()
        self._lock = threading.Lock()

    @property
    def busy(self) -> int:
        """Results that it works on."""
        return self._busy

    @property
    def is_closed(self) -> bool:
        """Whether its station takes nothing new."""
        return self._closed.is_set()

    @property
    def gone(self) -> Message | None:
        """Why it is gone; None while it is there."""
        return self._gone

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def call(self, method: str, *arguments: Any, look: Callable[[], bool] = lambda: False) -> Any:
        """The answer to a call; see `calls.wait_for`."""
        return wait_for(lambda: getattr(self._actor, method).remote(*arguments), lambda: self._gone, look)

    def tell(self, method: str, *arguments: Any) -> None:
        """A call whose answer nobody waits for."""
        if self._gone is None:
            with contextlib.suppress(Exception):  # it is gone, or Ray is
                getattr(self._actor, method).remote(*arguments)

    def has_made(self, seconds: float, model: str) -> None:
        self.node.has_made(seconds)

    def give_up(self, cause: Message) -> None:
        """It is gone, or of no more use."""
        with self._lock:
            self._gone = self._gone or cause

    def close(self) -> None:
        """Its station takes nothing new any more."""
        self._closed.set()

    def lose(self, cause: Message) -> None:
        """A call has found it gone. Returns once its station takes nothing new: the same result would come back here,
        and be lost again without having begun."""
        self.give_up(cause)
        self._closed.wait(_CLOSES)

    def hand_over(self) -> None:
        """End it; what it works on goes to others, and is not to blame."""
        self.is_handed_over = True
        self.give_up(message("its machine was drained"))
        self._kill()

    def end(self) -> None:
        """End it now; nothing of it is wanted any more."""
        self.is_handed_over = True
        self.give_up(message("it was told to end"))
        self._kill()

    def _kill(self) -> None:
        import ray

        with contextlib.suppress(Exception):
            ray.kill(self._actor)
