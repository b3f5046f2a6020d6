"""A picture behind a web address."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..core.addresses import without_login
from ..core.errors import ImageError, NetworkSettingsError
from .limits import MAX_BYTES

if TYPE_CHECKING:
    import httpx

FETCH_TIMEOUT = 30.0  # seconds, for the whole of it: a server that drips must not hold anybody up


def fetch(url: str, transport: httpx.BaseTransport | None = None) -> bytes:
    """The bytes behind a web address; `ImageError` when they cannot be had. `transport` is httpx's own if None."""
    import httpx

    from ..transfer.client import make_client
    from ..transfer.failures import explain

    shown = without_login(url)
    give_up = time.monotonic() + FETCH_TIMEOUT
    try:
        with (
            make_client(transport=transport, timeout=FETCH_TIMEOUT / 3) as client,
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
        ):
            if response.status_code != 200:
                raise ImageError(f"The image at {shown} cannot be fetched: the server answers {response.status_code}.")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                # pictures gain nothing by it, and a kilobyte of it may unpack to a gigabyte
                raise ImageError(f"The image at {shown} comes packed, which was not asked for; use another address.")
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if time.monotonic() > give_up:
                    raise ImageError(f"The image at {shown} does not arrive within {FETCH_TIMEOUT:.0f} seconds.")
                if len(data) > MAX_BYTES:
                    raise ImageError(f"The image at {shown} is larger than {MAX_BYTES // 2**20} MB; use a smaller one.")
            return bytes(data)
    except NetworkSettingsError as error:
        raise ImageError(str(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        if (told := explain(error)) is not None:
            raise ImageError(str(told)) from error
        raise ImageError(
            f"The image at {shown} cannot be fetched ({type(error).__name__}); check the address and the network."
        ) from error
