"""The tests against the built zip, as a user's Blender has it, under each release of Blender.

What is about Blender, its buttons, scenes and installation, runs in each; what only uses it (a command that writes a
.blend) in the oldest and the newest. The tests themselves tell: `tests/support/touches_blender.py`. The rest, the
library's own tests, runs once, in the release with the newest Python; what stands on the Python and the system below
(`BOTH`) in the oldest Python too. The checkout then has what no zip can run: what needs PyTorch and the like, what is
about the sources, and what is marked `once`.

                checkout, 3.11                        zip, 3.11                     zip, 3.13
                                                      4.2   4.5        5.0          5.2
    library     `ALONE`, and then what 5.2                                          all
                has not passed, and `BOTH`
    Blender     what neither 5.0 nor 4.2 has passed   all   about it   about it     all

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
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from environments import ROOT, environment_python, fetch_python, find_python, install_fast, make_bare_environment

# Blender's release -> (what its Python has, the Python it is made for). The module of 4.2 would take any numpy.
RELEASES: dict[str, tuple[tuple[str, ...], tuple[int, int]]] = {
    "4.2": (("bpy==4.2.23", "numpy==1.26.4"), (3, 11)),
    "4.5": (("bpy==4.5.15",), (3, 11)),
    "5.0": (("bpy==5.0.1",), (3, 11)),
    "5.2": (("bpy==5.2.3",), (3, 13)),
}
OLDEST = next(iter(RELEASES))
SAME_AS_CHECKOUT = "5.0"  # the release that the main environment has
WHOLE = "5.2"  # where the library's own tests run too; its Python tells cheaply which lines ran
# The folders whose tests run in both Pythons, whatever they touch: what changes between them (files, sockets, locks,
# SQLite, processes, encodings) is met there. What mypy and ruff see of 3.11 they see everywhere.
BOTH = ("core", "jobs", "transfer")
# The folder whose tests need PyTorch, which no zip brings: nothing is passed elsewhere, so they need not wait.
ALONE = "pipeline"
COVERAGE = "coverage>=7.7"
BESIDE = ("tests", "tools", "devtools", "docs", "examples")  # of the checkout: what the tests read
LOGS = ROOT / "build" / "logs"
LONGEST = 45 * 60  # seconds for one suite: an add-on that is not taken back can make Blender hang at its end
NOTHING_TO_DO = 5  # what pytest ends with where it has no test to run
PARTING = 120.0  # of which it may take so many to end once all tests have run; Blender does not where one has failed
SUMMARY = re.compile(r"^=* ?(.*\d+ (?:passed|failed|error|skipped).* in \d[\d.]*s.*?) ?=*$", re.M)
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


@dataclass(frozen=True)
class Job:
    """One run of the suite, and the jobs that must be over before it."""

    name: str
    run: Callable[[], Outcome]
    after: Collection[str] = ()


def run_all(archive: Path, helper: str, releases: Sequence[str], checkout: bool) -> bool:
    """Every release's suite, and the checkout's own if asked for, several at a time; True if good.

    `helper` is the Python of the main environment, whose uv or pip fills the others; the checkout's suite runs in it.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    # one more than there are cores: a good part of the time the tests wait for services, locks and other processes
    at_once = max(2, min((os.cpu_count() or 1) + 1, 4))
    # each run with its share of the cores, or their threads wait for one another
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // at_once))}
    environment["TRELLIS2_TEST_BUILT"] = str(archive)
    # what the tests start hundreds of times must not be compiled hundreds of times
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="trellis2-", ignore_cleanup_errors=True) as temporary:
        place = Path(temporary)
        zips = {release: Zip(release, archive, helper, place / release) for release in releases}
        outcomes = run_jobs(jobs(zips, helper, place, environment, checkout), at_once)
    for outcome in outcomes:
        if outcome.crash:
            print(f"\n== {outcome.name}: BLENDER CAME DOWN, see {LOGS / outcome.name}-crash.log\n{outcome.crash}")
        if outcome.code:
            print(f"\n== {outcome.name}: the end of {LOGS / outcome.name}.log")
            print(the_end((LOGS / f"{outcome.name}.log").read_text(encoding="utf-8")))
    print(f"\n{'suite':16} {'seconds':>8}  outcome")
    for outcome in outcomes:
        print(f"{outcome.name:16} {outcome.seconds:8.0f}  {outcome.text}")
    return not any(outcome.code for outcome in outcomes)


