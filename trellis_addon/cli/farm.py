"""Batches: by one process, in parts (`--shard`), by many on one shared folder (`--shared`), and `--collect`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import FieldError
from ..core.streams import printable

if TYPE_CHECKING:
    from ..batch import Row
    from ..client.backends import Backend
    from ..task.settings import Settings


def add_options(batch: argparse.ArgumentParser) -> None:
    """What `batch` takes for work that is shared out."""
    batch.add_argument(
        "--shard", metavar="I/N", help="make only part I of N, counted from 1: for schedulers that start N of these"
    )
    batch.add_argument(
        "--shared",
        action="store_true",
        help="make the assets together with others that do the same, on this machine and on any that sees the folder; "
        "they are left in FOLDER/trellis2-batch",
    )
    batch.add_argument("--collect", type=Path, metavar="FILE.blend", help="lay out what was made with --shared")
    batch.add_argument(
        "--part-size",
        type=int,
        metavar="N",
        help="with --collect: an asset library of FILE-1.blend, FILE-2.blend ... with at most N assets each",
    )
    batch.add_argument(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="write report.html, report.csv and report.json there (default with --shared and --collect: "
        "FOLDER/trellis2-batch; else none)",
    )
    batch.add_argument(
        "--retry-failed", action="store_true", help="with --shared: try again what has failed; give it to one process"
    )
    batch.add_argument(
        "--stale",
        type=float,
        metavar="SECONDS",
        help="with --shared: another machine's process that gives no sign of life for so long is dead (default 90)",
    )


@dataclass(frozen=True)
class Batch:
    """Which of its forms the command has. `output` is the .blend that is written, None where none is."""

    output: Path | None
    is_shared: bool
    only_collects: bool

    def run(
        self,
        options: argparse.Namespace,
        backend: Backend,
        settings: Settings,
        contract: Any,
        report: Callable[[Row, str, float], None],
        is_stopped: Callable[[], bool],
    ) -> list[Row]:
        """Do it; a row for each picture."""
        from ..batch.rows import Shard

        shard = Shard.parse(options.shard) if options.shard else None
        common: dict[str, Any] = {"report": report, "is_stopped": is_stopped}
        laid_out: dict[str, Any] = {"height": options.height, "contract": contract, "mend": options.mend}
        made_by: dict[str, Any] = {"model": options.model, "whole": options.whole, "shard": shard}
        if not (self.is_shared or self.only_collects):
            from ..batch import run_batch

            assert self.output is not None
            return run_batch(options.folder, self.output, backend, settings, **made_by, **laid_out, **common)
        stale = {} if options.stale is None else {"stale": options.stale}
        rows: list[Row] = []
        if self.is_shared:
            from ..batch.worker import run_shared

            rows = run_shared(
                options.folder, backend, settings, retry_failed=options.retry_failed, **made_by, **stale, **common
            )
        if self.output is not None and not is_stopped():
            from ..batch.collect import collect

            rows = collect(
                options.folder,
                self.output,
                wanted=_wanted(options, backend, settings, self.is_shared),
                part_size=options.part_size,
                **laid_out,
                **stale,
                **common,
            )
        return rows


def batch_of(options: argparse.Namespace) -> Batch:
    """The form of the command; raises `FieldError` for one that is none."""
    if options.collect is not None and options.output is not None:
        raise _wrong("output", options.output, "--collect names the .blend already; leave out --output.")
    if options.collect is None and options.output is None and not options.shared:
        raise _wrong("output", "", "Give --output FILE.blend, or make the assets together with others by --shared.")
    if options.collect is not None and options.shard:
        raise _wrong("shard", options.shard, "--collect takes everything that was made; leave out --shard.")
    if options.part_size is not None and options.collect is None and not (options.shared and options.output):
        raise _wrong("part-size", options.part_size, "--part-size is for --collect.")
    if options.part_size is not None and options.part_size < 1:
        raise FieldError("part-size", options.part_size, "give a number of assets, 1 or more")
    if not options.shared and (options.retry_failed or (options.stale is not None and options.collect is None)):
        field = "retry-failed" if options.retry_failed else "stale"
        raise _wrong(field, "", f"--{field} is for --shared.")
    if options.stale is not None and not 1 <= options.stale <= 86400:
        raise FieldError("stale", options.stale, "give a number of seconds, from 1 to 86400")
    output = options.collect if options.collect is not None else options.output
    return Batch(output, options.shared, options.collect is not None and not options.shared)


def _wrong(field: str, value: object, sentence: str) -> FieldError:
    return FieldError(field, str(value), message=sentence)


def _wanted(options: argparse.Namespace, backend: Backend, settings: Settings, is_known: bool) -> Any:
    """The run whose results are meant, as far as the command says so."""
    from ..batch.shared import Run

    if is_known:
        return Run(settings, options.model or backend.default_model, options.whole)
    if settings or options.model or options.whole:
        return Run(settings, options.model or "", options.whole)
    return None


def write_report(
    batch: Batch, options: argparse.Namespace, backend: Backend, settings: Settings, rows: list[Row]
) -> None:
    """The report, where one is wanted; beside what was shared it is of the whole folder, whoever made what."""
    from ..batch.report import write_report as write
    from ..core.errors import OutputError
    from ..images import find_path, readable

    if not rows:
        return
    if options.report is not None:
        page = write(options.report, options.folder, rows)
    elif batch.is_shared or batch.only_collects:
        from ..batch.collect import shared_rows
        from ..batch.shared import SharedFolder

        if batch.is_shared and batch.output is None:
            rows = shared_rows(options.folder, _wanted(options, backend, settings, True))[2]
            for row in rows:
                row.state = row.state or "made"
        try:
            page = write(SharedFolder(find_path(str(options.folder))).root, options.folder, rows)
        except OutputError as error:  # a folder that may only be read; nobody has asked for the report
            print(error)
            return
    else:
        return
    print(f"The report is {readable(str(page))}.")


def print_table(rows: list[Row], batch: Batch, options: argparse.Namespace) -> None:
    """What became of each picture."""
    from ..images import readable

    if not rows:
        print(f"There is no picture in part {options.shard} of {readable(str(options.folder))}.")
        return
    names = [printable(readable(row.image.name)) for row in rows]
    width = max(map(len, names))
    print(f"\n{'picture':<{width}}  {'state':<9} {'seconds':>7} {'triangles':>9}  {'engine':<22} seed")
    for row, name in zip(rows, names, strict=True):
        seeds = ", ".join(str(asset.seed) for asset in row.assets)
        engine = row.assets[0].engine if row.assets else ""
        numbers = f"{row.seconds:>7.1f} {row.triangles or '':>9}"
        print(f"{name:<{width}}  {row.state:<9} {numbers}  {engine:<22} {seeds}".rstrip())
        if row.message:
            print(f"    {row.message}")
        for finding in row.broken or ():
            print(f"    {finding.rule}: {finding.sentence}")
    good = sum(row.is_good for row in rows)
    if batch.output is not None:
        print(f"{good} of {len(rows)} pictures are assets in {readable(str(batch.output))}.")
    else:
        print(f"{good} of {len(rows)} pictures are assets; --collect FILE.blend lays them out.")
    if batch.is_shared and any(row.state == "failed" for row in rows):
        print("What failed for a fault of its own is not tried again by itself; --retry-failed does.")
    held = [row for row in rows if row.broken is not None]
    if held:
        print(f"{sum(not row.broken for row in held)} of {len(held)} keep the contract.")
