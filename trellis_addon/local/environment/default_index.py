"""The package index that nobody has named: pip's own, as pip says it."""

from __future__ import annotations

import functools
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from ...core.errors import EngineError
from ...core.processes import ask, find_program

_PATIENCE = 60.0  # seconds; a cold start behind a virus scanner takes some
_TOLD = re.compile(r"--index-url <url>.*?\(default\s+(https?://[^\s)]+)\)", re.S)
_lock = threading.Lock()


def default_index() -> str:
    """The address of the simple index that pip asks without any settings.

    Raises `EngineError` where there is no pip to say it.
    """
    with _lock:  # several packages are looked for at once, and one answer does for all
        return _asked()


@functools.cache
def _asked() -> str:
    for pip in _pips():
        if told := _TOLD.search(ask([*pip, "--isolated", "install", "--help"], _PATIENCE) or ""):
            return told[1]
    raise EngineError(
        "This Python has no pip to say which package index to take; name one in the variable PIP_INDEX_URL, or give a "
        "folder of wheels."
    )


def _pips() -> Iterator[list[str]]:
    """Ways to start a pip: this Python's, the one that Python brings along to install, and whatever is on the path."""
    yield [sys.executable, "-I", "-m", "pip"]
    try:
        import ensurepip
    except ImportError:  # some distributions take it out
        pass
    else:
        for wheel in sorted(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")):
            yield [sys.executable, "-I", str(wheel / "pip")]
    for name in ("pip3", "pip"):
        if found := find_program(name):
            yield [found]
