"""What never left this machine is over at once, and is never sent, and paid, later by itself."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from conftest import PATIENCE, disc, encoded, sentence  # first: it is what finds the package

# isort: split
import faults as f
import pytest
from fault_server import DETAILS, FOREVER, POLL, SUBMIT, UPLOAD, FaultServer

from trellis_addon.api import fetch, finish, generate, prepare_task, resume, retry
from trellis_addon.client.backends import Backend, connect
from trellis_addon.client.client import Client
from trellis_addon.core.configuration import REMOTE_URL_VARIABLE
from trellis_addon.core.errors import Cancelled, JobError, NetworkError, TrellisError, UnsentError
from trellis_addon.core.progress import Progress
from trellis_addon.jobs.job import Job, State
from trellis_addon.jobs.money import set_limit, spent
from trellis_addon.jobs.runner import FORGOTTEN_AFTER, run_job
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.settings import Settings

PICTURE = encoded(disc(64))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setattr("trellis_addon.client.client.Client.pause", lambda self, seconds, progress: progress.check())
    with FaultServer() as server:
        monkeypatch.setenv(REMOTE_URL_VARIABLE, server.url)
        yield server


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path)


def click(server: FaultServer, store: JobStore, **options: Any) -> Any:
    return generate(PICTURE, backend="remote", key=server.token, store=store, seed=7, **options)


def take_up(server: FaultServer, store: JobStore) -> list[Any]:
    return [outcome for _, outcome in resume(store=store, key=server.token)]


def write_down(server: FaultServer, store: JobStore, backend: str = "remote") -> Job:
    where = Backend(backend, server.token)
    return prepare_task(PICTURE, where, Settings(seed=7)).write_down(store, where)


def lost(server: FaultServer, store: JobStore, *faults: f.Fault) -> Job:
    """A job whose sending nobody knows the end of."""
    server.add(*faults)
    job = write_down(server, store)
    with pytest.raises(TrellisError):
        finish(job, Backend("remote", server.token), store)
    server._faults.clear()
    found = store.get(job.uuid)
    assert found is not None and found.state is State.UNCERTAIN
    return found


@pytest.fixture
def refused() -> Iterator[str]:
    """The address of a port that nobody listens at, and nobody else gets."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def nameless(monkeypatch: pytest.MonkeyPatch) -> str:
    real = socket.getaddrinfo

    def look_up(host: Any, *more: Any, **options: Any) -> Any:
        if host == "api.example":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return "https://api.example/v1"


def speaks_no_tls() -> str:
    """The address, as https, of a server that hangs up when it is spoken to."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    return f"https://127.0.0.1:{listener.getsockname()[1]}/v1"


@pytest.mark.parametrize("trouble", ["refused", "no name", "no tls", "proxy refused", "proxy says no"])
def test_a_click_offline_is_over(
    trouble: str, server: FaultServer, store: JobStore, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = {
        "refused": lambda: refused,
        "no name": lambda: nameless(monkeypatch),
        "no tls": speaks_no_tls,
        "proxy refused": lambda: "https://api.example/v1",
        "proxy says no": lambda: "https://api.example/v1",
    }[trouble]()
    monkeypatch.setenv(REMOTE_URL_VARIABLE, address)
    if trouble == "proxy refused":
        monkeypatch.setenv("HTTPS_PROXY", refused)
    elif trouble == "proxy says no":  # our service answers a CONNECT as it answers any such nonsense
        monkeypatch.setenv("HTTPS_PROXY", server.base)
    told = set()
    for _ in range(2):
        with pytest.raises(NetworkError) as caught:
            click(server, store)
        assert caught.value.unsent
        sentence(caught.value)
        told.add(str(caught.value))  # who hangs up may be heard as an end or as a reset
    jobs = store.recent()
    assert [(job.state, job.sent) for job in jobs] == [(State.FAILED, None)] * 2
    assert {job.error for job in jobs} == told
    assert spent(store, "month") == 0

    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.setenv(REMOTE_URL_VARIABLE, server.url)
    assert take_up(server, store) == [] and not server.asked(SUBMIT)
    again = retry(store.get(jobs[0].uuid), store)  # type: ignore[arg-type]
    assert finish(again, Backend("remote", server.token), store).seed == 7, "Retry is the user's word"
    assert [task["taskUUID"] for task in server.asked(SUBMIT)] == [again.uuid]


def test_a_service_of_ones_own_that_is_away(server: FaultServer, store: JobStore, refused: str) -> None:
    job = write_down(server, store, refused)
    with pytest.raises(NetworkError):
        finish(job, Backend(refused, server.token), store)
    (found,) = store.recent()
    assert found.state is State.UNCERTAIN, "it costs nothing: it is tried again another time"


def test_an_upload_that_never_gets_there(server: FaultServer, store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture left, the task did not: nothing was made, and nothing waits."""
    monkeypatch.setattr("trellis_addon.jobs.runner.UPLOAD_ABOVE", 10)
    server.add(f.dropped(UPLOAD, times=FOREVER))
    with pytest.raises(NetworkError):
        click(server, store)
    assert [(job.state, job.sent) for job in store.recent()] == [(State.FAILED, None)]
    assert take_up(server, store) == [] and not server.asked(SUBMIT)


