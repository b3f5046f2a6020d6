"""How the service bears thousands of tasks that wait: memory, times of submit and poll, and a restart.

    python benchmarks/station.py [--tasks 10000] [--side 64] [--folder FOLDER] [--clients 20]

Starts a service in a process of its own with an engine that holds its first task until the end, and sends tasks, each
with a picture, until so many wait. At 1,000, 5,000 and 10,000 the memory is read; all the while tasks are polled at
random. Then the process is killed and started again on the same folder. As a peer, in the same run, the times of a
request that does nothing (`ping`). Nothing is asserted: the figures are for reading.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import httpx
from service import memory, picture, timed

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TOKEN = "benchmark"
MARKS = (100, 1000, 5000, 10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=64, help="of the picture, in pixels")
    parser.add_argument("--clients", type=int, default=20, help="programs that send, by their header")
    parser.add_argument("--folder", type=Path, help="the service's (default: a temporary one)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            options.folder = options.folder or Path(temporary) / "service"
            measure(options)


def serve(options: argparse.Namespace) -> None:
    """The other process: the service, with an engine that makes nothing while it lives."""
    from trellis_addon.core.progress import Progress
    from trellis_addon.engines import registry
    from trellis_addon.engines.engine import Made, Order
    from trellis_addon.service import serve

    class Holder:
        model = "draft:relief@1"

        def generate(self, order: Order, progress: Progress) -> Made:
            while True:
                progress.update("hold", 0.5)
                time.sleep(1.0)

        def release(self) -> None:
            pass

    registry.create_engine = lambda model, device="": Holder()  # before the service's own modules take it over
    sys.exit(serve(token=TOKEN, workers=1, folder=options.folder))


def begin(options: argparse.Namespace) -> tuple[subprocess.Popen[str], str, float]:
    """The service's process, its address, and the seconds until it answers."""
    arguments = [sys.executable, __file__, "--serve", "--folder", str(options.folder)]
    began = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
    assert process.stdout is not None
    url = httpx.Response(200, text=process.stdout.readline()).json()["url"]
    return process, url, time.perf_counter() - began


def measure(options: argparse.Namespace) -> None:
    process, url, seconds = begin(options)
    ready = processor(process.pid)
    print(f"an empty service is ready after {seconds:.2f} s, of which the processor {ready:.2f} s (imports)")
    image = picture(options.side)
    sent: list[str] = []
    choose = random.Random(1)
    with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
        try:
            timed(client, url, {"taskType": "ping"})
            print(
                f"{'waiting':>8}  {'memory':>8}  {'CPU/task':>9}   submit p50/p99      poll p50/p99        ping p50/p99"
            )
            for mark in [*(mark for mark in MARKS if mark < options.tasks), options.tasks]:
                times: dict[str, list[float]] = {"submit": [], "poll": [], "ping": []}
                before, first = processor(process.pid), len(sent)
                while len(sent) < mark:
                    client.headers["X-Trellis-Client"] = f"program {len(sent) % options.clients}"
                    sent.append(str(uuid.uuid4()))
                    task = {"taskType": "3dInference", "taskUUID": sent[-1], "model": "microsoft:trellis-2@4b"}
                    times["submit"].append(timed(client, url, {**task, "inputs": {"image": image}})[0])
                    asked = {"taskType": "getResponse", "taskUUID": choose.choice(sent)}
                    times["poll"].append(timed(client, url, asked)[0])
                    times["ping"].append(timed(client, url, {"taskType": "ping"})[0])
                used = 1000 * (processor(process.pid) - before) / (mark - first)
                spread = "   ".join(f"{at(found, 0.5):6.1f}/{at(found, 0.99):6.1f} ms" for found in times.values())
                print(f"{mark:>8}  {memory(process.pid)['now']:>5.0f} MB  {used:>6.2f} ms   {spread}", flush=True)
        finally:
            process.kill()
            process.wait()
        restart(options, client, sent)


def restart(options: argparse.Namespace, client: httpx.Client, sent: list[str]) -> None:
    """After a kill, on the same folder: until it answers, and what is left."""
    process, url, seconds = begin(options)
    try:
        ready = processor(process.pid)
        about = client.get(url).json()
        first = timed(client, url, {"taskType": "getResponse", "taskUUID": sent[-1]})[0]
        left = f"{about['unfinished']} tasks are there, {memory(process.pid)['now']:.0f} MB"
        used = f"{seconds:.2f} s, of which the processor {ready:.2f} s"
        print(f"killed and started again: ready after {used}; {left}; a poll takes {1000 * first:.1f} ms")
    finally:
        process.kill()
        process.wait()


def at(seconds: list[float], share: float) -> float:
    """The quantile, in milliseconds."""
    return 1000 * sorted(seconds)[min(int(share * len(seconds)), len(seconds) - 1)]


def processor(pid: int) -> float:
    """Seconds of the processor that the process has used; Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    main()
