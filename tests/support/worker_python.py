"""Stands for the local backend's Python in tests of the worker: the real service, its engine does as it is told.

TRELLIS2_PYTHON names a script that starts this file with the arguments that a Python gets (`-I -X utf8 ENTRY JSON`).
What the engine does with a seed is told by files in TRELLIS2_TEST_FOLDER: `hold` keeps it in the middle of its work,
`do-SEED` holds an action for that seed (each line is for one attempt: kill, crash, lost, or good). It writes each
`begin SEED PID` and `end SEED PID` as a line of `events`.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["TRELLIS2_TEST_FOLDER"])


class ObedientEngine:
    model = "draft:relief@1"

    def generate(self, order: Any, progress: Any) -> Any:
        from fault_server import small_glb

        from trellis_addon.engines.engine import Made

        seed = order.seed
        self.tell(f"begin {seed}")
        progress.update("Working", 0.5)
        while (FOLDER / "hold").exists() or (FOLDER / f"hold-{seed}").exists():
            progress.check()
            time.sleep(0.01)
        action = FOLDER / f"do-{seed}"
        lines = action.read_text().split() if action.exists() else []
        if lines:
            action.write_text("\n".join(lines[1:]))
            {"kill": self.kill, "crash": self.crash, "lost": self.lose, "good": lambda: None}[lines[0]]()
        self.tell(f"end {seed}")
        return Made(small_glb(seed), facts={"device": "Test", "peakMemory": 7, "resolution": 512, "notes": ["A note."]})

    def release(self) -> None:
        self.tell("release")

    def tell(self, what: str) -> None:
        with (FOLDER / "events").open("a") as file:
            file.write(f"{what} {os.getpid()}\n")

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def crash(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def lose(self) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported elsewhere")


if __name__ == "__main__":
    entry, argument = sys.argv[-2:]
    sys.path[:0] = [*json.loads(argument)[0], str(Path(__file__).resolve().parent)]
    sys.argv = [entry, argument]
    from trellis_addon.engines import registry
    from trellis_addon.service import main

    main._LOOK = 0.2  # it ends sooner when nobody needs it
    registry.create_engine = lambda model, device="": ObedientEngine()  # before the service's own modules take it over
    runpy.run_path(entry, run_name="__main__")
