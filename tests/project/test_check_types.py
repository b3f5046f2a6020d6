"""What one system has and another has not is found by the types of each: which modules are looked at, and a trial."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT

pytestmark = pytest.mark.checkout
pytest.importorskip("mypy")

import check_types  # noqa: E402


def test_what_may_differ_between_systems_is_looked_at() -> None:
    assert {"os", "socket", "subprocess", "ctypes", "winreg", "fcntl", "signal", "time"} <= check_types.by_system()
    assert not {"json", "re", "builtins", "dataclasses"} & check_types.by_system()
    chosen = set(check_types.depending())
    wanted = (
        "core.locks",
        "core.machine.awake",
        "core.machine.places",
        "local.machine.hardware",
        "local.environment.virtual",
    )
    assert {f"trellis2.trellis_addon.{name}" for name in wanted} | {"dev", "check_types"} <= chosen


WRONG = {
    "win32": "os.getuid()",
    "darwin": "os.posix_fadvise(0, 0, 0, os.POSIX_FADV_DONTNEED)",
    "linux": "os.startfile('x')",
}


@pytest.mark.parametrize("platform", WRONG)
def test_a_call_that_a_system_has_not_is_found(platform: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(f"import os, sys\n\n\ndef look() -> None:\n    {WRONG[platform]}\n")
    guarded = tmp_path / "guarded.py"
    guarded.write_text(file.read_text().replace("    os.", f"    if sys.platform != {platform!r}:\n        os."))
    assert "attr-defined" in mypy(platform, file)
    assert mypy(platform, guarded).startswith("Success")


def mypy(platform: str, file: Path) -> str:
    flags = ["--platform", platform, *check_types._FOREIGN, "--follow-imports=skip", f"--cache-dir={file.parent}/cache"]
    command = [sys.executable, "-m", "mypy", "--config-file=", *flags, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=PATIENCE)
    return done.stdout
