"""When a service that has ended is started again, and which of its states may follow which."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from trellis_addon.client.worker_status import TRANSITIONS, WorkerState, WorkerStatus
from trellis_addon.service.lifetime import presence
from trellis_addon.service.lifetime.restarts import ROW, WAITS, Restarts


@pytest.mark.parametrize("has_folder", [True, False])
def test_each_end_in_a_row_waits_longer_and_then_it_is_given_up(tmp_path: Path, has_folder: bool) -> None:
    restarts = Restarts(lambda: (tmp_path if has_folder else None, None))
    waits = []
    for pid in range(1, 7):
        restarts.begins()
        assert "ended by force" in restarts.has_ended(pid, -9)
        waits.append(restarts.pause())
    assert waits == [*WAITS, None] and restarts.in_a_row() == 6
    assert len(presence.ends(tmp_path)) == (6 if has_folder else 0)
    time.sleep(0.01)
    restarts.asked_for()
    assert restarts.in_a_row() == 0 and restarts.pause() == 0, "somebody's word begins another row"


def test_ends_of_long_ago_are_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restarts = Restarts(lambda: (None, None))
    for pid in (1, 2, 3):
        restarts.has_ended(pid, 1)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + ROW + 1)
    assert restarts.in_a_row() == 0
    restarts.has_ended(4, 1)
    assert restarts.pause() == WAITS[0]


def test_what_did_not_even_start_counts_and_other_programs_see_it(tmp_path: Path) -> None:
    mine, theirs = (Restarts(lambda: (tmp_path, None)) for _ in range(2))
    mine.has_not_started("The disk is full")
    mine.has_not_started("The disk is full")
    theirs.has_ended(77, 1)
    assert mine.in_a_row() == theirs.in_a_row() == 3
    assert [end["cause"] for end in presence.ends(tmp_path)][:2] == ["The disk is full"] * 2


def test_states_follow_their_table() -> None:
    assert set(TRANSITIONS) == set(WorkerState)
    allowed = {
        (one, other)
        for one, other in itertools.product(WorkerState, repeat=2)
        if WorkerStatus(one).may_become(WorkerStatus(other))
    }
    assert ("stopped", "running") not in allowed and ("failed", "running") not in allowed
    assert {
        ("stopped", "starting"),
        ("starting", "running"),
        ("running", "starting"),
        ("running", "running"),
    } <= allowed
