"""Which tasks have changed since somebody looked: a number for each change, the last of each task."""

from __future__ import annotations

import threading
from collections import OrderedDict

_MOST = 5000  # tasks


class Changes:
    """The tasks that have changed last, by UUID. May be used by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: OrderedDict[str, int] = OrderedDict()  # the last changed is the last
        self.last = 0
        """The number of the last change in any task."""

    def note(self, uuid: str) -> None:
        """Something in this task has changed, or it is there no more."""
        with self._lock:
            self.last += 1
            self._numbers[uuid] = self.last
            self._numbers.move_to_end(uuid)
            if len(self._numbers) > _MOST:
                self._numbers.popitem(last=False)

    def since(self, number: int) -> list[str]:
        """The tasks that have changed after the change of that number, the last first."""
        found = []
        with self._lock:
            for uuid, last in reversed(self._numbers.items()):
                if last <= number:
                    break
                found.append(uuid)
        return found
