"""Small pictures of results to choose from, rendered in a process of their own: the window never waits."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from pathlib import Path

from ..jobs.job import Asset
from ..runtime.child import start_child
from . import queue
from .queue import Generation

log = logging.getLogger(__name__)

_TIMEOUT = 120.0


def picture_of(asset: Asset) -> Path:
    """Where a result's picture lies, beside its GLB."""
    return asset.path.with_suffix(".preview.png")


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

    queue.in_thread(work)


def render(assets: list[Path], pictures: list[Path]) -> None:
    """Render GLBs to PNGs; what cannot be rendered has none. Blocks: for threads."""
    arguments = [str(path) for pair in zip(assets, pictures, strict=True) for path in pair]
    child = start_child(".formats.glb.preview", arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, complaints = child.communicate(timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        log.warning("Previews took more than %.0f s and were given up.", _TIMEOUT)
        return
    if child.returncode:
        log.warning("A preview could not be made: %s", complaints.strip()[-300:])
