"""Other programs: found, started so that nobody sees a console window, waited for, and ended. Only here.

What they print is read as UTF-8, and what is none of it does not end the reading: on Windows many programs write in
the code page of the machine.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .configuration import configuration

# Windows opens a console for every console program without it.
HIDDEN: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
STEP = 0.2  # seconds; a wait without an end would not let Ctrl-C through on Windows
_LAST_WORDS = 1.0  # seconds for what a process that was ended still had to say
_PROGRAMS = (".exe", ".com")  # what Windows starts itself; a .bat reads its arguments anew, as commands


def find_program(name: str, folders: Iterable[str] | None = None) -> str | None:
    """The whole path of a program in one of these folders, by default those of PATH; None where it is in none.

    Never one in the current folder, which is where a downloaded file lies that somebody has double-clicked: an entry
    that does not name a folder from the root on ("", ".", "bin") is passed over. Windows' own folder comes first.
    """
    variables = configuration().variables
    names = [name]
    if _on_windows() and not name.lower().endswith(_PROGRAMS):
        told = variables.get("PATHEXT", "").split(";")
        names = [name + ending for ending in (*told, *_PROGRAMS) if ending.lower() in _PROGRAMS]
    for folder in _default_folders() if folders is None else folders:
        for each in names:
            path = os.path.join(folder, each)
            if os.path.isabs(folder) and os.path.isfile(path) and os.access(path, os.X_OK):
                return path
    return None


def path_folders() -> list[str]:
    """The entries of PATH, without the quotes that some have on Windows."""
    entries = configuration().variables.get("PATH", os.defpath).split(os.pathsep)
    return [entry.strip('"') for entry in entries]


def _default_folders() -> list[str]:
    system = configuration().variables.get("SYSTEMROOT", "") if _on_windows() else ""
    return [os.path.join(system, "System32"), *path_folders()] if system else path_folders()


def start(command: Sequence[str], *, text: bool = True, **options: Any) -> subprocess.Popen[Any]:
    """`subprocess.Popen`, hidden, with streams of text; raises `OSError`.

    A program without a folder is looked for as `find_program` does, and by no other rule of the system's.
    """
    program, *arguments = command
    if not os.path.dirname(program):
        found = find_program(program)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
        program = found
    if text:
        options |= {"text": True, "encoding": "utf-8", "errors": "replace"}
    return subprocess.Popen([program, *arguments], creationflags=HIDDEN, **options)


def ask(command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None) -> str | None:
    """What a program prints; None where it cannot be started, fails, or says nothing within `timeout` seconds."""
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    try:
        process = start(command, env=None if environment is None else dict(environment), **streams)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    try:
        said, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        end(process)
    return None if process.returncode else str(said)


def wait(process: subprocess.Popen[Any]) -> int:
    """Wait until a process has ended, however long that takes; its exit code."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(STEP)


def kill(process: subprocess.Popen[Any]) -> None:
    """End a process at once, if it still runs."""
    if process.poll() is None:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_WORDS)


def end(process: subprocess.Popen[Any]) -> tuple[str, str]:
    """`kill`, and what it printed and complained of meanwhile, for streams that nobody else reads.

    Whoever holds its streams as well is not waited for long: a launcher's child may outlive it.
    """
    kill(process)
    out: Any = ""
    said: Any = ""
    if any(stream is not None and not stream.closed for stream in (process.stdout, process.stderr)):
        with contextlib.suppress(subprocess.TimeoutExpired, OSError, ValueError):  # ValueError: it was just closed
            out, said = process.communicate(timeout=_LAST_WORDS)
    return out or "", said or ""


def _on_windows() -> bool:
    return os.name == "nt" or sys.platform == "win32"
