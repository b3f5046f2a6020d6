"""The tests against the built zip, as a user's Blender has it, under each release of Blender.

What touches Blender runs in every release (the tests themselves tell: `tests/support/touches_blender.py`), the rest
once for each Python: on the checkout for 3.11, in the release with the newest for 3.13. What is marked `once` runs on
the checkout alone.

For every release there is an environment with that `bpy`, pytest, and nothing else. Blender itself installs the zip
there, with its bundled wheels; the installed folder and a copy of the tests go into a temporary folder, away from the
checkout, and pytest runs in that. So nothing but what the zip brings can be imported.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from environments import ROOT, fetch_python, find_python, install_fast, make_bare_environment

# Blender's release -> (what its Python has, the Python it is made for). The module of 4.2 would take any numpy.
RELEASES: dict[str, tuple[tuple[str, ...], tuple[int, int]]] = {
    "4.2": (("bpy==4.2.23", "numpy==1.26.4"), (3, 11)),
    "4.5": (("bpy==4.5.15",), (3, 11)),
    "5.0": (("bpy==5.0.1",), (3, 11)),
    "5.2": (("bpy==5.2.3",), (3, 13)),
}
SAME_AS_CHECKOUT = "5.0"  # the release that the main environment has
WHOLE = "5.2"  # where the library's own tests run too, for its Python; its Python tells cheaply which lines ran
COVERAGE = "coverage>=7.7"
BESIDE = ("tests", "tools", "devtools", "docs", "examples")  # of the checkout: what the tests read
LOGS = ROOT / "build" / "logs"
LONGEST = 45 * 60  # seconds for one suite: an add-on that is not taken back can make Blender hang at its end
LITTLE_DISK = 6e9  # bytes; an environment has one

# Run by the release's own bpy: installs the zip as a user does, and copies what lies there then.
INSTALL = """
import shutil, sys, pathlib, bpy, addon_utils
archive, target = sys.argv[1:]
bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
folder = pathlib.Path(sys.modules["bl_ext.user_default.trellis2"].__file__).parent
(wheels,) = (folder.parents[1] / ".local").glob("lib/python*/site-packages")
shutil.copytree(folder, target)
shutil.copytree(wheels, pathlib.Path(target, "site"))
addon_utils.disable("bl_ext.user_default.trellis2")
"""


@dataclass
class Outcome:
    """How one run of the suite ended."""

    name: str
    code: int | None  # pytest's; None: not run
    text: str
    seconds: float = 0.0
    crash: str = ""  # where Blender came down meanwhile, in words


def run_all(archive: Path, helper: str, releases: Sequence[str], checkout: bool) -> bool:
    """Every release's suite, and the checkout's own if asked for, several at a time; True if good.

    `helper` is the Python of the main environment, whose uv or pip fills the others; the checkout's suite runs in it.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    # one more than there are cores: a good part of the time the tests wait for services, locks and other processes
    at_once = max(2, min((os.cpu_count() or 1) + 1, 4))
    # each run with its share of the cores, or their threads wait for one another
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // at_once))}
    # what the tests start hundreds of times must not be compiled hundreds of times
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    jobs: list[Callable[[], list[Outcome]]] = []
    if checkout:
        jobs.append(partial(zip_and_checkout, archive, helper, environment))
    # the newest first: with another Python it has the most to do, and must not be what everything waits for at the end
    jobs += [
        partial(suite, release, archive, helper, environment)
        for release in reversed(releases)
        if not (checkout and release == SAME_AS_CHECKOUT)
    ]
    with ThreadPoolExecutor(at_once) as pool:
        outcomes = [outcome for future in [pool.submit(job) for job in jobs] for outcome in future.result()]
    for outcome in outcomes:
        if outcome.crash:
            print(f"\n== {outcome.name}: BLENDER CAME DOWN, see {LOGS / outcome.name}-crash.log\n{outcome.crash}")
        if outcome.code:
            print(f"\n== {outcome.name}: the end of {LOGS / outcome.name}.log")
            print(the_end((LOGS / f"{outcome.name}.log").read_text(encoding="utf-8")))
    print(f"\n{'suite':10} {'seconds':>8}  outcome")
    for outcome in outcomes:
        print(f"{outcome.name:10} {outcome.seconds:8.0f}  {outcome.text}")
    return not any(outcome.code for outcome in outcomes)


