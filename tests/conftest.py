"""What the tests share: folders of their own, small pictures, one draft asset, and an empty Blender file."""

from __future__ import annotations

import atexit
import importlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `pytest` alone does not put the current folder there, `python -m pytest` does
    sys.path.insert(0, str(ROOT))
sys.path.append(str(ROOT / "tools"))
# what one test module makes, others use: by its name, whichever folder each lies in
sys.path.extend(sorted({str(file.parent) for file in Path(__file__).parent.glob("*/**/*.py")}))
pytest.register_assert_rewrite("scene_objects")  # its `check_sound` is a test's assertion
which = importlib.import_module("touches_blender")
stand_in_windows = importlib.import_module("stand_in_windows")
build = importlib.import_module("build")  # an import statement would be sorted by whether there is a build folder

# At import, because bpy reads its folder when a test module imports it, which is before any fixture runs.
_HOME = Path(tempfile.mkdtemp(prefix="trellis2-tests-"))
os.environ["BLENDER_USER_RESOURCES"] = str(_HOME / "blender")
os.environ["TRELLIS2_HOME"] = str(_HOME / "jobs")
for variable in ("RUNWARE_API_KEY", "TRELLIS2_SERVICE_TOKEN"):
    os.environ.pop(variable, None)

# seconds after which a test takes what it waits for as never coming; no test is timed, and some machines are slow
PATIENCE = 300.0

QUICK = {"resolution": 512, "texture_size": 1024}
DRAFT_SEED = 2**63 - 2  # one that no float and no 32-bit number can hold


@pytest.fixture(scope="session", autouse=True)
def _end_services() -> Iterator[None]:
    from trellis_addon.client.local_service import stop_local_services

    yield
    stop_local_services()


# What `tools/dev.py matrix` runs the suite on: an installed zip, in a copy of the tests beside it, without a checkout.
ZIP = os.environ.get("TRELLIS2_TEST_ZIP")
# The zip of this checkout, where the run on the checkout itself finds it built already.
BUILT = os.environ.get("TRELLIS2_TEST_BUILT")
# "blender": only what touches Blender; "between": of that only what is about Blender; "library": what does not touch it
SCOPE = os.environ.get("TRELLIS2_TEST_SCOPE")
# What the local GPU backend needs and no zip brings: tests that import one of these are skipped there.
LOCAL_EXTRA = {"array_api_compat", "onnxruntime", "safetensors"}
LOCAL_EXTRA |= {"scipy", "torch", "warp"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stand-in-windows", action="store_true", help="run what is chosen on a stand-in for Windows (POSIX systems)"
    )


def pytest_configure(config: pytest.Config) -> None:
    for marker in (
        "checkout: about the sources, the documents or the tools, not the extension",
        "once: takes long and is the same in every Blender and Python; runs on the checkout alone",
        "blender: about Blender, where neither names nor folders tell (see touches_blender.py)",
    ):
        config.addinivalue_line("markers", marker)


class ZipModule(pytest.Module):
    """A file of tests, skipped where it cannot be imported for want of the `local` extra, and only for that."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        try:
            return list(super().collect())
        except self.CollectError as error:
            missing = getattr(error.__cause__, "name", None) or ""
            if isinstance(error.__cause__, ModuleNotFoundError) and missing.partition(".")[0] in LOCAL_EXTRA:
                pytest.skip(f"needs {missing}, which no zip brings", allow_module_level=True)
            raise


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> pytest.Module | None:
    return ZipModule.from_parent(parent, path=module_path) if ZIP else None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Where few files count, the others are not even compiled."""
    is_test = SCOPE == "between" and collection_path.name.startswith("test_")
    return True if is_test and not which.may_be_about_blender(collection_path) else None


# A run may write down what has passed, at once, for one in the same Blender that then has only the rest to do.
PASSED_TO, PASSED_FROM = (os.environ.get(f"TRELLIS2_PASSED_{way}") for way in ("TO", "FROM"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if PASSED_TO and report.when == "call" and report.passed:
        with Path(PASSED_TO).open("a", encoding="utf-8") as file:
            file.write(f"{report.nodeid}\n")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out: set[pytest.Item] = set()
    if PASSED_FROM and Path(PASSED_FROM).is_file():
        done = set(Path(PASSED_FROM).read_text(encoding="utf-8").splitlines())
        left_out |= {item for item in items if item.nodeid in done}
    if ZIP:
        left_out |= {item for item in items if item.get_closest_marker("once")}
    if SCOPE:
        left_out |= {item for item in items if which.touches_blender(item) == (SCOPE == "library")}
    if SCOPE == "between":
        left_out |= {item for item in items if not which.is_about_blender(item)}
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]
    if ZIP:
        for item in items:
            if item.get_closest_marker("checkout"):
                item.add_marker(pytest.mark.skip(reason="about the checkout, not the built extension"))


def pytest_report_header(config: pytest.Config) -> str:
    return f"under test: {ZIP or ROOT}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What the run costs on any machine, however busy it is with other things."""
    terminalreporter.write_line(f"processor time: {sum(os.times()[:4]):.0f} s, with that of the processes started")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_HOME, ignore_errors=True)
    # Blender 4.2 as a module ends in a segmentation fault whenever something still refers to `bpy` at the end of the
    # process, as pytest's rewritten tests do: it frees classes in a Python that is gone. That of 4.5 does not end then:
    # its sound is taken down while a thread of its own waits for it. What counts is settled by now.
    bpy, session = sys.modules.get("bpy"), config.pluginmanager.get_plugin("session")
    if bpy is not None and session is not None and bpy.app.version < (5, 0):
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(session.exitstatus))


