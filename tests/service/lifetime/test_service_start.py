"""What the service says where it cannot start as asked, and that nothing keeps it from ending."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT

from trellis_addon.cli import main
from trellis_addon.service.main import CANNOT_START, Options, log_to, run


@pytest.mark.parametrize("host", ["http://x", "\u00e4..b", "a" * 300, "*", "203.0.113.5"])
def test_hosts_that_are_not_this_machines(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Options(host=host, token="t" * 20, engine="draft")) == CANNOT_START
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"cannot listen at {host}" in said and "give another host" in said


@pytest.mark.parametrize(
    ("option", "value"),
    [("--quota", "nan"), ("--quota", "inf"), ("--quota", "much"), ("--workers", "two"), ("--workers", "1.5")],
)
def test_numbers_that_are_none(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", option, value])
    assert caught.value.code == 2
    assert f'{option}: "{value}" cannot be; give' in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes in Windows' folders")
def test_a_log_that_nobody_reads_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "log")
    log_to(tmp_path / "log")
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.once
def test_a_held_journal_keeps_nobody_from_ending(tmp_path: Path) -> None:
    """As a backup holds it: the tasks that are written down stay, and the process does not."""
    arguments = ["serve", "--engine", "draft", "--folder", str(tmp_path / "service"), "--token-stdin"]
    process = subprocess.Popen(
        [sys.executable, "-m", "trellis_addon", *arguments],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    assert process.stdin and process.stdout
    process.stdin.write("t" * 20 + "\n")
    process.stdin.flush()
    assert "url" in process.stdout.readline()
    holder = sqlite3.connect(tmp_path / "service" / "service.sqlite", timeout=PATIENCE)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    finally:
        holder.close()
        process.stdout.close()
