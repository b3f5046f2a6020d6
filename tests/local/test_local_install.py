"""Installing into a folder and removing it again, with a tiny package index on a real web server."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import filelock
import pytest
from conftest import PATIENCE, ROOT, run_python, sentence
from tiny_index import TinyIndex, make_wheel, tiny_index
from weights_mirror import Mirror, serving

from trellis_addon.core.errors import Cancelled, EngineError, OfflineError
from trellis_addon.core.progress import Progress
from trellis_addon.core.version import VERSION
from trellis_addon.local.environment import fetching, lock, plan, virtual
from trellis_addon.local.environment import index as index_module
from trellis_addon.local.environment import install as installing
from trellis_addon.local.environment.install import Plan, ensure_code, install, is_outdated, make_plan
from trellis_addon.local.environment.python import find_python
from trellis_addon.local.environment.remove import remove, size_of
from trellis_addon.local.machine.hardware import Machine, find_machine
from trellis_addon.runtime import code
from trellis_addon.runtime.child import local_python, start_child
from trellis_addon.runtime.layout import LOCK_FILE, LocalFolder, chosen_folder
from trellis_addon.runtime.running import running

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or find_python() is None,
    reason="needs Linux and a Python beside Blender's; elsewhere the plan and its parts are tested one by one",
)
BALLAST = 2_000_000  # bytes
TORCH = "files/torch-2.13.0+cpu-py3-none-any.whl"


@pytest.fixture(scope="session")
def packages() -> TinyIndex:
    return tiny_index(BALLAST)


@pytest.fixture(autouse=True)
def _lock_of_them(packages: TinyIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock" / "wheels.json"
    path.parent.mkdir()
    path.write_text(packages.lock)
    monkeypatch.setattr(lock, "LOCK_FILE", path)
    for variable in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("TRELLIS2_PYTHON", raising=False)


@pytest.fixture
def index(packages: TinyIndex, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    with serving(Mirror(packages.files())) as mirror:
        monkeypatch.setenv("PIP_INDEX_URL", f"{mirror.url}/simple/")
        yield mirror


# In place of the trial, and of filling the environment: what takes seconds is done in earnest once.
QUICK_TRIAL = Path(__file__).with_name("quick_trial.py")
QUICK = f"""
from trellis_addon.local.environment import install as installing, virtual
virtual.fill_environment = lambda *arguments: None
installing._TRIAL = {str(QUICK_TRIAL)!r}
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "fill_environment", lambda *arguments: None)
    monkeypatch.setattr(installing, "_TRIAL", QUICK_TRIAL)


@pytest.fixture
def machine() -> Machine:
    return replace(find_machine(), cards=(), arch="x86_64")


@pytest.fixture
def chosen(tmp_path: Path) -> Path:
    """A place with everything in its name that a user's folder may have, below folders that are not there."""
    return tmp_path / "disk" / "Große Sachen (1)" / "loc'al %20"


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, with sizes and times of change."""
    return {
        str(path.relative_to(folder)): (0, 0) if path.is_dir() else (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def cancelling(share: float, stage: str = "Downloading") -> Progress:
    """A progress that stops once a stage has come so far."""
    reached = threading.Event()

    def update(told: str, now: float) -> None:
        if told.startswith(stage) and now >= share:
            reached.set()

    return Progress(update, reached.is_set)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A Python that can be taken away: as Homebrew's and pyenv's are by their next upgrade."""
    real = find_python()
    assert real is not None
    place = tmp_path / "upgraded" / "bin"
    place.mkdir(parents=True)
    (place / "python3").symlink_to(real.executable)
    return place / "python3"


