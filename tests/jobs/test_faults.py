"""The fault matrix: what becomes of a job for every way in which a service and a network can fail.

    python tests/jobs/test_faults.py    runs it and prints it as a table

Each row runs one job, with the real client, runner and store, against a fault server that stands for the paid
API. A job that is not over then is run once more, after the trouble has passed. In no row is a task sent under
two taskUUIDs, or made (and paid) more often than it was asked for.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import sentence  # first: it is what finds the package

# isort: split
import faults as f
import pytest
from fault_server import DETAILS, FILE, FOREVER, POLL, SUBMIT, Fault, FaultServer
from fault_world import World

from trellis_addon.core.errors import (
    AccessError,
    ApiKeyError,
    BalanceError,
    BusyError,
    ContentError,
    DamagedFileError,
    EngineError,
    NetworkError,
    RefusedError,
    ServiceError,
    TimedOutError,
    TrellisError,
)
from trellis_addon.jobs.job import Job, State
from trellis_addon.jobs.store import JobStore


@dataclass(frozen=True)
class Row:
    """One kind of trouble and what is to come of it; `then` is the state after another run without it."""

    name: str
    faults: Callable[[], list[Fault]]
    state: State = State.READY
    error: type[TrellisError] | None = None
    says: str = ""
    submissions: int = 1
    then: State = State.READY
    settings: dict[str, Any] = field(default_factory=dict)
    results: int = 1
    token: str = ""
    failing_seeds: tuple[int, ...] = ()
    engine_seconds: float = 0.0


def _row(name: str, *faults: Callable[[], Fault], **expected: Any) -> Row:
    return Row(name, lambda: [fault() for fault in faults], **expected)


W, U, FAILED = State.RUNNING, State.UNCERTAIN, State.FAILED
NEVER: dict[str, Any] = {"state": FAILED, "then": FAILED}

MATRIX = [
    _row("no fault"),
    # the submission
    _row("submit: answer lost, polling settles it", lambda: f.lost_answer(SUBMIT), submissions=2),
    _row("submit: answers lost for good", lambda: f.lost_answer(SUBMIT, times=FOREVER), state=U, error=NetworkError,
         says="cannot be reached", submissions=5),
    _row("submit: never arrived at all", lambda: f.dropped(SUBMIT, times=5), state=U, error=NetworkError,
         says="check the address and the network", submissions=5),
    _row("submit: never arrived, then it does", lambda: f.dropped(SUBMIT, times=2), submissions=3),
    _row("submit: done, 502 in place of the answer", lambda: f.status(502, SUBMIT, done=True), submissions=2),
    _row("submit: done, a web page in place of the answer", lambda: f.html(SUBMIT, done=True), submissions=2),
    _row("submit: done, the answer is cut off", lambda: f.truncated(SUBMIT), submissions=2),
    _row("submit: done, the answer is not JSON", lambda: f.garbage(SUBMIT, done=True), submissions=2),
    _row("submit: done, an empty answer", lambda: f.empty(SUBMIT, done=True), submissions=2),
    _row("submit: answer lost, then no credit", lambda: f.lost_answer(SUBMIT),
         lambda: f.refused("insufficientCredits", 402, SUBMIT), submissions=2),
    _row("submit: 503 storm, then fine", lambda: f.status(503, SUBMIT, times=4), submissions=5),
    _row("submit: 503 and no end", lambda: f.status(503, SUBMIT, times=FOREVER), state=U, error=ServiceError,
         says="out of order", submissions=5),
    _row("submit: 429 with Retry-After", lambda: f.rate_limited(SUBMIT, 7, times=2), submissions=3),
    _row("submit: 429 and no end", lambda: f.rate_limited(SUBMIT, times=FOREVER), state=U, error=BusyError,
         says="busy", submissions=5),
    _row("submit: a rate limit in a 200, then fine", lambda: f.said_busy(SUBMIT, times=3), submissions=4),
    _row("submit: a rate limit in a 400, then fine", lambda: f.said_busy(SUBMIT, 400, times=2), submissions=3),
    _row("submit: out of order in a 200, then fine",
         lambda: f.said_busy(SUBMIT, name="serviceUnavailable", times=2), submissions=3),
    _row("submit: a rate limit in a 200 and no end", lambda: f.said_busy(SUBMIT, times=FOREVER), state=U,
         error=BusyError, says="busy", submissions=5),
    _row("submit: a web page, as in a hotel", lambda: f.html(SUBMIT, times=FOREVER), state=U, error=NetworkError,
         says="no JSON", submissions=5),
    _row("submit: reset while waiting", lambda: f.hang(0.2, SUBMIT), submissions=2),
    _row("submit: the result comes at once", lambda: f.in_the_acknowledgement()),
    _row("submit: acknowledged with empty data", lambda: f.no_data(SUBMIT)),
    _row("submit: acknowledged as an object", lambda: f.data_as_object(SUBMIT)),
    _row("wrong key", token="some-other-key-0815", error=ApiKeyError, says="key is not accepted", **NEVER),
    _row("no credit", lambda: f.refused("insufficientCredits", 402, SUBMIT, "Not enough.", times=FOREVER),
         error=BalanceError, says="Add credit", **NEVER),
    _row("no permission", lambda: f.refused("forbidden", 403, SUBMIT, times=FOREVER), error=AccessError,
         says="may not do this", **NEVER),
    _row("content refused", lambda: f.refused("contentPolicyViolation", 400, SUBMIT, "No.", times=FOREVER),
         error=ContentError, says="Use another picture", **NEVER),
    _row("a field refused", lambda: f.refused("invalidInteger", 400, SUBMIT, "It must be 512.", times=FOREVER,
         parameter="settings.resolution"), error=RefusedError, says="It must be 512", **NEVER),
    _row("two fields refused", lambda: f.list_parameter(times=FOREVER), error=RefusedError, says="go together",
         **NEVER),
    # polling
    _row("poll: answers lost", lambda: f.lost_answer(POLL, times=3)),
    _row("poll: reset in mid-body", lambda: f.reset(POLL, times=2)),
    _row("poll: 500s, then fine", lambda: f.status(500, POLL, times=4)),
    _row("poll: 503 and no end", lambda: f.status(503, POLL, times=FOREVER), state=W, error=ServiceError,
         says="out of order"),
    _row("poll: 429 with Retry-After", lambda: f.rate_limited(POLL, 3, times=2)),
    _row("poll: a rate limit in a 200", lambda: f.said_busy(POLL, times=4)),
    _row("poll: a rate limit in a 200 and no end", lambda: f.said_busy(POLL, times=FOREVER), state=W,
         error=BusyError, says="busy"),
    _row("poll: a web page", lambda: f.html(POLL, 404, times=FOREVER), state=W, error=ServiceError, says="no JSON"),
    _row("poll: the key is accepted no more", lambda: f.refused("invalidApiKey", 401, POLL, times=FOREVER), state=W,
         error=ApiKeyError, says="key is not accepted"),
    _row("poll: 'not found' for a while", lambda: f.refused("taskNotFound", 404, POLL, times=3)),
    _row("poll: empty, the details know", lambda: f.no_data(POLL, times=FOREVER)),
    _row("poll: empty, the details fail at first", lambda: f.no_data(POLL, times=FOREVER),
         lambda: f.status(500, DETAILS, times=2)),
    _row("poll: without a status", lambda: f.without_status(times=FOREVER)),
    _row("poll: an unknown status", lambda: f.status_word("pending", times=4)),
    _row("poll: an object for data", lambda: f.data_as_object(POLL, times=FOREVER)),
    _row("poll: an empty list of errors", lambda: f.empty_errors(POLL, times=FOREVER)),
    _row("poll: other tasks' news only", lambda: f.for_others(POLL, times=3)),
    _row("poll: among other tasks' news", lambda: f.among_others(POLL, times=FOREVER)),
    _row("poll: everything twice", lambda: f.duplicated(times=FOREVER), settings={"number_results": 2}, results=2),
    _row("poll: last result first", lambda: f.reversed_order(times=FOREVER), settings={"number_results": 3}, results=3),
    _row("poll: four results, one by one", lambda: f.trickling(), settings={"number_results": 4}, results=4),
    _row("poll: no resultIndex", lambda: f.without_index(times=FOREVER), lambda: f.trickling(),
         settings={"number_results": 3}, results=3),
    _row("poll: processing without end", lambda: f.status_word("processing", times=FOREVER), state=W,
         error=TimedOutError, says="can be asked for again"),
    _row("poll: one of two results fails", settings={"number_results": 2}, results=1, failing_seeds=(7,),
         engine_seconds=0.05),
    _row("the generation fails", failing_seeds=(7,), error=EngineError, says="generation failed", **NEVER),
    _row("fails in a single error", lambda: f.single_error(POLL, times=FOREVER), error=EngineError,
         says="generation failed", state=FAILED),
    _row("fails inside of the item", lambda: f.item_error(times=FOREVER), error=EngineError,
         says="generation failed", state=FAILED),
    _row("an item says it was not our picture", lambda: f.item_error(POLL, "nsfwContentDetected", times=FOREVER),
         error=ContentError, says="Use another picture", state=FAILED),
    _row("fails with a service's code", lambda: f.item_error(POLL, "internalServerError", times=FOREVER),
         error=EngineError, says="generation failed", state=FAILED),
    _row("the service ails for two polls", lambda: f.single_error(POLL, "internalServerError", times=2)),
    # files
    _row("file: cut off, gone on with", lambda: f.truncated(FILE)),
    _row("file: reset in mid-body", lambda: f.reset(FILE, 0.3, times=3)),
    _row("file: 422 and 502 just after success", lambda: f.status(422, FILE, times=3),
         lambda: f.status(502, FILE, times=3)),
    _row("file: expired", lambda: f.status(404, FILE, times=FOREVER), state=W, error=NetworkError, says="404"),
    _row("file: forbidden", lambda: f.status(403, FILE, times=FOREVER), state=W, error=NetworkError, says="403"),
    _row("file: a web page once", lambda: f.html(FILE)),
    _row("file: a web page always", lambda: f.html(FILE, times=FOREVER), state=W, error=DamagedFileError, says="GLB"),
    _row("file: half of it as if it were all", lambda: f.cut_short(times=FOREVER), state=W, error=DamagedFileError),
    _row("file: altered", lambda: f.altered(times=2)),
    _row("file: longer than it says", lambda: f.wrong_length(FILE, -100)),
    _row("file: drips in", lambda: f.dripping(FILE, 0.3)),
    _row("file: on another host", lambda: f.files_elsewhere(times=FOREVER)),
    _row("file: sent on to another host", lambda: f.redirected()),
    _row("file: packed, which was not asked for", lambda: f.packed(times=FOREVER), state=W, error=NetworkError,
         says="packs it"),
    _row("file: at an address of this machine's disk", lambda: f.results_at("file:///etc/hostname", times=FOREVER),
         state=W, error=NetworkError, says="none of the web"),
    _row("file: sent round in a circle", lambda: f.looping(times=FOREVER), state=W, error=NetworkError,
         says="broke off"),
    # time
    _row("clock: hours forward", lambda: f.clock_jump(3 * 3600, POLL)),
    _row("clock: an hour back", lambda: f.clock_jump(-3600, POLL)),
    _row("clock: past the files' life", lambda: f.clock_jump(3600, FILE), settings={"ttl": 60}, state=W,
         error=NetworkError, says="404", then=W),
]  # fmt: skip


@dataclass(frozen=True)
class Ending:
    state: State
    error: TrellisError | None
    then: State
    submissions: int
    uuids: int
    paid: int
    results: int


def play(row: Row, folder: Path) -> Ending:
    with FaultServer(row.faults()) as server:
        server.engine.seconds = row.engine_seconds
        server.engine.errors = {seed: EngineError("The engine stumbled.") for seed in row.failing_seeds}
        world = World(server, JobStore(folder), row.token)
        job = world.job(**row.settings)
        error = _outcome(world, job)
        state, submissions = world.state(job), len(world.submissions)
        world.end_faults()
        if state is not State.READY:
            _outcome(world, job)
        done = world.store.get(job.uuid)
        assert done is not None and all(asset.path.is_file() for asset in done.assets)
        uuids = len(set(world.submissions))
        return Ending(state, error, done.state, submissions, uuids, world.paid, len(done.assets))


def _outcome(world: World, job: Job) -> TrellisError | None:
    try:
        world.run(job)
    except TrellisError as error:
        return error
    return None


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: row.name)
def test_matrix(row: Row, tmp_path: Path) -> None:
    ending = play(row, tmp_path)
    assert type(ending.error) is (row.error or type(None)), ending
    assert (ending.state, ending.then) == (row.state, row.then), ending
    assert ending.submissions == row.submissions and ending.uuids == 1
    assert ending.paid <= row.settings.get("number_results", 1), "made, and paid, twice"
    if ending.error is not None:
        assert row.says in sentence(ending.error)
    if ending.then is State.READY:
        assert ending.results == row.results


def test_the_matrix_is_large() -> None:
    assert len(MATRIX) - 1 >= 30 and len({row.name for row in MATRIX}) == len(MATRIX)


def main() -> int:
    logging.disable()
    wrong = 0
    width = max(len(row.name) for row in MATRIX)
    print(f"{'fault':<{width}}  {'state':<9} {'error':<16} sent as paid  then      sentence")
    for row in MATRIX:
        with tempfile.TemporaryDirectory() as folder:
            ending = play(row, Path(folder))
        error = type(ending.error).__name__ if ending.error else ""
        wrong += (ending.state, ending.then, error) != (row.state, row.then, row.error.__name__ if row.error else "")
        print(
            f"{row.name:<{width}}  {ending.state:<9} {error:<16} {ending.submissions:>4} {ending.uuids:>2} "
            f"{ending.paid:>4}  {ending.then:<9} {ending.error or ''}"
        )
    print(f"{len(MATRIX) - 1} kinds of faults, {wrong} not as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
