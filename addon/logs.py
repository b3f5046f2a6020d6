"""How much of what goes on the console shows: the level of this package's loggers."""

from __future__ import annotations

import logging

from .name import EXTENSION

LEVELS = [
    ("WARNING", "Warnings", "What went wrong, and what may", 0),
    ("INFO", "Information", "What is done as well", 1),
    ("DEBUG", "Everything", "Every request and reply as well, for a report; the key is never shown", 2),
]


class _Console(logging.StreamHandler):
    """Our own handler, to be told from others': Python's own shows warnings only."""


def set_level(name: str) -> None:
    """Show messages of this level, and above, of this package; others' loggers stay as they are."""
    logger = logging.getLogger(EXTENSION)
    reset()
    logger.setLevel(name)
    if name != "WARNING":
        console = _Console()
        console.setFormatter(logging.Formatter("TRELLIS.2 %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(console)


def reset() -> None:
    """As if nobody had set anything."""
    logger = logging.getLogger(EXTENSION)
    logger.setLevel(logging.NOTSET)
    for handler in [h for h in logger.handlers if type(h).__name__ == _Console.__name__]:
        logger.removeHandler(handler)
