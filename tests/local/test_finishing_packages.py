"""What finishing needs, without PyTorch, for the Python that runs here: got from a tiny index, used, removed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, sentence
from tiny_index import TinyIndex, tiny_index
from weights_mirror import Mirror, serving

from trellis_addon.core.errors import Cancelled, EngineError, OfflineError
from trellis_addon.core.progress import Progress
from trellis_addon.local.environment import finishing, lock, virtual
from trellis_addon.local.environment.finishing import install_finishing, make_finishing_plan
from trellis_addon.local.environment.remove import remove
from trellis_addon.runtime import child, code
from trellis_addon.runtime.child import finishing_packages, has_finishing, start_child
from trellis_addon.runtime.layout import finishing_folder

BALLAST = 3_000_000  # bytes


@pytest.fixture(scope="module")
def packages() -> TinyIndex:
    found = tiny_index(1000)
    found.entries[:] = [entry for entry in found.entries if entry["name"] != "scipy"]
    found.add("scipy", "1.0.0", {"scipy/__init__.py": "", "scipy/spatial.py": "", "scipy/ballast": os.urandom(BALLAST)})
    return found


@pytest.fixture(autouse=True)
def _alone(packages: TinyIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of the tiny index's, a data folder of its own, and a Python that has nothing of it."""
    path = tmp_path / "lock" / "wheels.json"
    path.parent.mkdir()
    path.write_text(packages.lock)
    monkeypatch.setattr(lock, "LOCK_FILE", path)
    for variable in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("TRELLIS2_HOME", str(tmp_path / "Große Sachen (1)" / "home"))
    for variable in ("TRELLIS2_PYTHON", "TRELLIS2_LOCAL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(child, "_FINISHING", ("no_such_package",))


@pytest.fixture
def index(packages: TinyIndex, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    with serving(Mirror(packages.files())) as mirror:
        monkeypatch.setenv("PIP_INDEX_URL", f"{mirror.url}/simple/")
        yield mirror


def test_get_use_and_remove(index: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "_hash", lambda source, files: "0" * 64)  # what is added to the code below is to stay
    assert not has_finishing()
    with pytest.raises(EngineError, match="press Get Packages") as missing:
        finishing_packages()
    sentence(missing.value)
    plan = make_finishing_plan()
    assert plan.obstacles == () and BALLAST < plan.download < BALLAST + 10_000 < plan.disk
    told: list[tuple[str, float]] = []
    progress = Progress(lambda stage, share: told.append((stage, share)))
    state = install_finishing(plan, progress, is_compiled=False)
    folder = finishing_folder()
    assert state.complete and folder.is_installed and folder.root.name == "{}.{}".format(*sys.version_info)
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == 1.0
    names = {path.name for path in folder.env.iterdir()}
    assert {"scipy", "warp", "array_api_compat"} <= names
    assert not names & {"numpy", "torch", "onnxruntime"}, "NumPy is Blender's own"
    assert not folder.downloads.exists() and make_finishing_plan().is_done

    # a process has them before all others, and this one's packages besides
    assert has_finishing() and finishing_packages() == folder
    ask = "import sys, scipy, numpy, PIL, trellis_addon, tempfile; print(scipy.__file__); print(trellis_addon.__file__)"
    ask += "; print(tempfile.gettempdir()); print(sys.executable)"
    (folder.code() / "trellis_addon" / "asked.py").write_text(f"def main(arguments):\n    {ask}\n")
    asked = start_child(".asked", [], packages=folder, stdout=subprocess.PIPE)
    lines = asked.communicate(timeout=PATIENCE)[0].splitlines()
    assert asked.returncode == 0 and lines[3] == sys.executable
    assert all(line.startswith(str(folder.root)) for line in lines[:3]), lines

    # nor is anything taken away under its feet
    wait = "import sys\ndef main(arguments):\n    print('ready', flush=True)\n    sys.stdin.read()\n"
    (folder.code() / "trellis_addon" / "waiting.py").write_text(wait)
    waiting = start_child(".waiting", [], packages=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert waiting.stdout is not None and waiting.stdout.readline() == "ready\n"
        with pytest.raises(EngineError, match=r"working with these packages; wait until it is done, then remove"):
            remove(folder)
    finally:
        waiting.kill()
        waiting.communicate()
    assert remove(folder) > BALLAST
    assert not (tmp_path / "Große Sachen (1)").exists(), "folders that were made for it go as well"


def test_what_is_cancelled_goes_on_at_the_byte(index: Mirror) -> None:
    index.rate = 3e6
    reached = threading.Event()

    def update(stage: str, share: float) -> None:
        if stage.startswith("Downloading") and share > 0.15:
            reached.set()

    with pytest.raises(Cancelled):
        install_finishing(make_finishing_plan(), Progress(update, reached.is_set), is_compiled=False)
    folder = finishing_folder()
    assert not folder.is_installed and not has_finishing()
    have = next(folder.downloads.glob("scipy*.part")).stat().st_size
    plan = make_finishing_plan()
    assert have > 0 and plan.download <= BALLAST + 10_000 - have
    index.rate = 0
    assert install_finishing(plan, is_compiled=False).complete


def test_offline_and_broken_downloads_leave_nothing(index: Mirror, packages: TinyIndex) -> None:
    with pytest.raises(OfflineError, match="Online access is off") as offline:
        install_finishing(make_finishing_plan(), allow_network=False)
    sentence(offline.value)
    assert index.requests == []
    entries = json.loads(packages.lock)
    for entry in entries["packages"]:
        if entry["name"] == "warp-lang":
            entry["wheels"][0][2] = "0" * 64
    lock.LOCK_FILE.write_text(json.dumps(entries))
    lock._load.cache_clear()
    with pytest.raises(EngineError) as broken:
        install_finishing(make_finishing_plan(), is_compiled=False)
    sentence(broken.value)
    assert not finishing_folder().root.exists()


def test_packages_that_do_not_run_leave_nothing(index: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = tmp_path / "trial.py"
    trial.write_text("import scipy; raise SystemExit('no good: ' + scipy.__file__)")
    monkeypatch.setattr(finishing, "_TRIAL", trial)
    with pytest.raises(EngineError, match=r"no good: .*env\.new"):
        install_finishing(make_finishing_plan(), is_compiled=False)
    assert not finishing_folder().root.exists()


def test_an_old_numpy_is_not_relied_on(index: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finishing, "_NUMPY", ">=99")
    install_finishing(make_finishing_plan(), is_compiled=False)
    assert (finishing_folder().env / "numpy").is_dir()
    monkeypatch.undo()


def test_a_system_without_wheels_is_told(packages: TinyIndex) -> None:
    entries = json.loads(packages.lock)
    for entry in entries["packages"]:
        if entry["name"] == "warp-lang":
            entry["wheels"] = [["warp_lang-1.0.0-py3-none-win32.whl", 1, "0" * 64]]
    lock.LOCK_FILE.write_text(json.dumps(entries))
    lock._load.cache_clear()
    plan = make_finishing_plan()
    assert "has no packages for this" in plan.obstacles[0] and plan.obstacles[0].endswith(".")
    with pytest.raises(EngineError, match="has no packages for this"):
        install_finishing(plan)


def test_what_lies_elsewhere_than_on_the_path_is_left_out() -> None:
    places = {
        "a/b.py": "a/b.py",
        "a-1.data/purelib/a.py": "a.py",
        "a-1.data/platlib/a/c.so": "a/c.so",
        "a-1.data/scripts/run": "",
        "a-1.dist-info/RECORD": "a-1.dist-info/RECORD",
    }
    assert {name: virtual._place_in_path(name) for name in places} == places


def test_the_set_is_what_finishing_imports() -> None:
    """Whatever the code of the geometry imports from outside is in the set, or comes with the extension."""
    found = set()
    for path in (ROOT / "trellis_addon").glob("geometry/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).split(".")[0])
    # quads are made where their package is, which nobody brings; a sentence says so
    found -= sys.stdlib_module_names | {"PIL", "pynanoinstantmeshes"}
    distributions = {"warp": "warp-lang"}
    assert {distributions.get(name, name.replace("_", "-")) for name in found} == set(lock.FINISHING)


def test_the_real_locks_numbers() -> None:
    """For every system with wheels the size that is told is that of the lock, and no zip could hold it."""
    real = Path(lock.__file__).with_name("wheels.json")
    names = {package.name for package in lock._load(real)}
    assert set(lock.FINISHING) <= names
    wanted = [one for one in lock.select_finishing(lock._load(real), finishing.this_python(), ("numpy",)) if one.wheel]
    assert 40e6 < sum(one.wheel.size for one in wanted if one.wheel) < 250e6