def jobs(zips: dict[str, Zip], helper: str, place: Path, environment: dict[str, str], checkout: bool) -> list[Job]:
    """What there is to do, the most urgent first: what others wait for, and what takes long.

    The library's tests, and after them what is left on the checkout, are the longest way to the end: the runs in
    Blender share what these leave of the processors.
    """
    library, same = f"zip-{WHOLE}-library", f"zip-{SAME_AS_CHECKOUT}"

    def passed(name: str) -> Path:
        return place / f"passed-{name}.txt"

    def library_in(release: str) -> Job:
        return Job(library, partial(zips[release].run, library, "library", environment, passed(library)))

    def blender_in(release: str) -> Job:
        name, scope = f"zip-{release}", "blender" if release in (OLDEST, WHOLE) or len(zips) == 1 else "between"
        return Job(name, partial(zips[release].run, name, scope, environment, passed(name), yields=True))

    def rest(name: str, scope: str, after: Sequence[str], again: Collection[str] = (), tests: str = "tests") -> Job:
        told = {**environment, "TRELLIS2_TEST_SCOPE": scope, "TRELLIS2_PASSED_TO": str(passed(name))}
        return Job(name, partial(run_rest, name, helper, told, [passed(each) for each in after], again, tests), after)

    found: list[Job] = []
    if WHOLE in zips:
        found.append(library_in(WHOLE))
    if checkout:
        found.append(rest("checkout-models", "library", (), tests=f"tests/{ALONE}"))
    found += [blender_in(release) for release in (SAME_AS_CHECKOUT, OLDEST) if release in zips]
    if checkout:
        found.append(rest("checkout-library", "library", [library, "checkout-models"], BOTH))
        found.append(rest("checkout", "blender", [same, f"zip-{OLDEST}"]))
    done = {job.name for job in found}
    found += [blender_in(release) for release in reversed(zips) if f"zip-{release}" not in done]
    if WHOLE in zips:
        found.append(Job("coverage", zips[WHOLE].covered, {library, f"zip-{WHOLE}"}))
    return found


def run_jobs(jobs: Sequence[Job], at_once: int) -> list[Outcome]:
    """All of them, so many at a time: always the first one that need not wait for another. As `jobs` has them."""
    waiting, over = list(jobs), {name for job in jobs for name in job.after} - {job.name for job in jobs}
    outcomes: dict[str, Outcome] = {}
    changed = threading.Condition()

    def work() -> None:
        while True:
            with changed:
                while waiting and not any(over.issuperset(job.after) for job in waiting):
                    changed.wait(60)
                if not waiting:
                    return
                job = next(job for job in waiting if over.issuperset(job.after))
                waiting.remove(job)
            try:
                outcomes[job.name] = job.run()
            finally:
                with changed:
                    over.add(job.name)
                    changed.notify_all()

    with ThreadPoolExecutor(at_once) as pool:
        for future in [pool.submit(work) for _ in range(at_once)]:
            future.result()
    return [outcomes[job.name] for job in jobs]


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


def run_rest(
    name: str,
    python: str,
    environment: dict[str, str],
    passed: Sequence[Path],
    again: Collection[str],
    tests: str = "tests",
) -> Outcome:
    """On the checkout, without what has passed elsewhere, except for the folders `again` of the tests.

    `tests`: the folder to run. What passes is added to the environment's `TRELLIS2_PASSED_TO`.
    """
    elsewhere = [test for file in passed if file.is_file() for test in file.read_text(encoding="utf-8").splitlines()]
    folders = tuple(f"tests/{folder}/" for folder in again)
    done = Path(environment["TRELLIS2_PASSED_TO"])
    done.write_text("".join(f"{test}\n" for test in elsewhere if not test.startswith(folders)), encoding="utf-8")
    told = {**environment, "TRELLIS2_PASSED_FROM": str(done)}
    ran = pytest(name, python, ROOT, told, tests=tests)
    if ran.code == NOTHING_TO_DO:
        return Outcome(name, 0, "nothing was left to do", ran.seconds)
    return once_more(ran, python, ROOT, told, tests) if came_down(ran.code) else ran


