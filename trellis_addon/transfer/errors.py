"""What can go wrong with a download, in sentences."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from ..core.addresses import without_login
from ..core.errors import EngineError
from ..core.machine.disk import is_full
from ..core.messages import message, reason_of
from .failures import explain, is_lasting, short

# Not to be mended by asking again.
LASTING = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects)
# Busy, or not there for a moment: worth asking again.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_AGAIN = message("start the download again: it goes on where it stopped")


class DownloadError(EngineError):
    """A file could not be had; `status` is the HTTP status that said so, 0 where it was something else."""

    code = "downloadFailed"

    def __init__(self, template: str, /, status: int = 0, **values: Any) -> None:
        super().__init__(template, **values)
        self.status = status


class BrokenOff(DownloadError):
    """A failure that may pass; its own words serve when it does not. `wait` is what the server asks for, in seconds."""

    def __init__(self, template: str, /, status: int = 0, wait: float = 0.0, **values: Any) -> None:
        super().__init__(template, status, **values)
        self.wait = wait


class Damaged(DownloadError):
    """What came is not the file that was asked for."""


class WebPage(DownloadError):
    """The server answers with a page for people."""


def refused(status: int, name: str, host: str, wait: float = 0.0) -> DownloadError:
    """The error of an answer that is no success."""
    if status == 401:
        text = message(
            "{host} gives {name} only to those who have signed in; give an access token (HF_TOKEN), or another source.",
            host=host,
            name=name,
        )
    elif status == 403:
        text = message(
            "{host} refuses to give {name}: the account has no access to it, or has not accepted its "
            "terms there; do that on its page, or choose another source.",
            host=host,
            name=name,
        )
    elif status == 407:
        text = message(
            "The proxy wants a name and a password before it lets {name} through; put them into HTTPS_PROXY.", name=name
        )
    elif status in (404, 410):
        text = message(
            "{host} has no {name}; check the address of the source, or update the add-on.", host=host, name=name
        )
    elif status == 429:
        text = message(
            "{host} has had too many requests from here and gives {name} in {wait}; {again}."
            if wait
            else "{host} has had too many requests from here and gives {name} later; {again}.",
            host=host,
            name=name,
            wait=_minutes(wait),
            again=_AGAIN,
        )
    elif status >= 500 or status in PASSING:
        text = message(
            "The server {host} is out of order (it answers {status}) and does not give {name}; later, {again}.",
            host=host,
            status=status,
            name=name,
            again=_AGAIN,
        )
    else:
        text = message(
            "{host} answers {status} where {name} was asked for; check the address of the source.",
            host=host,
            status=status,
            name=name,
        )
    return BrokenOff(text, status, wait) if status in PASSING else DownloadError(text, status)


def refuse_page(response: httpx.Response, name: str) -> None:
    """Raise `WebPage` where a page for people comes in place of a file."""
    kind = response.headers.get("content-type", "")
    if kind.startswith(("text/html", "application/xhtml")) and not name.endswith((".html", ".htm")):
        raise WebPage(
            "{host} answers with a web page in place of {name}: a page to sign in to the network, or a wrong "
            "address; open it in a browser.",
            host=response.url.host,
            name=name,
        )


def leads_nowhere(url: str) -> DownloadError:
    """The error of an address that cannot be one."""
    return DownloadError("The address {url} leads nowhere; correct the address of the source.", url=shown(url))


def shown(url: str) -> str:
    """An address without what nobody else should read: names, passwords, signatures."""
    return without_login(url.partition("?")[0])


def broken_line(name: str, host: str, error: Exception) -> DownloadError:
    """The error of a connection that was not made, or did not hold."""
    if (told := explain(error, host)) is not None:
        return DownloadError(told.message) if is_lasting(error) else BrokenOff(told.message)
    reason = short(error)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return BrokenOff(
            "{host} cannot be reached for {name} ({reason}); check the connection, and the proxy if any.",
            host=host,
            name=name,
            reason=reason,
        )
    return BrokenOff(
        "The download of {name} from {host} broke off ({reason}); check the connection and {again}.",
        name=name,
        host=host,
        reason=reason,
        again=_AGAIN,
    )


def disk_trouble(name: str, folder: object, error: OSError) -> DownloadError:
    """The error of a file that could not be written."""
    if is_full(error):
        return DownloadError("The disk of {folder} is full; free some space, and {again}.", folder=folder, again=_AGAIN)
    return DownloadError(
        "{name} cannot be written to {folder} ({reason}); choose another folder.",
        name=name,
        folder=folder,
        reason=reason_of(error),
    )


def retry_after(text: str | None) -> float:
    """The seconds of a Retry-After header, which is a number or a date; 0 where there is none that can be read."""
    if not text:
        return 0.0
    if text.strip().isdigit():
        return min(float(text), 1e6)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.fromtimestamp(time.time(), UTC)).total_seconds())


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return message("{seconds:.0f} seconds", seconds=seconds)
    return message("{minutes:.0f} minutes", minutes=seconds / 60)
