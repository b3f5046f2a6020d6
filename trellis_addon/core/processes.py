"""Other programs, started so that nobody sees a console window and nothing hangs for ever."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

# Windows opens a console for every console program without it.
HIDDEN: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)


def ask(command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None) -> str | None:
    """What a program prints; None where it cannot be started, fails, or says nothing within `timeout` seconds."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=True,
            env=None if environment is None else dict(environment),
            creationflags=HIDDEN,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")
