"""Making and filling the virtual environment: by uv, or by the Python's own venv and pip where uv cannot be had."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core.configuration import configuration
from ...core.errors import EngineError
from ...core.files import discard_folder, move
from ...core.folders import file_of
from ...core.messages import message, message_of, reason_of
from ...core.processes import kill, start
from ...core.progress import Progress
from ...runtime.layout import LocalFolder, python_of
from .lock import unpacked_size
from .pip_settings import PipSettings
from .python import Python
from .remove import delete

_BESIDE = file_of(".local.environment.inside.beside")
_POLL = 0.2  # seconds between two looks at a running program
# Settings of uv's that a company makes, for the Python that uv downloads.
_PASSED_ON = ("UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_DOWNLOADS_JSON_URL", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS")


def unpack_uv(wheel: Path, folder: LocalFolder) -> Path:
    """The uv program out of its wheel, in `tools`; raises `EngineError`."""
    target = folder.tools / ("uv.exe" if os.name == "nt" else "uv")
    try:
        folder.tools.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(f".data/scripts/{target.name}"))
            temporary = target.with_name(target.name + ".new")
            with archive.open(name) as source, temporary.open("wb") as sink:
                shutil.copyfileobj(source, sink)
        temporary.chmod(0o755)
        move(temporary, target)
    except (OSError, StopIteration, zipfile.BadZipFile) as error:
        raise EngineError(
            "uv cannot be unpacked to {folder} ({reason}); check the disk and its rights.",
            folder=folder.tools,
            reason=error,
        ) from error
    return target


def fetch_python(uv: Path, version: str, folder: LocalFolder, settings: PipSettings, progress: Progress) -> str:
    """Download a Python of its own into the folder, from where uv has them; returns its path."""
    command = [str(uv), "python", "install", version, "--install-dir", str(folder.managed_python), "--no-bin"]
    command += ["--no-registry", "--no-config"]
    variables = configuration().variables
    passed_on = {name: variables[name] for name in _PASSED_ON if name in variables}
    if settings.proxy:
        passed_on |= {"HTTPS_PROXY": settings.proxy, "HTTP_PROXY": settings.proxy}
    if settings.certificate:
        passed_on |= {"SSL_CERT_FILE": settings.certificate}
    try:
        _run(command, folder, progress, extra=passed_on)
    except _Failed as error:
        raise EngineError(
            "No Python could be downloaded ({reason}); install Python {version} from python.org or your system, "
            "then install again.",
            reason=error,
            version=version,
        ) from error
    pattern = f"cpython-{version}*/python.exe" if os.name == "nt" else f"cpython-{version}*/bin/python{version}"
    found = sorted(folder.managed_python.glob(pattern))
    if not found:
        raise EngineError(
            "The downloaded Python is not in {folder}; install one from python.org.", folder=folder.managed_python
        )
    return str(found[-1])


def make_environment(env: Path, python: Python, uv: Path | None, folder: LocalFolder, progress: Progress) -> None:
    """An empty virtual environment at `env`; raises `EngineError`."""
    if uv is not None:
        command = [str(uv), "venv", "--offline", "--no-config", "--no-project", "--relocatable", "--clear"]
        command += ["--prompt", "trellis2", "--python", python.executable, str(env)]
    else:
        command = [*_alone(python.executable, folder), "-m", "venv", "--without-pip", "--clear"]
        command += ["--prompt", "trellis2", str(env)]
    try:
        _run(command, folder, progress)
    except _Failed as error:
        raise EngineError(
            "{python} could not make an environment ({reason}); choose another Python.",
            python=python.executable,
            reason=error,
        ) from error


def fill_environment(
    env: Path, wheels: Sequence[Path], python: Python, uv: Path | None, folder: LocalFolder, progress: Progress
) -> None:
    """Install wheels, and nothing else, from where they lie; raises `EngineError`.

    Progress counts the bytes unpacked.
    """
    total = sum(unpacked_size(wheel) for wheel in wheels)
    listed = folder.downloads / "install.txt"
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("".join(f"{_name(wheel)} @ {wheel.absolute().as_uri()}\n" for wheel in wheels), encoding="utf-8")
    packages = ["--no-index", "--no-deps", "--requirement", str(listed)]
    try:
        if uv is not None:
            command = [str(uv), "pip", "install", "--offline", "--no-config", "--no-build"]
            command += ["--python", str(python_of(env)), *packages]
            # it unpacks there first, and links from there
            _run(command, folder, progress, watched=folder.cache / "uv", total=total)
        else:
            _fill_by_pip(env, [*packages, "--no-cache-dir", "--no-compile"], python, folder, progress, total)
    except _Failed as error:
        raise EngineError(
            "The packages could not be installed ({reason}); remove what is there and install again.", reason=error
        ) from error
    finally:
        discard_folder(folder.cache / "uv")


def take_over(packages: Path, target: Path, progress: Progress) -> None:
    """Put the packages of one environment into another of the same version, which share their bytes where they can.

    Raises `EngineError`.
    """

    def share(source: str, sink: str) -> str:
        progress.check()
        try:
            os.link(source, sink)
        except OSError:  # a file system that knows no links, or what is there already
            shutil.copy2(source, sink)
        return sink

    try:
        shutil.copytree(packages, target, symlinks=True, copy_function=share, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise EngineError(
            "The packages could not be installed ({reason}); remove what is there and install again.", reason=error
        ) from error


def _fill_by_pip(
    env: Path, packages: Sequence[str], python: Python, folder: LocalFolder, progress: Progress, total: int
) -> None:
    """By the pip of the Python that the environment is of, or else by the one that Python brings along for it."""
    install = ["install", *packages]
    pip = ["-m", "pip", "--isolated", "--disable-pip-version-check"]
    inside = _alone(str(python_of(env)), folder)
    try:
        outside = [*_alone(python.executable, folder), *pip, "--python", str(python_of(env))]
        _run([*outside, *install], folder, progress, watched=env, total=total)
    except _Failed as error:
        if "No module named pip" not in str(error) and "no such option" not in str(error):  # one from before 2022
            raise
        _run([*inside, "-m", "ensurepip"], folder, progress)
        _run([*inside, *pip, *install], folder, progress, watched=env, total=total)


def run_in(
    python: str,
    program: Path,
    arguments: Sequence[str],
    folder: LocalFolder,
    progress: Progress,
    paths: Sequence[str] = (),
) -> None:
    """Run a file of Python, with `paths` before all others to import from; raises `EngineError` where it fails."""
    beside = [str(_BESIDE), json.dumps(list(paths))] if paths else []
    try:
        _run([*_alone(python, folder), *beside, str(program), *arguments], folder, progress)
    except _Failed as error:
        raise _explained(message_of(error)) from error


def unpack(wheels: Sequence[Path], target: Path, progress: Progress) -> None:
    """Unpack wheels beside each other into a folder that goes on a Python's path; raises `EngineError`.

    What is meant for other places than the path (programs, headers) is left out. Progress counts the bytes unpacked.
    """
    total = sum(unpacked_size(wheel) for wheel in wheels) or 1
    done = 0
    for _ in delete(target):
        pass
    try:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                for entry in archive.infolist():
                    name = _place_in_path(entry.filename)
                    if name and not entry.is_dir():
                        entry.filename = name
                        archive.extract(entry, target)
                    done += entry.file_size
                    progress.update(
                        message("Installing {done:.1f} of {total:.1f} GB", done=done / 1e9, total=total / 1e9),
                        done / total,
                    )
    except (OSError, zipfile.BadZipFile) as error:
        raise EngineError(
            "The packages could not be unpacked to {folder} ({reason}); check the disk and its rights.",
            folder=target,
            reason=reason_of(error) if isinstance(error, OSError) else error,
        ) from error


def _place_in_path(name: str) -> str:
    """Where a file of a wheel comes to lie on the path (PEP 427); "" for what does not belong there."""
    head, _, rest = name.partition("/")
    if not head.endswith(".data"):
        return name
    scheme, _, inner = rest.partition("/")
    return inner if scheme in ("purelib", "platlib") else ""


def _alone(python: str, folder: LocalFolder) -> list[str]:
    """How a Python is started here: without anybody's settings, and with its compiled files in `cache`."""
    return [python, "-I", "-X", "utf8", "-X", f"pycache_prefix={folder.pycache}"]


