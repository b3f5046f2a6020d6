"""Money: what is expected, what was spent, and limits that hold also when two programs ask at once."""

from __future__ import annotations

import datetime
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faults as f
import pytest
from conftest import PATIENCE, ROOT, disc, encoded, sentence
from fault_server import FOREVER, POLL, SUBMIT, FaultServer
from service_tools import PIXEL

from trellis_addon.api import finish, generate, prepare_task, price, retry
from trellis_addon.client.backends import Backend
from trellis_addon.client.client import Client
from trellis_addon.core.errors import FieldError, LimitError, NetworkError, RefusedError
from trellis_addon.jobs.job import REMOTE, Job, State
from trellis_addon.jobs.money import cost_of, expected_price, limits, move_to_sending, set_limit, spent
from trellis_addon.jobs.runner import run_job
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.settings import Settings
from trellis_addon.task.task import Task, examples

MOST = expected_price().high


class Clock:
    """Local time, as the user's calendar has it."""

    def __init__(self, *when: int) -> None:
        self.set(*when)

    def set(self, *when: int) -> None:
        self.now = datetime.datetime(*when).timestamp()  # type: ignore[arg-type]

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(2026, 11, 30, 12)


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> JobStore:
    return JobStore(tmp_path / "store", clock=clock)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def add(store: JobStore, backend: str = REMOTE, **settings: Any) -> Job:
    return store.add(Task(PIXEL, Settings(settings)), name="X", backend=backend)


def paid(store: JobStore, cost: float | None, state: State = State.READY, **settings: Any) -> Job:
    job = move_to_sending(store, add(store, **settings))
    if state in (State.READY, State.RUNNING):
        job = store.move(job, State.RUNNING)
    return job if state in (State.SENDING, State.RUNNING) else store.move(job, state, cost=cost)


def run(job: Job, store: JobStore, server: FaultServer) -> Job:
    with Client(server.url, server.token, sleep=lambda seconds: None) as client:
        return run_job(job, store, client)


# --- before ---


def test_the_price_is_the_range_of_the_published_examples() -> None:
    costs = [example["response"]["cost"] for example in examples()]
    assert len(costs) == 4
    for results in (1, 4, 12):
        price = expected_price(results)
        assert price.low == pytest.approx(results * min(costs))
        assert price.high == pytest.approx(results * max(costs))
    assert str(expected_price()) == "0.02 to 0.06 US dollars"


def test_a_dry_run_makes_nothing(server: FaultServer) -> None:
    task = Task(PIXEL, Settings(seed=7))
    with Client(server.url, server.token) as client:
        assert client.price(task) == 0.0
        assert not client.poll(task.uuid).known and server.engine.calls == []
        client.submit(task)
        while not client.poll(task.uuid).results:
            pass
    assert server.engine.calls == [7]


def test_a_service_that_knows_no_dry_runs(server: FaultServer, store: JobStore) -> None:
    """It begins the task, under its own taskUUID: the job then finds it made, and nothing is paid twice."""
    inner = server._inner

    async def without_the_header(scope: Any, receive: Any, send: Any) -> None:
        headers = [(name, value) for name, value in scope["headers"] if b"dry-run" not in name]
        await inner({**scope, "headers": headers}, receive, send)

    server._inner = without_the_header
    job = add(store, seed=7)
    with Client(server.url, server.token) as client:
        assert client.price(job.task) is None
    assert run(job, store, server).state is State.READY
    assert server.engine.calls == [7] and {task["taskUUID"] for task in server.asked(SUBMIT)} == {job.uuid}


# --- after ---


def test_what_was_spent_by_day_and_month(store: JobStore, clock: Clock) -> None:
    paid(store, 0.05)
    clock.set(2026, 11, 1, 0, 0, 1)
    paid(store, 0.02)
    clock.set(2026, 10, 31, 23, 59, 59)
    paid(store, 0.5)
    assert spent(store, "day") == pytest.approx(0.57), "also what a clock set back has put in the future"
    clock.set(2026, 11, 30, 23, 59, 59)
    assert (spent(store, "day"), spent(store, "month")) == (0.05, pytest.approx(0.07))
    clock.set(2026, 12, 1)
    assert (spent(store, "day"), spent(store, "month")) == (0, 0)


def test_jobs_elsewhere_cost_nothing(store: JobStore) -> None:
    for backend in ("draft", "local", "http://127.0.0.1:1"):
        store.move(move_to_sending(store, add(store, backend)), State.RUNNING)
    assert spent(store, "day") == 0


@pytest.mark.parametrize("state", [State.SENDING, State.UNCERTAIN, State.RUNNING, State.CANCELLED, State.READY])
@pytest.mark.parametrize("cost", [None, 0.0])
def test_an_unknown_cost_counts_with_the_most(state: State, cost: float | None, store: JobStore) -> None:
    paid(store, cost, state, number_results=3)
    assert spent(store, "day") == pytest.approx(3 * MOST)