def test_whatever_comes_in_between(server: FaultServer, store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the writing down and the sending: an error that nobody foresaw, as of a broken certificate store."""

    def broken(*_: Any, **__: Any) -> None:
        raise ImportError("no such module")

    with monkeypatch.context() as patch:
        patch.setattr("trellis_addon.api.connect", broken)
        with pytest.raises(ImportError):
            click(server, store)
    assert [job.state for job in store.recent()] == [State.FAILED]
    assert take_up(server, store) == [] and not server.asked(SUBMIT)


def test_what_may_have_left_is_asked_for_and_not_sent_again(server: FaultServer, store: JobStore) -> None:
    """Lost on the way there: the service knows nothing, so the user is asked. Nobody pays for it meanwhile."""
    job = lost(server, store, f.dropped(SUBMIT, times=5))
    before = len(server.asked(SUBMIT))
    (outcome,) = take_up(server, store)
    assert isinstance(outcome, UnsentError) and "Retry" in sentence(outcome)
    assert len(server.asked(SUBMIT)) == before and server.engine.calls == []
    found = store.get(job.uuid)
    assert found is not None and (found.state, found.error) == (State.FAILED, str(outcome))
    assert take_up(server, store) == []


@pytest.mark.parametrize("known_by", ["poll", "details", "poll, in a while"])
def test_what_arrived_is_brought_home(known_by: str, server: FaultServer, store: JobStore) -> None:
    job = lost(server, store, f.lost_answer(SUBMIT, times=5))
    if known_by == "details":
        server.add(f.no_data(POLL, times=FOREVER))
    elif known_by == "poll, in a while":
        server.add(f.no_data(POLL, times=3), f.refused("taskNotFound", 404, DETAILS, times=3))
    (asset,) = take_up(server, store)
    assert asset.provenance["task_uuid"] == job.uuid and server.engine.calls == [7]


@pytest.mark.parametrize("days", [FORGOTTEN_AFTER / 86400 + 1, 30, 400, -30])
@pytest.mark.parametrize("may_send", [True, False])
def test_a_uuid_that_is_forgotten_is_not_paid_twice(
    days: float, may_send: bool, server: FaultServer, store: JobStore
) -> None:
    """Killed after it was billed; its service has forgotten it by the day that it is taken up. -30: a wrong clock."""
    job = lost(server, store, f.lost_answer(SUBMIT, times=5))
    server.stop()
    server.start()  # it remembers nothing
    before = len(server.asked(SUBMIT))
    store.clock = lambda: time.time() + days * 86400
    with pytest.raises(JobError) as caught, Client(server.url, server.token) as client:
        run_job(job, store, client, may_send=may_send)
    assert job.uuid in sentence(caught.value) and "retry" in str(caught.value)
    assert len(server.asked(SUBMIT)) == before and store.get(job.uuid).state is State.FAILED  # type: ignore[union-attr]


def test_within_days_whoever_says_so_sends_it_again(server: FaultServer, store: JobStore) -> None:
    """Under its own taskUUID: a batch that goes on, for one."""
    job = lost(server, store, f.dropped(SUBMIT, times=5))
    store.clock = lambda: time.time() + 86400
    assert finish(job, Backend("remote", server.token), store).seed == 7
    assert {task["taskUUID"] for task in server.asked(SUBMIT)} == {job.uuid}


@pytest.mark.parametrize(
    "take", [take_up, lambda server, store: fetch(store.recent()[0].uuid, key=server.token, store=store)]
)
def test_what_was_written_down_and_never_sent(
    take: Callable[[FaultServer, JobStore], Any], server: FaultServer, store: JobStore
) -> None:
    """As a crash leaves it just before the sending."""
    job = write_down(server, store)
    try:
        (outcome,) = take(server, store)
    except UnsentError as error:
        outcome = error
    assert isinstance(outcome, UnsentError) and "never sent" in sentence(outcome)
    found = store.get(job.uuid)
    assert found is not None and found.state is State.FAILED and not server.log


def test_what_another_program_is_about_to_send_is_left_to_it(server: FaultServer, store: JobStore) -> None:
    job = write_down(server, store)
    with store.claim(job):
        (outcome,) = take_up(server, store)
        assert "another program" in sentence(outcome)
    assert store.get(job.uuid).state is State.WAITING  # type: ignore[union-attr]


def test_the_answer_is_asked_for_when_the_line_is_gone(server: FaultServer, store: JobStore) -> None:
    """Sent, answer lost, refused the second time, and then no line for the question what became of the first."""
    server.add(f.lost_answer(SUBMIT), f.refused("insufficientCredits", 402, SUBMIT), f.dropped(POLL, times=FOREVER))
    with pytest.raises(NetworkError):
        click(server, store)
    (job,) = store.recent()
    assert job.state is State.UNCERTAIN and job.sent is not None


def test_a_line_that_goes_between_two_attempts(server: FaultServer, store: JobStore) -> None:
    """The first attempt may have arrived; that later ones cannot be made says nothing of it."""
    job = write_down(server, store)
    server.add(f.lost_answer(SUBMIT))
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        if not waits:
            server._server.should_exit = server._server.force_exit = True
            server._thread.join(PATIENCE)
        waits.append(seconds)

    with Client(server.url, server.token, sleep=sleep) as client:
        client.pause = lambda seconds, progress: sleep(seconds)  # type: ignore[method-assign]
        with pytest.raises(NetworkError) as caught:
            run_job(job, store, client)
    assert not caught.value.unsent and store.get(job.uuid).state is State.UNCERTAIN  # type: ignore[union-attr]


def test_a_cancel_before_anything_left_costs_nothing(
    server: FaultServer, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while the name is looked up: the thread that does it must not send the task when it is done."""
    real, asked, go_on = socket.getaddrinfo, threading.Event(), threading.Event()

    def slow(host: Any, *more: Any, **options: Any) -> Any:
        if host == "api.example":
            asked.set()
            go_on.wait(PATIENCE)
            return real("127.0.0.1", *more, **options)
        return real(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setenv(REMOTE_URL_VARIABLE, f"http://api.example:{server._port}/v1")
    set_limit(store, "day", 5)
    with pytest.raises(Cancelled):
        click(server, store, progress=Progress(is_cancelled=asked.is_set))
    go_on.set()
    time.sleep(0.5)
    assert not server.log
    assert [(job.state, job.sent) for job in store.recent()] == [(State.CANCELLED, None)] and spent(store, "day") == 0


def test_connect_can_be_cancelled(server: FaultServer) -> None:
    """A service of one's own that does not say what it is."""
    server.add(f.Fault("silent", "any", lambda exchange: time_out(), times=FOREVER))
    begun = time.monotonic()
    progress = Progress(is_cancelled=lambda: time.monotonic() > begun + 0.3)
    with pytest.raises(Cancelled), connect(Backend(server.url, server.token), progress):
        pass
    assert time.monotonic() < begun + 3


async def time_out() -> None:
    import asyncio

    await asyncio.sleep(30)
