"""A report that makes a support thread short: what is there, how fast it is, what went wrong last, and no secrets.

Nothing in it keeps it from being finished: what cannot be found out is a line that says so.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...core.configuration import configuration
from ...core.errors import Cancelled, FieldError, NetworkSettingsError, TrellisError
from ...core.messages import message
from ...core.processes import end
from ...core.progress import Progress
from ...core.sizes import size_words
from ...core.version import VERSION
from ...runtime.layout import LocalFolder, chosen_folder, local_folder
from .redact import redacted, redacted_message

_SELFTEST_SECONDS = 60.0  # with loading PyTorch from a cold disk
_LEAST_DISK = 2 * 2**30  # bytes
_SLOWEST_CARD = 60.0  # GB/s: what a bus moves in both directions; the slowest card that is served has twice as much
_LAST_LINES = 12
_BAD = re.compile(r"error:|warning:|traceback|killed|out of memory|failed|exception:| (ERROR|WARNING) ", re.IGNORECASE)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class Problem:
    """`what` is wrong and what is its `cure`, a sentence each."""

    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.what} {self.cure}"


@dataclass(frozen=True)
class Report:
    """`text` is the whole report, to be copied; `problems` are also in it, first of all."""

    text: str
    problems: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        return self.text


def report(
    folder: LocalFolder | Path | None = None, *, selftest: bool = True, progress: Progress | None = None
) -> Report:
    """Examine the machine and the local backend in `folder` (None is the one in use); takes up to a minute.

    Raises `Cancelled` only.
    """
    where = chosen_folder(folder) if isinstance(folder, Path) else folder or local_folder()
    found = _Findings(where, progress or Progress())
    for share, title, lines in (
        (0.00, message("Versions"), _versions),
        (0.02, message("Devices"), _devices),
        (0.15, message("Local backend"), _installation),
        (0.20, message("Weights"), _weights),
        (0.25, message("Worker"), _worker),
        (0.30, message("Self-test"), _selftest if selftest else _no_selftest),
        (0.95, message("Network"), _network),
        (0.96, message("Variables"), _variables),
        (0.97, message("Last jobs that failed"), _jobs),
        (0.98, "install.log, the last that matters", lambda found: _log(found.folder.logs / "install.log")),
        (0.99, "worker.log, the last that matters", lambda found: _log(found.folder.logs / "worker.log")),
    ):
        found.progress.update(message("Examining: {title}", title=title), share)
        found.section(title, lines)
    found.progress.update(message("Examining"), 1.0)
    problems = tuple(Problem(redacted_message(each.what), redacted_message(each.cure)) for each in found.problems)
    head = [f"TRELLIS.2 for Blender {VERSION}: report of {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC", ""]
    head += [f"PROBLEM  {problem.what}\n         {problem.cure}" for problem in problems] or ["No problem was found."]
    return Report(redacted("\n".join([*head, *found.lines])) + "\n", problems)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `local doctor`."""
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help="where the local backend lies")
    parser.add_argument("--no-self-test", action="store_true", help="compute nothing on the device")


def run(options: argparse.Namespace) -> int:
    """Print the report; 1 when there are problems."""
    found = report(options.folder, selftest=not options.no_self_test)
    print(found.text, end="")
    return 1 if found.problems else 0


@dataclass
class _Findings:
    """The report while it is written."""

    folder: LocalFolder
    progress: Progress
    lines: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def section(self, title: str, lines: Callable[[_Findings], Iterable[str]]) -> None:
        self.lines += ["", f"== {title}"]
        try:
            self.lines += [f"   {line}" for line in lines(self)]
        except Cancelled:
            raise
        except TrellisError as error:
            self.lines.append(f"   {error}")
        except Exception as error:  # a report about broken things must not break on one
            text = " ".join(str(error).split())[:200]
            self.lines.append(f"   This cannot be told ({type(error).__name__}: {text}).")

    def problem(self, what: str, cure: str) -> None:
        if Problem(what, cure) not in self.problems:
            self.problems.append(Problem(what, cure))


