"""A folder of pictures to one .blend with every asset: stopped at any moment, it goes on where it was.

What is done is known from two places, the store of jobs (which GLBs exist, which tasks are under
way) and the .blend itself (which assets stand in it), so nothing is generated, paid or imported twice.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..api import finish, prepare_task
from ..client.backends import Backend
from ..core.errors import OutputError
from ..core.machine.parallel import IN_FLIGHT, as_ready
from ..core.output import try_places
from ..core.progress import Progress
from ..images import WHOLE, readable
from ..jobs.job import State
from ..jobs.store import JobStore
from ..task.height import check_height
from ..task.settings import Settings
from .rows import Row, Shard, convert, objects_in, row_of
from .scenes import OpenBlend
from .shared import SharedFolder
from .turn import turn

if TYPE_CHECKING:
    from ..contract.contract import Contract

Report = Callable[[Row, str, float], None]
TURN = 3600.0  # seconds that one part of a batch waits for the others to have saved the same .blend


def run_batch(
    folder: Path,
    output: Path,
    backend: Backend,
    settings: Settings,
    *,
    model: str | None = None,
    height: float | None = 1.0,
    whole: bool = False,
    contract: Contract | None = None,
    mend: bool = False,
    shard: Shard | None = None,
    store: JobStore | None = None,
    report: Report = lambda row, stage, share: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[Row]:
    """Make an asset of every picture in `folder` and save them all, in a grid, into `output`.

    Pictures whose names end in _front, _back, _left and _right are views of one asset.

    Needs `bpy`. `whole`: nothing is cut out of any of them. `contract`: each asset is held against it, or with `mend`
    made to keep it as far as it can be. `shard`: only this part of the folder; several parts may be made at the same
    time, into files of their own, or into one, which each then opens when all of its own is made.
    `report(row, stage, share)` is called, from several
    threads, whenever something moves, and with the stage "Done" at a row's end. When `is_stopped` says so, or on
    KeyboardInterrupt, what is there is saved; rows that did not come to their end have no state.
    """
    from ..scene import files

    check_height(height)  # before anything is made, or paid
    objects = objects_in(folder, shard)
    if not objects:
        return []
    try_places([output])
    model = backend.check_model(model or backend.default_model)
    maker = _Maker(readable(str(output.resolve())), backend, settings, model, whole, store or JobStore(), report)

    def opened() -> OpenBlend:
        return OpenBlend(output, height=height, contract=contract, mend=mend)

    rows = [
        row_of(image, views, settings, model, whole, is_remote=backend.is_remote)
        for image, views in objects
    ]  # fmt: skip
    if shard is None or shard.count == 1:
        with files.alone_with(output):
            blend = opened()
            _mark_present(rows, blend, report)
            try:
                for row in maker.make(rows, is_stopped):
                    if row.is_good:
                        blend.add(row)
                    report(row, "Done", 1.0)
            finally:
                blend.save(rows)
        return rows
    if files.stamp_of(output) is not None:
        _mark_present(rows, opened(), report)
    made: list[Row] = []
    try:
        for row in maker.make(rows, is_stopped):
            made.append(row)
            if not row.is_good:
                report(row, "Done", 1.0)
    finally:
        _save_part(objects[0][0].parent, output, opened, [row for row in made if row.is_good], report)
    return rows


def _mark_present(rows: list[Row], blend: OpenBlend, report: Report) -> None:
    present = blend.fingerprints
    for row in rows:
        if row.fingerprint in present:
            row.state = "present"
        if row.state:
            report(row, "Done", 1.0)


def _save_part(folder: Path, output: Path, opened: Callable[[], OpenBlend], made: list[Row], report: Report) -> None:
    """Put what was made into the .blend, when the others that add to it are done with it."""
    from ..scene import files

    if not made:
        return
    with ExitStack() as alone:
        # a folder that may only be read: then those of this machine alone wait for each other
        with suppress(OutputError):
            alone.enter_context(turn(SharedFolder(folder), output))
        alone.enter_context(files.alone_with(output, TURN))
        blend = opened()
        present = blend.fingerprints
        for row in made:
            if row.fingerprint not in present:
                blend.add(row)
            report(row, "Done", 1.0)
        blend.save(made)


class _Maker:
    """Rows to assets, several at a time."""

    def __init__(
        self,
        batch: str,
        backend: Backend,
        settings: Settings,
        model: str,
        whole: bool,
        store: JobStore,
        report: Report,
    ) -> None:
        self._batch, self._backend, self._settings, self._model = batch, backend, settings, model
        self._whole, self._store, self._report = whole, store, report

    def make(self, rows: list[Row], is_stopped: Callable[[], bool]) -> Iterator[Row]:
        """Each row as it gets ready, or has failed; those that have a state already are passed over."""
        # Copies of one picture wait for each other: the second takes what the first has made.
        locks = {row.fingerprint: threading.Lock() for row in rows}

        def work(row: Row) -> None:
            started = time.monotonic()
            with locks[row.fingerprint]:
                self._work_on(row, Progress(lambda stage, share: self._report(row, stage, share)))
            row.seconds = time.monotonic() - started

        with tempfile.TemporaryDirectory(prefix="trellis2-batch-") as converted:
            for row in [row for row in rows if not row.state]:
                convert(row, Path(converted))
                if row.state:
                    self._report(row, "Done", 1.0)
            for row, outcome in as_ready([row for row in rows if not row.state], work, IN_FLIGHT, is_stopped):
                if isinstance(outcome, Exception):
                    row.fail(outcome)
                yield row

    def _work_on(self, row: Row, progress: Progress) -> None:
        """Fill in the row's assets: from the store, from a job that was begun, or from a new one."""
        job = self._store.in_batch(self._batch, row.fingerprint)
        if job is not None and job.state is State.READY:
            if all(asset.path.is_file() for asset in job.assets):
                row.state, row.assets = "reused", job.assets
                row.thumbnail = job.thumbnail
                return
            job = None  # its files were deleted
        if job is None:
            progress.update("Preparing", 0.0)
            prepared = prepare_task(
                row.source or row.image,
                self._backend,
                self._settings,
                model=self._model,
                name=row.name,
                subject=WHOLE if self._whole else None,
                views=row.views,
            )
            job = prepared.write_down(self._store, self._backend, batch=self._batch, fingerprint=row.fingerprint)
        row.thumbnail = job.thumbnail
        row.assets = finish(job, self._backend, self._store, progress).variations
        row.state = "made"
