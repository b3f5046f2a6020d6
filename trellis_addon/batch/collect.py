"""What the processes of a farm have made, into one .blend or an asset library of several: `batch FOLDER --collect`.

Needs `bpy`. May be stopped and run again, also while more is made: what stands in the files already is left alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import OutputError
from ..core.messages import message
from ..core.output import try_places
from ..images import find_path
from .lease import STALE
from .rows import Row, Shard, objects_in, row_of
from .run import Report
from .scenes import OpenBlend
from .shared import Run, SharedFolder, run_to_collect
from .turn import turn

if TYPE_CHECKING:
    from ..contract.contract import Contract


def shared_rows(
    folder: Path, wanted: Run | None = None, shard: Shard | None = None
) -> tuple[SharedFolder, Run, list[Row]]:
    """What has become of each picture of a folder that is worked on together; those without a state are made.

    `wanted`: with these settings; None: with the only ones. Raises `FieldError` where there is nothing, or a choice.
    """
    objects = objects_in(folder, shard)
    shared = SharedFolder(find_path(str(folder)))
    run = run_to_collect(shared, wanted)
    rows = [row_of(image, views, run.settings, run.model, run.whole) for image, views in objects]
    for row in rows:
        if row.state:
            continue
        made = shared.result(row.fingerprint)
        if made is None:
            failures = [each.failure for each in shared.attempts(row.fingerprint) if each.failure]
            row.state = "failed" if failures and not failures[-1].is_void else "missing"
            row.message = failures[-1].message if failures else message("It is not made yet.")
            continue
        row.assets, row.thumbnail, row.worker = made.assets, made.thumbnail, made.worker
        row.seconds, row.triangles = made.seconds, made.triangles
    return shared, run, rows


def collect(
    folder: Path,
    output: Path,
    *,
    wanted: Run | None = None,
    part_size: int | None = None,
    height: float | None = 1.0,
    contract: Contract | None = None,
    mend: bool = False,
    stale: float = STALE,
    report: Report = lambda row, stage, share: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[Row]:
    """Bring everything that was made of the pictures in `folder` into `output`, in a grid; returns a row for each.

    With `part_size` no file gets more assets than that: the first are in FILE-1.blend, the next in FILE-2.blend ...,
    and their folder is an asset library, with its catalog. Of several processes that collect into a file of one name,
    one does at a time. What is "missing" is not made yet: run the same again later. Raises as `run_batch` does.
    """
    try_places([output if part_size is None else part_path(output, 1)])
    shared, _, rows = shared_rows(folder, wanted)
    with ExitStack() as alone:
        with suppress(OutputError):  # a folder that may only be read
            alone.enter_context(turn(shared, output, stale, is_stopped))
        _bring_in(rows, output, part_size, height, contract, mend, report, is_stopped)
    return rows


def part_path(output: Path, number: int) -> Path:
    """The file of a part, counted from 1."""
    return output.with_name(f"{output.stem}-{number}{output.suffix}")


def _bring_in(
    rows: list[Row],
    output: Path,
    part_size: int | None,
    height: float | None,
    contract: Contract | None,
    mend: bool,
    report: Report,
    is_stopped: Callable[[], bool],
) -> None:
    from ..scene import files

    for row in rows:
        if row.state:
            report(row, "Done", 1.0)
    waiting = [row for row in rows if not row.state]
    catalog = _catalog(output) if part_size is not None and waiting else ""
    for number in itertools.count(1):
        path = output if part_size is None else part_path(output, number)
        is_there = files.stamp_of(path) is not None
        if (not waiting and not is_there) or is_stopped():
            return
        with files.alone_with(path):
            blend = OpenBlend(path, height=height, contract=contract, mend=mend)
            present = blend.fingerprints
            for row in [row for row in waiting if row.fingerprint in present]:
                row.state, row.part = "present", path
                report(row, "Done", 1.0)
            waiting = [row for row in waiting if not row.state]
            room = len(waiting) if part_size is None else max(part_size - len(present), 0)
            added = _add(blend, waiting[:room], path, catalog, report, is_stopped)
            blend.save(added)
        waiting = [row for row in waiting if not row.state]
        if part_size is None:
            return


def _add(
    blend: OpenBlend, rows: list[Row], path: Path, catalog: str, report: Report, is_stopped: Callable[[], bool]
) -> list[Row]:
    added = []
    for row in rows:
        if is_stopped():
            break
        seconds = row.seconds  # that it took to make it
        row.state = "collected"
        blend.add(row, preview=row.thumbnail, catalog_id=catalog)
        row.seconds = seconds
        row.part = path if row.is_good else None
        added.append(row)
        report(row, "Done", 1.0)
    return added


def _catalog(output: Path) -> str:
    """See that the folder is an asset library with our catalog, whose UUID is returned."""
    from ..scene import ensure_catalog

    output.parent.mkdir(parents=True, exist_ok=True)
    return ensure_catalog(output.parent)
