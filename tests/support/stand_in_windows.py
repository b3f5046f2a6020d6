"""What Windows does to us, done elsewhere: for tests with the fixture `windows`, and for all with --stand-in-windows.

None of it is Windows. Each piece is one habit of it that has done harm, and that can be had elsewhere:

- a Python is a launcher: another process, which waits for the real one, so that the pid is not the worker's
- streams of children are in the machine's code page (cp1252, cp936), unless the child is told UTF-8 by its command
- a file that was just written is held by a scanner: the first try to rename or delete it is refused
- names of devices, signs that no name may have, capital and small letters that are the same, paths over 260 characters
- the current folder is that of a downloaded .blend, with programs in it that nobody should run, and PATH leads there
- the user is called "日本 Jürgen", and has blanks in all paths
- the clock jumps, after a sleep of the machine

What is refused is refused to our package alone: Python's own library and pytest know nothing of it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shlex
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
USER = "日本 Jürgen"
CODE_PAGE = "TRELLIS2_TEST_CODE_PAGE"  # of the streams of children
LAUNCHER = "TRELLIS2_TEST_LAUNCHER"  # what they take for their Python
FOLDER = "TRELLIS2_TEST_WINDOWS"  # below which files behave as on Windows
TRAPS = ("nvidia-smi", "python3.11", "python3", "python", "uv", "pip3", "pip", "lspci")
_LONGEST_PATH = 259
_PR_SET_PDEATHSIG = 1
_DEVICES = {"con", "prn", "aux", "nul", *(f"{kind}{number}" for kind in ("com", "lpt") for number in "0123456789¹²³")}
_SHARING_VIOLATION, _INVALID_NAME, _PATH_NOT_FOUND = 32, 123, 3


# --- files ---


def refused(function: str, path: object) -> OSError:
    """As Windows refuses what another program has open."""
    return _error(PermissionError(errno.EACCES, "The process cannot access the file", str(path)), _SHARING_VIOLATION)


def _error(error: OSError, number: int) -> OSError:
    error.winerror = number  # type: ignore[attr-defined]
    return error


class Scanner:
    """A program that has every file open that was just written: who renames or deletes it is refused `times` times."""

    def __init__(self, folder: str, times: int = 1) -> None:
        self.times = times
        self.functions = {"replace", "rename", "unlink", "remove"}
        self.refusals: dict[tuple[str, str], int] = {}
        self._folder = os.path.realpath(folder)

    def wrap(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def guarded(path: Any, *arguments: Any, **options: Any) -> Any:
            if "trellis_addon" in _caller() and self._is_held(name, path):
                raise refused(name, path)
            return real(path, *arguments, **options)

        return guarded

    def _is_held(self, function: str, path: Any) -> bool:
        text = os.path.abspath(os.fsdecode(path))
        if function not in self.functions or not text.startswith(self._folder) or not os.path.lexists(text):
            return False
        key = function, text
        self.refusals[key] = self.refusals.get(key, 0) + 1
        return self.refusals[key] <= self.times


def _caller() -> list[str]:
    """The module that calls, be it by a Path, as the names of its packages."""
    frame = sys._getframe(2)
    while frame.f_back is not None and _module(frame)[0] in ("pathlib", "io", "shutil", "tempfile"):
        frame = frame.f_back
    return _module(frame)


def _module(frame: FrameType) -> list[str]:
    return str(frame.f_globals.get("__name__", "")).split(".")


class Names:
    """What Windows makes of the names of files that are written below a folder."""

    folder = ""  # empty: nothing is watched
    _is_hooked = False

    @classmethod
    def watch(cls, folder: str) -> None:
        cls.folder = folder and os.path.realpath(folder)
        if folder and not cls._is_hooked:  # Python lets go of no hook any more
            cls._is_hooked = True
            sys.addaudithook(cls._heard)

    @classmethod
    def _heard(cls, event: str, arguments: tuple[Any, ...]) -> None:
        if not cls.folder or event not in ("open", "os.mkdir", "os.rename"):
            return
        path = arguments[1] if event == "os.rename" else arguments[0]
        is_written = event != "open" or int(arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not is_written or not isinstance(path, (str, bytes, os.PathLike)):
            return
        text = os.path.abspath(os.fsdecode(path))
        if text.startswith(cls.folder + os.sep) and not _caller()[0].startswith(("test_", "conftest", "_pytest")):
            cls._judge(text, is_new=event == "open" and "x" in str(arguments[1] or ""))

    @classmethod
    def _judge(cls, text: str, is_new: bool) -> None:
        if len(text) > _LONGEST_PATH:
            error = FileNotFoundError(errno.ENOENT, "The system cannot find the path specified", text)
            raise _error(error, _PATH_NOT_FOUND)
        for part in text[len(cls.folder) + 1 :].split(os.sep):
            if part.partition(".")[0].rstrip().lower() in _DEVICES:
                raise _error(OSError(errno.EINVAL, "It is a device, and what is written is lost", text), 1)
            if part != part.rstrip(" .") or any(sign in '<>:"|?*\\' or sign < " " for sign in part):
                raise _error(OSError(errno.EINVAL, "The filename syntax is incorrect", text), _INVALID_NAME)
        folder, name = os.path.split(text)
        others = os.listdir(folder) if is_new and os.path.isdir(folder) else []
        if any(other != name and other.casefold() == name.casefold() for other in others):
            raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", text)


# --- Pythons ---

_SITE = f"""
import os, sys
sys.path.append({str(HERE)!r})
import stand_in_windows
stand_in_windows.begin_child()
"""


def begin_child() -> None:
    """At the start of a Python that was started by the launcher."""
    page = os.environ.get(CODE_PAGE)
    if page and not sys.flags.utf8_mode and not os.environ.get("PYTHONIOENCODING"):
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            if stream is not None:
                stream.reconfigure(encoding=page)  # type: ignore[union-attr]
    sys.executable = os.environ.get(LAUNCHER, sys.executable)
    if sys.platform == "linux":  # as a launcher's job does on Windows: who ends the launcher ends its child
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if folder := os.environ.get(FOLDER):
        scanner = Scanner(folder)
        for name in scanner.functions:
            setattr(os, name, scanner.wrap(name))
        Names.watch(folder)


def make_launcher(folder: Path) -> Path:
    """An environment whose `python` starts the real one and waits for it, as a virtual environment's on Windows."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    base = Path(getattr(sys, "_base_executable", "") or sys.executable).resolve()
    site = folder / "lib" / version / "site-packages"
    site.mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin" / version).symlink_to(base)
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\n", encoding="utf-8")
    (site / "sitecustomize.py").write_text(_SITE, encoding="utf-8")
    known = [path for path in sys.path if path and os.path.isdir(path) and Path(path) not in (HERE, HERE.parent)]
    (site / "more.pth").write_text("\n".join(known), encoding="utf-8")
    launcher = folder / "bin" / "python"
    real = shlex.quote(str(folder / "bin" / version))
    return script(launcher, f'{real} "$@"\nexit $?\n')


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def _defaults(clock: object) -> Iterator[dict[str, Any]]:
    """Where our functions keep a clock as the default of an option."""
    for name, module in list(sys.modules.items()):
        if "trellis_addon" in name.split("."):
            for value in list(vars(module).values()):
                function = value.__init__ if isinstance(value, type) else value
                options = getattr(function, "__kwdefaults__", None)
                if options and clock in options.values():
                    yield options


