"""Small pictures of results to choose from, rendered in a process of their own: the window never waits."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..core.processes import end
from ..formats.glb.preview import view_paths
from ..jobs.job import Asset
from ..runtime.child import start_child
from . import pump, queue
from .queue import Generation

log = logging.getLogger(__name__)

_TIMEOUT = 120.0
VIEWS = 8  # of a turntable


def picture_of(asset: Asset) -> Path:
    """Where a result's picture lies, beside its GLB."""
    return asset.path.with_suffix(".preview.png")


def turns_of(asset: Asset) -> list[Path]:
    """Where a result's pictures from all around lie."""
    return view_paths(asset.path.with_suffix(".turn.png"), VIEWS)


def make(generation: Generation, then: Callable[[], object] = lambda: None) -> None:
    """Have a picture of every result made, shown as soon as they are there; `then` is called afterwards."""
    assets = generation.assets

    def work() -> Callable[[], None]:
        missing = [asset for asset in assets if asset.path.is_file() and not picture_of(asset).is_file()]
        if missing:
            try:
                render([asset.path for asset in missing], [picture_of(asset) for asset in missing])
            except Exception:  # a picture less, but the results go on
                log.exception("The previews could not be made")

        def show() -> None:
            generation.previews = {
                number: picture_of(asset) for number, asset in enumerate(assets) if picture_of(asset).is_file()
            }
            then()

        return show

    pump.in_thread(work)


def make_turns(generation: Generation) -> None:
    """Have every result rendered from all around, and its triangles counted, to be looked at closely."""
    assets = generation.assets

    def work() -> Callable[[], None]:
        from ..formats.glb.check import check_glb_file

        here = [(number, asset) for number, asset in enumerate(assets) if asset.path.is_file()]
        triangles = {number: check_glb_file(asset.path).triangles for number, asset in here}
        pump.later(partial(generation.triangles.update, triangles))
        for number, asset in here:  # one after the other: the first can be looked at while the next is rendered
            if generation.state not in ("choose", "kept") or queue.find(generation.id) is None:
                break  # it has been chosen
            if not _all_there(asset):
                render([asset.path], [asset.path.with_suffix(".turn.png")], VIEWS)
            if _all_there(asset):
                pump.later(partial(generation.turns.update, {number: tuple(turns_of(asset))}))
        return lambda: None

    pump.in_thread(work)


def _all_there(asset: Asset) -> bool:
    return all(path.is_file() for path in turns_of(asset))


def render(assets: list[Path], pictures: list[Path], views: int = 1) -> None:
    """Render GLBs to PNGs; what cannot be rendered has none. Blocks: for threads."""
    arguments = [str(path) for pair in zip(assets, pictures, strict=True) for path in pair]
    arguments = ["--views", str(views), *arguments] if views > 1 else arguments
    child = start_child(".formats.glb.preview", arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, complaints = child.communicate(timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        end(child)
        log.warning("Previews took more than %.0f s and were given up.", _TIMEOUT)
        return
    if child.returncode:
        log.warning("A preview could not be made: %s", complaints.strip()[-300:])
