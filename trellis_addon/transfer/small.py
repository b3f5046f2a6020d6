"""Small files into memory: lists, and what a hub says of its files."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

from .errors import LASTING, BrokenOff, DownloadError, broken_line, leads_nowhere, refuse_page, refused, retry_after
from .line import HEAD_LIMIT, Line
from .part import Remote

ATTEMPTS = 4
FIRST_WAIT = 0.5  # seconds; doubled each time
PATIENCE = 60.0  # seconds that a server may ask to wait
LONGEST = 60.0  # seconds that the whole of it may take to arrive
_BEAT = 0.1


def fetch_bytes(
    remote: Remote, http: httpx.Client, limit: int, check: Callable[[], None] = lambda: None, name: str = ""
) -> bytes:
    """A file of `limit` bytes at most; asked for again where a failure may pass.

    `check` is called while waiting, and may raise. `name` is what sentences call the file. Raises `DownloadError`.
    """
    name = name or remote.url.partition("?")[0].rpartition("/")[2]
    for attempt in range(1, ATTEMPTS + 1):
        check()
        try:
            return _once(remote, http, limit, check, name)
        except BrokenOff as error:
            if attempt == ATTEMPTS or error.wait > PATIENCE:
                raise
            _wait(max(error.wait, FIRST_WAIT * 2**attempt * random.uniform(0.5, 1.0)), check)
    raise AssertionError  # the last attempt returns or raises


def _once(remote: Remote, http: httpx.Client, limit: int, check: Callable[[], None], name: str) -> bytes:
    data = bytearray()
    line = Line(http)
    try:
        with line.open("GET", remote.url, check, head_limit=HEAD_LIMIT, headers=dict(remote.headers)) as reply:
            response = reply.response
            host = response.url.host
            if response.status_code != 200:
                raise refused(response.status_code, name, host, retry_after(response.headers.get("retry-after")))
            refuse_page(response, name)
            for chunk in reply.pieces(LONGEST):
                data += chunk
                if len(data) > limit:
                    raise DownloadError(
                        "{name} of {host} is larger than such a file can be; choose another source.",
                        name=name,
                        host=host,
                    )
    except LASTING as error:
        raise leads_nowhere(remote.url) from error
    except httpx.HTTPError as error:
        raise broken_line(name, urlsplit(remote.url).hostname or remote.url, error) from error
    return bytes(data)


def _wait(seconds: float, check: Callable[[], None]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(_BEAT, left))