def disc(size: int = 160, colour: tuple[int, int, int] = (200, 60, 40)) -> Image.Image:
    """A shaded disc on transparent ground, soft at its edge."""
    y, x = np.mgrid[:size, :size] / (size - 1) * 2 - 1
    alpha = np.clip((0.8 - np.hypot(x, y)) * size / 2, 0, 1)
    light = np.clip(1.1 - np.hypot(x + 0.3, y + 0.3) * 0.6, 0, 1)[..., None]
    rgba = np.concatenate([np.array(colour) * light, alpha[..., None] * 255], axis=2)
    return Image.fromarray((rgba + 0.5).astype(np.uint8), "RGBA")


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The picture as a file's bytes; WebP without loss unless told otherwise."""
    if kind == "WEBP" and not options:
        options = {"lossless": True, "exact": True}
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(size: int = 160, seed: int = 5) -> Image.Image:
    """A disc before something as busy as a hedge: no plain background anywhere."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 255, (size // 10, size // 10, 3), np.uint8), "RGB")
    picture = coarse.resize((size, size), Image.Resampling.BICUBIC)
    ImageDraw.Draw(picture).ellipse((size // 4, size // 4, size * 3 // 4, size * 3 // 4), (230, 30, 30))
    return picture


def sentence(error: BaseException) -> str:
    """The error's text, once it is certain that an artist could be shown it."""
    text = str(error)
    assert text and "\n" not in text and len(text) < 500, text
    assert text.rstrip('"').endswith((".", "?", "!")), text
    for noise in ("Traceback", "Errno", "object at 0x", "<class"):
        assert noise not in text, text
    return text


def run_python(*arguments: str, timeout: float = PATIENCE, **environment: str) -> subprocess.CompletedProcess[str]:
    """Another Python that finds the package, as a shell would start it."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
    )


@pytest.fixture
def windows(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Windows' habits around this test, and in the processes that it starts: see `stand_in_windows`."""
    if os.name != "posix":
        pytest.skip("stands for Windows where there is none")
    yield from stand_in_windows.install(monkeypatch, tmp_path_factory.mktemp("windows"))


@pytest.fixture(autouse=True)
def _on_windows(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--stand-in-windows"):
        request.getfixturevalue("windows")


@pytest.fixture(scope="session")
def disc_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "Blue Disc.png"
    disc(360, (50, 90, 210)).save(path)
    return path


def build_zip(folder: Path) -> Path:
    """The extension for this machine, built from the checkout; skips where the package index is out of reach."""
    try:
        return build.build(build.this_platform(), build.PYTHONS, folder)
    except subprocess.CalledProcessError:
        if reaches_index(folder):
            raise
        pytest.skip("the package index cannot be reached")


def reaches_index(folder: Path) -> bool:
    """Whether pip gets a small package from wherever it takes its packages."""
    command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--no-cache-dir", "--retries", "0"]
    return not subprocess.run([*command, "--dest", str(folder), "zipp"], capture_output=True).returncode


@pytest.fixture(scope="session")
def extension_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(built) if (built := ZIP or BUILT) else build_zip(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="session")
def draft(disc_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A draft asset with everything at its lowest, made once."""
    from trellis_addon import generate

    output = tmp_path_factory.mktemp("draft") / "Blue Disc.glb"
    return generate(disc_file, output=output, seed=DRAFT_SEED, tex_slat_steps=12, **QUICK)


@pytest.fixture
def own_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a list of jobs of one's own: what other tests left unfinished or undelivered would go on here."""
    folder = tmp_path_factory.mktemp("jobs")
    with pytest.MonkeyPatch.context() as patch:  # a test's own is undone before what comes after this one
        patch.setenv("TRELLIS2_HOME", str(folder))
        yield folder


@pytest.fixture
def clean() -> Any:
    """Blender with an empty file open."""
    bpy = pytest.importorskip("bpy")
    bpy.ops.wm.read_homefile(use_empty=True)
    return bpy


@pytest.fixture(scope="session")
def write_folder() -> Callable[[Path], list[str]]:
    """Fills a folder with four good pictures, a damaged one and one whose background cannot be removed."""

    def write(folder: Path) -> list[str]:
        folder.mkdir()
        for number, name in enumerate(("apple", "brick", "cup", "drum")):
            disc(96, (60 + 45 * number, 200 - 40 * number, 90)).save(folder / f"{name}.png")
        (folder / "ear.webp").write_bytes(encoded(disc(96), "WEBP")[:300])
        photo().save(folder / "fern.jpg", quality=92)
        (folder / "notes.txt").write_text("not a picture")
        return ["apple.png", "brick.png", "cup.png", "drum.png", "ear.webp", "fern.jpg"]

    return write