class Unready(EngineError):
    """The machine lacks something that its user can put there; the same environment then runs."""


def _explained(words: str) -> EngineError:
    """Why an environment does not run, for those who cannot read a traceback."""
    if "WinError 126" in words or "WinError 1114" in words or "DLL load failed" in words:
        return Unready(
            "PyTorch was installed and cannot be loaded: Microsoft's Visual C++ runtime is missing or too old; install "
            "the current vc_redist.x64.exe from Microsoft, then install again."
        )
    if "GLIBC" in words:
        return EngineError(
            "This system is older than what PyTorch is made for ({reason}); use a newer one, or the remote API.",
            reason=words,
        )
    if words.endswith(("-4", "132")):  # an illegal instruction
        return EngineError(
            "This machine's processor is older than what PyTorch is made for; use another one, or the remote API."
        )
    return EngineError(
        "What was installed does not run ({reason}); install again, and report it if that does not help.", reason=words
    )


class _Failed(Exception):
    """A program failed; its text is the last thing it said."""


def _run(
    command: Sequence[str],
    folder: LocalFolder,
    progress: Progress,
    *,
    watched: Path | None = None,
    total: int = 0,
    extra: Mapping[str, str] | None = None,
) -> None:
    """Run a program to its end, its words in install.log; ends it and raises `Cancelled` where it should stop."""
    folder.logs.mkdir(parents=True, exist_ok=True)
    log = folder.logs / "install.log"
    environment = folder.environment() | {"UV_PYTHON_DOWNLOADS": "manual", "NO_COLOR": "1"} | dict(extra or {})
    with log.open("ab") as sink:
        sink.write(f"\n$ {' '.join(command)}\n".encode())
        sink.flush()
        begins = sink.tell()
        try:
            process = start(
                command,
                text=False,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=environment,
                close_fds=os.name == "nt",  # see `running.exclusive`
            )
        except OSError as error:
            raise _Failed(
                message("{program} does not start: {reason}", program=command[0], reason=reason_of(error))
            ) from error
        try:
            _watch(process, progress, watched, total)
        finally:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                kill(process)
    if process.returncode != 0:
        raise _Failed(_last_words(log, begins) or message("it ended with {exit_code}", exit_code=process.returncode))


