"""A folder of pictures to one .blend with every asset: stopped at any moment, it goes on where it was.

What is done is known from two places, the store of jobs (which GLBs exist, which tasks are under
way) and the .blend itself (which assets stand in it), so nothing is generated, paid or imported twice.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .api import finish, fingerprint, prepare_task
from .client.backends import Backend
from .errors import InputError, TrellisError
from .images import find_images
from .jobs.job import Asset, State
from .jobs.store import JobStore
from .progress import Progress
from .settings import Settings

IN_FLIGHT = 2  # one is generated while another is uploaded or downloaded


@dataclass
class Row:
    """What became of one picture: `state` is "made", "reused", "present" or "failed"."""

    image: Path
    state: str = ""
    seconds: float = 0.0
    assets: tuple[Asset, ...] = ()
    triangles: int = 0
    message: str = ""

    @property
    def is_good(self) -> bool:
        return self.state in ("made", "reused", "present")


def run_batch(
    folder: Path,
    output: Path,
    backend: Backend,
    settings: Settings,
    *,
    model: str | None = None,
    height: float | None = 1.0,
    store: JobStore | None = None,
    report: Callable[[Row, str, float], None] = lambda row, stage, share: None,
) -> list[Row]:
    """Make an asset of every picture in `folder` and save them all, in a grid, into `output`.

    Needs `bpy`. `report(row, stage, share)` is called, from several threads, whenever something
    moves, and with the stage "Done" at a row's end. KeyboardInterrupt saves what is there and goes up.
    """
    from . import scene
    from .scene import files

    images = find_images(folder) if folder.is_dir() else []
    if not images:
        raise InputError(f"{folder}: there is no PNG, JPEG or WebP picture in this folder.")
    store = store or JobStore()
    if output.exists():
        files.open_file(output)
    else:
        files.new_file()
    present = _present(scene)
    rows = [Row(image) for image in images]
    waiting: list[Row] = []
    prints: dict[Path, str] = {}
    model_id = backend.check_model(model or backend.default_model)
    for row in rows:
        try:
            prints[row.image] = fingerprint(row.image, settings, model_id)
        except InputError as error:  # gone, or not ours to read
            row.state, row.message = "failed", str(error)
            report(row, "Done", 1.0)
            continue
        if prints[row.image] in present:
            row.state = "present"
            report(row, "Done", 1.0)
        else:
            waiting.append(row)

    # Copies of one picture wait for each other: the second takes what the first has made.
    locks = {print_: threading.Lock() for print_ in prints.values()}

    def make(row: Row, progress: Progress) -> tuple[Asset, ...]:
        with locks[prints[row.image]]:
            return _make(row, prints[row.image], str(output.resolve()), backend, settings, model, store, progress)

    placed: dict[Path, list] = {}
    try:
        for row in _in_background(waiting, make, report):
            if row.state == "failed":
                report(row, "Done", 1.0)
                continue
            started = time.monotonic()
            try:
                made = [scene.import_asset(asset, height=height) for asset in row.assets]
                placed[row.image] = made
                row.triangles = sum(len(obj.data.polygons) for obj in made)
                for obj in made:
                    scene.mark_asset(obj)
            except TrellisError as error:
                row.state, row.message = "failed", str(error)
            row.seconds += time.monotonic() - started
            report(row, "Done", 1.0)
    finally:
        if placed:
            scene.lay_out_grid([obj for row in rows for obj in placed.get(row.image, [])])
            files.save_file(output)
    return rows


def _present(scene) -> set[str]:  # type: ignore[no-untyped-def]
    import bpy

    return {scene.read_provenance(obj).get("fingerprint", "") for obj in bpy.data.objects} - {""}


def _make(
    row: Row, print_: str, batch: str, backend: Backend, settings: Settings, model: str | None, store: JobStore, progress: Progress
) -> tuple[Asset, ...]:
    job = store.in_batch(batch, print_)
    if job is not None and job.state is State.READY:
        if all(asset.path.is_file() for asset in job.assets):
            row.state = "reused"
            return job.assets
        job = None  # its files were deleted
    if job is None:
        progress.update("Preparing", 0.0)
        task, name, sha256 = prepare_task(row.image, backend, settings, model=model)
        job = store.add(task, name=name, backend=backend.name, image_sha256=sha256, batch=batch, fingerprint=print_)
    asset = finish(job, backend, store, progress)
    row.state = "made"
    return asset.variations or (asset,)


def _in_background(
    rows: list[Row],
    make: Callable[[Row, Progress], tuple[Asset, ...]],
    report: Callable[[Row, str, float], None],
) -> Iterator[Row]:
    """Each row as it gets ready or fails; daemon threads, so that stopping the program stops them."""
    todo: queue.SimpleQueue[Row] = queue.SimpleQueue()
    done: queue.SimpleQueue[Row] = queue.SimpleQueue()
    for row in rows:
        todo.put(row)

    def work() -> None:
        while True:
            try:
                row = todo.get_nowait()
            except queue.Empty:
                return
            started = time.monotonic()
            try:
                row.assets = make(row, Progress(lambda stage, share, row=row: report(row, stage, share)))  # type: ignore[misc]
            except TrellisError as error:
                row.state, row.message = "failed", str(error)
            except Exception as error:  # one picture must not take the others along
                row.state, row.message = "failed", f"Unexpected problem: {type(error).__name__}: {error}"
            row.seconds = time.monotonic() - started
            done.put(row)

    for _ in range(min(IN_FLIGHT, len(rows))):
        threading.Thread(target=work, daemon=True).start()
    for _ in rows:
        while True:
            try:
                row = done.get(timeout=0.2)  # a bare get() would not let Ctrl-C through on Windows
                break
            except queue.Empty:
                continue
        yield row
