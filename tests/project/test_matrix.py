"""A suite in which Blender comes down: what is left of it has one more try, and it is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import matrix
import pytest
from conftest import ROOT

pytestmark = [
    pytest.mark.checkout,
    pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's; CI has them"),
]

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
    ran = matrix.pytest("some", sys.executable, root, environment)
    return matrix.once_more(ran, sys.executable, root, environment) if matrix.came_down(ran.code) else ran


def times(root: Path, *names: str) -> list[int]:
    return [len((root / name).read_text()) if (root / name).exists() else 0 for name in names]


def test_what_is_left_is_done_from_the_file_on_and_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run(tmp_path, monkeypatch, times=1)
    assert outcome.code == 0 and "3 passed" in outcome.text and "came down" in outcome.text
    assert times(tmp_path, "one", "two", "three", "four") == [1, 2, 2, 1]
    assert "Segmentation fault" in outcome.crash and "test_three" in outcome.crash
    assert (tmp_path / "logs" / "some-crash.log").is_file()


def test_what_comes_down_again_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run(tmp_path, monkeypatch, times=2)
    assert outcome.code == -11 and outcome.crash


def test_a_test_that_fails_has_no_second_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run(tmp_path, monkeypatch, times=0, last="assert 0")
    assert outcome.code == 1 and not outcome.crash
    assert times(tmp_path, "one", "two", "three", "four") == [1, 1, 1, 1]
