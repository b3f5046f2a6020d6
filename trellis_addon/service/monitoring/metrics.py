"""What the service does in numbers, for Prometheus: who waits, what runs, what came of it, how long each stage takes.

Built on `prometheus-client`, which is loaded when somebody asks for the numbers; until then they are counted in plain
dictionaries, so that a service without that package, or that nobody watches, pays nothing for it.
"""

from __future__ import annotations

import shutil
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import Cancelled
from ...core.messages import Message
from ..protocol import RequestError
from ..records import TaskRecord

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Seconds: a draft's stages take tenths, a card's tens, a processor's hundreds.
BOUNDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
_MOST_CLIENTS = 50  # with a line of their own: a name that anybody may choose is no label without a bound
_OTHERS = "others"


@dataclass
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """The upper bounds with how many were at most that long, as Prometheus has them."""
        found, so_far = [], 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            so_far += count
            found.append((bound, float(so_far)))
        return found


@dataclass
class _Running:
    began: float
    stage: str
    since: float
    person: str


@dataclass(frozen=True)
class Gauges:
    """How it stands at one moment: results that wait, by person, client and priority; tasks that are not finished;
    how many results can be made at the same time; bytes of files, and what they may have; `folder` where these are;
    the devices as `engines.devices.device_memory` has them."""

    waiting: Counter[tuple[str, str, str]]
    unfinished: int
    workers: int
    folder: Path
    files: int = 0
    quota: int | None = None
    paused: bool = False
    draining: bool = False
    devices: Sequence[Mapping[str, Any]] = ()


class Meter:
    """Hears of every stage and every end; may be used by all threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], _Running] = {}
        self._results: Counter[tuple[str, str]] = Counter()
        self._stages: dict[str, _Histogram] = {}
        self._seconds: dict[str, _Histogram] = {}
        self._waits: dict[str, _Histogram] = {}

    @property
    def running(self) -> int:
        return len(self._running)

    def running_by_person(self) -> Counter[str]:
        with self._lock:
            return Counter(run.person for run in self._running.values())

    def is_running(self, uuid: str) -> bool:
        """Whether a result of this task is being made."""
        with self._lock:
            return any(task == uuid for task, _ in self._running)

    def stage(self, record: TaskRecord, index: int, stage: str, waited: float = 0.0) -> None:
        """Result `index` is at a stage now, at its first `waited` seconds after its task came in. Stages are told apart
        by their template, so that their number is small."""
        word = stage.template if isinstance(stage, Message) else stage
        now = self._clock()
        with self._lock:
            run = self._running.get((record.uuid, index))
            if run is None:
                self._running[record.uuid, index] = _Running(now, word, now, record.person)
                self._waits.setdefault(record.priority, _Histogram()).add(max(0.0, waited))
            elif run.stage != word:
                self._leave(run, now)
                run.stage, run.since = word, now

    def settled(self, record: TaskRecord, index: int) -> None:
        """Result `index` has come to an end."""
        now, came = self._clock(), outcome(record, index)
        with self._lock:
            run = self._running.pop((record.uuid, index), None)
            if run is not None:
                self._leave(run, now)
                if came == "succeeded":
                    self._seconds.setdefault(record.model, _Histogram()).add(now - run.began)
            self._results[record.model, came] += 1

    def _leave(self, run: _Running, now: float) -> None:
        self._stages.setdefault(run.stage or "begin", _Histogram()).add(now - run.since)

    def render(self, state: Gauges) -> bytes:
        """The numbers in Prometheus' text format; raises `RequestError` where `prometheus-client` is not installed."""
        try:
            from prometheus_client import CollectorRegistry, generate_latest
        except ImportError:
            raise RequestError(
                "notImplemented",
                "The numbers need the package prometheus-client, which is not here; install it with pip.",
            ) from None
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Once(list(self._metrics(state))))
        made: bytes = generate_latest(registry)
        return made

    def _metrics(self, state: Gauges) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        queue = GaugeMetricFamily(
            "trellis2_results_waiting",
            "Results that wait, by person, client and priority",
            labels=["person", "client", "priority"],
        )
        for whose, count in _bounded(state.waiting).items():
            queue.add_metric(list(whose), count)
        yield queue
        with self._lock:
            running, results = len(self._running), dict(self._results)
            stages = {name: (each.buckets(), each.total) for name, each in self._stages.items()}
            seconds = {name: (each.buckets(), each.total) for name, each in self._seconds.items()}
            waits = {name: (each.buckets(), each.total) for name, each in self._waits.items()}
        yield GaugeMetricFamily("trellis2_results_running", "Results that are being made", value=running)
        yield GaugeMetricFamily("trellis2_workers", "Results that can be made at the same time", value=state.workers)
        yield GaugeMetricFamily("trellis2_tasks_unfinished", "Tasks that are not finished", value=state.unfinished)
        words = "1 where nothing begins until an administrator resumes"
        yield GaugeMetricFamily("trellis2_paused", words, value=state.paused)
        yield GaugeMetricFamily("trellis2_draining", "1 where no tasks are taken in", value=state.draining)
        ended = CounterMetricFamily("trellis2_results", "Results by engine and outcome", labels=["engine", "outcome"])
        for labels, count in sorted(results.items()):
            ended.add_metric(list(labels), count)
        yield ended
        for name, words, label, found in (
            ("trellis2_stage_seconds", "Seconds that a stage took", "stage", stages),
            ("trellis2_result_seconds", "Seconds that a result took, by engine", "engine", seconds),
            ("trellis2_wait_seconds", "Seconds from a task's arrival until a result is begun", "priority", waits),
        ):
            histogram = HistogramMetricFamily(name, words, labels=[label])
            for value, (buckets, total) in sorted(found.items()):
                histogram.add_metric([value], buckets, total)
            yield histogram
        yield GaugeMetricFamily("trellis2_files_bytes", "Bytes of the files that are kept", value=state.files)
        if state.quota is not None:
            yield GaugeMetricFamily("trellis2_files_quota_bytes", "Bytes that files may have", value=state.quota)
        disk = shutil.disk_usage(state.folder)
        yield GaugeMetricFamily("trellis2_disk_free_bytes", "Bytes that are free where files are kept", value=disk.free)
        yield GaugeMetricFamily("trellis2_disk_bytes", "Bytes of the disk where files are kept", value=disk.total)
        if state.devices:
            memory = GaugeMetricFamily("trellis2_device_memory_bytes", "Memory of a device", labels=["device"])
            unused = GaugeMetricFamily(
                "trellis2_device_memory_free_bytes", "Memory of a device that nobody has", labels=["device"]
            )
            for device in (each for each in state.devices if "total" in each):
                memory.add_metric([device["name"]], device["total"])
                unused.add_metric([device["name"]], device["free"])
            yield from (memory, unused)


def outcome(record: TaskRecord, index: int) -> str:
    """What has come of a result that is settled: succeeded, failed or cancelled."""
    slot = record.slots[index]
    code = (slot.error or {}).get("code")
    return "succeeded" if slot.item is not None else "cancelled" if code == Cancelled.code else "failed"


class _Once:
    """What a registry collects from."""

    def __init__(self, metrics: list[Any]) -> None:
        self._found = metrics

    def collect(self) -> list[Any]:
        return self._found


def _bounded(waiting: Counter[tuple[str, str, str]]) -> Counter[tuple[str, str, str]]:
    """Those with the most, and all others of a priority together."""
    first = waiting.most_common(_MOST_CLIENTS)
    found = Counter(dict(first))
    for (_, _, priority), count in (waiting - found).items():
        found[_OTHERS, _OTHERS, priority] += count
    return found
