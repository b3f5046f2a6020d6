"""The command line on the stand-in for Windows: its output goes to a file, and names have letters of no code page."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, ROOT, disc
from stand_in_windows import USER

LOW = ("--resolution", "512", "--texture-size", "1024")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one job in it, made once: its picture's name fits into no code page."""
    return tmp_path_factory.mktemp("first")


@pytest.fixture
def run(windows: Any, first: Path) -> Run:
    """Runs a command as Windows does when its output goes to a file."""

    def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "TRELLIS2_HOME": str(first / "home"), "PYTHONPATH": str(ROOT), **variables}
        done = subprocess.run(
            [windows.python, "-m", "trellis_addon", *map(str, arguments)],
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


def test_an_asset_is_made_and_said_to_be(run: Run, first: Path) -> None:
    folder = first / "Eigene Bilder"
    folder.mkdir()
    disc(96).save(folder / f"{USER}.png")
    done = run("generate", folder / f"{USER}.png", "--output", folder / f"{USER}.glb", *LOW)
    assert done.returncode == 0 and (folder / f"{USER}.glb").is_file()
    assert USER in done.stdout
    done = run("jobs")
    assert done.returncode == 0 and USER in done.stdout


@pytest.mark.parametrize("page", ["cp1252", "ascii", "cp936"])
@pytest.mark.parametrize(
    "command",
    ["jobs", "limit", "local doctor", f"local weights list --folder /nowhere/{USER}", "resume", "--help"],
)
def test_every_command_ends_well(page: str, command: str, run: Run, first: Path) -> None:
    if command == "local doctor" and page != "cp1252":
        pytest.skip("it looks at the whole machine; once is enough")
    arguments = command.replace(USER, "%").split()
    done = run(*(argument.replace("%", USER) for argument in arguments), PYTHONIOENCODING=page)
    assert done.returncode in ((0, 1) if command == "local doctor" else (0,)), done.stderr
    assert done.stdout or command == "resume"


@pytest.mark.parametrize("page", ["ascii", "cp936"])
def test_what_is_wrong_is_said_in_one_line(page: str, run: Run, first: Path) -> None:
    done = run("generate", first / f"{USER}.png", "--output", first / "a.glb", PYTHONIOENCODING=page)
    assert done.returncode in (1, 2) and f"{USER}.png" in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
