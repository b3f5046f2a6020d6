"""Small pictures of what went into a task and of what came out of it, for whoever looks at many of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.files import discard, move
from ...core.machine.disk import is_full

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...images import PreparedImage

log = logging.getLogger(__name__)

SIDE = 512  # pixels
RENDERED = 384  # pixels: half as much work
_LARGEST_ASSET = 256 * 2**20  # bytes: a larger one takes too long, and too much memory, for a small picture
_ENDING = ".webp"


class Previews:
    """The small pictures in `folder`, named by their tasks; a preview is a WebP file with transparency.

    A task's own picture goes when the task is done, this one when the task is forgotten. May be used by all threads.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._rendering = (
            threading.Lock()
        )  # one at a time: whoever scrolls past a hundred assets must not stop the work

    def keep(self, uuid: str, name: str, picture: PreparedImage) -> None:
        """Keep a small copy of a task's picture, or view, of this name; where the disk is full there is none."""
        small = picture.rgba.copy()
        small.thumbnail((SIDE, SIDE))
        self._write(self._path(uuid, name), small)

    def find(self, uuid: str, name: str) -> Path | None:
        """The small picture of this name, if there is one."""
        path = self._path(uuid, name)
        return path if path.is_file() else None

    def find_asset(self, uuid: str, index: int) -> Path | None:
        """What result `index` looks like, if that has been rendered."""
        return self.find(uuid, f"result-{index}")

    def of_asset(self, uuid: str, index: int, asset: Path) -> Path | None:
        """The same, rendered where it has not been, which takes a second; None for what cannot be shown."""
        with self._rendering:
            if self.find_asset(uuid, index) is None:
                self._render(self._path(uuid, f"result-{index}"), asset)
        return self.find_asset(uuid, index)

    def sweep(self, is_known: Callable[[str], bool]) -> None:
        """Delete those of tasks that are not known any more."""
        by_task: dict[str, list[Path]] = {}
        for path in self._folder.iterdir():
            by_task.setdefault(path.name.partition(".")[0], []).append(path)
        for uuid, paths in by_task.items():
            if not is_known(uuid):
                for path in paths:
                    discard(path, 0)

    def _render(self, path: Path, asset: Path) -> None:
        from ...formats.glb.preview import render_preview
        from ...formats.glb.read import read_glb

        try:
            if asset.stat().st_size <= _LARGEST_ASSET:
                self._write(path, render_preview(read_glb(asset), RENDERED))
        except Exception as error:  # whatever is wrong with an asset, it is no more than not shown
            log.info("There is no preview of %s: %s", asset.name, error)

    def _write(self, path: Path, picture: Image) -> None:
        part = path.with_suffix(".part")
        try:
            picture.save(part, "WEBP", quality=82, method=2)
            move(part, path)
        except OSError as error:
            discard(part, 0)
            if not is_full(error, self._folder):
                raise

    def _path(self, uuid: str, name: str) -> Path:
        return self._folder / f"{uuid.lower()}.{name}{_ENDING}"
