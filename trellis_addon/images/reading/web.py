"""A picture behind a web address."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ...core.addresses import without_login
from ...core.errors import ImageError, NetworkSettingsError
from ..limits import MAX_BYTES

if TYPE_CHECKING:
    import httpx

FETCH_TIMEOUT = 30.0  # seconds, for the whole of it: a server that drips must not hold anybody up


def fetch(url: str, transport: httpx.BaseTransport | None = None) -> bytes:
    """The bytes behind a web address; `ImageError` when they cannot be had. `transport` is httpx's own if None."""
    import httpx

    from ...transfer.client import make_client
    from ...transfer.failures import explain, short
    from ...transfer.line import Line
    from ...transfer.ranges import PLAIN, is_plain

    shown = without_login(url)
    give_up = time.monotonic() + FETCH_TIMEOUT

    def in_time() -> None:
        if time.monotonic() > give_up:
            raise ImageError(
                "The image at {url} does not arrive within {seconds:.0f} seconds.", url=shown, seconds=FETCH_TIMEOUT
            )

    try:
        with (
            make_client(transport=transport, timeout=FETCH_TIMEOUT / 3) as client,
            Line(client).open("GET", url, in_time, headers=PLAIN) as reply,
        ):
            response = reply.response
            if response.status_code != 200:
                raise ImageError(
                    "The image at {url} cannot be fetched: the server answers {status_code}.",
                    url=shown,
                    status_code=response.status_code,
                )
            if not is_plain(response):
                # pictures gain nothing by it, and a kilobyte of it may unpack to a gigabyte
                raise ImageError(
                    "The image at {url} comes packed, which was not asked for; use another address.", url=shown
                )
            data = bytearray()
            for chunk in reply.pieces():
                data += chunk
                if len(data) > MAX_BYTES:
                    raise ImageError(
                        "The image at {url} is larger than {limit} MB; use a smaller one.",
                        url=shown,
                        limit=MAX_BYTES // 2**20,
                    )
            return bytes(data)
    except NetworkSettingsError as error:
        raise ImageError(str(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        if (told := explain(error)) is not None:
            raise ImageError(told.message) from error
        raise ImageError(
            "The image at {url} cannot be fetched ({kind}); check the address and the network.",
            url=shown,
            kind=short(error),
        ) from error
