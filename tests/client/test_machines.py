"""What a service tells of the machines behind it, in words: whatever it tells."""

from __future__ import annotations

from typing import Any

import pytest

from trellis_addon.client.machines import machines_of


def test_each_machine_has_a_line() -> None:
    about = {
        "cluster": [
            {"name": "a", "state": "used", "workers": 2, "running": ["Sampling 40%"], "made": 7},
            {"name": "b", "state": "unfit", "why": "it has no weights; set TRELLIS2_WEIGHTS there"},
            {"name": "c", "state": "drained", "workers": 0},
        ]
    }
    assert machines_of(about) == [
        "a: 1 of 2 working, 7 made",
        "b is not used: it has no weights; set TRELLIS2_WEIGHTS there",
        "c: drained",
    ]


@pytest.mark.parametrize(
    "told", [None, {}, "many", [1, None, "x"], [{}], [{"name": [1] * 999, "state": {"a": 1}}] * 99]
)
def test_what_is_not_told_as_it_should_be_does_no_harm(told: Any) -> None:
    lines = machines_of({"cluster": told})
    assert len(lines) <= 32 and all(len(line) < 400 for line in lines)