def test_a_python_that_went_costs_no_download(
    base: Path, quick: None, index: Mirror, machine: Machine, chosen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    awake: list[str] = []
    monkeypatch.setattr("trellis_addon.core.machine.awake._hold", awake.append)
    state = install(make_plan(chosen, machine, python=str(base)))
    folder = LocalFolder(chosen)
    assert folder.is_installed and folder.lost_python == "" and awake == ["installing"]
    packages = folder.packages(folder.env, ".".join(state.python.split(".")[:2]))
    (packages / "large").mkdir()
    (packages / "large" / "__init__.py").write_text("size = 9e9\n")
    base.unlink()
    assert not folder.is_installed and folder.lost_python == str(base.parent)

    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    made = make_plan(chosen, machine)
    assert made.keeps_packages and made.download == 0 and not made.is_done and made.obstacles == ()
    assert any("is gone" in note and "only the environment" in note for note in made.notes)
    assert install(made, allow_network=False).complete and folder.is_installed and folder.lost_python == ""
    assert (packages / "large" / "__init__.py").read_text() == "size = 9e9\n"
    told = subprocess.run([folder.python, "-c", "import large; print(large.size)"], capture_output=True, text=True)
    assert told.stdout.strip() == "9000000000.0", told.stderr


@pytest.mark.parametrize("why", ["another version", "other wheels", "asked for"])
def test_or_it_is_installed_anew(
    why: str, base: Path, quick: None, index: Mirror, machine: Machine, chosen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = install(make_plan(chosen, machine, python=str(base)))
    folder = LocalFolder(chosen)
    if why == "another version":
        folder.write_state(replace(state, python="3.9.1"))
    elif why == "other wheels":
        folder.write_state(replace(state, lock="0123"))
    base.unlink()
    made = make_plan(chosen, machine, again=why == "asked for")
    assert not made.keeps_packages and made.download > 0 and any("is gone" in note for note in made.notes)


def test_install_use_and_remove(
    index: Mirror, machine: Machine, chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "_hash", lambda source, files: "0" * 64)  # what is added to the code below is to stay
    home, temporary, disk = (tmp_path / name for name in ("home", "tmp", "disk"))
    for folder in (home, temporary, disk):
        folder.mkdir()
    for variable, folder in (("HOME", home), ("TMPDIR", temporary)):
        monkeypatch.setenv(variable, str(folder))
    for variable in [name for name in os.environ if name.startswith("XDG_")]:
        monkeypatch.delenv(variable)
    outside = {folder: tree(folder) for folder in (home, temporary)}

    told: list[tuple[str, float]] = []
    made = make_plan(chosen, machine)
    assert made.obstacles == () and made.build.key == "cpu" and 2e6 < made.download < 3e6
    state = install(made, Progress(lambda stage, share: told.append((stage, share))))
    folder = made.folder
    assert folder.root == chosen and folder.is_installed and folder.state() == state
    assert state.complete and state.version == VERSION and state.torch == "2.13.0+cpu" and state.device == "cpu"
    assert (state.build, state.made_root, state.made_above) == ("cpu", True, 1)
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert [word for word in ("Downloading", "Installing", "Trying") if any(s.startswith(word) for s, _ in told)]
    assert not folder.downloads.exists() and not (folder.root / "env.new").exists()

    # what runs from it runs from nowhere else
    monkeypatch.setenv("TRELLIS2_LOCAL", str(chosen))
    assert local_python() == str(folder.python)
    ask = "import sys, trellis_addon, torch, tempfile, os; print(sys.prefix); print(trellis_addon.__file__)"
    ask += "; print(tempfile.gettempdir()); print(os.path.expanduser('~'))"
    (folder.code() / "trellis_addon" / "asked.py").write_text(f"def main(arguments):\n    {ask}\n")
    child = start_child(".asked", [], is_local=True, stdout=subprocess.PIPE)
    lines = child.communicate(timeout=PATIENCE)[0].splitlines()
    assert child.returncode == 0 and all(line.startswith(str(chosen)) for line in lines) and len(lines) == 4, lines
    # compiled files belong into cache: those of the library, and those of the Python that others use as well
    assert not list(folder.code().rglob("__pycache__")) and not list(folder.env.rglob("__pycache__"))
    assert {"asked", "tempfile"} <= {path.name.partition(".")[0] for path in folder.pycache.rglob("*.pyc")}

    # a worker is not taken away under its feet
    wait = "import sys\ndef main(arguments):\n    print('ready', flush=True)\n    sys.stdin.read()\n"
    (folder.code() / "trellis_addon" / "waiting.py").write_text(wait)
    child = start_child(".waiting", [], is_local=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        assert [process.code for process in running(folder)] == [VERSION]
        with pytest.raises(EngineError) as refused:
            remove(folder)
        assert f"process {running(folder)[0].pid}" in sentence(refused.value)
        assert make_plan(chosen, machine, again=True).obstacles[0].startswith("The worker is running")
        child.kill()  # whatever way it ends, it holds nothing any more
    finally:
        child.kill()
        child.communicate()
    assert running(folder) == []

    (folder.root / "service-trellis2").mkdir()  # what a worker of one engine alone leaves
    size = size_of(folder)
    assert size > BALLAST and remove(folder) >= size - 10_000
    assert tree(disk) == {} and disk.is_dir()
    assert {folder: tree(folder) for folder in (home, temporary)} == outside
    with pytest.raises(EngineError, match="Nothing is installed"):
        remove(folder)


def test_a_cancelled_installation_goes_on_at_the_byte(
    index: Mirror, machine: Machine, chosen: Path, quick: None
) -> None:
    index.rate = 3e6
    with pytest.raises(Cancelled):
        install(make_plan(chosen, machine), cancelling(0.3))
    folder = chosen_folder(chosen)
    state = folder.state()
    assert state is not None and not state.complete and not folder.is_installed
    part = next(folder.downloads.glob("torch*.part"))
    have = part.stat().st_size
    assert 0 < have < BALLAST
    again = make_plan(chosen, machine)
    assert again.download <= BALLAST - have + 200_000 and "downloaded already" in again.notes[0]
    index.rate = 0
    assert install(again).complete
    ranges = [request.headers.get("range", "") for request in index.asked(TORCH)]
    assert ranges == ["", f"bytes={have}-"]
    remove(folder)
    assert not chosen.exists() and not chosen.parent.exists()


def test_a_killed_installation_goes_on(index: Mirror, machine: Machine, chosen: Path, quick: None) -> None:
    index.rate = 2e6
    program = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from trellis_addon.local.environment import lock\n"
        "from trellis_addon.local.machine.hardware import find_machine\n"
        "from trellis_addon.local.environment.install import *\n"
        "lock.LOCK_FILE = Path(sys.argv[2]); machine = replace(find_machine(), cards=(), arch='x86_64')\n"
        "install(make_plan(Path(sys.argv[1]), machine))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(chosen), str(lock.LOCK_FILE)], cwd=ROOT)
    folder = chosen_folder(chosen)
    end = time.monotonic() + PATIENCE
    while sum(path.stat().st_size for path in folder.downloads.glob("torch*.part")) < 300_000:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    index.rate = 0
    assert install(make_plan(chosen, machine)).complete
    assert index.asked(TORCH)[-1].headers["range"] > "bytes=2"


def test_ctrl_c_on_the_command_line(index: Mirror, chosen: Path) -> None:
    index.rate = 1e6
    program = (  # whoever runs the tests in the background has Ctrl-C switched off
        "import signal, sys; from pathlib import Path; from trellis_addon.local.environment import lock\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "lock.LOCK_FILE = Path(sys.argv.pop(1)); from trellis_addon.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, str(lock.LOCK_FILE), "local", "install", "--yes", "--build", "cpu"]
    process = subprocess.Popen(
        [*command, "--folder", str(chosen)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder = chosen_folder(chosen)
    end = time.monotonic() + PATIENCE
    while not any(path.stat().st_size for path in folder.downloads.glob("torch*.part")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and "Run the same command again to go on" in errors and "Traceback" not in errors
    state = folder.state()
    assert state is not None and not state.complete and any(folder.downloads.glob("torch*.part"))


def test_the_other_commands_are_there() -> None:
    for name, said in (("weights", "fetch"), ("doctor", "--no-self-test")):
        done = run_python("-m", "trellis_addon", "local", name, "--help")
        assert done.returncode == 0 and said in done.stdout, done.stderr


@pytest.mark.parametrize("case", ["damaged", "missing", "other"])
def test_what_cannot_be_installed_leaves_nothing(
    case: str, index: Mirror, machine: Machine, chosen: Path, tmp_path: Path
) -> None:
    page = "simple/uvicorn/"
    wheel = "files/uvicorn-1.0-py3-none-any.whl"
    if case == "damaged":
        index.damaged[wheel] = 9
    elif case == "missing":
        index.files.pop(page)
    else:
        index.files[wheel] = index.files["files/warp_lang-1.0-py3-none-any.whl"]
    with pytest.raises(EngineError) as error:
        install(make_plan(chosen, machine))
    assert "uvicorn" in sentence(error.value)
    assert not (tmp_path / "disk").exists()


def test_a_failed_trial_leaves_nothing_and_says_why(
    index: Mirror, machine: Machine, chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual, "fill_environment", lambda *arguments: None)
    with pytest.raises(EngineError) as error:
        install(make_plan(chosen, machine))
    assert "No module named 'torch'" in sentence(error.value)
    assert not (tmp_path / "disk").exists()


def test_an_index_out_of_reach_is_a_sentence(
    machine: Machine, chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://name:geheim@127.0.0.1:9/simple")
    monkeypatch.setattr(index_module, "_PAUSES", (0.01, 0.01))
    with pytest.raises(EngineError) as error:
        install(make_plan(chosen, machine))
    text = sentence(error.value)
    assert "127.0.0.1:9" in text and "PIP_INDEX_URL" in text and "geheim" not in text
    assert not (tmp_path / "disk").exists()


def test_a_folder_of_wheels_needs_no_network(
    packages: TinyIndex, machine: Machine, chosen: Path, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    wheels = tmp_path / "wheels"
    assert "no folder" in make_plan(chosen, machine, wheels=wheels).obstacles[0]
    packages.write(wheels)
    made = make_plan(chosen, machine, wheels=wheels)
    assert made.download == 0 and made.disk > BALLAST and made.obstacles == ()
    (wheels / "httpx-1.0-py3-none-any.whl").rename(wheels / "away")
    with pytest.raises(EngineError, match="has no httpx-1.0-py3-none-any.whl") as error:
        install(made, allow_network=False)
    sentence(error.value)
    assert not chosen.exists()
    (wheels / "httpx-1.0-py3-none-any.whl").write_bytes(b"something else")
    with pytest.raises(EngineError, match="checksum"):
        install(made, allow_network=False)
    (wheels / "away").replace(wheels / "httpx-1.0-py3-none-any.whl")
    before = tree(wheels)
    chosen.mkdir(parents=True)  # the user's own: it stays
    folder = made.folder
    assert install(made, allow_network=False).complete
    assert tree(wheels) == before

    done = make_plan(chosen, machine, wheels=wheels)
    assert done.is_done and done.notes == ("It is installed already.",) and done.download == done.disk == 0
    stamp = folder.python.lstat().st_ino
    assert install(done, allow_network=False).complete and folder.python.lstat().st_ino == stamp
    assert not make_plan(chosen, machine, wheels=wheels, build="cuda").is_done
    made = make_plan(chosen, machine, wheels=wheels, again=True)
    assert not made.is_done and "replaced" in made.notes[0]

    # installing anew: what fails leaves the former one, what succeeds replaces it, and weights stay
    (folder.env / "ballast").write_bytes(bytes(BALLAST))
    folder.weights.mkdir()
    (folder.weights / "model.bin").write_bytes(b"w" * 1000)
    (folder.env / "old").touch()
    (tmp_path / "no.py").write_text("raise SystemExit('no')")
    monkeypatch.setattr(installing, "_TRIAL", tmp_path / "no.py")
    with pytest.raises(EngineError):
        install(made, allow_network=False)
    assert folder.is_installed and (folder.env / "old").exists() and not (folder.root / "env.new").exists()
    monkeypatch.undo()
    assert remove(folder, keep_weights=True) > BALLAST
    assert sorted(path.name for path in chosen.iterdir()) == ["trellis2-local.json", "weights"]
    assert remove(folder) == 1000
    assert chosen.is_dir() and not list(chosen.iterdir())


def test_an_installation_is_outdated_when_the_lock_is_another(tmp_path: Path) -> None:
    folder = chosen_folder(tmp_path / "local")
    assert not is_outdated(folder)
    folder.write_state(replace(folder.claim(), complete=True, lock=lock.lock_id()))
    assert not is_outdated(folder)
    lock.LOCK_FILE.write_text(lock.LOCK_FILE.read_text() + " ")
    assert is_outdated(folder)


def test_a_managed_python_that_cannot_be_had_is_a_sentence(
    index: Mirror, machine: Machine, chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_plan(chosen, machine)
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho \"$*\" >&2; echo 'error: no route to host' >&2; exit 2\n")
    uv.chmod(0o755)
    monkeypatch.setattr(installing, "_uv", lambda *arguments: uv)
    with pytest.raises(EngineError, match=r"No Python could be downloaded \(no route to host\)") as error:
        install(replace(made, python="", target=replace(made.target, executable="", version="3.11")))
    assert "install Python 3.11 from python.org" in sentence(error.value)
    assert not (tmp_path / "disk").exists()


def test_a_build_of_pytorchs_own_index(
    index: Mirror, machine: Machine, chosen: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its version is locked, its checksum and what it asks for are the index's."""
    libraries = make_wheel("nvidia-lib-cu12", "12.6.4.1", {"nvidia/lib.py": ""})
    needs = ("nvidia-lib-cu12==12.6.4.1; platform_system == 'Linux'", "numpy", "gone==1; platform_system == 'Windows'")
    torch = make_wheel("torch", "2.13.0+cu126", {"torch/__init__.py": ""}, requires=needs)
    for name, (file, content) in (("torch", torch), ("nvidia-lib-cu12", libraries)):
        digest = hashlib.sha256(content).hexdigest()
        index.files[f"own/{name}/"] = f'<a href="/files/{file.replace("+", "%2B")}#sha256={digest}">x</a>'.encode()
        index.files[f"files/{file.replace('+', '%2B')}"] = content
    filled: list[str] = []
    monkeypatch.setattr(virtual, "fill_environment", lambda env, wheels, *more: filled.extend(p.name for p in wheels))
    made = make_plan(chosen, machine, build="cuda12")
    assert made.build.version == "2.13.0+cu126" and made.download > 2e9, "what is not known is estimated"
    made = replace(made, build=replace(made.build, index=f"{index.url}/own"))
    assert install(made).build == "cuda12"
    assert {torch[0], libraries[0]} <= set(filled) and not any("+cpu" in name for name in filled)
    # somebody else's file by that name
    index.files[f"files/{torch[0].replace('+', '%2B')}"] = libraries[1]
    remove(made.folder)
    with pytest.raises(EngineError, match="torch-2.13.0"):
        install(made)
    assert not chosen.exists()


def test_online_access_off(index: Mirror, machine: Machine, chosen: Path, tmp_path: Path) -> None:
    with pytest.raises(OfflineError):
        install(make_plan(chosen, machine), allow_network=False)
    assert index.requests == [] and not (tmp_path / "disk").exists()


def test_what_stands_in_the_way_is_said_before(
    index: Mirror, machine: Machine, chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(folder: Path, machine: Machine = machine, **options: str) -> str:
        made = make_plan(folder, machine, **options)
        assert made.obstacles, "nothing stood in the way"
        with pytest.raises(EngineError) as error:
            install(made)
        assert str(error.value) == made.obstacles[0]
        return sentence(error.value)

    (tmp_path / "file").write_text("")
    assert "is a file" in first(tmp_path / "file")
    (tmp_path / "full" / "trellis2").mkdir(parents=True)
    (tmp_path / "full" / "trellis2" / "mine.txt").write_text("")
    assert "has other things in it" in first(tmp_path / "full")
    for name in ("python", "scripts"):
        (tmp_path / "blender" / "5.0" / name).mkdir(parents=True)
    assert "Blender's own" in first(tmp_path / "blender" / "5.0" / "python" / "x")
    assert "Blender's own" in first(tmp_path / "blender" / "5.0" / "scripts" / "x")
    assert "does not start" in first(chosen, python=str(tmp_path / "file"))
    assert "no build metal" in first(chosen, build="metal")
    assert "no build for this system" in first(chosen, Machine("macos", "x86_64"))
    assert "too long" in first(tmp_path / ("long" * 30), replace(machine, system="windows"))
    monkeypatch.setattr(plan, "free_disk", lambda path: 1_000_000)
    assert "1 MB are free" in first(chosen)
    assert index.requests == [] and not (tmp_path / "disk").exists()


def test_the_disk_is_looked_at_again_with_the_real_sizes(
    index: Mirror, machine: Machine, chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_plan(chosen, machine)
    for module in (installing, fetching):
        monkeypatch.setattr(module, "free_disk", lambda path: 60 * 2**20 if "disk" in str(path) else 0)
    monkeypatch.setattr(fetching, "unpacked_bytes", lambda wanted, build: 10**9)
    with pytest.raises(EngineError, match="63 MB are free"):
        install(made)
    assert not (tmp_path / "disk").exists() and not index.asked(TORCH)


def test_one_at_a_time(index: Mirror, machine: Machine, chosen: Path) -> None:
    folder = chosen_folder(chosen)
    folder.claim()
    with filelock.FileLock(chosen / LOCK_FILE):
        for act in (lambda: install(make_plan(chosen, machine)), lambda: remove(folder)):
            with pytest.raises(EngineError, match="Another program is installing or removing") as error:
                act()
            sentence(error.value)
    remove(folder)
    assert not chosen.exists()


def test_what_a_killed_installation_started_is_waited_for(chosen: Path) -> None:
    """Where the program is killed, uv may go on for a while: nobody else installs or removes under it."""
    folder = chosen_folder(chosen)
    folder.claim()
    program = (
        "import sys; from pathlib import Path; from trellis_addon.core.progress import Progress\n"
        "from trellis_addon.runtime.layout import LocalFolder; from trellis_addon.runtime import running\n"
        "from trellis_addon.local.environment import virtual\n"
        "folder = LocalFolder(Path(sys.argv[1]))\n"
        "with running.exclusive(folder): virtual._run(['sh', '-c', 'echo begun; sleep 1.5'], folder, Progress())"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(chosen)], cwd=ROOT)
    log = folder.logs / "install.log"
    while not log.exists() or b"\nbegun" not in log.read_bytes():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    with pytest.raises(EngineError, match="Another program is installing"):
        remove(folder)
    end = time.monotonic() + PATIENCE
    while True:
        try:
            remove(folder)
            break
        except EngineError:
            assert time.monotonic() < end
            time.sleep(0.1)
    assert not chosen.exists()


def test_removal_follows_no_link_and_takes_nothing_of_others(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (precious / "inner").mkdir(parents=True)
    (precious / "inner" / "picture.png").write_bytes(b"x")
    folder = chosen_folder(tmp_path / "local")
    folder.claim()
    folder.weights.symlink_to(precious, target_is_directory=True)
    (folder.env / "deep").mkdir(parents=True)
    (folder.env / "deep" / "link").symlink_to(precious / "inner", target_is_directory=True)
    (folder.env / "deep" / "read-only").write_bytes(b"1234")
    (folder.env / "deep" / "read-only").chmod(0o400)
    (folder.env / "deep").chmod(0o500)
    (folder.root / "notes.txt").write_text("mine")
    remove(folder)
    assert sorted(path.name for path in folder.root.iterdir()) == ["notes.txt"]
    assert (precious / "inner" / "picture.png").read_bytes() == b"x"
    assert folder.state() is None
    with pytest.raises(EngineError, match="Nothing is installed"):
        remove(LocalFolder(precious))
    assert (precious / "inner" / "picture.png").exists()


def test_a_broken_off_removal_goes_on(tmp_path: Path) -> None:
    folder = chosen_folder(tmp_path / "local")
    folder.write_state(replace(folder.claim(), complete=True))
    for number in range(20):
        (folder.env / str(number)).mkdir(parents=True)
        (folder.env / str(number) / "file").write_bytes(b"0" * 100)
    folder.python.parent.mkdir()
    folder.python.write_bytes(b"")
    assert folder.is_installed
    with pytest.raises(Cancelled):
        remove(folder, progress=cancelling(0.4, "Removing"))
    assert 0 < len(list(folder.env.iterdir())) < 20 and not folder.is_installed
    remove(folder)
    assert not (tmp_path / "local").exists()


def test_the_library_is_copied_by_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = LocalFolder(tmp_path / "local")
    folder.claim()
    (folder.code("0.0.9") / "trellis_addon").mkdir(parents=True)
    place = ensure_code(folder)
    assert place == folder.code() and (place / "trellis_addon" / "cli" / "__init__.py").is_file()
    assert not folder.code("0.0.9").exists()
    (place / "mark").touch()
    assert ensure_code(folder) == place and (place / "mark").exists(), "what is there is not copied again"

    def hold(name: str) -> Callable[[], None]:
        lock_file = folder.cache / "running" / f"{name}@4711.lock"
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(lock_file)
        held.acquire()
        return held.release

    # other code by the same number, while a worker runs from the former: both stay
    release = hold(VERSION)
    monkeypatch.setattr(code, "_hash", lambda source, files: "f" * 64)
    other = ensure_code(folder)
    assert other.name == f"{VERSION}-ffffffff" and place.exists()
    release()
    assert ensure_code(folder) == place and not (place / "mark").exists() and not other.exists()


def test_the_command_line(index: Mirror, chosen: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = (
            "import sys; from pathlib import Path; from trellis_addon.local.environment import lock\n"
            f"lock.LOCK_FILE = Path(sys.argv.pop(1)){QUICK}"
            "from trellis_addon.cli import main; sys.exit(main(sys.argv[1:]))"
        )
        command = [sys.executable, "-c", program, str(lock.LOCK_FILE), "local", *arguments]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
        )

    place = ("--folder", str(chosen))
    done = run("install", *place, "--build", "cpu")
    assert done.returncode == 1 and "--yes" in done.stderr and "PyTorch   2.13.0+cpu" in done.stdout
    assert not (tmp_path / "disk").exists()
    done = run("install", *place, "--build", "cpu", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"Installed in {chosen}: Python 3." in done.stdout and "runs on cpu." in done.stdout
    assert "TRELLIS2_LOCAL" in done.stdout and "100% Installed" in done.stderr
    done = run("remove", *place, "--yes")
    assert done.returncode == 0 and "Removed: " in done.stdout and not (tmp_path / "disk").exists()
    done = run("remove", *place, "--yes")
    assert done.returncode == 1 and done.stderr == f"error: Nothing is installed in {chosen}.\n"


def test_a_plan_says_what_it_replaces(machine: Machine, chosen: Path, index: Mirror) -> None:
    folder = chosen_folder(chosen)
    folder.write_state(replace(folder.claim(), complete=True))
    folder.python.parent.mkdir(parents=True)
    folder.python.touch()
    made = make_plan(chosen, machine)
    assert isinstance(made, Plan) and "replaced" in made.notes[-1]
    assert json.loads(folder.state_file.read_text())["complete"] is True
