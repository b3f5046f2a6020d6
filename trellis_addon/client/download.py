"""Fetching a finished file: resumed after a break, checked, and put in its place as a whole."""

from __future__ import annotations

import glob
import hashlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from ..core.errors import DamagedFileError, NetworkError
from ..core.files import discard, move, unlink
from ..core.progress import Progress
from ..formats.glb.check import MAX_FILE_BYTES, check_glb_file
from ..transfer.failures import explain, is_lasting, short
from ..transfer.line import HEAD_LIMIT, Line, LineReply
from ..transfer.ranges import PLAIN, is_plain, range_of

log = logging.getLogger(__name__)

ATTEMPTS = 12  # without a byte more than before; their waits add up to a good minute
ATTEMPTS_TO_CONNECT = 5  # where not even a connection comes about
# Not there yet: file servers answer so for some seconds after a success.
RETRIED_STATUS = {404, 408, 422, 425, 429, 500, 502, 503, 504}


# A mesh that was textured has the skeleton that it had; who brings one into a scene says what that is worth there.
_SOUND = partial(check_glb_file, with_skins=True)


class Wait(Protocol):
    def __call__(self, attempt: int, progress: Progress, at_least: float = 0.0) -> None: ...


def download(
    client: httpx.Client,
    url: str,
    path: Path,
    progress: Progress,
    wait: Wait,
    *,
    check: Callable[[Path], object] = _SOUND,
    attempts: int = ATTEMPTS,
) -> Path:
    """Fetch a GLB to `path`. What has come stays beside it as .part, and the next call goes on from there.

    `check` raises `DamagedFileError` for what is no whole file of its kind. Raises `NetworkError` when it cannot be
    had, `DamagedFileError` when what came, twice, is no sound file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Named after the address: what came from another one must never be gone on with.
    part = path.with_name(f"{path.name}.{hashlib.sha256(url.encode()).hexdigest()[:12]}.part")
    _check_address(url)
    damaged = attempt = unconnected = most = 0
    while True:
        try:
            if not _is_whole(part, check):  # as it is when the program ended just before the last step
                _fetch(client, url, part, progress)
            check(part)
            move(part, path)
            for old in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
                discard(old)
            return path
        except DamagedFileError:
            unlink(part)
            damaged += 1
            if damaged == 3:
                raise
        except NetworkError as error:
            have = part.stat().st_size if part.exists() else 0
            if have > most:  # a bad line, but it gets on
                most, attempt = have, 0
            unconnected = unconnected + 1 if error.unsent else 0
            if attempt == attempts - 1 or unconnected == ATTEMPTS_TO_CONNECT or error.code == "fileNotAvailable":
                raise
            log.info("Downloading again: %s", error)
        wait(attempt, progress)
        attempt += 1


def _is_whole(part: Path, check: Callable[[Path], object]) -> bool:
    try:
        return part.exists() and bool(check(part))
    except DamagedFileError:
        return False


def _fetch(client: httpx.Client, url: str, part: Path, progress: Progress) -> None:
    """The rest of the file behind what `part` holds already."""
    have = part.stat().st_size if part.exists() else 0
    headers = {**PLAIN, **({"Range": f"bytes={have}-"} if have else {})}
    line = Line(client)
    try:
        with line.open("GET", url, progress.check, raw=True, head_limit=HEAD_LIMIT, headers=headers) as reply:
            response = reply.response
            if response.status_code == 416 and have:
                unlink(part)  # longer than the file: it belongs to something else
                raise NetworkError("The download has to begin again.", code="downloadFailed")
            if response.status_code not in (200, 206):
                final = response.status_code not in RETRIED_STATUS
                raise NetworkError(
                    "The asset's file cannot be downloaded: its server answers {status}, as if it had expired; run the "
                    "job again to try once more."
                    if response.status_code in (403, 404, 410)
                    else "The asset's file cannot be downloaded: its server answers {status}; run the job again to try "
                    "once more.",
                    status=response.status_code,
                    code="fileNotAvailable" if final else "downloadFailed",
                )
            if not is_plain(response):
                raise NetworkError(
                    "The asset's file cannot be downloaded: its server packs it, which it was asked not to; "
                    "run the job again to try once more.",
                    code="fileNotAvailable",
                )
            start, total = range_of(response)
            if start not in (0, have):
                unlink(part)
                raise NetworkError("The file's server sends another part than was asked for.", code="downloadFailed")
            _save(reply, part, start, total or 0, progress)
    except httpx.TooManyRedirects as error:
        raise NetworkError(
            "The download of the asset broke off: its address leads from one to the next without an end; "
            "run the job again to try once more.",
            code="fileNotAvailable",
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        code = "fileNotAvailable" if is_lasting(error) else "downloadFailed"
        told = explain(error) or NetworkError(
            "The download of the asset broke off ({kind}); run the job again to go on.", kind=short(error)
        )
        told.code = code
        told.unsent = not line.has_left
        raise told from error


def _check_address(url: str) -> None:
    """Raise `NetworkError` for what can never be fetched, however long one waits."""
    try:
        parts = urlsplit(url)
        is_one = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_one = False
    if not is_one:
        short = url if len(url) <= 60 else url[:59] + "…"
        raise NetworkError(
            'The asset\'s file cannot be downloaded: its address "{address}" is none of the web (http:// or '
            "https://); ask the service's support for the task.",
            address=short,
            code="fileNotAvailable",
        )


def _save(reply: LineReply, part: Path, start: int, total: int, progress: Progress) -> None:
    received = start
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        for chunk in reply.pieces():  # as they come: what is collected into larger ones is lost in a break
            received += len(chunk)
            if max(total, received) > MAX_FILE_BYTES:
                raise NetworkError("The asset's file is larger than 1 GB.", code="fileNotAvailable")
            file.write(chunk)
            progress.update("Downloading", received / total if total > start else 0.0)
        file.truncate()