def the_end(said: str) -> str:
    """The last lines of a log; where Blender came down, the test and the frames that it was in besides."""
    lines = said.splitlines()
    crash = next((n for n, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
    if crash is None:
        return "\n".join(lines[-80:])
    found = lines[max(0, crash - 5) : crash + 1]
    for number, line in enumerate(lines[crash:], crash):
        if line.startswith("Current thread"):
            found += lines[number : number + 30]
    return "\n".join(found)


def zip_and_checkout(archive: Path, helper: str, environment: dict[str, str]) -> list[Outcome]:
    """The zip in the Blender that the checkout's environment has too, and then on the checkout what is left to do.

    What has passed on the zip is not repeated.
    """
    with tempfile.TemporaryDirectory() as folder:
        passed = str(Path(folder, "passed.txt"))
        first = suite(SAME_AS_CHECKOUT, archive, helper, {**environment, "TRELLIS2_PASSED_TO": passed})
        told = {**environment, "TRELLIS2_PASSED_FROM": passed, "TRELLIS2_PASSED_TO": passed}
        rest = pytest("checkout", helper, ROOT, told)
        return [*first, once_more(rest, helper, ROOT, told) if came_down(rest.code) else rest]


def suite(release: str, archive: Path, helper: str, environment: dict[str, str]) -> list[Outcome]:
    """One release: an environment, the zip installed into it by Blender, the tests."""
    name = f"zip-{release}"
    packages, version = RELEASES[release]
    base = find_python(version) or fetch_python(version, helper)
    if base is None:
        return [Outcome(name, None, f"NOT RUN: no Python {version[0]}.{version[1]} here, and none to be fetched")]
    started = time.monotonic()
    folder = ROOT / f".venv-{name}"
    try:
        python = make_bare_environment(folder, base)
        tools = ["pytest", COVERAGE] if release == WHOLE else ["pytest"]
        install_fast(python, *packages, *tools, helper=helper, quiet=True)
        with tempfile.TemporaryDirectory(prefix=f"trellis2-{name}-", ignore_cleanup_errors=True) as temporary:
            root = install_zip(python, archive, Path(temporary))
            _say(f"{name}: installed in {time.monotonic() - started:.0f} s")
            scope = {"TRELLIS2_TEST_SCOPE": "" if release == WHOLE else "blender"}
            told = {**environment, **scope, "TRELLIS2_TEST_ZIP": str(archive)}
            told.setdefault("TRELLIS2_PASSED_TO", str(Path(temporary, "passed.txt")))
            ran = pytest(name, python, root, told, release == WHOLE)
            if came_down(ran.code):
                ran = once_more(ran, python, root, told)
            return [ran, covered(python, root)] if release == WHOLE and not (ran.code or ran.crash) else [ran]
    except (subprocess.CalledProcessError, OSError) as error:
        said = getattr(error, "stderr", None) or ""
        (LOGS / f"{name}.log").write_text(f"{said}\n{error}\n", encoding="utf-8")
        return [Outcome(name, 1, "could not be installed", time.monotonic() - started)]
    finally:
        if shutil.disk_usage(ROOT).free < LITTLE_DISK:
            shutil.rmtree(folder, ignore_errors=True)


def came_down(code: int | None) -> bool:
    """Whether a process ended by a fault of its machine code: by a signal, on Windows by an exception."""
    return code is not None and (code < 0 or code >= 0x80000000)


def once_more(ran: Outcome, python: str, root: Path, environment: dict[str, str]) -> Outcome:
    """What is left of a suite in which Blender came down, beginning with the whole file in which it did.

    No test that fails gets a second try. Blender's module, though, comes down now and then at a place that has nothing
    wrong with it. Where we lead it to that, it does so again: freed memory is overwritten this time, so that what is
    used after it was freed shows. That it came down is told at the end, with the frames, whatever becomes of this.
    """
    log = LOGS / f"{ran.name}.log"
    said = log.read_text(encoding="utf-8")
    log.replace(LOGS / f"{ran.name}-crash.log")
    files = re.findall(r"^(tests/\S+\.py) ", said.partition("Fatal Python error")[0], re.M)
    passed = Path(environment["TRELLIS2_PASSED_TO"])
    done = passed.read_text(encoding="utf-8").splitlines() if passed.is_file() else []
    passed.write_text(
        "".join(f"{test}\n" for test in done if not files or not test.startswith(files[-1])), encoding="utf-8"
    )
    again = {**environment, "TRELLIS2_PASSED_FROM": str(passed), "MALLOC_PERTURB_": "165"}
    _say(f"{ran.name}: Blender came down in {files[-1] if files else 'no test'}; once more from there")
    outcome = pytest(ran.name, python, root, again)
    text = f"{len(done)} passed, Blender came down, and from there: {outcome.text}"
    return Outcome(ran.name, outcome.code, text, ran.seconds + outcome.seconds, the_end(said))


def install_zip(python: str, archive: Path, temporary: Path) -> Path:
    """The folder that Blender makes of the zip, with the tests beside it; the wheels join the environment."""
    root = temporary / "extension"
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(temporary / "blender")}
    command = [python, "-c", INSTALL, str(archive), str(root)]
    subprocess.run(command, env=environment, check=True, capture_output=True, encoding="utf-8")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in BESIDE:
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    # by a file of the environment, so that isolated and started processes find them as in Blender
    site = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], encoding="utf-8"
    )
    Path(site.strip(), "trellis2-wheels.pth").write_text(str(root / "site"), encoding="utf-8")
    return root