@dataclass
class Zip:
    """The zip in one release of Blender: an environment, into which Blender installs it, and what runs there."""

    release: str
    archive: Path
    helper: str
    temporary: Path
    failed: bool = False
    root: Path | None = None  # of what is installed, with the tests beside it
    _installing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        return ROOT / f".venv-zip-{self.release}"

    def run(self, name: str, scope: str, environment: dict[str, str], passed: Path, yields: bool = False) -> Outcome:
        """The tests of one scope; the first that comes installs."""
        _, version = RELEASES[self.release]
        base = find_python(version) or fetch_python(version, self.helper)
        if base is None:
            return Outcome(name, None, f"NOT RUN: no Python {version[0]}.{version[1]} here, and none to be fetched")
        started = time.monotonic()
        try:
            python, root = self.installed(base)
        except (subprocess.CalledProcessError, OSError) as error:
            self.failed = True
            said = getattr(error, "stderr", None) or ""
            (LOGS / f"{name}.log").write_text(f"{said}\n{error}\n", encoding="utf-8")
            return Outcome(name, 1, "could not be installed", time.monotonic() - started)
        told = {**environment, "TRELLIS2_TEST_SCOPE": scope, "TRELLIS2_TEST_ZIP": str(self.archive)}
        told["TRELLIS2_PASSED_TO"] = str(passed)
        if covers := self.release == WHOLE:
            told["COVERAGE_FILE"] = str(root / f".coverage.{scope}")
        ran = pytest(name, python, root, told, covers, yields)
        if came_down(ran.code):
            ran = once_more(ran, python, root, told)
        self.failed = self.failed or bool(ran.code or ran.crash)
        if not covers:
            self.make_room()
        return ran

    def installed(self, base: str) -> tuple[str, Path]:
        """The environment's Python, and the folder that Blender made of the zip, with the tests beside it."""
        with self._installing:
            python = environment_python(self.folder)
            if self.root is None:
                started = time.monotonic()
                make_bare_environment(self.folder, base)
                packages, _ = RELEASES[self.release]
                tools = ["pytest", COVERAGE] if self.release == WHOLE else ["pytest"]
                install_fast(python, *packages, *tools, helper=self.helper, quiet=True)
                self.temporary.mkdir()
                self.root = install_zip(python, self.archive, self.temporary)
                _say(f"zip-{self.release}: installed in {time.monotonic() - started:.0f} s")
            return python, self.root

    def make_room(self) -> None:
        """Remove the environment where there is little room left for those of other releases."""
        if shutil.disk_usage(ROOT).free < LITTLE_DISK:
            shutil.rmtree(self.folder, ignore_errors=True)

    def covered(self) -> Outcome:
        """How many of the lines ran, and whether they are as many as `pyproject.toml` asks for."""
        if self.root is None or self.failed:
            return Outcome("coverage", None, "not told: not everything ran")
        command = [environment_python(self.folder), "-m", "coverage"]
        settings = f"--rcfile={ROOT / 'pyproject.toml'}"
        subprocess.run([*command, "combine", "-q", settings], cwd=self.root, check=True)
        done = subprocess.run(
            [*command, "report", "--skip-covered", settings], cwd=self.root, capture_output=True, encoding="utf-8"
        )
        (LOGS / "coverage.log").write_text(done.stdout + done.stderr, encoding="utf-8")
        self.make_room()
        total = re.search(r"^TOTAL.*?(\S+%)$", done.stdout, re.M)
        return Outcome("coverage", done.returncode, f"{total[1]} of the lines ran" if total else "not known")


def came_down(code: int | None) -> bool:
    """Whether a process ended by a fault of its machine code: by a signal, on Windows by an exception."""
    return code is not None and (code < 0 or code >= 0x80000000)


def once_more(ran: Outcome, python: str, root: Path, environment: dict[str, str], tests: str = "tests") -> Outcome:
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
    outcome = pytest(ran.name, python, root, again, tests=tests)
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


def pytest(
    name: str,
    python: str,
    root: Path,
    environment: dict[str, str],
    covers: bool = False,
    yields: bool = False,
    tests: str = "tests",
) -> Outcome:
    """pytest on `tests` in `root` with the checkout's configuration; all it says goes to a log.

    `covers`: note which lines run, by Python's own monitoring, which costs next to nothing. `yields`: others first,
    where the processors do not suffice for all.
    """
    log = LOGS / f"{name}.log"
    command = ["nice", "-n", "10"] if yields and shutil.which("nice") else []
    command += [python, "-m"]
    if covers:
        command += ["coverage", "run", f"--rcfile={ROOT / 'pyproject.toml'}", "-m"]
        environment = {**environment, "COVERAGE_CORE": "sysmon"}
    command += ["pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(root), tests]
    command += ["-p", "no:cacheprovider", "--durations=25"]
    _say(f"{name}: pytest begins, see {log.relative_to(ROOT)}")
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=output, stderr=subprocess.STDOUT)
        code = ended(process, log)
    said = log.read_text(encoding="utf-8")
    found = SUMMARY.findall(said)
    text = found[-1] if found else f"ended with {code} and no summary"
    if code not in (0, 1):  # 1 is pytest's own for failed tests
        text += f", ended with {code}"
    text += "".join(f", {cost} of processor time" for cost in re.findall(r"^processor time: (\d+ s)", said, re.M))
    _say(f"{name}: {text}")
    return Outcome(name, code, text, time.monotonic() - started)


def ended(process: subprocess.Popen[bytes], log: Path) -> int:
    """The code that a suite ends with; 124 for one that does not end, also once it has said how it came out."""
    begun, told = time.monotonic(), 0.0
    while time.monotonic() < begun + LONGEST and not (told and time.monotonic() > told + PARTING):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(1)
        if not told and SUMMARY.search(log.read_text(encoding="utf-8", errors="replace")[-20_000:]):
            told = time.monotonic()
    process.kill()
    process.wait()
    return 124


_talking = threading.Lock()


def _say(text: str) -> None:
    with _talking:
        print(f"== {text}", flush=True)
        sys.stdout.flush()
