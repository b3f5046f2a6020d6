"""One draft service for all tests of the add-on in a process: each would start one, half a second of the processor's.

The add-on is imported anew by every test, so its supervisor is handed the service when it is imported. To the
add-on it is one that another program has started, which it uses and leaves running. That one of its own ends with the
add-on is a test of `test_extension.py`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

SUPERVISOR = ".trellis_addon.client.supervisor"


class SharedDraft(MetaPathFinder):
    """Finds the supervisor's module of one package, and hands it the service once it is there."""

    def __init__(self, package: str) -> None:
        self.name = package + SUPERVISOR

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == self.name else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                start = module.start_process  # type: ignore[attr-defined]

                def start_or_share(engine: str, **options: Any) -> Any:
                    if engine != "draft" or self not in sys.meta_path:
                        return start(engine, **options)
                    shared = _service()
                    return module.LocalService(shared.url, shared.token, pid=shared.pid)  # type: ignore[attr-defined]

                module.start_process = start_or_share  # type: ignore[attr-defined]

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


@functools.cache
def _service() -> Any:
    """Started when it is first wanted; ends when this process does, which has the other end of its pipe."""
    from trellis_addon.client.local_service import start_service

    return start_service("draft")


def share(package: str, module: ModuleType) -> Iterator[ModuleType]:
    """For a fixture: the add-on, registered under this name, while it shares the service."""
    sharing = SharedDraft(package)
    sys.meta_path.insert(0, sharing)
    yield module
    sys.meta_path.remove(sharing)
