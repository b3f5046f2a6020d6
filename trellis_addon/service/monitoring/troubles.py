"""The last things that went wrong, for whoever looks after the service; nothing secret is in them."""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Callable

from ...core.errors import Cancelled
from ..people.tokens import TOKEN
from ..protocol import JsonObject
from ..records import TaskRecord

MOST = 100
_LONGEST = 500  # characters of a sentence
_ADDRESS = re.compile(r"\b(\w+://)(?:[^\s/@]*@)?([^\s/?#\"']*)[^\s\"')]*")
_DATA = re.compile(r"[A-Za-z0-9+/_=-]{80,}")
_LOGGER = logging.getLogger(__name__.rpartition(".service.")[0])


def without_secrets(text: str) -> str:
    """The text without tokens, pictures, and what stands in an address beside its host, which may be a key."""
    text = _DATA.sub("(data)", TOKEN.sub("(a token)", text))
    return _ADDRESS.sub(lambda found: found[1] + found[2] + "/…", text)


class Troubles(logging.Handler):
    """Hears of results that failed, and of what is logged as an error by this library between `begin` and `end`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(logging.ERROR)
        self._clock = clock
        self._kept: deque[JsonObject] = deque(maxlen=MOST)
        self._kept_lock = threading.Lock()

    def begin(self) -> None:
        _LOGGER.addHandler(self)

    def end(self) -> None:
        _LOGGER.removeHandler(self)

    def last(self) -> list[JsonObject]:
        """The last first: `time` (seconds), `message`, and of a result `code`, `taskUUID`, `person`."""
        with self._kept_lock:
            return list(reversed(self._kept))

    def of_result(self, record: TaskRecord, index: int) -> None:
        """Result `index` has come to its end, whichever that is."""
        error = record.slots[index].error
        if error is not None and error["code"] != Cancelled.code:
            self._keep(str(error["message"]), code=error["code"], taskUUID=record.uuid, person=record.person)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._keep(record.getMessage())
        except Exception:
            self.handleError(record)

    def _keep(self, text: str, **more: str) -> None:
        kept = {"time": self._clock(), "message": without_secrets(text)[:_LONGEST], **more}
        with self._kept_lock:
            self._kept.append(kept)
