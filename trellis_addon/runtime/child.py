"""Another Python process that finds this package, whatever it is called in this one."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from ..core.configuration import PYTHON_VARIABLE, configuration
from ..core.errors import EngineError
from ..core.folders import PACKAGE, file_of
from ..core.messages import message, reason_of
from ..core.processes import end, start
from ..core.progress import Progress
from .device_variables import device_variables
from .layout import PackagesFolder, finishing_folder, local_folder

_ENTRY = ".runtime.entry"
_FINISHING = ("array_api_compat", "scipy", "warp")  # what finishing imports besides
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


def has_finishing() -> bool:
    """Whether there is a Python with all that finishing needs: the local backend's, or this one."""
    return local_python() != sys.executable or finishing_folder().is_installed or can_finish_here()


def can_finish_here() -> bool:
    """Whether this very Python has all that finishing needs: Blender's own has not, as a rule."""
    return all(importlib.util.find_spec(name) for name in _FINISHING)


def finishing_packages() -> PackagesFolder | None:
    """The folder of packages that a process which finishes needs besides its Python; None where that has them all.

    That Python is the local backend's, or this one. Raises `EngineError` where nobody has got them yet.
    """
    if not has_finishing():
        raise EngineError(
            "Remesh and Rebake needs packages that are not here yet: press Get Packages beside it, or install the "
            "local backend."
        )
    folder = finishing_folder()
    return folder if local_python() == sys.executable and folder.is_installed else None


def start_child(
    module: str, arguments: list[str], *, is_local: bool = False, packages: PackagesFolder | None = None, **streams: Any
) -> subprocess.Popen[str]:
    """Start `main(arguments)` of a module of this package (".cli") in a process of its own; text streams.

    `is_local` takes the local backend's Python, which has packages of its own, `packages` this one with what lies
    there besides. Where one of them is an installation of ours, the library's code is run from its folder as well, and
    whatever the process writes on its own account lies there. Its environment says how PyTorch is to use the device,
    should it load it (`device_variables`). Raises `EngineError` where that Python cannot be started.
    """
    python = local_python() if is_local and packages is None else sys.executable
    folder = packages or local_folder()
    is_installed = packages is not None or (is_local and not configuration().python and python == str(folder.python))
    # in UTF-8 whatever the machine's code page is; the variable for it would not be read
    command = [python, "-I", "-X", "utf8"]
    if is_installed:
        from .code import ensure_code

        code = ensure_code(folder)
        paths = [str(code)]
        command += ["-X", f"pycache_prefix={folder.pycache}"]
        streams["env"] = folder.environment(streams.get("env"))
        if packages is not None:
            paths += filter(None, sys.path)
    else:
        streams.setdefault("env", dict(configuration().variables))  # with what was chosen in this process
        code = PACKAGE.parent
        paths = [str(code)]
        if python == sys.executable:
            paths = [*filter(None, sys.path), *paths]
    streams["env"] = {**streams["env"], **device_variables(streams["env"])}
    first = [] if packages is None else [str(packages.env)]
    told = json.dumps([paths, module, arguments, is_installed, first])
    return _start([*command, str(file_of(_ENTRY, code / "trellis_addon")), told], streams)


def start_blender(program: str, module: str, arguments: list[str], **streams: Any) -> subprocess.Popen[str]:
    """Start `main(arguments)` of a module of this package in a Blender without a window, with the factory's settings.

    `program` is Blender's, or "" where Blender is a module of this Python. Raises `EngineError` as `start_child` does.
    """
    if not program:
        return start_child(module, arguments, **streams)
    told = json.dumps([[*filter(None, sys.path), str(PACKAGE.parent)], module, arguments, False, []])
    streams.setdefault("env", dict(configuration().variables))
    command = [program, "--background", "--factory-startup", "-noaudio", "--python-exit-code", "1"]
    return _start([*command, "--python", str(file_of(_ENTRY)), "--", told], streams)


def _start(command: list[str], streams: dict[str, Any]) -> subprocess.Popen[str]:
    try:
        return start(command, **streams)
    except OSError as error:
        raise EngineError(
            "{python} cannot be started ({reason}); choose the Python of the local backend in the preferences, or "
            "by the variable {variable}.",
            python=command[0],
            reason=reason_of(error),
            variable=PYTHON_VARIABLE,
        ) from error


def run_child(
    module: str,
    arguments: list[str],
    check: Callable[[], None],
    tell: Callable[[str, float], None] | None = None,
    *,
    packages: PackagesFolder | None = None,
) -> str:
    """`start_child` in the local backend's Python, or in this one with `packages`, and wait for its end: what it
    complained of if it failed, else "".

    `check` is called all the while; what it raises ends the process. `tell` hears a stage and how much is done (0..1)
    of a process that reports to its parent (`parent_progress`). Raises `EngineError` as `start_child` does.
    """
    child = start_child(module, arguments, is_local=True, packages=packages, **_heard(tell))
    return _wait(child, check, tell)


def run_blender(
    program: str,
    module: str,
    arguments: list[str],
    check: Callable[[], None],
    tell: Callable[[str, float], None] | None = None,
) -> str:
    """`start_blender`, and wait for its end as `run_child` does."""
    return _wait(start_blender(program, module, arguments, **_heard(tell)), check, tell)


def _heard(tell: Callable[[str, float], None] | None) -> dict[str, Any]:
    return {"stdout": subprocess.DEVNULL if tell is None else subprocess.PIPE, "stderr": subprocess.PIPE}


def _wait(child: subprocess.Popen[str], check: Callable[[], None], tell: Callable[[str, float], None] | None) -> str:
    told: list[tuple[str, float]] = []  # the last one, until it is handed on
    listener = None
    if child.stdout is not None:
        # read here, and not by `communicate`, which hands it out at the end
        lines, child.stdout = child.stdout, None
        listener = threading.Thread(target=_listen, args=(lines, told), daemon=True)
        listener.start()
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
    if listener is not None:
        listener.join(_LOOK)  # its last word came just before its end
    if tell is not None and told:
        tell(*told.pop())
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
