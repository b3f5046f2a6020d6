"""A folder of pictures to one .blend with every asset: stopped at any moment, it goes on where it was.

What is done is known from two places, the store of jobs (which GLBs exist, which tasks are under
way) and the .blend itself (which assets stand in it), so nothing is generated, paid or imported twice.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .api import fingerprint, finish, prepare_task
from .client.backends import Backend
from .core.errors import InputError, OutputError, TrellisError
from .core.messages import message, message_of
from .core.output import try_places
from .core.parallel import IN_FLIGHT, as_ready
from .core.progress import Progress
from .images import EXTENSIONS, WHOLE, clean_name, find_path, find_pictures, readable
from .jobs.job import Asset, State
from .jobs.store import JobStore
from .task.settings import Settings
from .task.task import check_own_views
from .task.views import by_object, name_of_object

if TYPE_CHECKING:
    from .contract.check import Finding
    from .contract.contract import Contract

log = logging.getLogger(__name__)


@dataclass
class Row:
    """What became of one picture: `state` is "made", "reused", "present" or "failed".

    `views` are the other pictures of the same object. `source` is the picture as it is used, where that is not the
    file itself; `broken` is what its assets do not keep of the contract, None where there is none or nobody has looked.
    """

    image: Path
    views: Mapping[str, Path] = field(default_factory=dict)
    source: Path | None = None
    fingerprint: str = ""
    state: str = ""
    seconds: float = 0.0
    assets: tuple[Asset, ...] = ()
    triangles: int = 0
    message: str = ""
    broken: tuple[Finding, ...] | None = None

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
    whole: bool = False,
    contract: Contract | None = None,
    mend: bool = False,
    store: JobStore | None = None,
    report: Callable[[Row, str, float], None] = lambda row, stage, share: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[Row]:
    """Make an asset of every picture in `folder` and save them all, in a grid, into `output`.

    Pictures whose names end in _front, _back, _left and _right are views of one asset.

    Needs `bpy`. `whole`: nothing is cut out of any of them. `contract`: each asset is held against it, or with `mend`
    made to keep it as far as it can be. `report(row, stage, share)` is called, from several
    threads, whenever something moves, and with the stage "Done" at a row's end. When `is_stopped` says so, or on
    KeyboardInterrupt, what is there is saved; rows that did not come to their end have no state.
    """
    from .scene import files

    folder = find_path(str(folder))
    images = find_pictures(folder) if folder.is_dir() else []
    if not images:
        raise InputError(
            "{folder}: there is no PNG, JPEG or WebP picture in this folder.", folder=readable(str(folder))
        )
    try_places([output])
    store = store or JobStore()
    model = backend.check_model(model or backend.default_model)
    with files.alone_with(output):
        objects = by_object(images)
        return _run(objects, output, backend, settings, model, height, whole, contract, mend, store, report, is_stopped)


def _run(
    images: Sequence[tuple[Path, Mapping[str, Path]]],
    output: Path,
    backend: Backend,
    settings: Settings,
    model: str,
    height: float | None,
    whole: bool,
    contract: Contract | None,
    mend: bool,
    store: JobStore,
    report: Callable[[Row, str, float], None],
    is_stopped: Callable[[], bool],
) -> list[Row]:
    from . import scene
    from .scene import files

    opened = files.stamp_of(output)
    if opened is not None:
        files.open_file(output)
    else:
        files.new_file()
    files.use_own_scene()
    rows = [_row(image, views, backend, settings, model, whole) for image, views in images]
    present = scene.fingerprints()
    for row in rows:
        if row.fingerprint in present:
            row.state = "present"
        if row.state:
            report(row, "Done", 1.0)
    # Copies of one picture wait for each other: the second takes what the first has made.
    locks = {row.fingerprint: threading.Lock() for row in rows}

    def make(row: Row) -> None:
        started = time.monotonic()
        with locks[row.fingerprint]:
            progress = Progress(lambda stage, share: report(row, stage, share))
            _make(row, readable(str(output.resolve())), backend, settings, model, whole, store, progress)
        row.seconds = time.monotonic() - started

    converted = tempfile.TemporaryDirectory(prefix="trellis2-batch-")
    for row in [row for row in rows if not row.state]:
        _convert(row, Path(converted.name))
        if row.state:
            report(row, "Done", 1.0)
    placed: dict[str, list] = {}
    try:
        for row, outcome in as_ready([row for row in rows if not row.state], make, IN_FLIGHT, is_stopped):
            if isinstance(outcome, Exception):
                _fail(row, outcome)
            else:
                _import(row, placed, scene, height)
                if contract is not None and row.is_good:
                    _hold(row, placed[row.image.name], scene, contract, mend)
            report(row, "Done", 1.0)
    finally:
        converted.cleanup()
        if any(placed.values()):
            _lay_out(scene, [obj for row in rows for obj in placed.get(row.image.name, [])])
            if files.stamp_of(output) != opened:
                raise TrellisError(
                    "{output} was saved by another program meanwhile, and is left as it is; start the batch "
                    "again: what was made is kept, and comes in then.",
                    output=output,
                )
            _save(output, files)
    return rows


def _save(output: Path, files) -> None:  # type: ignore[no-untyped-def]
    try:
        files.save_file(output)
    except TrellisError as error:
        raise OutputError("{reason} What was made is kept: make room, and run the same again.", reason=error) from error


def _row(image: Path, views: Mapping[str, Path], backend: Backend, settings: Settings, model: str, whole: bool) -> Row:
    row = Row(image, views)
    try:
        if backend.is_remote:
            check_own_views(views)
        row.fingerprint = fingerprint(image, settings, model, WHOLE if whole else "", views)
    except InputError as error:  # gone, or not ours to read
        _fail(row, error)
    return row


def _convert(row: Row, folder: Path) -> None:
    """Pictures of other formats as PNGs that stand for them, where Blender reads them."""
    row.source = _as_png(row, row.image, folder / f"{row.fingerprint}.png")
    row.views = {
        view: _as_png(row, path, folder / f"{row.fingerprint}-{view}.png") or path for view, path in row.views.items()
    }


def _as_png(row: Row, image: Path, target: Path) -> Path | None:
    """The file that stands for a picture; None where it needs none, or where the row has failed."""
    if row.state or image.suffix.lower() in EXTENSIONS:
        return None
    from .scene.images import png_of_file

    try:
        target.write_bytes(png_of_file(image))
    except TrellisError as error:
        _fail(row, error)
        return None
    return target


def _fail(row: Row, error: Exception) -> None:
    """One picture must not take the others along."""
    row.state = "failed"
    if isinstance(error, TrellisError):
        row.message = error.message
    else:
        row.message = message("Unexpected problem: {kind}: {reason}", kind=type(error).__name__, reason=error)


def _import(row: Row, placed: dict[str, list], scene, height: float | None) -> None:  # type: ignore[no-untyped-def]
    started = time.monotonic()
    made = placed[row.image.name] = []
    try:
        for asset in row.assets:
            made.append(scene.import_asset(asset, height=height))
        row.triangles = sum(len(obj.data.polygons) for obj in made)
        for obj in made:
            scene.mark_asset(obj)
    except Exception as error:
        _fail(row, error)
    row.seconds += time.monotonic() - started


def _hold(row: Row, objects: list, scene, contract: Contract, mend: bool) -> None:  # type: ignore[no-untyped-def]
    """Against the contract; whatever goes wrong with that, the asset is there."""
    try:
        look = scene.mend if mend else scene.check_contract
        row.broken = tuple(finding for obj in objects for finding in look(obj, contract))
        row.triangles = sum(len(obj.data.polygons) for obj in objects)
    except Exception as error:
        log.exception("%s could not be held against the contract", row.image.name)
        row.message = message("It could not be held against the contract: {reason}", reason=message_of(error))


def _lay_out(scene, objects: list) -> None:  # type: ignore[no-untyped-def]
    """In a grid; what is in the file already may be of any kind, and is no reason to lose what was made."""
    try:
        scene.lay_out_grid(objects)
    except Exception:
        log.exception("The assets could not be laid out in a grid")


def _make(
    row: Row,
    batch: str,
    backend: Backend,
    settings: Settings,
    model: str,
    whole: bool,
    store: JobStore,
    progress: Progress,
) -> None:
    """Fill in the row's assets: from the store, from a job that was begun, or from a new one."""
    job = store.in_batch(batch, row.fingerprint)
    if job is not None and job.state is State.READY:
        if all(asset.path.is_file() for asset in job.assets):
            row.state, row.assets = "reused", job.assets
            return
        job = None  # its files were deleted
    if job is None:
        progress.update("Preparing", 0.0)
        prepared = prepare_task(
            row.source or row.image,
            backend,
            settings,
            model=model,
            name=clean_name(name_of_object(row.image.stem) if row.views else row.image.stem),
            subject=WHOLE if whole else None,
            views=row.views,
        )
        job = prepared.write_down(store, backend, batch=batch, fingerprint=row.fingerprint)
    row.assets = finish(job, backend, store, progress).variations
    row.state = "made"
