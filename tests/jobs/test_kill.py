"""A few rounds of the kill test, which goes on for longer as `python tests/by_hand/kill_test.py`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.mark.once
@pytest.mark.skipif(
    os.name != "posix", reason="needs SIGKILL; on Windows the table of faults breaks jobs off at the same points"
)
def test_killed_at_random_moments(tmp_path: Path) -> None:
    pytest.importorskip("bpy")
    import kill_test

    outcome = kill_test.run(6, 3, tmp_path)
    assert outcome.problems == [] and outcome.kills == 6
