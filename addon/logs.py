"""How much of what goes on the console shows: the level of this package's loggers. The last warnings are kept."""

from __future__ import annotations

import logging
from collections import deque

from .name import EXTENSION

LEVELS = [
    ("WARNING", "Warnings", "What went wrong, and what may", 0),
    ("INFO", "Information", "What is done as well", 1),
    ("DEBUG", "Everything", "Every request and reply as well, for a report; the key is never shown", 2),
]


class _Console(logging.StreamHandler):
    """Our own handler, to be told from others': Python's own shows warnings only."""


class _Recent(logging.Handler):
    """The last warnings, for a report; in memory alone."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: deque[str] = deque(maxlen=50)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def recent() -> list[str]:
    """The last warnings and errors since the extension was switched on, the oldest first."""
    handlers = logging.getLogger(EXTENSION).handlers
    return [line for handler in handlers if isinstance(handler, _Recent) for line in handler.lines]


def set_level(name: str) -> None:
    """Show messages of this level, and above, of this package; others' loggers stay as they are."""
    logger = logging.getLogger(EXTENSION)
    _drop(_Console)
    logger.setLevel(name)
    if not any(isinstance(handler, _Recent) for handler in logger.handlers):
        logger.addHandler(_Recent())
    if name != "WARNING":
        console = _Console()
        console.setFormatter(logging.Formatter("TRELLIS.2 %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(console)


def reset() -> None:
    """As if nobody had set anything."""
    logging.getLogger(EXTENSION).setLevel(logging.NOTSET)
    _drop(_Console)
    _drop(_Recent)


def _drop(kind: type[logging.Handler]) -> None:
    """By its name: one of an earlier import of this module too."""
    logger = logging.getLogger(EXTENSION)
    for handler in [handler for handler in logger.handlers if type(handler).__name__ == kind.__name__]:
        logger.removeHandler(handler)
