"""Processes of ours on the stand-in for Windows: what they say is read, whose pid is whose, how they end."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, sentence
from stand_in_windows import CODE_PAGE, USER, script
from test_worker import Desk, desk, wait_for  # noqa: F401  (a fixture)

from trellis_addon.client.local_service import worker_status
from trellis_addon.client.worker_process import start_process
from trellis_addon.core.errors import EngineError
from trellis_addon.core.progress import Progress
from trellis_addon.runtime.child import run_child, start_child
from trellis_addon.service import watchdog
from trellis_addon.service.lifetime import presence
from trellis_addon.service.main import Options

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(os.name != "posix", reason="Windows itself shows it there; its launchers are no shell scripts"),
]
BYTES = bytes(range(0x80, 0x100)) * 8192  # 1 MB that is UTF-8 nowhere


@pytest.fixture(params=["cp1252", "cp936"])
def page(request: pytest.FixtureRequest, windows: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A machine's code page: Western Europe's, and China's."""
    monkeypatch.setenv(CODE_PAGE, request.param)
    return str(request.param)


@pytest.fixture
def helper(windows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module `windows_helper` that children find."""
    text = f"""
import os, sys
def main(arguments):
    if arguments[0] == "flood":
        sys.stderr.buffer.write({BYTES[:128]!r} * 8192)
        sys.stdout.buffer.write({BYTES[:128]!r} * 8192)
    if arguments[0] == "raw":
        sys.stderr.buffer.write("Zugriff verweigert für Jürgen".encode("cp1252"))
        return 3
    if arguments[0] == "say":
        print("C:/Users/{USER}/sub holds other things.", file=sys.stderr)
        return 3
    if arguments[0] == "wait":
        sys.stdin.read()
    return 0
"""
    (tmp_path / "windows_helper.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TRELLIS2_PYTHON", sys.executable)


@pytest.mark.parametrize(("name", "code_page"), [("Jürgen", "cp1252"), ("日本", "cp936"), ("日本", "cp1252")])
def test_why_a_service_does_not_start_is_told_in_its_own_words(
    name: str, code_page: str, windows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CODE_PAGE, code_page)
    folder = windows.home / name / "sub"
    folder.mkdir(parents=True)
    (folder / "letter.txt").touch()
    with pytest.raises(EngineError) as caught:
        start_process("draft", folder=folder)
    assert "holds other things" in sentence(caught.value) and name in str(caught.value)


def test_what_a_child_complains_of_is_read_whatever_its_letters(page: str, helper: None) -> None:
    assert run_child("windows_helper", ["say"], lambda: None) == f"C:/Users/{USER}/sub holds other things."
    assert "Zugriff verweigert" in run_child("windows_helper", ["raw"], lambda: None)
    told: list[tuple[str, float]] = []
    assert run_child("windows_helper", ["flood"], lambda: None, lambda *report: told.append(report)) == ""


def test_a_service_that_floods_its_pipe_goes_on(windows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else reads it, and a full pipe would stop the service in the middle of its log."""
    flood = f'head -c 1000000 /dev/zero | tr "\\0" "\\374" >&2; printf "f\\374r\\n" >&2; exec "{windows.python}" "$@"\n'
    monkeypatch.setattr(sys, "executable", str(script(windows.folder / "loud", flood)))
    service = start_process("draft")
    try:
        assert service.running and service.url.startswith("http://127.0.0.1:")
    finally:
        service.stop()


def test_the_self_test_and_the_previews_read_theirs(
    helper: None, windows: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from trellis_addon.local.doctor import report

    real = start_child
    monkeypatch.setattr(
        "trellis_addon.runtime.child.start_child",
        lambda module, arguments, **streams: real("windows_helper", ["raw"], **streams),
    )
    (line,) = report.run_selftest(None, Progress())
    assert line["value"] == "failed" and "Zugriff verweigert" in line["note"]
    monkeypatch.undo()
    pytest.importorskip("bpy")
    from trellis_addon.scene import previews

    broken = windows.home / "Jürgen.glb"
    broken.write_bytes(b"no GLB")
    with caplog.at_level(logging.WARNING):
        previews.render([broken], [broken.with_suffix(".png")])
    assert any("A preview could not be made" in record.message for record in caplog.records)


def test_the_pid_is_the_services_own_and_not_its_launchers(windows: Any) -> None:
    service = start_process("draft")
    try:
        assert service.process is not None and service.pid != service.process.pid
        assert Path(f"/proc/{service.pid}").exists() or sys.platform != "linux"
    finally:
        service.stop()


@pytest.mark.parametrize("kind", ["launcher", "direct"])
def test_every_end_is_noted_once(kind: str, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    if kind == "launcher":
        python = desk.folder / "python"
        python.write_text(python.read_text(encoding="utf-8").replace(" exec ", " ") + "exit $?\n", encoding="utf-8")
    monkeypatch.setattr("trellis_addon.service.lifetime.restarts.WAITS", (0.0, 0.0, 0.0, 0.0, 0.0))
    desk.hold()
    desk.start(1)
    for number in range(1, 3):
        wait_for(lambda number=number: desk.events().count("begin 1") == number)
        status = wait_for(lambda: worker_status() if worker_status().state == "running" else None)
        assert status.pid == presence.read_worker(desk.place)["pid"]
        os.kill(status.pid, signal.SIGKILL)
    desk.go()
    wait_for(lambda: len(presence.ends(desk.place)) >= 2)
    wait_for(lambda: worker_status().restarts == 2 and worker_status().state == "running")
    causes = [end["cause"] for end in presence.ends(desk.place)]
    assert causes == ["it was ended by force, by a person, a program or the system"] * 2


def test_no_code_and_no_secret_is_in_the_arguments(helper: None, windows: Any) -> None:
    child = start_child("windows_helper", ["wait"], stdin=subprocess.PIPE)
    try:
        *command, told = child.args  # type: ignore[misc]
        assert "-c" not in command and all("\n" not in each and "import" not in each for each in command)
        assert Path(command[-1]).is_file() and json.loads(told)[1:3] == ["windows_helper", ["wait"]]
    finally:
        child.communicate("")
    assert child.returncode == 0


def test_whoever_looks_after_a_service_never_waits_without_an_end(
    windows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C gets through between two waits only."""
    real = subprocess.Popen.wait

    def wait(self: Any, timeout: float | None = None) -> int:
        assert timeout is not None and timeout < 5.1, "a wait that Ctrl-C does not end"
        return real(self, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    codes: list[object] = []

    def run() -> None:
        try:
            codes.append(watchdog.keep_running(Options(engine="draft", token="a-token-of-ours")))
        except AssertionError as error:
            codes.append(error)

    made: list[Any] = []
    init = watchdog._Watchdog.__init__

    def noting(self: Any, options: Options) -> None:
        init(self, options)
        made.append(self)

    monkeypatch.setattr(watchdog._Watchdog, "__init__", noting)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_for(lambda: codes or (made and made[0]._is_announced))
    made[0]._stop(signal.SIGINT, None)
    thread.join(PATIENCE)
    assert codes == [0]
