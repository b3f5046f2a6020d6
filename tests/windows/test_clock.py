"""The clock jumps by an hour, as Windows' does when the machine has slept: nothing is given up for it."""

from __future__ import annotations

import time
from typing import Any

from conftest import QUICK, disc
from test_worker import Desk, desk, wait_for  # noqa: F401

from trellis_addon import generate
from trellis_addon.core.progress import Progress

HOUR = 3600.0


def test_a_generation_goes_on(windows: Any) -> None:
    """The draft's service is asked before and after the jump, and while it works."""
    jumps = iter([HOUR] * 3)

    def jump(stage: str, share: float) -> None:
        windows.clock.jump(next(jumps, 0.0))

    path = windows.home / "cup.png"
    disc(96).save(path)
    asset = generate(path, output=windows.home / "cup.glb", progress=Progress(jump), **QUICK)
    assert asset.path.is_file() and next(jumps, None) is None


def test_the_worker_is_waited_for(desk: Desk, windows: Any) -> None:  # noqa: F811
    desk.hold()
    job = desk.start(1)
    wait_for(lambda: "begin 1" in desk.events())
    windows.clock.jump(HOUR)
    time.sleep(0.5)  # it is asked several times meanwhile
    desk.go()
    assert job.done().seed == 1
