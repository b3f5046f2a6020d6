"""Another Python process that finds this package, whatever it is called in this one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from ..core.configuration import PYTHON_VARIABLE, configuration
from ..core.errors import EngineError
from ..core.folders import PACKAGE
from ..core.messages import message, reason_of
from ..core.processes import end, start
from ..core.progress import Progress
from .device_variables import device_variables
from .layout import local_folder

_ENTRY = ("trellis_addon", "runtime", "entry.py")
_LOOK = 0.1  # seconds between two looks at whether a child is to stop


def local_python() -> str:
    """The Python of the local backend, which has PyTorch and what else that needs, as Blender's own has not.

    It is what the variable names, or else the installed one, or else this one.
    """
    named = configuration().python
    if named:
        return named
    folder = local_folder()
    return str(folder.python) if folder.is_installed else sys.executable


def start_child(module: str, arguments: list[str], *, is_local: bool = False, **streams: Any) -> subprocess.Popen[str]:
    """Start `main(arguments)` of a module of this package (".cli") in a process of its own; text streams.

    `is_local` takes the local backend's Python, which has packages of its own. Where that is the installed one, the
    library's code is run from its folder as well, and whatever the process writes on its own account lies there. Its
    environment says how PyTorch is to use the device, should it load it (`device_variables`).
    Raises `EngineError` where that Python cannot be started.
    """
    python = local_python() if is_local else sys.executable
    folder = local_folder()
    is_installed = is_local and not configuration().python and python == str(folder.python)
    # in UTF-8 whatever the machine's code page is; the variable for it would not be read
    command = [python, "-I", "-X", "utf8"]
    if is_installed:
        from .code import ensure_code

        code = ensure_code(folder)
        paths = [str(code)]
        command += ["-X", f"pycache_prefix={folder.pycache}"]
        streams["env"] = folder.environment(streams.get("env"))
    else:
        streams.setdefault("env", dict(configuration().variables))  # with what was chosen in this process
        code = PACKAGE.parent
        paths = [str(code)]
        if python == sys.executable:
            paths = [*filter(None, sys.path), *paths]
    streams["env"] = {**streams["env"], **device_variables(streams["env"])}
    entry = str(code.joinpath(*_ENTRY))
    try:
        return start([*command, entry, json.dumps([paths, module, arguments, is_installed])], **streams)
    except OSError as error:
        raise EngineError(
            "{python} cannot be started ({reason}); choose the Python of the local backend in the preferences, or "
            "by the variable {variable}.",
            python=python,
            reason=reason_of(error),
            variable=PYTHON_VARIABLE,
        ) from error


def run_child(
    module: str, arguments: list[str], check: Callable[[], None], tell: Callable[[str, float], None] | None = None
) -> str:
    """`start_child` in the local backend's Python, and wait for its end: what it complained of if it failed, else "".

    `check` is called all the while; what it raises ends the process. `tell` hears a stage and how much is done (0..1)
    of a process that reports to its parent (`parent_progress`). Raises `EngineError` as `start_child` does.
    """
    streams = {"stdout": subprocess.DEVNULL if tell is None else subprocess.PIPE, "stderr": subprocess.PIPE}
    child = start_child(module, arguments, is_local=True, **streams)
    told: list[tuple[str, float]] = []  # the last one, until it is handed on
    if child.stdout is not None:
        # read here, and not by `communicate`, which hands it out at the end
        lines, child.stdout = child.stdout, None
        threading.Thread(target=_listen, args=(lines, told), daemon=True).start()
    try:
        while True:
            check()
            while tell is not None and told:
                tell(*told.pop())
            try:
                _, said = child.communicate(timeout=_LOOK)  # reads on, or a talkative child would wait for ever
                break
            except subprocess.TimeoutExpired:
                continue
    except BaseException:
        end(child)
        raise
    if not child.returncode:
        return ""
    complaints = said.strip().splitlines()
    return complaints[-1] if complaints else message("it ended with {exit_code}.", exit_code=child.returncode)


def parent_progress() -> Progress:
    """For a process that was started with `run_child`: a handle whose reports go to its parent, by standard output."""
    return Progress(lambda stage, share: print(json.dumps([stage, share]), flush=True))


def _listen(lines: IO[str], told: list[tuple[str, float]]) -> None:
    """Keep the last report; whatever else the process prints is not for us."""
    with lines:
        for line in lines:
            try:
                stage, share = json.loads(line)
                told[:] = [(str(stage), float(share))]
            except (ValueError, TypeError):
                continue
