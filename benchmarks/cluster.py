"""What a cluster costs, and what it survives: several Ray nodes on this machine behind one service.

    python benchmarks/cluster.py [--jobs 200] [--seconds 10] [--only loss|throughput|overhead]

loss         drafts while one node is killed (SIGKILL), one is drained and one joins: how many were made, with which
             seeds, and whether their bytes are those that this process makes
throughput   an engine that only waits, on 1, 2 and 3 nodes of two workers each, beside the ideal
overhead     an engine that does nothing, of a process of the cluster beside one of this process, in one run

Nothing is asserted: the figures are for reading. Needs the extra `cluster`. Not on Windows, where Ray has no cluster of
several nodes on one machine.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# The nodes are processes of this one, and are told by its environment, before Ray is imported.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "PYTHONPATH": str(ROOT)}

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from trellis_addon.cluster import board  # noqa: E402
from trellis_addon.cluster.pool import Cluster  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.engines import registry  # noqa: E402
from trellis_addon.engines.engine import Engine, Made, Order  # noqa: E402
from trellis_addon.images import load_image  # noqa: E402
from trellis_addon.service.handlers import Service  # noqa: E402
from trellis_addon.service.records import TaskRecord  # noqa: E402
from trellis_addon.task.settings import DRAFT_MODEL, TRELLIS2_MODEL  # noqa: E402
from trellis_addon.task.task import new_uuid  # noqa: E402

STORE = 256 * 2**20  # bytes of each node's object store
GLB_BYTES = 8 * 2**20
WAITING = 60  # tasks at a time, of the 100 that a service takes
QUICK = {"resolution": 512, "textureSize": 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0, help="that the waiting engine takes")
    parser.add_argument("--only", choices=("loss", "throughput", "overhead"))
    options = parser.parse_args()
    if options.only in (None, "loss"):
        loss(options.jobs)
    if options.only in (None, "throughput"):
        throughput(options.seconds)
    if options.only in (None, "overhead"):
        overhead()


class Waiter:
    """Takes its time, and no processor's."""

    model = DRAFT_MODEL

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def generate(self, order: Order, progress: Progress) -> Made:
        end = time.monotonic() + self._seconds
        while (left := end - time.monotonic()) > 0:
            progress.update("Waiting", 1 - left / self._seconds)
            time.sleep(min(left, 0.1))
        return Made(b"glTF" + bytes(GLB_BYTES))

    def release(self) -> None:
        pass


