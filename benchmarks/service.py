"""How much time and memory the service itself takes, beside its engine.

    python benchmarks/service.py [--jobs 50] [--seconds 2] [--workers 4] [--side 1024] [--folder FOLDER]

Starts a service in a process of its own with an engine that only sleeps, sends all jobs at once, each
with a picture, and polls until the last one is there. Nothing is asserted: the figures are for reading.
"""

from __future__ import annotations

import argparse
import base64
import io
import math
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TOKEN = "benchmark"
GLB_BYTES = 8 * 2**20
POLL_EVERY = 0.25  # seconds between two rounds over all jobs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=2.0, help="that the engine sleeps for one job")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--side", type=int, default=1024, help="of the picture, in pixels")
    parser.add_argument("--folder", type=Path, help="let the service keep everything here")
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

    class Sleeper:
        model = "draft:relief@1"

        def generate(self, order: Order, progress: Progress) -> Made:
            end = time.monotonic() + options.seconds
            while (left := end - time.monotonic()) > 0:
                progress.update("sleep", 1 - left / options.seconds)
                time.sleep(min(left, 0.1))
            return Made(b"glTF" + bytes(GLB_BYTES))

        def release(self) -> None:
            pass

    registry.create_engine = lambda model, device="": Sleeper()  # before the service's own modules take it over
    sys.exit(serve(token=TOKEN, workers=options.workers, folder=options.folder))


def measure(options: argparse.Namespace) -> None:
    arguments = [
        sys.executable,
        __file__,
        "--serve",
        "--workers",
        str(options.workers),
        "--seconds",
        str(options.seconds),
    ]
    if options.folder:
        arguments += ["--folder", str(options.folder)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
    assert process.stdout is not None
    try:
        url = httpx.Response(200, text=process.stdout.readline()).json()["url"]
        with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
            report(options, run(options, client, url, process.pid))
    finally:
        process.terminate()
        process.wait()


def run(options: argparse.Namespace, client: httpx.Client, url: str, pid: int) -> dict[str, Any]:
    image = picture(options.side)
    client.post(url, json=[{"taskType": "ping"}])
    before = memory(pid)
    submits: list[float] = []
    polls: list[float] = []
    resident: list[float] = []
    waiting = [str(uuid.uuid4()) for _ in range(options.jobs)]
    began = time.perf_counter()
    for task_uuid in waiting:
        task = {"taskType": "3dInference", "taskUUID": task_uuid, "model": "microsoft:trellis-2@4b"}
        submits.append(timed(client, url, {**task, "inputs": {"image": image}})[0])
    submitted = time.perf_counter() - began
    while waiting:
        for task_uuid in list(waiting):
            seconds, body = timed(client, url, {"taskType": "getResponse", "taskUUID": task_uuid})
            polls.append(seconds)
            if body["data"][0]["status"] == "success":
                waiting.remove(task_uuid)
        resident.append(memory(pid)["now"])
        time.sleep(POLL_EVERY)
    wall = time.perf_counter() - began
    return {
        "wall": wall, "submitted": submitted, "submits": submits, "polls": polls,
        "before": before, "after": memory(pid), "resident": resident,
    }  # fmt: skip


def report(options: argparse.Namespace, found: dict[str, Any]) -> None:
    ideal = math.ceil(options.jobs / options.workers) * options.seconds
    print(
        f"{options.jobs} jobs of {options.seconds:g} s on {options.workers} workers, pictures of {options.side} pixels"
    )
    print(f"  wall time        {found['wall']:8.2f} s")
    print(f"  ideal            {ideal:8.2f} s      {found['wall'] / ideal:.3f} of it")
    print(f"  all submitted    {found['submitted']:8.2f} s")
    for name in ("submits", "polls"):
        values = sorted(1000 * value for value in found[name])
        spread = f"median {statistics.median(values):7.1f} ms   95 % {values[int(len(values) * 0.95)]:7.1f} ms"
        print(f"  {name:<9} {len(values):5}   {spread}   most {values[-1]:7.1f} ms")
    resident = found["resident"]
    middle = resident[len(resident) // 2]
    print(
        f"  memory    before {found['before']['now']:.0f} MB, in the middle {middle:.0f} MB, after "
        f"{found['after']['now']:.0f} MB, at most {found['after']['most']:.0f} MB"
    )


def timed(client: httpx.Client, url: str, task: dict[str, Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    response = client.post(url, json=[task])
    seconds = time.perf_counter() - began
    response.raise_for_status()
    return seconds, response.json()


def picture(side: int) -> str:
    """A cut-out disc with some noise in it, as a data URI."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    rgba = np.random.default_rng(1).integers(90, 160, (side, side, 4), np.uint8)
    rgba[..., 3] = (np.hypot(x, y) < 0.4) * 255
    buffer = io.BytesIO()
    Image.fromarray(rgba, "RGBA").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def memory(pid: int) -> dict[str, float]:
    """Megabytes that the process holds now, and the most it ever held; Linux only."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {"now": math.nan, "most": math.nan}
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return {"now": sizes["VmRSS"], "most": sizes["VmHWM"]}


if __name__ == "__main__":
    main()