# --- all of it ---


class Clock:
    """The machine's clocks, which `jump`."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._real = {name: getattr(time, name) for name in ("monotonic", "time")}

    def jump(self, seconds: float) -> None:
        self._ahead += seconds

    def monotonic(self) -> float:
        return float(self._real["monotonic"]()) + self._ahead

    def time(self) -> float:
        return float(self._real["time"]()) + self._ahead


class Windows:
    """What a test may ask of the stand-in. `home` is the user's folder, `python` the launcher."""

    def __init__(self, folder: Path, page: str) -> None:
        self.folder = folder
        self.home = folder / "Users" / USER
        self.page = page
        self.clock = Clock()
        self.scanner = Scanner(str(folder))
        self.python = str(make_launcher(folder / "Program Files" / "Python"))
        self.downloads = self.home / "Downloads"
        self._sprung = folder / "sprung.txt"
        self.downloads.mkdir(parents=True)
        for name in TRAPS:
            for ending in ("", ".exe", ".EXE"):
                script(self.downloads / f"{name}{ending}", f'echo "$0" >> {shlex.quote(str(self._sprung))}\n')

    @property
    def sprung(self) -> list[str]:
        """The programs of the current folder that were run."""
        return self._sprung.read_text(encoding="utf-8").splitlines() if self._sprung.exists() else []

    def forgive(self) -> None:
        """Forget what was run, where that was the test itself."""
        self._sprung.unlink(missing_ok=True)

    def variables(self) -> dict[str, str]:
        path = os.environ["PATH"].split(os.pathsep)
        home = str(self.home)
        return {
            "PATH": os.pathsep.join(["", ".", *path, "bin"]),
            "PATHEXT": ".COM;.EXE;.BAT;.CMD",
            "HOME": home,
            "USERPROFILE": home,
            "TRELLIS2_HOME": str(self.home / "AppData" / "Local" / "trellis2"),
            CODE_PAGE: self.page,
            LAUNCHER: self.python,
            FOLDER: str(self.folder),
        }


def install(monkeypatch: Any, folder: Path, page: str = "cp1252") -> Iterator[Windows]:
    """For the time of one test; raises `AssertionError` at its end where a trap was sprung."""
    found = Windows(folder, page)
    for name, value in found.variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "executable", found.python)
    monkeypatch.chdir(found.downloads)
    for name in found.scanner.functions:
        monkeypatch.setattr(os, name, found.scanner.wrap(name))
    for name in ("monotonic", "time"):
        for options in _defaults(getattr(time, name)):
            for option in [key for key, value in options.items() if value is getattr(time, name)]:
                monkeypatch.setitem(options, option, getattr(found.clock, name))
        monkeypatch.setattr(time, name, getattr(found.clock, name))
    Names.watch(str(folder))
    try:
        yield found
    finally:
        Names.watch("")
    assert not found.sprung, "programs of the current folder were run"