def _watch(process: subprocess.Popen[bytes], progress: Progress, watched: Path | None, total: int) -> None:
    pause = looked = 0.0
    while process.poll() is None:
        progress.check()
        if watched is not None and total and time.monotonic() - looked > pause:
            begun = time.monotonic()
            done = min(_bytes_in(watched), total)
            looked = time.monotonic()
            pause = max(0.5, 8 * (looked - begun))  # looking must not cost more than it shows
            progress.update(
                message("Installing {done:.1f} of {total:.1f} GB", done=done / 1e9, total=total / 1e9),
                done / total,
            )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL)


def _bytes_in(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # moved meanwhile
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def _last_words(log: Path, begins: int) -> str:
    """What a program said last, as one piece of a sentence."""
    with log.open("rb") as source:
        source.seek(begins)
        lines = [line.strip() for line in source.read()[-4000:].decode("utf-8", "replace").splitlines() if line.strip()]
    told = [line for line in lines if "error" in line.lower() or "failed" in line.lower()] or lines
    causes = [line.strip("├╰─▶× ").removeprefix("error: ").removeprefix("ERROR: ") for line in told[-2:]]
    return ": ".join(causes)[:300].rstrip(". ")


def _name(wheel: Path) -> str:
    return wheel.name.partition("-")[0]
