"""A service with a real Ray cluster behind it: two nodes on this machine, and what becomes of work when one is gone."""

from __future__ import annotations

import base64
import importlib.util
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, disc, encoded
from service_tools import task, until

from trellis_addon.core.progress import Progress
from trellis_addon.engines import registry
from trellis_addon.engines.engine import Engine, Made, Order
from trellis_addon.service.handlers import Service
from trellis_addon.service.records import TaskRecord
from trellis_addon.task.settings import DRAFT_MODEL

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        sys.platform != "linux", reason="Ray has clusters on Linux alone; test_cluster_parts.py tries the rest there"
    ),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (the extra `cluster`)"),
]
PICTURE = encoded(disc())
STORE = 128 * 2**20  # bytes of each node's object store
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
# A node that is gone is missed soon, since it answers nothing at all; one that only has no time is not taken for gone.
HEALTH = {"RAY_health_check_period_ms": "500", "RAY_health_check_timeout_ms": "120000"}


class Held:
    """Drafts, or, while a file is there, work that does not end."""

    model = DRAFT_MODEL

    def __init__(self, hold: str, draft: Engine) -> None:
        self.hold, self.draft = hold, draft

    def generate(self, order: Order, progress: Progress) -> Made:
        while os.path.exists(self.hold):
            progress.update("Holding", 0.5)
            time.sleep(0.02)
        return self.draft.generate(order, progress)

    def release(self) -> None:
        pass


class Nodes:
    """The cluster, the service before it, and the file that holds its engines."""

    def __init__(self, folder: Path) -> None:
        from ray._private.utils import get_ray_address_file
        from ray.cluster_utils import Cluster as RayNodes

        from trellis_addon.cluster.pool import Cluster

        self.hold = folder / "hold"
        # a head that has another folder still writes its address into the usual one, which it does not make
        Path(get_ray_address_file(None)).parent.mkdir(parents=True, exist_ok=True)
        head = {"num_cpus": 1, "object_store_memory": STORE, "temp_dir": str(folder / "ray")}
        self.nodes = RayNodes(initialize_head=True, head_node_args=head)
        self.second = self.add()
        hold = str(self.hold)
        self.cluster = Cluster(
            self.nodes.address,
            engine="draft",
            create_engine=lambda model: Held(hold, registry.create_engine(model)),
        )
        self.cluster.connect()
        self.service = Service("token", engine="draft", folder=folder / "service", cluster=self.cluster)  # type: ignore[arg-type]
        self.service.start()

    def add(self) -> Any:
        return self.nodes.add_node(num_cpus=1, object_store_memory=STORE)

    def send(self, count: int = 1) -> list[TaskRecord]:
        inputs = {"image": "data:image/png;base64," + base64.b64encode(PICTURE).decode()}
        quick = {"resolution": 512, "textureSize": 1024}
        tasks = [task(inputs=inputs, settings=quick, seed=seed) for seed in range(count)]
        reply, _ = self.service.answer(tasks, "http://here", False)
        assert not reply.errors
        return [record for one in tasks if (record := self.service.tasks.get(one["taskUUID"])) is not None]

    def workers(self) -> int:
        return int(self.service.about()["workers"])

    def pid_of_busy(self) -> int:
        import ray

        members = [member for node in self.cluster._nodes.values() for member in node.members]
        return int(ray.get(next(member.ready for member in members if member.busy and member.gone is None)))

    def close(self) -> None:
        self.hold.unlink(missing_ok=True)
        self.service.close()
        self.nodes.shutdown()


def succeeded(records: list[TaskRecord]) -> bool:
    until(lambda: all(record.done for record in records))
    return all(
        slot.item is not None and slot.item["seed"] == record.seed for record in records for slot in record.slots
    )


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    before = dict(os.environ)
    os.environ |= {**TOKEN, **HEALTH, "PYTHONPATH": str(ROOT)}
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # which no node could import
    folder = Path(tempfile.mkdtemp(prefix="t2-", dir="/tmp"))  # the names of sockets must be short
    try:
        found = Nodes(folder)
        processes = [each.process for node in found.nodes.list_all_nodes() for each in _processes(node)]
        yield found
        found.close()
        until(lambda: all(process.poll() is not None for process in processes))  # none of Ray's is left behind
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)


def _processes(node: Any) -> list[Any]:
    return [each for some in node.all_processes.values() for each in some]


@pytest.fixture(autouse=True)
def _both_ready(nodes: Nodes) -> None:
    until(lambda: nodes.workers() == 2)


def test_a_draft_is_the_same_as_one_made_here(nodes: Nodes) -> None:
    from trellis_addon.images import load_image

    (record,) = nodes.send()
    assert succeeded([record])
    item = record.slots[0].item
    assert item is not None and item["engine"] == DRAFT_MODEL
    made = (nodes.service.files.folder / f"{item['outputs']['files'][0]['uuid']}.glb").read_bytes()
    image = load_image(PICTURE, allow_path=False).rgba
    order = Order(image, record.settings, record.seed)
    assert made == registry.create_engine(DRAFT_MODEL).generate(order, Progress()).glb


def test_a_task_that_is_cancelled_frees_its_process(nodes: Nodes) -> None:
    nodes.hold.touch()
    (record,) = nodes.send()
    until(lambda: record.slots[0].progress == 50)
    assert record.slots[0].stage == "Holding"
    nodes.service.answer([{"taskType": "cancelTask", "taskUUID": record.uuid}], "http://here", False)
    assert record.slots[0].error is not None and record.slots[0].error["code"] == "taskCancelled"
    until(lambda: not any(member.busy for node in nodes.cluster._nodes.values() for member in node.members))
    nodes.hold.unlink()
    assert succeeded(nodes.send())


def test_what_a_killed_process_made_is_made_by_another(nodes: Nodes) -> None:
    nodes.hold.touch()
    (record,) = nodes.send()
    until(lambda: record.slots[0].progress == 50)
    os.kill(nodes.pid_of_busy(), signal.SIGKILL)
    until(lambda: record.slots[0].losses == 1)
    nodes.hold.unlink()
    assert succeeded([record])


def test_a_machine_that_is_drained_finishes_and_one_that_is_killed_hands_over(nodes: Nodes) -> None:
    from trellis_addon.cluster import board, report

    nodes.hold.touch()
    records = nodes.send(2)
    until(lambda: all(record.slots[0].progress == 50 for record in records))
    second = nodes.second.node_id
    assert report.drain(second[:8]).endswith("finished.")
    until(lambda: nodes.cluster._nodes[second].state == "drains")
    nodes.hold.unlink()
    assert succeeded(records) and not any(record.slots[0].losses for record in records)
    until(lambda: nodes.cluster._nodes[second].state == "drained")
    lines = list(report.table(report.status()))
    assert "workers: 1" in lines[0] and any("drained" in line for line in lines) and "no token" not in lines[-1]
    board.use(second)
    until(lambda: nodes.workers() == 2)

    nodes.hold.touch()
    records = nodes.send(2)
    until(lambda: all(record.slots[0].progress == 50 for record in records))
    nodes.nodes.remove_node(nodes.second, allow_graceful=False)
    until(lambda: any(record.slots[0].losses for record in records))
    nodes.hold.unlink()
    assert succeeded(records)
    nodes.second = nodes.add()
    until(lambda: nodes.workers() == 2)
    assert succeeded(nodes.send(2))
