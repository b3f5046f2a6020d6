"""Arithmetic on all cores: in order, whole, and over when it is told so."""

from __future__ import annotations

import threading

import pytest
from conftest import PATIENCE

from trellis_addon.core.errors import Cancelled
from trellis_addon.core.machine import parallel
from trellis_addon.core.machine.parallel import bands, on_all_cores, slices


@pytest.mark.parametrize("at_once", [1, 2, 5])
@pytest.mark.parametrize("first_alone", [False, True])
def test_outcomes_come_in_order_and_shares_rise(at_once: int, first_alone: bool) -> None:
    told: list[float] = []
    found = on_all_cores(range(20), lambda n: n * n, told.append, at_once, first_alone=first_alone)
    assert found == [n * n for n in range(20)]
    assert told == sorted(told) and told[-1] == 1.0 and len(told) == 20
    assert on_all_cores([], lambda n: n, at_once=at_once, first_alone=first_alone) == []


def test_two_are_at_work_at_the_same_time() -> None:
    """Each waits for the other: one after the other they would wait for ever."""
    both = threading.Barrier(2, timeout=PATIENCE)
    on_all_cores(range(2), lambda n: both.wait(), at_once=2)


def test_the_first_is_done_before_the_others_begin() -> None:
    began: list[int] = []
    caller = threading.get_ident()
    threads: dict[int, int] = {}

    def work(number: int) -> list[int]:
        began.append(number)
        threads[number] = threading.get_ident()
        return list(began)

    found = on_all_cores(range(4), work, at_once=3, first_alone=True)
    assert found[0] == [0] and threads[0] == caller and caller not in {threads[n] for n in (1, 2, 3)}


def test_what_is_spread_is_not_spread_again() -> None:
    def work(number: int) -> set[int]:
        return set(on_all_cores(range(6), lambda n: threading.get_ident(), at_once=4))

    inner = on_all_cores(range(3), work, at_once=3)
    assert all(len(threads) == 1 for threads in inner)
    assert threading.get_ident() not in set().union(*inner)


@pytest.mark.parametrize("at_once", [1, 3])
def test_an_exception_ends_it(at_once: int) -> None:
    begun: list[int] = []
    over = threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        if number == 2:
            raise ValueError("the third")
        if number > 2 and at_once > 1:
            over.wait(PATIENCE)

    with pytest.raises(ValueError, match="third"):
        on_all_cores(range(1000), work, at_once=at_once)
    assert len(begun) < 10
    over.set()


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_cancel_ends_it(at_once: int) -> None:
    begun: list[int] = []
    over = threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        if number >= 20 and at_once > 1:
            over.wait(PATIENCE)

    def told(share: float) -> None:
        if share >= 0.01:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        on_all_cores(range(1000), work, told, at_once)
    assert len(begun) < 30
    over.set()


def test_pieces_cover_all_and_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbers(pieces: list[slice]) -> list[int]:
        return [n for piece in pieces for n in range(piece.start, piece.stop)]

    for count, size, first in ((0, 4, 0), (1, 4, 2), (10, 4, 0), (10, 4, 2), (10, 4, 10), (10, 4, 11), (8, 4, 4)):
        assert numbers(slices(count, size, first)) == list(range(count)), (count, size, first)
    assert slices(10, 4, 2) == [slice(0, 2), slice(2, 6), slice(6, 10)]
    monkeypatch.setattr(parallel, "cores", lambda: 3)
    for count in (0, 1, 7, 64, 1000):
        assert [n for first, end in bands(count, 4) for n in range(first, end)] == list(range(count))
    assert len(bands(1000, 4)) == 3 and len(bands(7, 4)) == 1


def test_what_is_done_meanwhile_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    inside, go_on = threading.Event(), threading.Event()

    def work() -> int:
        inside.set()
        assert go_on.wait(PATIENCE)
        return 7

    outcome = parallel.meanwhile(work)
    assert inside.wait(PATIENCE), "it has begun while the caller goes on"
    go_on.set()
    assert outcome() == 7
    for error, told in ((ValueError("no"), ValueError), (SystemExit(3), RuntimeError)):

        def fail(error: BaseException = error) -> None:
            raise error

        with pytest.raises(told):
            parallel.meanwhile(fail)()


def test_on_one_core_it_is_done_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    done: list[int] = []
    outcome = parallel.meanwhile(lambda: done.append(1))
    assert not done
    outcome()
    assert done == [1]