def _versions(found: _Findings) -> Iterator[str]:
    yield f"add-on {VERSION}, Python {platform.python_version()}"
    blender = getattr(sys.modules.get("bpy"), "app", None)
    if blender is not None:
        online = "on" if getattr(blender, "online_access", True) else "off"
        yield f"Blender {blender.version_string}, online access {online}"
    yield platform.platform()
    for name in ("httpx", "numpy", "PIL", "starlette", "uvicorn"):
        version = getattr(sys.modules.get(name), "__version__", "")
        if version:
            yield f"{name} {version}"


def _devices(found: _Findings) -> Iterator[str]:
    from ..environment.builds import choose_build
    from ..machine.gpu_memory import memory_holders
    from ..machine.hardware import find_machine, free_disk

    machine = find_machine()
    for card in machine.cards:
        free = f", {_gb(card.free)} free" if card.free else ""
        more = ", ".join(
            filter(None, (card.driver and f"driver {card.driver}", card.capability and f"capability {card.capability}"))
        )
        total = _gb(card.total) if card.total else "memory unknown"
        yield f"{card.kind} {card.index}: {card.name}, {total}{free}{', ' + more if more else ''}"
    if not machine.cards:
        yield "no graphics card that tells of itself"
    for holder in memory_holders()[:5]:
        yield f"held by {holder.name} (process {holder.pid}): {_gb(holder.used)}"
    yield f"main memory {_gb(machine.memory)}, {_gb(machine.memory_free)} free; {os.cpu_count()} threads"
    disk = free_disk(found.folder.root)
    yield f"disk of the folder: {size_words(disk)} free"
    if 0 < disk < _LEAST_DISK:
        found.problem(
            message("Only {free} of the folder's disk are free.", free=size_words(disk)),
            message("Make room, or choose another folder."),
        )
    build = choose_build(machine)
    yield f"PyTorch that fits: {build.key}. {build.reason}"


def _installation(found: _Findings) -> Iterator[str]:
    folder = found.folder
    yield str(folder.root)
    state = folder.state()
    named = configuration().python
    if named:
        yield f"TRELLIS2_PYTHON names another Python: {named}"
        if not Path(named).is_file():
            found.problem(
                message("The Python that TRELLIS2_PYTHON names is not there."),
                message("Correct the variable, or take it away."),
            )
    if state is None:
        yield "nothing is installed there"
        if not named:
            found.problem(
                message("The local GPU backend is not installed."),
                message("Install it in Preferences > Local GPU, or by `python -m trellis_addon local install`."),
            )
        return
    versions = {"version": state.version, "build": state.build, "Python": state.python, "PyTorch": state.torch}
    yield ", ".join(f"{name} {value or '?'}" for name, value in versions.items())
    date = f", installed {_date(state.installed)}" if state.installed else ""
    yield f"{'complete' if state.complete else 'not complete'}{date}"
    if not state.complete:
        found.problem(
            message("The installation is not complete."), message("Press Install again: it goes on where it broke off.")
        )
    elif folder.lost_python or not folder.python.is_file():
        found.problem(
            message("The environment's Python is gone."),
            message("Install again: only the environment is made anew where that can be; the weights are kept."),
        )


def _weights(found: _Findings) -> Iterator[str]:
    from ...weights.fetching import needed, status
    from ...weights.place import weights_folder

    named = weights_folder()
    folder = named or found.folder.weights
    yield str(folder)
    if configuration().weights:
        yield "TRELLIS2_WEIGHTS names this folder"
    wanted = needed()
    missing, damaged, first = [], [], ""
    for group in status(folder):
        key = group.group.key
        why = group.problem if group.have else ""
        if group.have or key in wanted:
            have = size_words(group.size)
            if group.have != group.size:
                have = f"{size_words(group.have)} of {have}"
            yield f"{key}: {group.state}, {have}{'; ' + why.rstrip('.') if why else ''}"
        if why:
            damaged.append(key)
            first = first or why
        elif key in wanted and not group.have:
            missing.append(key)
    yield from _in_eight_bits(found, folder)
    if damaged:
        found.problem(
            message("Weights are not the published ones ({damaged}): {first}", damaged=damaged, first=first),
            message("Download them again."),
        )
    if missing:
        found.problem(
            message("Weights are missing: {missing}.", missing=missing),
            message("Download them in Preferences > Local GPU."),
        )


