"""The download of one file: asked for, received, tried again, checked, and put in its place."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import filelock
import httpx

from ..core.files import discard
from ..core.sizes import size_words
from .board import Row
from .errors import (
    LASTING,
    BrokenOff,
    Damaged,
    DownloadError,
    broken_line,
    disk_trouble,
    leads_nowhere,
    refuse_page,
    refused,
    retry_after,
)
from .line import HEAD_LIMIT, Line, LineReply
from .part import Part, Remote, fits, hash_file, leftovers_of
from .ranges import PLAIN, is_plain, range_of

ATTEMPTS = 6  # without a byte more than before
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds between two attempts; doubled each time
PATIENCE = 300.0  # seconds that a server may ask to wait, before it is a failure
MAX_BYTES = 1 << 38  # of a file whose size nobody has told
_POLL = 0.25  # seconds between two looks whether another process is done


class FileDownload:
    """One file to fetch; `run` does it, on whatever thread, and tells the row of the board how far it is."""

    def __init__(self, remote: Remote, target: Path, http: httpx.Client, row: Row) -> None:
        self._remote = remote
        self._target = target
        self._http = http
        self._row = row

    def run(self) -> None:
        """Fetch the file unless it is there; raises `DownloadError`, `Cancelled`."""
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            with self._in_turn():
                if not self._is_there():
                    self._fetch()
        except OSError as error:
            raise disk_trouble(self._target.name, self._target.parent, error) from error

    def _fetch(self) -> None:
        part = Part(self._target, self._remote)
        with self._checking():
            part.take_up(self._checked)
        damaged = attempt = most = 0
        while True:
            try:
                if not part.is_whole:
                    self._receive(part)
                part.finish()
                self._row.done = self._row.size = part.length
                return
            except Damaged as error:
                part.drop()
                damaged += 1
                if damaged == 2:
                    raise DownloadError(
                        "{reason}, twice: it is damaged on its way or at {host}; try later, or another source.",
                        reason=error,
                        host=self._host,
                    ) from None
            except BrokenOff as error:
                if part.length > most:  # a bad line, but it gets on
                    most, attempt = part.length, 0
                attempt += 1
                if attempt == ATTEMPTS or error.wait > PATIENCE:
                    raise
                pause = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) * random.uniform(0.5, 1.0)
                self._row.sleep(max(pause, error.wait))

    def _receive(self, part: Part) -> None:
        """The rest of the file, behind what is there."""
        headers = {**PLAIN, **self._remote.headers}
        if part.length:
            headers["Range"] = f"bytes={part.length}-"
            if part.validator:
                headers["If-Range"] = part.validator
        try:
            line = Line(self._http)
            with line.open("GET", self._remote.url, self._row.check, head_limit=HEAD_LIMIT, headers=headers) as reply:
                if self._is_accepted(reply.response, part):
                    self._save(reply, part)
        except LASTING as error:
            raise leads_nowhere(self._remote.url) from error
        except httpx.HTTPError as error:
            raise broken_line(self._target.name, self._host, error) from error

    def _is_accepted(self, response: httpx.Response, part: Part) -> bool:
        """Whether what comes is to be saved: False where the part turns out to be all. Raises where it is no use."""
        host, name = response.url.host, self._target.name
        start, total = range_of(response)
        if response.status_code == 416 and part.length and total == part.length:
            return False
        if response.status_code == 416 or (response.status_code == 206 and start != part.length):
            part.drop()
            raise BrokenOff(
                "{host} sends another part of {name} than was asked for; try another source.", host=host, name=name
            )
        if response.status_code not in (200, 206):
            wait = retry_after(response.headers.get("retry-after"))
            raise refused(response.status_code, name, host, wait)
        refuse_page(response, name)
        size = self._remote.size
        if size is not None and total is not None and total != size:
            raise DownloadError(
                "{host} has another {name} than is wanted, with {total} bytes in place of {size}; choose another "
                "source, or update the add-on.",
                host=host,
                name=name,
                total=total,
                size=size,
            )
        validator = _validator(response)
        if response.status_code == 200:
            part.begin(validator)
        elif part.validator and validator and validator != part.validator:
            part.drop()
            raise BrokenOff(
                "{name} has changed at {host} while it was downloaded; start the download again.", name=name, host=host
            )
        self._row.size = total or size
        return True

    def _save(self, reply: LineReply, part: Part) -> None:
        most = self._row.size or MAX_BYTES
        self._row.done = part.length
        with part.path.open("r+b") as file:
            file.seek(part.length)
            for chunk in reply.pieces():  # as they come: what is collected into larger ones is lost in a break
                if part.length + len(chunk) > most:
                    raise Damaged("{name} came with more than {most} bytes", name=self._target.name, most=most)
                part.append(file, chunk)
                self._row.done = part.length
                self._row.received += len(chunk)
        if self._row.size is not None and part.length < self._row.size:
            raise BrokenOff(
                "The download of {name} from {host} ended after {done} of {total}; start it again to go on.",
                name=self._target.name,
                host=self._host,
                done=size_words(part.length),
                total=size_words(self._row.size),
            )

    def _is_there(self) -> bool:
        """Whether the target is there already, and is what is asked for."""
        size, wanted = self._remote.size, self._remote.sha256
        if not self._target.is_file() or (size is None and not wanted):
            return False
        have = self._target.stat().st_size
        if size is not None and have != size:
            return False
        with self._checking():
            if wanted and not fits(hash_file(self._target, self._checked), wanted):
                self._row.done = 0
                return False
        self._row.done = self._row.size = have
        return True

    @contextlib.contextmanager
    def _in_turn(self) -> Iterator[None]:
        """While no other process works on the same file."""
        path = leftovers_of(self._target)[-1]
        lock = filelock.FileLock(path, thread_local=False)
        while True:
            self._row.check()
            try:
                lock.acquire(timeout=0)
                break
            except filelock.Timeout:
                self._row.is_waiting = True
                self._row.sleep(_POLL)
        self._row.is_waiting = False
        try:
            yield
        finally:
            discard(path, 0)  # Windows removes it itself, when it is let go
            lock.release()

    @contextlib.contextmanager
    def _checking(self) -> Iterator[None]:
        self._row.is_checking = True
        try:
            yield
        finally:
            self._row.is_checking = False

    def _checked(self, done: int) -> None:
        self._row.check()
        self._row.done = done

    @property
    def _host(self) -> str:
        try:
            return urlsplit(self._remote.url).hostname or self._remote.url
        except ValueError:
            return self._remote.url


def sweep(target: Path) -> None:
    """Delete what a process that was killed has left beside a whole file, unless another one works on it now."""
    part, note, path = leftovers_of(target)
    if not any(place.exists() for place in (part, note, path)):
        return
    lock = filelock.FileLock(path, thread_local=False)
    with contextlib.suppress(OSError):  # held by another, which is a kind of it, or not ours to delete
        lock.acquire(timeout=0)
        try:
            for place in (part, note, path):
                discard(place)
        finally:
            lock.release()


def _validator(response: httpx.Response) -> str:
    """What names exactly this version of the file; a weak ETag does not."""
    if not is_plain(response):
        return ""
    tag = response.headers.get("etag", "")
    return tag if tag.startswith('"') else response.headers.get("last-modified", "")
