"""Sampling and finishing of several results, overlapping as a worker has them, and one after the other: a timeline.

    python benchmarks/overlap.py [--results 3] [--texture 1024]

Small random weights on the processor, through the real engine and real finishing. A column is a moment: S where a
result is sampled, a dot where it waits, F where it is finished; before it the wall and processor seconds of both ways
in this run. On one processor little is won, both stages want it: the timeline shows that they overlap.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from devtools.pipeline.make_small import make_small
from trellis_addon.core.configuration import overrule
from trellis_addon.core.progress import Place, Progress
from trellis_addon.engines.engine import Order
from trellis_addon.engines.trellis2 import Trellis2Engine
from trellis_addon.service.queue.station import Seat, Station
from trellis_addon.task.settings import Settings

COLUMNS = 72


class Watched(Place):
    """A seat, or none, that notes when the device is left and finishing begins."""

    def __init__(self, seat: Seat | None) -> None:
        self.seat = seat
        self.left = self.began = 0.0

    def leave(self, check: Callable[[], None]) -> None:
        self.left = time.perf_counter()
        if self.seat is not None:
            self.seat.leave(check)
        self.began = time.perf_counter()


def made(
    engine: Trellis2Engine, image: Image.Image, settings: Settings, results: int, overlaps: bool
) -> list[list[float]]:
    """When each result's sampling began and ended, and its finishing began and ended."""
    station, seeds, rows = Station(), iter(range(results)), {}

    def work() -> None:
        while True:
            seat = station.sit()
            seed = next(seeds, None)
            if seed is None:
                seat.close()
                return
            place, began = Watched(seat if overlaps else None), time.perf_counter()
            try:
                engine.generate(Order(image, settings, seed), Progress(place=place))
            finally:
                seat.close()
            rows[seed] = [began, place.left, place.began, time.perf_counter()]

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [rows[seed] for seed in range(results)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=3)
    parser.add_argument("--texture", type=int, default=1024)
    options = parser.parse_args()
    image = Image.new("RGBA", (256, 256))
    ImageDraw.Draw(image).ellipse((30, 30, 220, 220), (200, 120, 60, 255))
    settings = Settings(resolution=512, texture_size=options.texture, decimation_target=100_000)
    overrule(device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        engine = Trellis2Engine(make_small(Path(folder)))
        engine.generate(Order(image, settings, 99), Progress())  # networks are loaded, kernels compiled
        for words, overlaps in (("one after the other", False), ("overlapping", True)):
            wall, processor = time.perf_counter(), time.process_time()
            rows = made(engine, image, settings, options.results, overlaps)
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            print(f"{words}: {wall:.1f} s, of the processor {processor:.1f} s", flush=True)
            first, last = rows[0][0], max(row[3] for row in rows)
            for seed, row in enumerate(rows):
                at = [round((moment - first) / (last - first) * COLUMNS) for moment in row]
                line = " " * at[0] + "S" * (at[1] - at[0]) + "." * (at[2] - at[1]) + "F" * (at[3] - at[2])
                print(f"  {seed} |{line:<{COLUMNS}}|", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
