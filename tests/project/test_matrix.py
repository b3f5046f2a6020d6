"""What runs where, and after what; a suite in which Blender comes down has one more try, and it is told."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import matrix
import pytest
from conftest import PATIENCE, ROOT

pytestmark = pytest.mark.checkout
posix = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's; CI has them")

CONFTEST = """
import importlib.util
spec = importlib.util.spec_from_file_location("ours", {path!r})
ours = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ours)
pytest_runtest_logreport = ours.pytest_runtest_logreport
pytest_collection_modifyitems = ours.pytest_collection_modifyitems
"""
TESTS = {
    "test_a.py": "def test_one(): open('one', 'a').write('x')\n",
    "test_b.py": "import os\ndef test_two(): open('two', 'a').write('x')\n"
    "def test_three():\n    open('three', 'a').write('x')\n"
    "    if os.path.getsize('three') <= {times}: os.kill(os.getpid(), 11)\n",
    "test_c.py": "def test_four(): open('four', 'a').write('x'); {last}\n",
}


def run(root: Path, monkeypatch: pytest.MonkeyPatch, times: int, last: str = "pass") -> matrix.Outcome:
    """A suite whose third test takes Python down the first few times."""
    (root / "tests").mkdir()
    (root / "tests" / "conftest.py").write_text(CONFTEST.format(path=str(ROOT / "tests" / "conftest.py")))
    for name, text in TESTS.items():
        (root / "tests" / name).write_text(text.format(times=times, last=last))
    (root / "logs").mkdir()
    monkeypatch.setattr(matrix, "LOGS", root / "logs")
    monkeypatch.setattr(matrix, "ROOT", root)
    (root / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = ""\n')
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRELLIS2_")}
    environment["PYTHONPATH"] = str(ROOT / "tests")
    environment["TRELLIS2_PASSED_TO"] = str(root / "passed.txt")
    ran = matrix.pytest("some", sys.executable, root, environment, yields=True)
    return matrix.once_more(ran, sys.executable, root, environment) if matrix.came_down(ran.code) else ran


def times(root: Path, *names: str) -> list[int]:
    return [len((root / name).read_text()) if (root / name).exists() else 0 for name in names]


@posix
def test_what_is_left_is_done_from_the_file_on_and_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run(tmp_path, monkeypatch, times=1)
    assert outcome.code == 0 and "3 passed" in outcome.text and "came down" in outcome.text
    assert times(tmp_path, "one", "two", "three", "four") == [1, 2, 2, 1]
    assert "Segmentation fault" in outcome.crash and "test_three" in outcome.crash
    assert (tmp_path / "logs" / "some-crash.log").is_file()


@posix
def test_what_comes_down_again_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run(tmp_path, monkeypatch, times=2)
    assert outcome.code == -11 and outcome.crash


@posix
def test_a_test_that_fails_has_no_second_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run(tmp_path, monkeypatch, times=0, last="assert 0")
    assert outcome.code == 1 and not outcome.crash
    assert times(tmp_path, "one", "two", "three", "four") == [1, 1, 1, 1]


def planned(folder: Path, releases: list[str], checkout: bool) -> dict[str, set[str]]:
    zips = {release: matrix.Zip(release, folder / "some.zip", sys.executable, folder) for release in releases}
    return {job.name: set(job.after) for job in matrix.jobs(zips, sys.executable, folder, {}, checkout)}


def test_what_does_not_end_is_ended_once_it_has_said_how_it_came_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "PARTING", 0.5)
    ran = run(tmp_path, monkeypatch, 0, "import atexit, time; atexit.register(time.sleep, 1000)")
    assert ran.code == 124 and "4 passed" in ran.text and "ended with 124" in ran.text
    assert not matrix.SUMMARY.search("collected 4172 items / 3251 deselected / 50 skipped / 921 selected")


def test_every_release_has_blender_and_the_newest_the_library(tmp_path: Path) -> None:
    everything = planned(tmp_path, list(matrix.RELEASES), checkout=True)
    assert everything == {
        "zip-5.2-library": set(),
        "checkout-models": set(),
        "zip-5.0": set(),
        "zip-4.2": set(),
        "checkout-library": {"zip-5.2-library", "checkout-models"},
        "checkout": {"zip-5.0", "zip-4.2"},
        "zip-5.2": set(),
        "zip-4.5": set(),
        "coverage": {"zip-5.2", "zip-5.2-library"},
    }
    assert planned(tmp_path, ["4.2"], checkout=False) == {"zip-4.2": set()}
    assert planned(tmp_path, ["4.5"], checkout=True)["checkout"] == {"zip-5.0", "zip-4.2"}, (
        "which then keeps nobody waiting"
    )


def test_jobs_wait_for_what_they_go_on_from_and_for_nothing_else() -> None:
    begun = threading.Event()
    order: list[str] = []

    def job(name: str, after: tuple[str, ...] = (), waits: bool = False) -> matrix.Job:
        def run() -> matrix.Outcome:
            assert not waits or begun.wait(PATIENCE)
            if name == "third":
                begun.set()
            order.append(name)
            return matrix.Outcome(name, 0, "")

        return matrix.Job(name, run, after)

    first, second = job("first", waits=True), job("second", ("first", "nobody"))
    outcomes = matrix.run_jobs([first, second, job("third")], 2)
    assert order == ["third", "first", "second"]
    assert [outcome.name for outcome in outcomes] == ["first", "second", "third"], "told in the order of the plan"


def test_a_job_that_breaks_off_keeps_nobody_waiting() -> None:
    def broken() -> matrix.Outcome:
        raise RuntimeError("a mistake of ours")

    ran: list[str] = []

    def next_one() -> matrix.Outcome:
        ran.append("next")
        return matrix.Outcome("next", 0, "")

    with pytest.raises(RuntimeError):
        matrix.run_jobs([matrix.Job("broken", broken), matrix.Job("next", next_one, ("broken",))], 2)
    assert ran == ["next"]


def test_what_passed_elsewhere_is_left_out_but_for_what_both_pythons_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, str]] = []

    def pytest_(name: str, python: str, root: Path, environment: dict[str, str], tests: str) -> matrix.Outcome:
        told.append(environment)
        return matrix.Outcome(name, matrix.NOTHING_TO_DO if name == "other" else 0, "")

    monkeypatch.setattr(matrix, "pytest", pytest_)
    passed = tmp_path / "passed-zip.txt"
    passed.write_text("tests/core/test_a.py::one\ntests/images/test_b.py::two\n", encoding="utf-8")
    first, second = ({"TRELLIS2_PASSED_TO": str(tmp_path / f"passed-{name}.txt")} for name in ("rest", "other"))
    matrix.run_rest("rest", sys.executable, first, [passed], ("core",))
    missing = tmp_path / "nothing ran.txt"
    nothing = matrix.run_rest("other", sys.executable, second, [missing, passed], ("core", "images"))
    left_out = [Path(one["TRELLIS2_PASSED_FROM"]).read_text(encoding="utf-8") for one in told]
    assert nothing.code == 0
    assert left_out == ["tests/images/test_b.py::two\n", ""]
    assert all(any((ROOT / "tests" / folder).glob("test_*.py")) for folder in (*matrix.BOTH, matrix.ALONE))