def _in_eight_bits(found: _Findings, folder: Path) -> Iterator[str]:
    """What there is of weights in 8 bits beside the published ones, and what they will still take where asked for."""
    from ...pipeline.sizes import flow_weights
    from ...weights.eight_bits import asked_for, converted_of, converted_path, suits
    from ...weights.published import catalogue
    from ..machine.hardware import find_machine, free_disk

    flows = [folder / file.path for group in catalogue() for file in group.files if file.is_flow]
    for path in flows:
        for converted in converted_of(path):
            yield f"{converted.name}: {size_words(converted.stat().st_size)}, made here of {path.name}"
    try:
        asked = asked_for()
    except FieldError as error:
        found.problem(error.message, message("Correct the variable, or take it away."))
        return
    if not asked:
        return
    card = next(iter(find_machine().cards), None)
    kind = suits(asked, card.kind, card.capability) if card is not None else suits(asked, "cpu")
    left = [path for path in flows if path.is_file() and not converted_path(path, kind).is_file()]
    more = len(left) * flow_weights(2, True)
    yield f"weights in 8 bits are asked for ({kind}): {len(left)} files are yet to be converted, {size_words(more)}"
    free = free_disk(folder)
    if left and 0 < free < more:
        found.problem(
            message(
                "Weights in 8 bits take {more} more, and {free} are free.", more=size_words(more), free=size_words(free)
            ),
            message("Make room; until then they are converted each time they are loaded, which takes a minute."),
        )


def _worker(found: _Findings) -> Iterator[str]:
    from ...client.local_service import worker_status

    status = worker_status()
    yield f"{status.state}, restarted {status.restarts} times"
    if status.pid:
        yield f"process {status.pid}, version {status.version}, device {status.device or 'not used yet'}"
    if status.cause:
        yield f"last end: {status.cause}"
    if status.state == "failed":
        found.problem(
            message("The worker has failed: {cause}", cause=status.cause or message("nobody knows why")),
            message("Start it again; see worker.log."),
        )


def _no_selftest(found: _Findings) -> Iterator[str]:
    yield "not wished"


def _selftest(found: _Findings) -> Iterator[str]:
    from importlib.util import find_spec

    from ...weights.place import weights_folder

    if not found.folder.is_installed and not configuration().python and find_spec("torch") is None:
        yield "left out: there is no PyTorch yet"
        return
    device = ""
    measured = 0
    for line in run_selftest(weights_folder(), found.progress.part(0.30, 0.95)):
        unit, note = line.get("unit", ""), line.get("note", "")
        yield f"{line.get('name')}: {line.get('value')}{' ' + unit if unit else ''}{' (' + note + ')' if note else ''}"
        measured += 1
        if line.get("name") == "device":
            device = str(line.get("value"))
        if line.get("name") == "memory bandwidth" and device.startswith("cuda"):
            _look_for_spill(found, line.get("value"))
        if line.get("value") == "failed":
            found.problem(
                message(
                    "The self-test of {device} failed: {reason}.",
                    device=line.get("name"),
                    reason=note or message("nobody says why"),
                ),
                message("Update the card's driver, then install the local backend again."),
            )
    if not measured:
        found.problem(message("The self-test said nothing."), message("Install the local backend again."))
    cards = [line for line in found.lines if re.match(r"   (nvidia|amd|apple) \d", line)]
    if device == "cpu" and cards:
        found.problem(
            message("PyTorch does not see the card ({card}) and computes on the processor.", card=cards[0].strip()),
            message("Update the card's driver, then install again with the build that fits."),
        )


def _look_for_spill(found: _Findings, speed: object) -> None:
    """NVIDIA's driver for Windows lends main memory where the card's is full, at the speed of the bus between them."""
    is_nvidia = any(line.startswith("   nvidia ") for line in found.lines)
    if is_nvidia and isinstance(speed, int | float) and speed < _SLOWEST_CARD:
        found.problem(
            message("The card's memory moves {speed:.0f} GB a second, as main memory does.", speed=speed),
            message(
                'Close other programs that use the card; on Windows, also set "CUDA - Sysmem Fallback Policy" in the '
                'NVIDIA Control Panel to "Prefer No Sysmem Fallback".'
            ),
        )


