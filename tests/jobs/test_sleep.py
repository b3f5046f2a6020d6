"""A machine that slept for hours in the middle of a job, and one that is slow: the limit on waiting is for neither."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from conftest import disc, encoded  # first: it is what finds the package

# isort: split
import faults as f
import pytest
from fault_server import FOREVER, POLL, FaultServer

from trellis_addon.api import prepare_task
from trellis_addon.client.backends import Backend
from trellis_addon.client.client import Client
from trellis_addon.core.errors import TimedOutError
from trellis_addon.core.progress import Progress
from trellis_addon.jobs.job import Job, State
from trellis_addon.jobs.runner import TIME_LIMIT, run_job
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.settings import Settings


class Pauses:
    """A clock that goes on by `step` with every pause between two polls, and nothing is really waited for."""

    def __init__(self, step: float, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.count = 5000.0, 0

        def pause(seconds: float, progress: Progress) -> None:
            progress.check()
            self.now += step
            self.count += 1

        monkeypatch.setattr(client, "pause", pause)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def run(server: FaultServer, tmp_path: Path, step: float, monkeypatch: pytest.MonkeyPatch, remote: bool) -> Job:
    store = JobStore(tmp_path)
    where = Backend("remote" if remote else server.url, server.token)
    job = prepare_task(encoded(disc(64)), where, Settings(seed=7)).write_down(store, where)
    with Client(server.url, server.token, remote=remote) as client:
        return run_job(job, store, client, clock=Pauses(step, client, monkeypatch))


@pytest.mark.parametrize("remote", [True, False], ids=["remote", "a service of one's own"])
def test_hours_of_sleep_do_not_count(
    remote: bool, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows' monotonic clock goes on meanwhile."""
    server.add(f.status_word("processing", times=3))
    assert run(server, tmp_path, 2 * 3600.0, monkeypatch, remote).state is State.READY
    assert not server.unused


def test_what_our_own_service_says_it_works_on_has_no_limit(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor alone, as for AMD's cards on Windows, may well take longer than 45 minutes."""
    polls = 120
    server.add(f.status_word("processing", times=polls))
    assert polls * 30.0 > 50 * 60 > TIME_LIMIT
    assert run(server, tmp_path, 30.0, monkeypatch, remote=False).state is State.READY
    assert not server.unused


def test_of_the_remote_api_the_limit_holds(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(f.status_word("processing", times=FOREVER))
    with pytest.raises(TimedOutError, match="not finished after 45 minutes"):
        run(server, tmp_path, 30.0, monkeypatch, remote=True)
    assert TIME_LIMIT / 30.0 <= len(server.asked(POLL)) <= TIME_LIMIT / 30.0 + 5


@pytest.mark.parametrize(("backend", "held"), [("remote", ["making an asset"]), ("draft", [])])
def test_the_machine_stays_awake_for_what_takes_minutes(
    backend: str, held: list[str], server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("trellis_addon.core.machine.awake._hold", asked.append)
    store = JobStore(tmp_path)
    where = Backend(backend, server.token)
    job = prepare_task(encoded(disc(64)), where, Settings(seed=7)).write_down(store, where)
    with Client(server.url, server.token, remote=backend == "remote") as client:
        assert run_job(job, store, client).state is State.READY
    assert asked == held
