"""Files from the web: several at once, checked by size and SHA-256, and gone on with at any byte after a break."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.progress import Progress
from ..core.sizes import size_words
from .board import Board
from .errors import DownloadError
from .file import FileDownload, Remote
from .part import part_of

if TYPE_CHECKING:
    import httpx

__all__ = ["DownloadError", "Remote", "fetch_all", "fetch_file"]

AT_ONCE = 4
_BEAT = 0.1  # seconds between two updates of the progress
_PARTING = 2.0  # seconds that a thread may take to end, which then ends by itself


def fetch_file(
    remote: Remote,
    target: Path,
    progress: Progress | None = None,
    *,
    client: httpx.Client | None = None,
    stage: str = "Downloading",
) -> Path:
    """Fetch one file to `target` and return it; see `fetch_all`."""
    fetch_all([(remote, target)], progress, client=client, stage=stage)
    return target


def fetch_all(
    items: Sequence[tuple[Remote, Path]],
    progress: Progress | None = None,
    *,
    at_once: int = AT_ONCE,
    client: httpx.Client | None = None,
    stage: str = "Downloading",
) -> None:
    """Fetch files to their targets, `at_once` of them at the same time; folders are made.

    A file that is there already, with the size and hash that are asked for, is not fetched again. What has come of
    the others lies beside its target as .part and is gone on with: after a break of the line, after `Cancelled`, after
    the end of this process in any way. Two processes that fetch the same file take turns. A file that does not have
    its size or hash is thrown away and fetched once more. `progress` is only used from the calling thread; its stage
    reads "Downloading 1.2 of 16.1 GB, 38 MB/s, 6 min left".

    Proxies are those of the environment, certificates those of the system and of `SSL_CERT_FILE`, `PIP_CERT` or
    `REQUESTS_CA_BUNDLE`. Headers with a token do not go along to another host. Raises `DownloadError` with the first
    failure, whose `status` is the HTTP status where there was one, and `Cancelled`.
    """
    if not items:
        return
    from .client import make_client

    progress = progress or Progress()
    board = Board([remote.size for remote, _ in items], stage)
    progress.update(*board.report())
    _demand_room(items)
    http = client or make_client()
    try:
        _run(
            [FileDownload(*item, http, row) for item, row in zip(items, board.rows, strict=True)],
            board,
            progress,
            at_once,
        )
    finally:
        if client is None:
            http.close()


def _run(downloads: list[FileDownload], board: Board, progress: Progress, at_once: int) -> None:
    """All downloads on threads of their own; reports from this one, which is the caller's."""
    waiting: queue.SimpleQueue[FileDownload] = queue.SimpleQueue()
    for download in downloads:
        waiting.put(download)
    failures: list[BaseException] = []

    def work() -> None:
        while not board.stop.is_set():
            try:
                waiting.get_nowait().run()
            except queue.Empty:
                return
            except BaseException as error:  # told by the calling thread
                failures.append(error)
                return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(at_once, len(downloads)))]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads) and not failures:
            progress.update(*board.report())
            next(thread for thread in threads if thread.is_alive() or thread is threads[-1]).join(_BEAT)
    finally:
        board.stop.set()
        for thread in threads:
            thread.join(_PARTING)
    if failures:
        raise failures[0]
    progress.update(*board.report())


def _demand_room(items: Sequence[tuple[Remote, Path]]) -> None:
    """Raise `DownloadError` where the disk cannot hold what is still to come: before the hours, not after them."""
    needed: dict[Path, int] = {}
    for remote, target in items:
        if not remote.size or (target.is_file() and target.stat().st_size == remote.size):
            continue
        folder = next(parent for parent in target.absolute().parents if parent.is_dir())
        part = part_of(target)
        needed[folder] = needed.get(folder, 0) + remote.size - (part.stat().st_size if part.is_file() else 0)
    by_disk: dict[int, list[Path]] = {}
    for folder in needed:
        by_disk.setdefault(folder.stat().st_dev, []).append(folder)
    for folders in by_disk.values():
        missing, free = sum(needed[folder] for folder in folders), shutil.disk_usage(folders[0]).free
        if missing > free:
            raise DownloadError(
                "{missing} are still to be downloaded and {free} are free on the disk of {folder}; free some, or "
                "choose another folder.",
                missing=size_words(missing),
                free=size_words(free),
                folder=folders[0],
            )
