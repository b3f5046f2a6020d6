"""How long Blender's window stands still while five jobs run.

    blender --factory-startup --python benchmarks/stall.py -- [PICTURE.png] [--no-viewport]

With the extension installed there.


A timer asks to be called every millisecond and measures how late it is: first while the viewport is only redrawn
as often as the queue has it redrawn, then while five jobs run. What the redraw itself takes is in both rows; the
difference is ours. Where OpenGL is software, `--no-viewport` keeps it from being all that is measured: the screen
then shows nothing but text editors. The imports are left out of the second row, and timed afterwards, when nothing else
runs, beside Blender's bare importer on the same file.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import time
from pathlib import Path

import bpy

JOBS = 5
IDLE_SECONDS = 8.0
GIVE_UP = 300.0


class Watch:
    """Notes when it was called, and which spans are not to be counted."""

    def __init__(self) -> None:
        self.calls: list[float] = []
        self.left_out: list[tuple[float, float]] = []
        self.is_on = True

    def tick(self) -> float | None:
        self.calls.append(time.perf_counter())
        return 0.001 if self.is_on else None

    def gaps(self) -> list[float]:
        pairs = zip(self.calls, self.calls[1:], strict=False)
        return [b - a for a, b in pairs if not any(a < end and start < b for start, end in self.left_out)]


def main() -> None:
    name = next((a.module for a in bpy.context.preferences.addons if a.module.endswith(".trellis2")), "")
    if not name:
        sys.exit("Install the extension first.")
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if "--no-viewport" in arguments:
        arguments.remove("--no-viewport")
        for area in bpy.context.window_manager.windows[0].screen.areas:
            area.type = "TEXT_EDITOR"
    picture = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1] / "examples" / "lantern.png"
    run = Run(name, picture)
    bpy.app.timers.register(run.step, first_interval=3.0)


class Run:
    def __init__(self, name: str, picture: Path) -> None:
        self.name, self.picture = name, picture
        self.idle = Watch()
        self.rounds: list[Watch] = []
        self.begun = time.perf_counter()
        self.step = self.redraw_only

    def library(self, module: str):  # type: ignore[no-untyped-def]
        return importlib.import_module(f"{self.name}.trellis_addon.{module}")

    def redraw_only(self) -> float | None:
        """The first row: nothing runs, the viewport is redrawn ten times a second."""
        if not self.idle.calls:
            bpy.app.timers.register(self.idle.tick)
            self.begun = time.perf_counter()
        for area in bpy.context.window_manager.windows[0].screen.areas:
            area.tag_redraw()
        if time.perf_counter() - self.begun > IDLE_SECONDS:
            self.idle.is_on = False
            self.begin()
            return None
        return 0.1

    def begin(self) -> None:
        if not self.rounds:
            self.time_imports()
        settings = bpy.context.scene.trellis2.settings
        settings.resolution, settings.texture_size = "1536", "4096"
        self.rounds.append(Watch())
        bpy.app.timers.register(self.rounds[-1].tick)
        for number in range(JOBS):
            bpy.ops.trellis2.generate(filepath=str(self.picture), location=(number * 1.2, 0.0, 0.0))
        self.begun = time.perf_counter()
        self.step = self.wait
        bpy.app.timers.register(self.step, first_interval=0.1)

    def time_imports(self) -> None:
        """Have the imports not counted, with their undo steps and first redraws."""
        arrival = self.library("scene.arrival")
        deliver = arrival.deliver

        def timed_deliver(*given):  # type: ignore[no-untyped-def]
            began = time.perf_counter()
            made = deliver(*given)
            self.rounds[-1].left_out.append((began, time.perf_counter() + 0.5))
            return made

        arrival.deliver = timed_deliver

    def wait(self) -> float | None:
        queue = self.library("scene.queue")
        is_over = all(g.state not in queue.WAITS for g in queue.generations())
        if not is_over and time.perf_counter() - self.begun < GIVE_UP:
            return 0.25
        self.rounds[-1].is_on = False
        if len(self.rounds) < 2:
            self.begin()
            return None
        self.report()
        bpy.ops.wm.quit_blender()
        return None

    def report(self) -> None:
        job = self.library("jobs.store").JobStore().recent(1)[0]
        path = str(job.assets[0].path)
        ours, bare = [], []
        for _ in range(3):
            began = time.perf_counter()
            self.library("scene.importing.importer").import_asset(job.assets[0])
            ours.append(time.perf_counter() - began)
            began = time.perf_counter()
            bpy.ops.import_scene.gltf(filepath=path, merge_vertices=True)
            bare.append(time.perf_counter() - began)
        print(f"{'':34}  {'calls':>7}  {'median':>7}  {'99 %':>7}  {'longest':>7}   (ms)")
        labels = ("redraws only", f"the first {JOBS} jobs, which load modules", f"the next {JOBS} jobs")
        for label, watch in zip(labels, (self.idle, *self.rounds), strict=True):
            gaps = sorted(1000 * gap for gap in watch.gaps())
            high = gaps[min(int(0.99 * len(gaps)), len(gaps) - 1)]
            print(f"{label:34}  {len(gaps):7}  {statistics.median(gaps):7.1f}  {high:7.1f}  {gaps[-1]:7.1f}")
        both = statistics.median(ours), statistics.median(bare)
        print(f"import alone: {1000 * both[0]:.0f} ms, Blender's bare importer: {1000 * both[1]:.0f} ms", flush=True)


main()