def test_what_was_refused_or_never_sent_counts_nothing(store: JobStore) -> None:
    paid(store, None, State.FAILED)
    store.move(add(store), State.CANCELLED)
    add(store)
    assert spent(store, "month") == 0


def test_the_cost_is_kept_and_nothing_is_sent_that_was_not_set(server: FaultServer, store: JobStore) -> None:
    def with_cost(body: Any) -> Any:
        return {"data": [{**item, "cost": 0.0256} for item in body["data"]]}

    server.add(f.edited("with cost", POLL, with_cost, times=99))
    job = add(store, number_results=2)
    done = run(job, store, server)
    assert set(server.asked(SUBMIT)[0]) == {"taskType", "taskUUID", "model", "inputs", "numberResults"}
    assert done.cost == pytest.approx(0.0512) and cost_of(done) == "0.0512 US dollars"
    assert spent(store, "day") == pytest.approx(0.0512)
    assert [asset.provenance["cost_usd"] for asset in done.assets] == [0.0256, 0.0256]
    run(add(store, include_cost=True), store, server)
    assert server.asked(SUBMIT)[-1]["includeCost"] is True


@pytest.mark.parametrize("given", [{}, {"include_cost": True}, {"include_cost": False}])
def test_the_cost_is_asked_for_unless_somebody_switched_it_off(
    given: dict[str, Any], server: FaultServer, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNWARE_BASE_URL", server.url)
    monkeypatch.setattr("trellis_addon.client.client.Client.pause", lambda *_: None)
    server.add(f.costing(0.03, times=99))
    options: dict[str, Any] = {"backend": "remote", "key": server.token, "store": store, **given}
    generate(encoded(disc(64)), **options)
    first = store.get(store.recent()[0].uuid)
    assert first is not None and first.cost == 0.03
    finish(retry(first, store), Backend("remote", server.token), store)
    price(encoded(disc(64)), key=server.token, **given)
    asked = [task.get("includeCost") for task in server.asked(SUBMIT)]
    assert asked == [given.get("include_cost", True)] * 3


def test_an_older_job_is_retried_with_its_cost(store: JobStore) -> None:
    assert retry(add(store, seed=7), store).settings == Settings(seed=7, include_cost=True)
    assert retry(add(store, "http://127.0.0.1:1", seed=7), store).settings == Settings(seed=7)


def test_a_draft_is_not_asked_for_its_cost(tmp_path: Path) -> None:
    for backend in ("draft", "http://127.0.0.1:1"):
        assert not prepare_task(encoded(disc(64)), Backend(backend), Settings()).task.settings


@pytest.mark.parametrize("cost", [-100, -1e-9, 1e308, 1001.0, float("nan"), float("inf"), "0.05", True, None, [1], {}])
def test_a_cost_that_can_be_none_is_not_counted_with(cost: Any, server: FaultServer, store: JobStore) -> None:
    """It neither widens the limit nor closes it: such a job counts with the most that the examples cost."""
    set_limit(store, "day", 2 * MOST)
    server.add(f.costing(cost, times=FOREVER))
    done = run(add(store), store, server)
    assert done.cost is None and cost_of(done) == "" and spent(store, "day") == pytest.approx(MOST)
    run(add(store), store, server)
    with pytest.raises(LimitError):
        run(add(store), store, server)


@pytest.mark.parametrize("days", [32, 60, 365, 36500])
def test_a_clock_that_was_wrong_for_one_job_does_not_count_for_ever(days: int, store: JobStore, clock: Clock) -> None:
    now = clock.now
    clock.now = now + days * 86400
    paid(store, 0.5)
    clock.now = now
    assert (spent(store, "day"), spent(store, "month")) == (0, 0)
    set_limit(store, "day", MOST)
    move_to_sending(store, add(store))
    clock.now = now + days * 86400
    assert spent(store, "day") == pytest.approx(0.5)


def test_less_than_was_asked_for_is_said(server: FaultServer, store: JobStore) -> None:
    """Where the list, the panel and scripts read it, and with the assets."""

    def two(body: Any) -> Any:
        error = {"code": "inferenceError", "message": "The engine stumbled.", "taskUUID": body["data"][0]["taskUUID"]}
        return {"data": body["data"][:2], "errors": [error] * 2}

    server.add(f.edited("two of four", POLL, two, times=FOREVER))
    done = run(add(store, number_results=4), store, server)
    assert done.state is State.READY and len(done.assets) == 2
    said = sentence(Exception(done.error))
    assert "2 of 4" in said and "The engine stumbled" in said
    (found,) = store.recent()
    assert found.error == said and all(said in asset.provenance["notes"] for asset in found.assets)


# --- limits ---


def test_limits_are_set_raised_and_taken_away(store: JobStore) -> None:
    assert limits(store) == {}
    set_limit(store, "day", 1.5)
    set_limit(store, "month", 0)
    assert limits(store) == {"day": 1.5, "month": 0}
    set_limit(store, "day", 2)
    set_limit(store, "month", None)
    assert limits(JobStore(store.folder)) == {"day": 2}


@pytest.mark.parametrize(
    ("period", "amount"),
    [("year", 1), ("", 1), ("day", -0.01), ("day", float("nan")), ("day", float("inf")), ("day", "5"), ("day", True)],
)
def test_limits_that_are_none(period: str, amount: Any, store: JobStore) -> None:
    set_limit(store, "day", 7)
    with pytest.raises(FieldError) as caught:
        set_limit(store, period, amount)
    sentence(caught.value)
    assert limits(store) == {"day": 7}


@pytest.mark.parametrize("period", ["day", "month"])
def test_a_job_beyond_the_limit_is_not_sent(period: str, server: FaultServer, store: JobStore) -> None:
    set_limit(store, period, 2.5 * MOST)
    for _ in range(2):
        run(add(store), store, server)
    before = len(server.log)
    job = add(store)
    with pytest.raises(LimitError) as caught:
        run(job, store, server)
    assert period in sentence(caught.value) and "Raise the limit" in str(caught.value)
    assert len(server.log) == before, "nothing at all was sent"
    found = store.get(job.uuid)
    assert found is not None and found.state is State.FAILED and found.sent is None
    set_limit(store, period, 3 * MOST)
    run(add(store), store, server)


def test_a_large_picture_is_not_uploaded_for_nothing(server: FaultServer, store: JobStore) -> None:
    set_limit(store, "day", 0)
    with pytest.raises(LimitError):
        run(store.add(Task("data:image/png;base64," + "A" * 2**21), name="X", backend=REMOTE), store, server)
    assert server.log == []


def test_the_next_day_is_another(server: FaultServer, store: JobStore, clock: Clock) -> None:
    set_limit(store, "day", MOST)
    run(add(store), store, server)
    with pytest.raises(LimitError):
        run(add(store), store, server)
    clock.set(2026, 12, 1)
    run(add(store), store, server)


def test_a_job_that_was_sent_goes_on_beyond_the_limit(server: FaultServer, store: JobStore) -> None:
    """It is paid already."""
    server.add(f.lost_answer(SUBMIT, times=5))
    job = add(store)
    with pytest.raises(NetworkError):
        run(job, store, server)
    set_limit(store, "day", 0)
    assert run(job, store, server).state is State.READY


def test_a_limit_does_not_concern_what_is_free(server: FaultServer, store: JobStore) -> None:
    set_limit(store, "day", 0)
    with Client(server.url, server.token, remote=False) as client:
        assert run_job(add(store, server.url), store, client).state is State.READY


def test_a_refused_job_frees_what_it_had_taken(server: FaultServer, store: JobStore) -> None:
    set_limit(store, "day", MOST)
    server.add(f.refused("invalidInteger", 400, SUBMIT))
    with pytest.raises(RefusedError):
        run(add(store), store, server)
    run(add(store), store, server)


def test_threads_at_once_stay_within_the_limit(store: JobStore) -> None:
    set_limit(store, "month", 3 * MOST)
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def work() -> None:
        job = add(store)
        start.wait()
        try:
            outcomes.append(str(move_to_sending(store, job).state))
        except LimitError:
            outcomes.append("refused")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 5 + ["sending"] * 3
    assert spent(store, "month") == pytest.approx(3 * MOST)


_RACE = """
import json, sys
from pathlib import Path
from trellis_addon.core.errors import LimitError
from trellis_addon.jobs.money import move_to_sending
from trellis_addon.jobs.store import JobStore
store = JobStore(Path(sys.argv[1]))
jobs = [store.get(uuid) for uuid in sys.argv[2:]]
print("ready", flush=True)
sys.stdin.readline()
sent = 0
for job in jobs:
    try:
        move_to_sending(store, job)
        sent += 1
    except LimitError:
        pass
print(sent)
"""


def test_programs_at_once_stay_within_the_limit(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    set_limit(store, "day", 7 * MOST)
    programs = []
    for _ in range(3):
        uuids = [add(store).uuid for _ in range(4)]
        command = [sys.executable, "-c", _RACE, str(tmp_path), *uuids]
        programs.append(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for program in programs:
        assert program.stdout is not None and program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    assert sum(int(program.communicate(timeout=PATIENCE)[0]) for program in programs) == 7
    assert spent(store, "day") == pytest.approx(7 * MOST)


def test_a_limit_of_the_command_line_holds_for_a_batch(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the same door as a batch: as many are sent as may be."""
    monkeypatch.setenv("RUNWARE_BASE_URL", server.url)
    from trellis_addon.api import finish
    from trellis_addon.core.machine.parallel import as_ready

    store = JobStore(tmp_path)
    set_limit(store, "day", 2 * MOST)
    backend = Backend("remote", server.token)
    jobs = [add(store, seed=seed) for seed in range(5)]
    outcomes = [outcome for _, outcome in as_ready(jobs, lambda job: finish(job, backend, store), 5)]
    assert len([outcome for outcome in outcomes if isinstance(outcome, LimitError)]) == 3
    assert len(server.asked(SUBMIT)) == 2
