"""How commands end that are told to: by a scheduler, by a terminal that is closed; and what they say, and where."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT

from trellis_addon.core.stopping import answered, interrupting
from trellis_addon.core.streams import printable
from trellis_addon.jobs import JobStore

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="needs signals; Windows has Ctrl-C and Ctrl-Break, which raise the same"
)


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_says_so(number: signal.Signals, tmp_path: Path, disc_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as api:  # takes the task, and never answers
        address = f"http://127.0.0.1:{api.getsockname()[1]}/v1"
        told = {"RUNWARE_BASE_URL": address, "RUNWARE_API_KEY": "k" * 32, "TRELLIS2_HOME": str(tmp_path / "jobs")}
        command = ["generate", str(disc_file), "--backend", "remote", "--output", str(tmp_path / "a.glb")]
        process = subprocess.Popen(
            [sys.executable, "-m", "trellis_addon", *command],
            cwd=ROOT, env={**os.environ, **told}, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip
        api.settimeout(PATIENCE)
        with api.accept()[0] as connection:
            connection.recv(1)
            process.send_signal(number)
            _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and "Stopped" in errors and "resume" in errors, errors
    assert "Traceback" not in errors
    assert [job.state.value for job in JobStore(tmp_path / "jobs").recent()] == ["sending"]


def test_the_first_signal_interrupts_and_the_next_lets_the_cleaning_up_be_done() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with interrupting():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):  # a person's, who will not wait
            signal.raise_signal(signal.SIGINT)
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def test_who_passes_a_closed_terminal_over_goes_on() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    try:
        with answered(lambda number, frame: heard.append(number)):
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert heard == [signal.SIGTERM]


def test_names_say_nothing_to_the_terminal() -> None:
    assert printable("a\nb\x1b[31m\u202egnp.\u65e5 \U0001f43b") == "a\\nb\\x1b[31m\\u202egnp.\u65e5 \U0001f43b"
    assert printable("\nStopped.\x07", keep="\n") == "\nStopped.\\x07"


@pytest.mark.once
@pytest.mark.parametrize("closed", [(2,), (0, 1, 2)])
def test_closed_streams_are_no_files_of_ours(closed: tuple[int, ...], tmp_path: Path) -> None:
    code = f"import os, sys; [os.close(n) for n in {closed}]; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    look = (
        "import os, sys; from trellis_addon.core.streams import prepare_streams; prepare_streams();"
        "print('said', file=sys.stderr); same = [os.path.samestat(os.fstat(n), os.stat(os.devnull)) for n in "
        f"{closed}]; open({str(tmp_path / 'found')!r}, 'w').write(str(same))"
    )
    subprocess.run([sys.executable, "-c", code, "-c", look], cwd=ROOT, check=True, timeout=PATIENCE)
    assert (tmp_path / "found").read_text() == str([True] * len(closed))