def covered(python: str, root: Path) -> Outcome:
    """How many of the lines ran, and whether they are as many as `pyproject.toml` asks for."""
    command = [python, "-m", "coverage", "report", "--skip-covered", f"--rcfile={ROOT / 'pyproject.toml'}"]
    done = subprocess.run(command, cwd=root, capture_output=True, encoding="utf-8")
    (LOGS / "coverage.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    total = re.search(r"^TOTAL.*?(\S+%)$", done.stdout, re.M)
    return Outcome("coverage", done.returncode, f"{total[1]} of the lines ran" if total else "not known")


def pytest(name: str, python: str, root: Path, environment: dict[str, str], covers: bool = False) -> Outcome:
    """pytest in `root` with the checkout's configuration; all it says goes to a log.

    `covers`: note which lines run, by Python's own monitoring, which costs next to nothing.
    """
    log = LOGS / f"{name}.log"
    command = [python, "-m"]
    if covers:
        command += ["coverage", "run", f"--rcfile={ROOT / 'pyproject.toml'}", "-m"]
        environment = {**environment, "COVERAGE_CORE": "sysmon"}
    command += ["pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(root), "tests"]
    command += ["-p", "no:cacheprovider", "--durations=25"]
    _say(f"{name}: pytest begins, see {log.relative_to(ROOT)}")
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as output, contextlib.suppress(subprocess.TimeoutExpired):
        code = 124
        code = subprocess.run(
            command, cwd=root, env=environment, stdout=output, stderr=subprocess.STDOUT, timeout=LONGEST
        ).returncode
    said = log.read_text(encoding="utf-8")
    found = re.findall(r"^=* ?(.*\d+ (?:passed|failed|error|skipped).*?) ?=*$", said, re.M)
    text = found[-1] if found else f"ended with {code} and no summary"
    if code not in (0, 1):  # 1 is pytest's own for failed tests
        text += f", ended with {code}"
    text += "".join(f", {cost} of processor time" for cost in re.findall(r"^processor time: (\d+ s)", said, re.M))
    _say(f"{name}: {text}")
    return Outcome(name, code, text, time.monotonic() - started)


_talking = threading.Lock()


def _say(text: str) -> None:
    with _talking:
        print(f"== {text}", flush=True)
        sys.stdout.flush()
