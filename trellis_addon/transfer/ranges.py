"""Which part of a file a reply holds (RFC 9110, 14): the one reading of Content-Range, Content-Length and encodings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

# Bytes as they are: a packed transfer could not be gone on with in the middle.
PLAIN = {"Accept-Encoding": "identity"}


def range_of(response: httpx.Response) -> tuple[int, int | None]:
    """Where in the file a reply begins, and the size of the whole where it is told; -1 where it is no such part."""
    if response.status_code not in (206, 416):
        return 0, _length(response)
    found = re.fullmatch(r"bytes (?:(\d{1,15})-\d{1,15}|\*)/(\d{1,15}|\*)", response.headers.get("content-range", ""))
    if not found or not is_plain(response):
        return -1, None
    start = int(found[1] or 0)
    if found[2] != "*":
        return start, int(found[2])
    length = _length(response)
    return start, None if length is None or response.status_code == 416 else start + length


def is_plain(response: httpx.Response) -> bool:
    """Whether the bytes come as they are in the file."""
    return response.headers.get("content-encoding", "").strip().lower() in ("", "identity")


def _length(response: httpx.Response) -> int | None:
    said = response.headers.get("content-length", "")
    return int(said) if re.fullmatch("[0-9]{1,15}", said) and is_plain(response) else None
