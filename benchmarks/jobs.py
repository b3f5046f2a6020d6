"""How long many jobs take together, beyond what their engine takes: sending, polling, downloading, writing down.

    python benchmarks/jobs.py [--jobs 50] [--seconds 2] [--workers 4] [--at-once 50] [--remote]

Starts our service in a process of its own with an engine that only sleeps, and takes all jobs to their end at
the same time, as a script would: the store, one client a job, `finish`. Nothing is asserted: the figures are for
reading. `--remote` asks at the pace that is polite towards the paid API.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from service import TOKEN, memory, picture  # noqa: E402

from trellis_addon.api import finish  # noqa: E402
from trellis_addon.client.backends import Backend  # noqa: E402
from trellis_addon.core.machine.parallel import as_ready  # noqa: E402
from trellis_addon.jobs.store import JobStore  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402
from trellis_addon.task.task import Task  # noqa: E402

SIDE = 512  # of the picture, in pixels
TICK = 0.01  # seconds: how often the main thread wants to be there


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=2.0, help="that the engine sleeps for one job")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=50, help="jobs in flight at the same time")
    parser.add_argument("--remote", action="store_true", help="poll as the paid API is polled")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options)
    else:
        measure(options)


def serve(options: argparse.Namespace) -> None:
    """The other process: the service with the sleeping engine in place of the one it would make."""
    from trellis_addon.core.progress import Progress
    from trellis_addon.engines import registry
    from trellis_addon.engines.engine import Made, Order
    from trellis_addon.service import serve
    from trellis_addon.task.settings import DRAFT_MODEL

    glb = small_glb()

    class Sleeper:
        model = DRAFT_MODEL

        def generate(self, order: Order, progress: Progress) -> Made:
            time.sleep(options.seconds)
            return Made(glb)

        def release(self) -> None:
            pass

    registry.create_engine = lambda model, device="": Sleeper()  # before the service's own modules take it over
    sys.exit(serve(token=TOKEN, workers=options.workers))


def measure(options: argparse.Namespace) -> None:
    arguments = ["--serve", "--workers", str(options.workers), "--seconds", str(options.seconds)]
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    try:
        url = json.loads(process.stdout.readline())["url"]
        with tempfile.TemporaryDirectory() as folder:
            report(options, run(options, url, JobStore(Path(folder)), process.pid))
    finally:
        process.terminate()
        process.wait()


def run(options: argparse.Namespace, url: str, store: JobStore, service: int) -> dict[str, Any]:
    os.environ["RUNWARE_BASE_URL"] = url
    backend = Backend("remote" if options.remote else url, TOKEN)
    image = picture(SIDE)
    jobs = [
        store.add(Task(image, Settings(seed=number)), name=str(number), backend=backend.name)
        for number in range(options.jobs)
    ]
    before = memory(os.getpid())["now"], memory(service)["now"]
    stalls = Stalls()
    began = time.perf_counter()
    failed = []
    # The jobs' threads and the one that waits for them beside the main thread, as in Blender.
    waiting = threading.Thread(
        target=lambda: failed.extend(
            outcome
            for _, outcome in as_ready(jobs, lambda job: finish(job, backend, store), options.at_once)
            if isinstance(outcome, Exception)
        )
    )
    waiting.start()
    while waiting.is_alive():
        stalls.tick()
    return {
        "wall": time.perf_counter() - began,
        "failed": failed,
        "stalls": stalls,
        "before": before,
        "after": (memory(os.getpid())["now"], memory(service)["now"]),
    }


class Stalls:
    """How late the main thread comes round, while the others work."""

    def __init__(self) -> None:
        self.late: list[float] = []

    def tick(self) -> None:
        began = time.perf_counter()
        time.sleep(TICK)
        self.late.append(time.perf_counter() - began - TICK)


def report(options: argparse.Namespace, found: dict[str, Any]) -> None:
    ideal = math.ceil(options.jobs / options.workers) * options.seconds
    late = sorted(1000 * value for value in found["stalls"].late)
    print(f"{options.jobs} jobs of {options.seconds:g} s on {options.workers} workers, {options.at_once} in flight")
    print(f"  wall time    {found['wall']:8.2f} s")
    print(f"  ideal        {ideal:8.2f} s     {found['wall'] / ideal:.3f} of it")
    print(f"  failed       {len(found['failed']):8}       {'; '.join(map(str, found['failed'][:2]))}")
    print(f"  main thread  {late[len(late) // 2]:8.1f} ms late in the middle, {late[-1]:.1f} ms at most")
    for name, before, after in zip(("here", "service"), found["before"], found["after"], strict=True):
        print(f"  memory       {before:8.0f} MB before, {after:.0f} MB after   {name}")


def small_glb() -> bytes:
    """A valid GLB of some 50 kB."""
    import numpy as np

    from trellis_addon.formats.glb.write import Material, Mesh, write_glb

    side = 40
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, side), np.linspace(0, 1, side))
    positions = np.stack([x, y, 0 * x], 2).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).reshape(-1, 1)
    faces = np.concatenate([corner + [0, 1, side], corner + [1, side + 1, side]]).astype(np.uint32)
    return write_glb(Mesh(positions, faces), Material(), {})


if __name__ == "__main__":
    main()
