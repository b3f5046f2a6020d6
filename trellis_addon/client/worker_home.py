"""Where a service of this machine lives: its lasting folder, its log, and whether other programs use it too."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ..core.configuration import configuration
from ..core.errors import EngineError
from ..core.files import discard_folder
from ..core.folders import default_folder
from ..core.locks import take_lock
from ..core.messages import reason_of
from ..runtime.child import local_python
from ..runtime.layout import local_folder
from ..service.content.folder import PREFIX
from ..service.lifetime import presence

_PATIENCE = 90.0  # seconds that another program may take to start the worker


class Home(Protocol):
    """What a supervisor needs to know of the place."""

    folder: Path
    log: Path | None
    mark: str | None
    """What tells this place and choice of device apart from others; None where nobody else comes."""

    def enter(self) -> None: ...

    def leave(self) -> None: ...

    def starting(self) -> contextlib.AbstractContextManager[None]: ...

    def found(self) -> dict[str, Any]: ...

    def is_outdated(self) -> bool: ...


class PrivateHome:
    """A folder of this program alone, gone with it: what a service forgets there, nobody misses."""

    def __init__(self) -> None:
        self.folder = Path()
        self.log: Path | None = None
        self.mark: str | None = None

    def enter(self) -> None:
        """Make the folder, if it is not there."""
        if not self.folder.name:
            # by this name, services remove what one that was ended by force has left
            self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        with contextlib.suppress(OSError):
            os.utime(self.folder / "lock")  # in use, also while no service holds it

    def leave(self) -> None:
        if self.folder.name:
            discard_folder(self.folder)
            self.folder = Path()

    @contextmanager
    def starting(self) -> Iterator[None]:
        yield

    def found(self) -> dict[str, Any]:
        return {}

    def is_outdated(self) -> bool:
        return False


class SharedHome:
    """The folder of the local backend's worker, for all programs of this user."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._client: presence.WorkerUser | None = None
        self.folder: Path
        self.log: Path | None
        self.mark: str | None
        self.folder, self.log, self.mark = self._place()

    def _place(self) -> tuple[Path, Path, str]:
        """Folder, log and mark as they would be now: installing moves the worker to the chosen folder."""
        chosen = local_folder()
        name = self._engine if self._engine != "auto" else ""
        if chosen.is_installed:
            folder, log = chosen.service, chosen.logs / "worker.log"
        else:
            folder = default_folder() / "worker" / "service"
            log = default_folder() / "worker" / "worker.log"
        if name:
            folder = folder.with_name(f"{folder.name}-{name}")
        config = configuration()
        wishes = [local_python(), config.weights, config.device, config.memory, config.idle]
        return folder, log, hashlib.sha256("\n".join(wishes).encode()).hexdigest()[:16]

    def is_outdated(self) -> bool:
        """Whether the worker should by now be another one."""
        return (self.folder, self.log, self.mark) != self._place()

    def enter(self) -> None:
        """Say that this program uses the worker, before there is one; raises `EngineError`."""
        if self._client is None:
            self.folder, self.log, self.mark = self._place()
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._client = presence.WorkerUser(self.folder)
            except OSError as error:
                raise EngineError(
                    "The worker's folder {folder} cannot be written to ({reason}); choose another folder for the "
                    "local backend.",
                    folder=self.folder,
                    reason=reason_of(error),
                ) from error

    def leave(self) -> None:
        """Say that this program needs the worker no more: without others that do, it ends."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Held while looking for the worker and starting it, by one program at a time."""
        end = time.monotonic() + _PATIENCE
        while (lock := take_lock(self.folder / presence.START_LOCK)) is None:
            if time.monotonic() > end:
                raise EngineError("Another program has been starting the worker for too long; end that program.")
            time.sleep(0.1)
        with lock:
            yield

    def found(self) -> dict[str, Any]:
        """What a worker has told of itself here; it may have ended since."""
        return presence.read_worker(self.folder)
