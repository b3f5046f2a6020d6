"""What the log looks like: lines for people, or a JSON object a line for programs; no token and no picture in either.

An object has `time` (ISO 8601, UTC), `level`, `logger`, `message`; where it is about a task `taskUUID` and `person`;
where something unforeseen happened `error`, the traceback.
"""

from __future__ import annotations

import contextvars
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from ..people.tokens import TOKEN
from .troubles import without_secrets

TEXT, JSON = "text", "json"
FORMATS = (TEXT, JSON)
_LONGEST = 20_000  # characters of a message, or of a traceback

_task: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar("trellis2_task", default=None)


@contextmanager
def about_task(uuid: object, person: str) -> Iterator[None]:
    """What this thread logs meanwhile is about this task; `uuid` as somebody sent it, who may have sent anything."""
    told = {"taskUUID": uuid[:64], "person": person} if isinstance(uuid, str) and uuid else {"person": person}
    before = _task.set(told)
    try:
        yield
    finally:
        _task.reset(before)


def formatter(kind: str, secret: str) -> logging.Formatter:
    """For one of `FORMATS`; `secret` is the service's single token."""
    return _AsJson(secret) if kind == JSON else _Lines(secret)


class _Lines(logging.Formatter):
    """Whatever comes into the log, tokens do not."""

    def __init__(self, secret: str) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._secret = secret

    def format(self, record: logging.LogRecord) -> str:
        return self.discreet(super().format(record))

    def discreet(self, text: str) -> str:
        text = TOKEN.sub("(a token)", text)
        return text.replace(self._secret, "(the token)") if len(self._secret) >= 8 else text


class _AsJson(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._cleaned(record.getMessage()),
            **(_task.get(None) or {}),
        }
        if record.exc_info:
            told["error"] = self._cleaned(self.formatException(record.exc_info))
        return json.dumps(told, ensure_ascii=True)

    def _cleaned(self, text: str) -> str:
        return without_secrets(self.discreet(text))[:_LONGEST]
