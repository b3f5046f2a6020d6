"""Of many processes that write to one .blend, on whichever machines, one at a time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import Interrupted
from .lease import STALE, Leases
from .presence import Presence
from .shared import SharedFolder

LOOK = 1.0  # seconds between two looks at whether the others have done


@contextmanager
def turn(
    shared: SharedFolder, output: Path, stale: float = STALE, is_stopped: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Wait until nobody else who works on this folder writes to a file of this name.

    By its name alone: machines have the same folder in different places. Raises `OutputError` where the shared folder
    cannot be used, `Interrupted` when `is_stopped` says so.
    """
    shared.prepare()
    presence = Presence()
    try:
        with Leases(shared.leases, presence, stale=stale) as leases:
            name = hashlib.sha256(output.name.lower().encode("utf-8", "surrogatepass")).hexdigest()[:16]
            while (lease := leases.take(f"file-{name}")) is None:
                if is_stopped():
                    raise Interrupted("{output} is being written by another process.", output=output)
                time.sleep(LOOK)
            with lease:
                yield
    finally:
        presence.close()
