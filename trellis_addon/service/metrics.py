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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import Cancelled
from ..core.messages import Message
from .protocol import RequestError
from .records import TaskRecord

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


class Meter:
    """Hears of every stage and every end; may be used by all threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], _Running] = {}
        self._results: Counter[tuple[str, str]] = Counter()
        self._stages: dict[str, _Histogram] = {}
        self._seconds: dict[str, _Histogram] = {}

    @property
    def running(self) -> int:
        return len(self._running)

    def stage(self, record: TaskRecord, index: int, stage: str) -> None:
        """Result `index` is at a stage now. Stages are told apart by their template, so that their number is small."""
        word = stage.template if isinstance(stage, Message) else stage
        now = self._clock()
        with self._lock:
            run = self._running.get((record.uuid, index))
            if run is None:
                self._running[record.uuid, index] = _Running(now, word, now)
            elif run.stage != word:
                self._leave(run, now)
                run.stage, run.since = word, now

    def settled(self, record: TaskRecord, index: int) -> None:
        """Result `index` has come to an end."""
        now, slot = self._clock(), record.slots[index]
        code = (slot.error or {}).get("code")
        outcome = "succeeded" if slot.item is not None else "cancelled" if code == Cancelled.code else "failed"
        with self._lock:
            run = self._running.pop((record.uuid, index), None)
            if run is not None:
                self._leave(run, now)
                if outcome == "succeeded":
                    self._seconds.setdefault(record.model, _Histogram()).add(now - run.began)
            self._results[record.model, outcome] += 1

    def _leave(self, run: _Running, now: float) -> None:
        self._stages.setdefault(run.stage or "begin", _Histogram()).add(now - run.since)

    def render(self, waiting: Counter[str], unfinished: int, folder: Path, workers: int) -> bytes:
        """The numbers in Prometheus' text format.

        `waiting`: results that wait, by client; `unfinished` tasks; `folder` where files are kept; `workers` results
        that can be made at the same time. Raises `RequestError` where `prometheus-client` is not installed.
        """
        try:
            from prometheus_client import CollectorRegistry, generate_latest
        except ImportError:
            raise RequestError(
                "notImplemented",
                "The numbers need the package prometheus-client, which is not here; install it with pip.",
            ) from None
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Once(list(self._metrics(waiting, unfinished, folder, workers))))
        made: bytes = generate_latest(registry)
        return made

    def _metrics(self, waiting: Counter[str], unfinished: int, folder: Path, workers: int) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        queue = GaugeMetricFamily("trellis2_results_waiting", "Results that wait, by client", labels=["client"])
        for client, count in _bounded(waiting).items():
            queue.add_metric([client], count)
        yield queue
        with self._lock:
            running, results = len(self._running), dict(self._results)
            stages = {name: (each.buckets(), each.total) for name, each in self._stages.items()}
            seconds = {name: (each.buckets(), each.total) for name, each in self._seconds.items()}
        yield GaugeMetricFamily("trellis2_results_running", "Results that are being made", value=running)
        yield GaugeMetricFamily("trellis2_workers", "Results that can be made at the same time", value=workers)
        yield GaugeMetricFamily("trellis2_tasks_unfinished", "Tasks that are not finished", value=unfinished)
        ended = CounterMetricFamily("trellis2_results", "Results by engine and outcome", labels=["engine", "outcome"])
        for labels, count in sorted(results.items()):
            ended.add_metric(list(labels), count)
        yield ended
        for name, words, label, found in (
            ("trellis2_stage_seconds", "Seconds that a stage took", "stage", stages),
            ("trellis2_result_seconds", "Seconds that a result took, by engine", "engine", seconds),
        ):
            histogram = HistogramMetricFamily(name, words, labels=[label])
            for value, (buckets, total) in sorted(found.items()):
                histogram.add_metric([value], buckets, total)
            yield histogram
        kept = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        yield GaugeMetricFamily("trellis2_files_bytes", "Bytes of the files that are kept", value=kept)
        disk = shutil.disk_usage(folder)
        yield GaugeMetricFamily("trellis2_disk_free_bytes", "Bytes that are free where files are kept", value=disk.free)


class _Once:
    """What a registry collects from."""

    def __init__(self, metrics: list[Any]) -> None:
        self._found = metrics

    def collect(self) -> list[Any]:
        return self._found


def _bounded(waiting: Counter[str]) -> dict[str, int]:
    """Those with the most, and all others together."""
    first = dict(waiting.most_common(_MOST_CLIENTS))
    rest = waiting.total() - sum(first.values())
    return {**first, _OTHERS: rest} if rest else first
