"""A few rounds of the farm's kill test, which goes on for longer as `python tests/by_hand/farm_kill_test.py`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.mark.once
@pytest.mark.skipif(
    os.name != "posix", reason="needs SIGKILL; on Windows the tests of leases and workers stand for the same deaths"
)
def test_processes_of_a_farm_killed_at_random(tmp_path: Path) -> None:
    pytest.importorskip("bpy")
    import farm_kill_test

    outcome = farm_kill_test.run(3, 12, 4, 5, tmp_path)
    assert outcome.problems == []
    assert outcome.kills >= 2, "a busy machine may see some of the moments too late, when the work is done"
