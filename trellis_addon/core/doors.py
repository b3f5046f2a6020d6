"""Where a running Blender says how assistants reach it: a file of this user's for each, in the data folder."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from .files import discard, read_text
from .folders import default_folder

_FOLDER = "blenders"


@dataclass(frozen=True)
class Door:
    """At http://127.0.0.1:`port` for those who show `token`; `title` is the .blend that was open then."""

    port: int
    token: str
    pid: int
    title: str = ""

    def tell(self) -> Path:
        """Write it down for this user alone; raises `OSError`."""
        folder = default_folder() / _FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{self.pid}.json"
        discard(path)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        return path


def doors() -> list[Door]:
    """What is written down, the newest first; a Blender that came down has left its own."""
    found: list[tuple[float, Door]] = []
    for path in (default_folder() / _FOLDER).glob("*.json"):
        try:
            facts = json.loads(read_text(path))
            door = Door(int(facts["port"]), str(facts["token"]), int(facts["pid"]), str(facts["title"]))
            found.append((path.stat().st_mtime, door))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # it is being written, or nobody's
    return [door for _, door in sorted(found, key=lambda each: each[0], reverse=True)]
