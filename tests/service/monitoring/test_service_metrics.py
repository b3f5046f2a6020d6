"""What watches a service: whether it lives, whether it takes tasks in, and its numbers for Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter, namedtuple
from typing import Any

import httpx
import pytest
import service_tools
from conftest import PATIENCE, ROOT
from service_tools import TOKEN, Running, only_error, task

from trellis_addon.core.errors import EngineError
from trellis_addon.core.messages import message
from trellis_addon.service.monitoring.metrics import BOUNDS, Gauges, Meter
from trellis_addon.service.records import Slot, TaskRecord
from trellis_addon.task.settings import Settings

prometheus = pytest.importorskip("prometheus_client")


run = service_tools.run


def numbers(run: Running) -> dict[str, float]:
    from prometheus_client.parser import text_string_to_metric_families

    response = run.http.get("/metrics")
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_everybody_may_ask_whether_it_lives(run: Running) -> None:
    for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
        response = httpx.get(run.base + path)
        assert (response.status_code, response.json()) == (200, {"status": status})
        assert httpx.get(run.base + path, headers={"Host": "evil.example"}).status_code == 403


def test_it_says_that_it_is_not_ready(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    stranger = httpx.get(f"{run.base}/readyz")
    assert (stranger.status_code, stranger.json()) == (503, {"status": "not ready"})
    assert "disk" in run.http.get("/readyz").json()["reason"]
    monkeypatch.undo()
    run.service.closing = True
    assert "ending" in run.http.get("/readyz").json()["reason"]
    assert httpx.get(f"{run.base}/healthz").status_code == 200


def test_the_numbers_are_for_those_with_the_token(run: Running) -> None:
    assert httpx.get(f"{run.base}/metrics").status_code == 401
    assert httpx.get(f"{run.base}/metrics", headers={"Authorization": "Bearer no"}).status_code == 401
    text = run.http.get("/metrics").text
    assert TOKEN not in text and "# HELP trellis2_results_running" in text


def test_what_waits_runs_and_ends_is_counted(run: Running) -> None:
    run.engine.gate.clear()
    run.engine.errors[5] = EngineError("No.")
    first, second, third = task(seed=1), task(seed=5), task(seed=9)
    run.post(first, headers={"X-Trellis2-Client": "a"})
    assert run.engine.began.wait(PATIENCE)
    run.post(second)
    run.post(third)
    found = numbers(run)
    assert found["trellis2_results_running{}"] == 1 and found["trellis2_tasks_unfinished{}"] == 3
    assert sum(value for name, value in found.items() if name.startswith("trellis2_results_waiting")) == 2
    assert found["trellis2_workers{}"] == 1 and found["trellis2_disk_free_bytes{}"] > 0
    run.post({"taskType": "cancelTask", "taskUUID": third["taskUUID"]})
    run.engine.gate.set()
    for one in (first, second):
        run.settle(one["taskUUID"])
    found = numbers(run)
    engine = next(name for name in found if "outcome=succeeded" in name)
    assert found[engine] == 1 and found[engine.replace("succeeded", "failed")] == 1
    assert found[engine.replace("succeeded", "cancelled")] == 1
    assert found["trellis2_results_running{}"] == 0 and found["trellis2_files_bytes{}"] > 0
    stages = {name: value for name, value in found.items() if name.startswith("trellis2_stage_seconds_count")}
    assert stages == {"trellis2_stage_seconds_count{stage=begin}": 2, "trellis2_stage_seconds_count{stage=end}": 1}
    assert found[next(name for name in found if name.startswith("trellis2_result_seconds_count"))] == 1


def test_without_the_package_it_says_what_to_install(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    response = run.http.get("/metrics")
    assert response.status_code == 501 and "with pip" in only_error(response)["message"]


def _trying(size: int) -> str:
    return message("Trying {size}", size=size)


def test_times_are_sorted_into_buckets_and_stages_told_by_template(tmp_path: Any) -> None:
    now = [0.0]
    meter = Meter(lambda: now[0])
    record = TaskRecord("u", Settings(), "m", {}, 1, "", [Slot()])
    for second, stage in (
        (0.0, "Shaping"),
        (0.1, message("Trying {size}", size=512)),
        (2.0, message("Trying {size}", size=256)),
    ):
        now[0] = second
        meter.stage(record, 0, stage)
    now[0] = 50.0
    record.slots[0].item = {}
    meter.settled(record, 0)
    waiting = Counter({("Ann", f"client {n}", "batch"): 1 for n in range(80)})
    text = meter.render(Gauges(waiting, 1, 1, tmp_path)).decode()
    assert 'trellis2_stage_seconds_bucket{le="0.1",stage="Shaping"} 1.0' in text
    assert 'trellis2_stage_seconds_sum{stage="Trying {size}"} 49.9' in text
    assert 'trellis2_stage_seconds_bucket{le="30.0",stage="Trying {size}"} 0.0' in text
    assert 'trellis2_stage_seconds_bucket{le="100.0",stage="Trying {size}"} 1.0' in text
    assert 'trellis2_result_seconds_bucket{engine="m",le="+Inf"} 1.0' in text and len(BOUNDS) == 10
    assert 'trellis2_results_waiting{client="others",person="others",priority="batch"} 30.0' in text
    assert text.count("trellis2_results_waiting{") == 51


@pytest.mark.checkout
def test_what_is_deployed_asks_for_numbers_that_there_are(tmp_path: Any) -> None:
    """The dashboard, the alerts and the rule for KEDA in docs/deploy."""
    folder = ROOT / "docs" / "deploy"
    meter = Meter()
    record = TaskRecord("u", Settings(), "m", {}, 1, "", [Slot()])
    meter.stage(record, 0, "Shaping")
    record.slots[0].item = {}
    meter.settled(record, 0)
    devices = [{"name": "cuda:0", "total": 5, "free": 3}]
    state = Gauges(Counter({("a", "b", "batch"): 1}), 1, 1, tmp_path, quota=5, devices=devices)
    text = meter.render(state).decode()
    there = set(re.findall(r"^(trellis2_\w+)", text, re.M))
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    asked = {name: set(re.findall(r"\btrellis2_\w+\b", content)) for name, content in texts.items()}
    assert set(asked) == {"alerts.yml", "grafana.json", "keda.yaml", "prometheus.yml"}
    for name, names in asked.items():
        assert names <= there, name
    used = set().union(*asked.values())
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in there} - {
        re.sub("_(bucket|sum|count)$", "", name) for name in used
    } == {"trellis2_disk_bytes", "trellis2_tasks_unfinished"}
    board = json.loads(texts["grafana.json"])
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) > 10


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="Prometheus is not installed: the parser of its client reads it"
)
def test_promtool_finds_nothing_to_say(run: Running) -> None:
    asked = task()
    run.post(asked)
    run.settle(asked["taskUUID"])
    text = run.http.get("/metrics").text
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    rules = ROOT / "docs" / "deploy" / "alerts.yml"
    assert subprocess.run(["promtool", "check", "rules", rules], capture_output=True, timeout=PATIENCE).returncode == 0
