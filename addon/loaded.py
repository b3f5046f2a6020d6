"""Looking at a module of this extension without loading it: what was never needed has nothing to tell."""

from __future__ import annotations

import sys
from typing import Any

from .name import EXTENSION


def loaded(module: str) -> Any:
    """A module of the library, such as "scene.queue", if it was ever needed; else None."""
    return sys.modules.get(f"{EXTENSION}.trellis_addon.{module}")


def worker_status() -> Any:
    """How the worker on this computer is; None where none was ever asked for."""
    service = loaded("client.local_service")
    return service.worker_status() if service else None