def run_selftest(weights: Path | None, progress: Progress, seconds: float = _SELFTEST_SECONDS) -> list[dict[str, Any]]:
    """What the self-test has measured in its own process, within a time; see `selftest`. Raises `Cancelled`."""
    from ...runtime.child import start_child

    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start_child(".local.doctor.selftest", [str(weights or "")], is_local=True, **streams)
    began, out, said = time.monotonic(), "", ""
    ended = ""
    try:
        while True:
            try:
                out, said = process.communicate(timeout=0.3)
                break
            except subprocess.TimeoutExpired:
                passed = time.monotonic() - began
                progress.update(message("Examining: self-test"), min(passed / 20.0, 0.99))
                if passed > seconds:
                    ended = f"it did not end within {seconds:.0f} seconds"
                    out, said = end(process)
                    break
    except BaseException:
        end(process)
        raise
    lines = [found for line in out.splitlines() if (found := _read_line(line)) is not None]
    if not ended and process.returncode not in (0, 1):
        ended = f"its process ended with {process.returncode}"
    if ended or (process.returncode and not lines):
        last = " ".join(said.split())[-300:]
        lines.append({"name": "self-test", "value": "failed", "note": ". ".join(filter(None, (ended, last)))})
    return lines


def _read_line(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:  # libraries print there as well
        return None
    return found if isinstance(found, dict) and "name" in found else None


def _network(found: _Findings) -> Iterator[str]:
    from ...transfer.proxies import Proxies
    from ...transfer.trust import VARIABLES as CERTIFICATES
    from ...transfer.trust import trust

    variables = configuration().variables
    for name in _PROXIES:
        value = variables.get(name) or variables.get(name.lower())
        if value and name == "NO_PROXY":
            yield f"NO_PROXY is set, {len(value.split(','))} entries"
        elif value:
            yield f"{name}: {_host(value)}"
    for name in CERTIFICATES:
        value = variables.get(name)
        if value:
            places = [Path(place) for place in value.split(os.pathsep)]
            yield f"{name}: {value} {'is there' if all(place.exists() for place in places) else 'is not there'}"
    proxies = Proxies()
    checks: list[Callable[[], object]] = [trust]
    checks += [partial(proxies.proxy_for, scheme, "example.org", None) for scheme in ("https", "http")]
    for check in checks:
        try:
            check()
        except NetworkSettingsError as error:
            what, _, cure = str(error).rpartition("; ")
            found.problem(f"{what}.", cure[:1].upper() + cure[1:])
    endpoint = variables.get("HF_ENDPOINT")
    if endpoint:
        yield f"HF_ENDPOINT: {_host(endpoint)}"
    if not any(variables.get(name) or variables.get(name.lower()) for name in _PROXIES):
        yield "no proxy is set"


def _variables(found: _Findings) -> Iterator[str]:
    variables = configuration().variables
    names = sorted(name for name in variables if name.startswith(("TRELLIS2_", "CUDA_VISIBLE", "HIP_VISIBLE")))
    for name in names:
        hide = re.search(r"TOKEN|KEY|SECRET|PASS", name)
        yield f"{name}={'***' if hide else variables[name]}"
    if not names:
        yield "none of ours is set"


def _jobs(found: _Findings) -> Iterator[str]:
    from ...core.folders import default_folder
    from ...jobs.store import JobStore

    folder = default_folder()
    if not (folder / "jobs.sqlite3").is_file():  # looking must not make one
        yield "there are no jobs yet"
        return
    failed = [job for job in JobStore(folder).recent(50) if job.error][:5]
    for job in failed:
        backend = "a service" if "://" in job.backend else job.backend
        yield f"{_date(job.created)} {job.state} ({backend}): {' '.join(job.error.split())[:300]}"
    if not failed:
        yield "none"


def _log(path: Path) -> Iterator[str]:
    """Of the end of a log, the lines about something that went wrong, and the very last ones."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - 64 * 2**10, 0))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        yield "there is none"
        return
    last = max(len(lines) - 3, 0)
    chosen = [line for number, line in enumerate(lines) if number >= last or _BAD.search(line)][-_LAST_LINES:]
    yield from (line[:300] for line in chosen)
    if not chosen:
        yield "it is empty"


def _host(address: str) -> str:
    """Of an address its host and port: what stands before them may be a password."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.hostname or '?'}{port}"


def _date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M")


def _gb(size: float) -> str:
    """Memory, which is counted in binary steps, as cards are sold; disks and downloads are not: `core.sizes`."""
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"
