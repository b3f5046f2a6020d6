"""Who works on what, by files in a folder that several machines share: no coordinator, no locks, no clocks compared.

A lease of NAME is the file `NAME.1`, created exclusively, which of several machines one can, on NFS and SMB as well.
Its holder changes what stands in it every few seconds. Whoever has watched it for long enough without any change
creates `NAME.2`, which again one can, and so on; the highest number holds. Nothing is deleted or renamed, so nobody
takes away another lease than the one that he has watched.

How long nothing has changed is counted by whoever watches, by his own clock, from look to look: a machine that slept,
or a server that hung, does not make others look dead. A holder that only seemed dead, and comes back, does no harm:
what is made is put in place exclusively, and paid under one taskUUID (`shared`).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import OutputError
from ..core.files import BRIEF, patiently
from ..core.messages import reason_of
from .presence import Presence

log = logging.getLogger(__name__)

BEAT = 5.0  # seconds between two signs of life
STALE = 90.0  # seconds without one, as seen from here: longer than a client of NFS keeps what it knows of a folder
_LONGEST_LOOK = 3 * BEAT  # seconds between two looks that count
_SIZE = 512  # bytes of a lease, always the same: it is written in place, and in one piece

HELD, FREE, OVER = "held", "free", "over"


class Lease:
    """One's own: `free` lets others have it, `over` says that there is nothing left to do.

    `deaths` is how many of the former holders in a row went without a word.
    """

    def __init__(self, leases: Leases, name: str, number: int, deaths: int) -> None:
        self.name, self.number, self.deaths = name, number, deaths
        self._leases = leases

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *error: object) -> None:
        self.free()

    def free(self) -> None:
        self._leases._end(self, FREE)

    def over(self) -> None:
        self._leases._end(self, OVER)


@dataclass
class _Watch:
    """A lease of somebody else's: what stood in it, and for how many seconds that has not changed."""

    number: int
    text: bytes
    seen: float
    unchanged: float = 0.0


@dataclass(frozen=True)
class _Entry:
    number: int
    text: bytes

    @property
    def facts(self) -> Mapping[str, Any]:
        """What its holder says; empty where it was just created, or is being written this moment."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Leases:
    """The leases in a folder. Within `with`, one's own are kept alive by a thread; at its end they are let go."""

    def __init__(
        self,
        folder: Path,
        presence: Presence,
        *,
        beat: float = BEAT,
        stale: float = STALE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._presence = folder, presence
        self._beat, self._stale, self._clock = beat, stale, clock
        self._held: dict[str, Lease] = {}
        self._watched: dict[str, _Watch] = {}
        self._known: dict[str, int] = {}  # the highest number that was seen of each
        self._count = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def __enter__(self) -> Leases:
        threading.Thread(target=self._live, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for lease in list(self._held.values()):
            lease.free()

    def is_free(self, name: str, *, again: bool = False) -> bool:
        """Whether it can be had, as far as can be told without trying; `again`: also where all was over."""
        with self._lock:
            found = self._look(name)
            return found is None or self._can_follow(name, found, again)

    def is_over(self, name: str) -> bool:
        """Whether somebody says that there is nothing left to do."""
        with self._lock:
            found = self._look(name)
            return found is not None and found.facts.get("state") == OVER

    def take(self, name: str, *, again: bool = False) -> Lease | None:
        """The lease, if it is free or its holder is dead; None where somebody else has it. Raises `OutputError`."""
        with self._lock:
            if name in self._held:
                return None
            found = self._look(name)
            if found is not None and not self._can_follow(name, found, again):
                return None
            deaths = 0
            if found is not None and not again and found.facts.get("state", HELD) == HELD:
                told = found.facts.get("deaths", 0)
                deaths = (told if isinstance(told, int) else 0) + 1
            lease = Lease(self, name, found.number + 1 if found else 1, deaths)
            try:
                with self._path(name, lease.number).open("xb", buffering=0) as file:
                    file.write(self._text(lease, HELD))
            except FileExistsError:  # somebody was quicker
                return None
            except OSError as error:
                raise _unusable(self._folder, error) from error
            self._known[name] = lease.number
            self._watched.pop(name, None)
            self._held[name] = lease
            return lease

    def _path(self, name: str, number: int) -> Path:
        return self._folder / f"{name}.{number}"

    def _look(self, name: str) -> _Entry | None:
        """The newest of this name; None where there is none."""
        number, text = self._known.get(name, 0), b""
        while True:
            path = self._path(name, max(number, 1))
            try:
                text = patiently(path.read_bytes, BRIEF)
            except FileNotFoundError:
                if number > 1:  # somebody has tidied up
                    self._known[name], number = 0, 0
                    continue
                return None
            except OSError as error:
                raise _unusable(self._folder, error) from error
            number = max(number, 1)
            if not self._path(name, number + 1).exists():
                self._known[name] = number
                return _Entry(number, text)
            number += 1

    def _can_follow(self, name: str, found: _Entry, again: bool) -> bool:
        facts = found.facts
        state = facts.get("state", HELD)
        if state == FREE or (state == OVER and again):
            return True
        if state == OVER and facts.get("machine") == self._presence.machine:
            return True  # nobody here sees what was made: it was deleted
        if state == HELD and self._presence.is_gone(facts):
            return True
        now = self._clock()
        watch = self._watched.get(name)
        if watch is None or (watch.number, watch.text) != (found.number, found.text):
            self._watched[name] = _Watch(found.number, found.text, now)
            return False
        watch.unchanged += min(max(now - watch.seen, 0.0), _LONGEST_LOOK)
        watch.seen = now
        return watch.unchanged >= self._stale

    def _text(self, lease: Lease, state: str) -> bytes:
        self._count += 1
        facts = {
            "state": state,
            "worker": self._presence.worker,
            "machine": self._presence.machine,
            "deaths": lease.deaths,
            "beat": self._count,
        }
        return json.dumps(facts).encode().ljust(_SIZE)

    def _write(self, lease: Lease, state: str) -> None:
        """In place; what cannot be written is taken for a death in the end, and somebody else goes on."""
        try:
            with self._path(lease.name, lease.number).open("r+b", buffering=0) as file:
                file.write(self._text(lease, state))
        except OSError as error:
            log.warning("The lease of %s cannot be written: %s", lease.name, error)

    def _end(self, lease: Lease, state: str) -> None:
        with self._lock:
            if self._held.get(lease.name) is lease:
                del self._held[lease.name]
                self._write(lease, state)

    def _live(self) -> None:
        while not self._ended.wait(self._beat):
            with self._lock:
                for lease in self._held.values():
                    self._write(lease, HELD)


def _unusable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        "{folder} cannot be used ({reason}); see that this machine may write there, and that there is room.",
        folder=folder,
        reason=reason_of(error),
    )
