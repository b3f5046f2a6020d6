"""Standard output and error that take whatever is said."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator

# What moves a terminal's cursor, changes its colours or turns letters round: a file may be called so.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def prepare_streams() -> None:
    """Let no name be too strange to be printed; for the beginning of a command.

    A terminal keeps its encoding. A file or a pipe, for which Windows would take a code page that lacks most letters,
    gets UTF-8. What cannot be written all the same is written as an escape, such as \\u65e5.
    """
    _open_closed_ones()
    for stream in (sys.stdout, sys.stderr):
        # one that somebody has put in its place may be of any kind
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with contextlib.suppress(OSError, ValueError):  # it is closed
                reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def printable(text: object, keep: str = "") -> str:
    """A name, or a sentence that quotes one; control characters but those of `keep` are escapes such as \\n."""

    def escaped(found: re.Match[str]) -> str:
        sign = found.group()
        return sign if sign in keep else sign.encode("unicode_escape").decode("ascii")

    return _CONTROLS.sub(escaped, str(text))


def _open_closed_ones() -> None:
    """Where there is no console, or a shell has closed one of them (`2>&-`), what is said goes nowhere.

    Otherwise the next files to be opened would have their numbers, and libraries print into those.
    """
    if os.name == "posix":
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(number, True)
        os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (until the end)


def silence() -> None:
    """Say nothing any more: what is still to be written to a reader who has gone would fail again at the very end."""
    with contextlib.suppress(OSError, ValueError, AttributeError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """While it lasts nothing reaches standard output, of libraries in C either: others may read it."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # it is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