class Make:
    """What makes a waiting engine, in whatever process."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, model: str, device: str = "") -> Engine:
        return Waiter(self._seconds)


@contextmanager
def nodes(count: int, processors: int) -> Iterator[tuple[Any, list[Any]]]:
    from ray.cluster_utils import Cluster as Nodes

    found = Nodes(
        initialize_head=True, head_node_args={"num_cpus": processors, "num_gpus": 1, "object_store_memory": STORE}
    )
    try:
        more = [add_node(found, processors) for _ in range(count - 1)]
        yield found, more
    finally:
        found.shutdown()


def add_node(found: Any, processors: int) -> Any:
    return found.add_node(num_cpus=processors, num_gpus=1, object_store_memory=STORE)  # the cards are pretended


@contextmanager
def service(
    found: Any, create_engine: Callable[..., Engine] = registry.create_engine, workers: int = 1
) -> Iterator[tuple[Any, Any]]:
    """A service with `found` nodes behind it, or with `workers` of this process where that is None."""
    cluster = None if found is None else Cluster(found.address, engine="draft", create_engine=create_engine)
    if cluster is not None:
        cluster.connect()
    with tempfile.TemporaryDirectory() as folder:
        told: dict[str, Any] = {"workers": workers} if cluster is None else {"cluster": cluster}
        one = Service("token", engine="draft", folder=Path(folder), create_engine=create_engine, **told)
        try:
            one.start()
            yield one, cluster
        finally:
            one.close()


def picture(side: int) -> bytes:
    y, x = np.mgrid[:side, :side] / (side - 1) * 2 - 1
    inside = x * x + y * y < 0.8
    pixels = np.stack([120 + 80 * x, 100 + 60 * y, 90 + 0 * x, 255 * inside], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "PNG")
    return file.getvalue()


def send(one: Service, image: bytes, seed: int) -> TaskRecord:
    uri = "data:image/png;base64," + base64.b64encode(image).decode()
    task = {"taskType": "3dInference", "taskUUID": new_uuid(), "model": TRELLIS2_MODEL, "inputs": {"image": uri}}
    reply, _ = one.answer([task | {"seed": seed, "settings": QUICK}], "http://here", False)
    if reply.errors:
        raise SystemExit(reply.errors[0]["message"])
    record = one.tasks.get(task["taskUUID"])
    assert record is not None
    return record


def until(holds: Callable[[], bool]) -> float:
    """Seconds until something holds."""
    began = time.monotonic()
    while not holds():
        time.sleep(0.02)
    return time.monotonic() - began


def loss(jobs: int) -> None:
    image = picture(512)
    rows: list[tuple[str, str]] = []
    with nodes(3, 1) as (found, (killed, drained)), service(found) as (one, cluster):
        until(lambda: one.about()["workers"] == 3)
        records: list[TaskRecord] = []
        steps = [(0.2, "killed"), (0.4, "drained"), (0.6, "joined")]
        began = time.monotonic()
        while not (len(records) == jobs and all(record.done for record in records)):
            done = sum(record.done for record in records)
            while len(records) < jobs and len(records) - done < WAITING:
                records.append(send(one, image, seed=len(records)))
            if steps and done >= steps[0][0] * jobs:
                _, what = steps.pop(0)
                if what == "killed":
                    os.kill(killed.all_processes["raylet"][0].process.pid, signal.SIGKILL)
                elif what == "drained":
                    board.drain(drained.node_id, board.FINISH)
                else:
                    add_node(found, 1)
                rows.append((f"one node {what} after", f"{done} results"))
            time.sleep(0.05)
        seconds = time.monotonic() - began
        items = [slot.item for record in records for slot in record.slots]
        states = Counter(node["state"] for node in cluster.status()["nodes"])
        made = {node["name"]: node["made"] for node in cluster.status()["nodes"]}
        files = [path for path in one.files.folder.iterdir() if path.suffix == ".glb"]
        settled = sum(one.meter._results.values())
        again = sum(slot.losses for record in records for slot in record.slots)
        seeds = sum(
            item is not None and item["seed"] == record.seed for item, record in zip(items, records, strict=True)
        )
        engine, prepared = registry.create_engine(DRAFT_MODEL), load_image(image, allow_path=False)
        same = 0
        sample = records[:: max(1, jobs // 10)]
        for record in sample:
            item = record.slots[0].item
            if item is not None:
                file = one.files.folder / f"{item['outputs']['files'][0]['uuid']}.glb"
                local = engine.generate(Order(prepared.rgba, record.settings, record.seed), Progress())
                same += file.read_bytes() == local.glb
    rows += [
        ("jobs sent", str(jobs)),
        ("results settled, each once", str(settled)),
        ("results that succeeded", str(sum(item is not None for item in items))),
        ("files that were kept", str(len(files))),
        ("results with the seed that was asked for", str(seeds)),
        ("of a sample, the same bytes as made here", f"{same} of {len(sample)}"),
        ("results begun again on another node", str(again)),
        ("nodes at the end", ", ".join(f"{count} {state}" for state, count in states.items())),
        ("results by node", ", ".join(map(str, made.values()))),
        ("seconds", f"{seconds:.0f}"),
    ]
    print("\nLoss: drafts on 3 nodes of one worker")
    show([("what", "figure"), *rows])


def throughput(seconds: float, each: int = 6) -> None:
    rows = []
    for count in (1, 2, 3):
        workers = 2 * count
        with nodes(count, 2) as (found, _), service(found, Make(seconds)) as (one, _):
            took = all_made(one, workers, each)
        with service(None, Make(seconds), workers) as (one, _):
            alone = all_made(one, workers, each)
        ideal = each * seconds
        figures = (f"{took:.2f}", f"{alone:.2f}", f"{ideal:.2f}", f"{ideal / took:.3f}", f"{ideal / alone:.3f}")
        rows.append((str(count), str(workers), str(workers * each), *figures))
    print(f"\nThroughput: an engine that waits {seconds} s, and results of {GLB_BYTES / 2**20:.0f} MiB")
    show([("nodes", "workers", "jobs", "seconds", "in one process", "ideal", "of ideal", "in one process"), *rows])


def all_made(one: Service, workers: int, each: int) -> float:
    """Seconds for so many results of each worker."""
    until(lambda: one.about()["workers"] == workers)
    image = picture(256)
    first = [send(one, image, seed) for seed in range(workers)]  # a worker imports its modules with the first
    until(lambda: all(record.done for record in first))
    began = time.monotonic()
    records = [send(one, image, seed) for seed in range(workers * each)]
    until(lambda: all(record.done for record in records))
    return time.monotonic() - began


def overhead(jobs: int = 30) -> None:
    rows = []
    with nodes(1, 1) as (found, _):
        for name, behind in (("this process", None), ("the cluster", found)):
            with service(behind, Make(0.0)) as (one, _):
                until(lambda one=one: one.about()["workers"] == 1)
                image = picture(1024)
                first = send(one, image, 0)
                until(lambda first=first: first.done)
                times, cpu = [], time.process_time()
                for seed in range(jobs):
                    record = send(one, image, seed)
                    times.append(until(lambda record=record: record.done))
                cpu = time.process_time() - cpu
            times.sort()
            rows.append((name, f"{times[jobs // 2] * 1000:.0f}", f"{times[-2] * 1000:.0f}", f"{cpu / jobs * 1000:.0f}"))
    print(f"\nOverhead: a picture of 1024 pixels there, {GLB_BYTES / 2**20:.0f} MiB back, an engine that does nothing")
    show([("made in", "ms, median", "ms, second longest", "processor ms of the service"), *rows])


def show(rows: list[tuple[str, ...]]) -> None:
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows[1:]:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
