"""Leases: one holder at a time, whoever sees the folder from wherever, and whatever its clock says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT

from trellis_addon.batch.lease import BEAT, STALE, Leases
from trellis_addon.batch.presence import Presence
from trellis_addon.core.errors import OutputError


class Machine(Presence):
    """A process of another machine, of which nobody here can tell whether it lives."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.close()
        self.machine = self.worker = name


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def leases(folder: Path, name: str, clock: Clock | None = None) -> Leases:
    return Leases(folder, Machine(name), clock=clock or Clock())


def watch(observer: Leases, clock: Clock, seconds: float, step: float = BEAT) -> bool:
    """Whether the lease `a` seems free after so long of looking."""
    for _ in range(int(seconds / step) + 1):
        clock.now += step
        if observer.is_free("a"):
            return True
    return False


def test_one_of_many_gets_it(tmp_path: Path) -> None:
    machines = [leases(tmp_path, f"m{number}") for number in range(8)]
    names = [f"n{number}" for number in range(40)]
    got: list[tuple[str, int]] = []

    def take_all(number: int) -> None:
        got.extend((name, number) for name in names if machines[number].take(name) is not None)

    threads = [threading.Thread(target=take_all, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(name for name, _ in got) == sorted(names)


def test_one_of_many_takes_over(tmp_path: Path) -> None:
    leases(tmp_path, "dead").take("a")
    clocks = [Clock() for _ in range(8)]
    machines = [leases(tmp_path, f"m{number}", clock) for number, clock in enumerate(clocks)]
    assert all([watch(machine, clock, STALE + BEAT) for machine, clock in zip(machines, clocks, strict=True)])
    taken = []
    threads = [threading.Thread(target=lambda m=machine: taken.append(m.take("a"))) for machine in machines]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    (winner,) = [lease for lease in taken if lease is not None]
    assert winner.number == 2 and winner.deaths == 1


def test_a_heartbeat_keeps_others_out(tmp_path: Path) -> None:
    clock = Clock()
    holder = Leases(tmp_path, Machine("holder"), beat=0.01)
    observer = leases(tmp_path, "observer", clock)
    with holder:
        lease = holder.take("a")
        assert lease is not None
        for _ in range(20):
            before = (tmp_path / "a.1").read_bytes()
            give_up = time.monotonic() + PATIENCE
            while (tmp_path / "a.1").read_bytes() == before:
                assert time.monotonic() < give_up
            clock.now += BEAT * 2
            assert not observer.is_free("a")
    assert observer.is_free("a"), "let go of at the end"


@pytest.mark.parametrize("date", [0, 2**31, None])
def test_no_date_is_read(tmp_path: Path, date: int | None) -> None:
    """The machine's clock may be years off: a lease is as old as it was watched."""
    clock = Clock()
    leases(tmp_path, "holder").take("a")
    observer = leases(tmp_path, "observer", clock)
    if date is not None:
        os.utime(tmp_path / "a.1", (date, date))
    assert not watch(observer, clock, STALE - 2 * BEAT)
    assert watch(observer, clock, 3 * BEAT)


def test_what_was_not_looked_at_does_not_count(tmp_path: Path) -> None:
    """A machine that slept for a night, or a server that hung, makes nobody dead."""
    clock = Clock()
    leases(tmp_path, "holder").take("a")
    observer = leases(tmp_path, "observer", clock)
    assert not observer.is_free("a")
    clock.now += 8 * 3600
    assert not observer.is_free("a")


def test_a_holder_that_comes_back_does_no_harm(tmp_path: Path) -> None:
    clock = Clock()
    frozen = leases(tmp_path, "frozen")
    old = frozen.take("a")
    successor = leases(tmp_path, "successor", clock)
    assert old is not None and watch(successor, clock, STALE + BEAT)
    new = successor.take("a")
    assert new is not None
    old.over()
    assert not leases(tmp_path, "third").is_free("a"), "the newest counts"
    new.free()
    assert leases(tmp_path, "third").is_free("a")


def test_deaths_in_a_row_are_counted(tmp_path: Path) -> None:
    for count in range(4):
        clock = Clock()
        machine = leases(tmp_path, f"m{count}", clock)
        assert count == 0 or watch(machine, clock, STALE + BEAT)
        lease = machine.take("a")
        assert lease is not None and lease.deaths == count
    lease.free()
    again = leases(tmp_path, "last").take("a")
    assert again is not None and again.deaths == 0, "the last one said a word"


def test_what_is_over_is_left_alone(tmp_path: Path) -> None:
    lease = leases(tmp_path, "holder").take("a")
    assert lease is not None
    lease.over()
    other = leases(tmp_path, "other")
    assert other.is_over("a") and other.take("a") is None
    assert other.take("a", again=True) is not None


@pytest.mark.parametrize("content", [b"", b'{"state": "he', b"[]", b"\xff\xfe", b" " * 512])
def test_what_cannot_be_read_is_somebodys(tmp_path: Path, content: bytes) -> None:
    """Just created, or being written this moment, or of a machine that died then."""
    (tmp_path / "a.1").write_bytes(content)
    clock = Clock()
    observer = leases(tmp_path, "observer", clock)
    assert observer.take("a") is None and watch(observer, clock, STALE + BEAT)
    assert observer.take("a") is not None


def test_a_folder_that_is_gone_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="see that this machine may write there"):
        leases(tmp_path / "nowhere", "m").take("a")


_HOLD = """
import os, sys, time
from pathlib import Path
from trellis_addon.batch.lease import Leases
from trellis_addon.batch.presence import Presence
leases = Leases(Path(sys.argv[1]), Presence())
assert leases.take("a")
print(os.getpid(), flush=True)
time.sleep(600)
"""


def test_a_death_on_this_machine_is_known_at_once(tmp_path: Path) -> None:
    script = tmp_path / "hold.py"
    script.write_text(_HOLD, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
    )
    presence = Presence()
    try:
        assert process.stdout
        pid = int(process.stdout.readline())  # of the Python itself: what was started may be a launcher
        observer = Leases(tmp_path, presence)
        assert not observer.is_free("a"), "it lives, though it gives no sign"
        os.kill(pid, signal.SIGTERM)
        process.wait(PATIENCE)
        give_up = time.monotonic() + PATIENCE
        while (lease := observer.take("a")) is None:  # Windows lets go of it when it gets to it
            assert time.monotonic() < give_up
            time.sleep(0.01)
        assert lease.deaths == 1
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)
        presence.close()
